/* The keys that values are sealed under: one file each in PATH/keys/, outside LMDB. Private to store/.
 *
 * A content (a bundle or a model) has a random id; its key file is named by it. The file is created
 * exclusively, mode 0600, and is on the disk, with its folder entry, before the first value is sealed under
 * it. It is destroyed when the content goes: overwritten, synced, unlinked, folder synced.
 *
 * What overwriting can promise: the file system no longer returns the key. A disk may keep an old copy all
 * the same: flash translation layers and copy-on-write or data-journalling file systems write elsewhere;
 * snapshots and backups keep what they saw. Where that matters, put PATH/keys on an encrypted volume, or on a
 * tmpfs: then every restart of the machine destroys all keys (models have to be shared again). */
#ifndef TREFOIL_STORE_KEYS_H
#define TREFOIL_STORE_KEYS_H

#include <stdint.h>

#include "store/environment.h"

#define STORE_ID_BYTES 16
#define STORE_KEY_BYTES 32

struct store_key {
    unsigned char bytes[STORE_KEY_BYTES];
};

/* Makes a random key and its file. On failure no file is left. */
STATUS_MUST_USE enum status store_key_create(struct store *store, const unsigned char id[STORE_ID_BYTES],
                                             struct store_key *key);
/* STATUS_CORRUPT if there is none. */
STATUS_MUST_USE enum status store_key_read(struct store *store, const unsigned char id[STORE_ID_BYTES],
                                           struct store_key *key);
bool store_key_exists(struct store *store, const unsigned char id[STORE_ID_BYTES]);
/* STATUS_OK too if there was none. */
STATUS_MUST_USE enum status store_key_destroy(struct store *store, const unsigned char id[STORE_ID_BYTES]);

/* Destroys every file of the folder for which keep(context, id) is false, and whatever else lies there. */
STATUS_MUST_USE enum status
store_key_sweep(struct store *store, bool (*keep)(void *context, const unsigned char id[STORE_ID_BYTES]),
                void *context);

#endif
