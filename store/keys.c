#include "store/keys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#define NAME_BYTES (2 * STORE_ID_BYTES + 1)

static void key_name(char name[NAME_BYTES], const unsigned char id[STORE_ID_BYTES])
{
    sodium_bin2hex(name, NAME_BYTES, id, STORE_ID_BYTES);
}

static enum status key_fail(const struct store *store, const char *what, const char *name)
{
    const int code = errno;
    if (store_no_room(code))
        return status_fail(STATUS_FULL, "%s %s/keys/%s: %s; free some space on that disk", what, store->path,
                           name, strerror(code));
    return status_fail(STATUS_IO, "%s %s/keys/%s: %s", what, store->path, name, strerror(code));
}

static ssize_t write_whole(int file, const void *data, size_t bytes)
{
    size_t done = 0;
    while (done < bytes) {
        const ssize_t now = pwrite(file, (const char *)data + done, bytes - done, (off_t)done);
        if (now < 0 && errno != EINTR)
            return -1;
        done += now > 0 ? (size_t)now : 0;
    }
    return 0;
}

enum status store_key_create(struct store *store, const unsigned char id[STORE_ID_BYTES],
                             struct store_key *key)
{
    char name[NAME_BYTES];
    key_name(name, id);
    const int file = openat(store->keys, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0)
        return key_fail(store, "cannot create", name);
    randombytes_buf(key->bytes, sizeof key->bytes);
    if (!write_whole(file, key->bytes, sizeof key->bytes) && !fsync(file) && !fsync(store->keys)) {
        close(file);
        return STATUS_OK;
    }
    const enum status status = key_fail(store, "cannot write", name);
    sodium_memzero(key, sizeof *key);
    close(file);
    unlinkat(store->keys, name, 0);
    return status;
}

enum status store_key_read(struct store *store, const unsigned char id[STORE_ID_BYTES], struct store_key *key)
{
    char name[NAME_BYTES];
    key_name(name, id);
    const int file = openat(store->keys, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0 && errno != ENOENT)
        return key_fail(store, "cannot open", name);
    if (file < 0)
        return status_fail(STATUS_CORRUPT, "the key %s/keys/%s is missing: what it sealed is lost",
                           store->path, name);
    unsigned char bytes[STORE_KEY_BYTES + 1];
    ssize_t got;
    do
        got = pread(file, bytes, sizeof bytes, 0);
    while (got < 0 && errno == EINTR);
    enum status status = STATUS_OK;
    if (got < 0)
        status = key_fail(store, "cannot read", name);
    else if (got != STORE_KEY_BYTES)
        status = status_fail(STATUS_CORRUPT, "the key %s/keys/%s is torn: what it sealed is lost",
                             store->path, name);
    else
        memcpy(key->bytes, bytes, STORE_KEY_BYTES);
    sodium_memzero(bytes, sizeof bytes);
    close(file);
    return status;
}

bool store_key_exists(struct store *store, const unsigned char id[STORE_ID_BYTES])
{
    char name[NAME_BYTES];
    struct stat stat;
    key_name(name, id);
    return !fstatat(store->keys, name, &stat, AT_SYMLINK_NOFOLLOW) && stat.st_size == STORE_KEY_BYTES;
}

/* Overwrites with random bytes, so that no file system can turn it into a hole. */
static int overwrite(int folder, const char *name)
{
    const int file = openat(folder, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0)
        return errno == ENOENT ? 0 : -1;
    unsigned char noise[STORE_KEY_BYTES];
    randombytes_buf(noise, sizeof noise);
    const int code = write_whole(file, noise, sizeof noise) || fsync(file) ? -1 : 0;
    const int saved = errno;
    close(file);
    errno = saved;
    return code;
}

static enum status destroy_name(struct store *store, const char *name)
{
    enum status status = STATUS_OK;
    if (overwrite(store->keys, name))
        status = key_fail(store, "cannot overwrite", name);
    /* Unlinked even if it could not be overwritten: a key that cannot be found is better than one that can.
     */
    if (unlinkat(store->keys, name, 0) && errno != ENOENT)
        status = key_fail(store, "cannot delete", name);
    return status;
}

enum status store_key_destroy(struct store *store, const unsigned char id[STORE_ID_BYTES])
{
    char name[NAME_BYTES];
    key_name(name, id);
    enum status status = destroy_name(store, name);
    if (!status && fsync(store->keys))
        status = key_fail(store, "cannot sync the folder of", name);
    if (status)
        atomic_store(&store->failed, true);
    return status;
}

enum status store_key_sweep(struct store *store, bool (*keep)(void *, const unsigned char[STORE_ID_BYTES]),
                            void *context)
{
    const int copy = openat(store->keys, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = copy < 0 ? NULL : fdopendir(copy);
    if (!folder) {
        const enum status status = key_fail(store, "cannot list", "");
        if (copy >= 0)
            close(copy);
        return status;
    }
    enum status status = STATUS_OK;
    const struct dirent *entry;
    while (!status && (entry = readdir(folder))) {
        const char *name = entry->d_name;
        unsigned char id[STORE_ID_BYTES];
        size_t bytes = 0;
        if (!strcmp(name, ".") || !strcmp(name, ".."))
            continue;
        const bool ours = !sodium_hex2bin(id, sizeof id, name, strlen(name), NULL, &bytes, NULL) &&
                          bytes == sizeof id && strlen(name) == NAME_BYTES - 1;
        if (!ours || !keep(context, id))
            status = destroy_name(store, name);
    }
    closedir(folder);
    if (!status && fsync(store->keys))
        status = key_fail(store, "cannot sync the folder of", "");
    return status;
}
