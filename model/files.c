#include "model/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The one place where errno of a file becomes a status. */
static enum status files_fail(const char *path, const char *what)
{
    int code = errno;
    if (code == ENOENT || code == ENOTDIR)
        return status_fail(STATUS_INPUT, "%s: no such file; check the path", path);
    if (code == ENOSPC || code == EDQUOT || code == EFBIG)
        return status_fail(STATUS_FULL, "%s: cannot %s: %s; make room and try again", path, what,
                           strerror(code));
    if (code == ENOMEM)
        return status_fail(STATUS_MEMORY, "%s: cannot %s: out of memory", path, what);
    return status_fail(STATUS_IO, "%s: cannot %s: %s", path, what, strerror(code));
}

enum status files_join(char out[FILES_PATH_BYTES], const char *folder, const char *name)
{
    int used = snprintf(out, FILES_PATH_BYTES, "%s/%s", folder, name);
    if (used < 0 || used >= FILES_PATH_BYTES)
        return status_fail(STATUS_INPUT, "%.60s...: the path is longer than %d bytes", folder,
                           FILES_PATH_BYTES - 1);
    return STATUS_OK;
}

enum status files_open(int *out, uint64_t *size, const char *path)
{
    /* Without O_NONBLOCK the open of a pipe would wait for a writer. */
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return files_fail(path, "open");
    struct stat about;
    if (fstat(file, &about) != 0) {
        enum status status = files_fail(path, "look at");
        close(file);
        return status;
    }
    if (!S_ISREG(about.st_mode)) {
        close(file);
        return status_fail(STATUS_INPUT, "%s: not an ordinary file", path);
    }
    *out = file;
    *size = (uint64_t)about.st_size;
    return STATUS_OK;
}

enum status files_read_at(int file, void *out, size_t size, uint64_t offset, const char *path)
{
    unsigned char *to = out;
    while (size > 0) {
        ssize_t got = pread(file, to, size, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return files_fail(path, "read");
        if (got == 0)
            return status_fail(STATUS_CORRUPT,
                               "%s: the file ends at byte %llu, more was expected; it is cut short", path,
                               (unsigned long long)offset);
        to += got;
        size -= (size_t)got;
        offset += (uint64_t)got;
    }
    return STATUS_OK;
}

enum status files_read(char **out, size_t *size, const char *path, size_t limit)
{
    int file;
    uint64_t bytes;
    enum status status = files_open(&file, &bytes, path);
    if (status)
        return status;
    char *text = NULL;
    if (bytes > limit) {
        status = status_fail(STATUS_INPUT, "%s: %llu bytes; at most %zu are read", path,
                             (unsigned long long)bytes, limit);
        goto out;
    }
    text = malloc((size_t)bytes + 1);
    if (!text) {
        status =
            status_fail(STATUS_MEMORY, "%s: no memory for its %llu bytes", path, (unsigned long long)bytes);
        goto out;
    }
    status = files_read_at(file, text, (size_t)bytes, 0, path);
    if (status)
        goto out;
    text[bytes] = 0;
    *out = text;
    *size = (size_t)bytes;
    text = NULL;
out:
    free(text);
    close(file);
    return status;
}

const char *files_show(char out[FILES_SHOWN_BYTES], const char *text)
{
    size_t length = 0;
    for (; text[length] && length < FILES_SHOWN_BYTES - 1; length++)
        out[length] = (unsigned char)text[length] < 32 || text[length] == 127 ? '.' : text[length];
    out[length] = 0;
    return out;
}

int files_exist(const char *path)
{
    return access(path, F_OK) == 0;
}

int files_same(const char *path, const char *other)
{
    struct stat a, b;
    return stat(path, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

enum status files_make_folder(const char *path)
{
    struct stat about;
    if (mkdir(path, 0777) == 0 || (errno == EEXIST && stat(path, &about) == 0 && S_ISDIR(about.st_mode)))
        return STATUS_OK;
    if (errno == EEXIST)
        return status_fail(STATUS_INPUT, "%s: exists and is not a folder", path);
    if (errno == ENOENT)
        return status_fail(STATUS_INPUT, "%s: the folder it would stand in does not exist", path);
    return files_fail(path, "make the folder");
}

static enum status new_open(struct files_new *out, const char *path, mode_t mode)
{
    *out = FILES_NEW_NONE;
    int a = snprintf(out->path, sizeof out->path, "%s", path);
    int b = snprintf(out->temporary, sizeof out->temporary, "%s" FILES_NEW_SUFFIX, path);
    if (a < 0 || b < 0 || (size_t)b >= sizeof out->temporary) {
        *out = FILES_NEW_NONE;
        return status_fail(STATUS_INPUT, "%.60s...: the path is too long", path);
    }
    /* What a killed writer left under the temporary name is removed, not followed: it might be a link. */
    unlink(out->temporary);
    out->file = open(out->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (out->file < 0) {
        enum status status = files_fail(out->temporary, "create");
        *out = FILES_NEW_NONE;
        return status;
    }
    return STATUS_OK;
}

enum status files_new_open(struct files_new *out, const char *path)
{
    return new_open(out, path, 0666);
}

enum status files_new_open_secret(struct files_new *out, const char *path)
{
    return new_open(out, path, 0600);
}

enum status files_new_write(struct files_new *out, const void *bytes, size_t size)
{
    const unsigned char *from = bytes;
    while (size > 0) {
        ssize_t put = write(out->file, from, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return files_fail(out->temporary, "write");
        from += put;
        size -= (size_t)put;
    }
    return STATUS_OK;
}

enum status files_new_sync(struct files_new *out)
{
    if (fsync(out->file) != 0)
        return files_fail(out->temporary, "sync");
    int closed = close(out->file);
    out->file = -1;
    return closed == 0 ? STATUS_OK : files_fail(out->temporary, "close");
}

enum status files_new_rename(struct files_new *out)
{
    if (rename(out->temporary, out->path) != 0)
        return files_fail(out->path, "rename the new file to");
    *out = FILES_NEW_NONE;
    return STATUS_OK;
}

void files_new_discard(struct files_new *out)
{
    if (out->file >= 0)
        close(out->file);
    if (out->temporary[0])
        unlink(out->temporary);
    *out = FILES_NEW_NONE;
}

enum status files_sync_folder(const char *folder)
{
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0)
        return files_fail(folder, "open");
    enum status status = fsync(file) == 0 ? STATUS_OK : files_fail(folder, "sync");
    close(file);
    return status;
}
