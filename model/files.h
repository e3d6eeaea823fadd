/* Reading whole files and replacing files safely.
 *
 * A replaced file is written beside the old one under a temporary name, synced, then renamed over it: whoever
 * opens the name sees the whole old file or the whole new one, and a failure on the way leaves the old one
 * alone. */
#ifndef TREFOIL_MODEL_FILES_H
#define TREFOIL_MODEL_FILES_H

#include <stddef.h>
#include <stdint.h>

#include "ring/status.h"

#define FILES_PATH_BYTES 4096

/* out = folder/name; STATUS_INPUT if that is too long. */
STATUS_MUST_USE enum status files_join(char out[FILES_PATH_BYTES], const char *folder, const char *name);

/* Opens an ordinary file for reading (never a pipe, a device or a folder) and tells its size. */
STATUS_MUST_USE enum status files_open(int *out, uint64_t *size, const char *path);

/* Reads size bytes at an offset; STATUS_CORRUPT if the file ends before. path is only for the message. */
STATUS_MUST_USE enum status files_read_at(int file, void *out, size_t size, uint64_t offset,
                                          const char *path);

/* Reads a whole file of at most limit bytes. *out is NUL-terminated (the zero is not counted); free it. */
STATUS_MUST_USE enum status files_read(char **out, size_t *size, const char *path, size_t limit);

#define FILES_SHOWN_BYTES 96
/* Text out of a file, made fit for a message: cut to length, control characters replaced by dots. Returns
 * out. */
const char *files_show(char out[FILES_SHOWN_BYTES], const char *text);

/* 1 if something of that name exists, else 0. */
int files_exist(const char *path);

/* Whether both are there and one thing, by whatever names: device and inode are the same. */
int files_same(const char *path, const char *other);

/* Makes a folder unless it is there already; its parent must exist. */
STATUS_MUST_USE enum status files_make_folder(const char *path);

/* A file being replaced. open, write as often as needed, sync, rename; discard at the end in any case (it
 * does nothing after a rename). Several files may be synced first and renamed together. */
struct files_new {
    int file;
    char path[FILES_PATH_BYTES];
    char temporary[FILES_PATH_BYTES];
};

#define FILES_NEW_SUFFIX ".tmp" /* behind the name, until it is renamed */
#define FILES_NEW_NONE ((struct files_new){.file = -1})

STATUS_MUST_USE enum status files_new_open(struct files_new *out, const char *path);
/* The same for a file with secrets, such as weights: nobody but its user may read it, whatever the umask says. */
STATUS_MUST_USE enum status files_new_open_secret(struct files_new *out, const char *path);
STATUS_MUST_USE enum status files_new_write(struct files_new *out, const void *bytes, size_t size);
STATUS_MUST_USE enum status files_new_sync(struct files_new *out);
STATUS_MUST_USE enum status files_new_rename(struct files_new *out);
void files_new_discard(struct files_new *out);

/* Makes the renames in a folder durable. */
STATUS_MUST_USE enum status files_sync_folder(const char *folder);

#endif
