#include "parties/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>
#include <zmq.h>

#include "model/files.h"

enum status key_check_public(const char *text)
{
    unsigned char binary[32];
    if (strlen(text) != NET_KEY_TEXT - 1 || !zmq_z85_decode(binary, text))
        return status_fail(STATUS_INPUT,
                           "a public key is 40 characters of Z85 text, the line of a .pub file");
    return STATUS_OK;
}

static enum status write_key(const char *path, const char key[NET_KEY_TEXT], mode_t mode)
{
    char line[NET_KEY_TEXT + 1];
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (file < 0 && errno == EEXIST)
        return status_fail(STATUS_INPUT,
                           "%s exists already; a key is never written over, choose another name", path);
    if (file < 0)
        return status_fail(STATUS_IO, "cannot write %s: %s", path, strerror(errno));
    int n = snprintf(line, sizeof line, "%s\n", key);
    errno = ENOSPC;
    bool good = write(file, line, (size_t)n) == n && fsync(file) == 0;
    int error = errno;
    sodium_memzero(line, sizeof line);
    close(file);
    if (good)
        return STATUS_OK;
    unlink(path);
    return status_fail(error == ENOSPC ? STATUS_FULL : STATUS_IO, "cannot write %s: %s", path,
                       strerror(error));
}

enum status key_file_make(const char *path, char public_key[NET_KEY_TEXT])
{
    char secret_key[NET_KEY_TEXT], beside[FILES_PATH_BYTES];
    if ((size_t)snprintf(beside, sizeof beside, "%s.pub", path) >= sizeof beside)
        return status_fail(STATUS_INPUT, "the name of the key file is too long");
    enum status status = net_keygen(public_key, secret_key);
    if (!status)
        status = write_key(path, secret_key, 0600);
    sodium_memzero(secret_key, sizeof secret_key);
    if (status)
        return status;
    status = write_key(beside, public_key, 0644);
    if (status)
        unlink(path);
    return status;
}

/* One line of 40 characters. */
static enum status read_key(int file, const char *path, char key[NET_KEY_TEXT])
{
    char line[NET_KEY_TEXT + 2];
    ssize_t n = read(file, line, sizeof line);
    bool good = n >= NET_KEY_TEXT - 1;
    for (ssize_t i = NET_KEY_TEXT - 1; good && i < n; i++)
        good = line[i] == '\n' || line[i] == '\r';
    if (good) {
        memcpy(key, line, NET_KEY_TEXT - 1);
        key[NET_KEY_TEXT - 1] = '\0';
        good = !memchr(key, '\0', NET_KEY_TEXT - 1);
    }
    sodium_memzero(line, sizeof line);
    if (good)
        return STATUS_OK;
    return status_fail(STATUS_INPUT,
                       "%s: not a key file: it should hold one line of 40 characters; trefoil keygen "
                       "makes one",
                       path);
}

enum status key_file_read(const char *path, char public_key[NET_KEY_TEXT], char secret_key[NET_KEY_TEXT])
{
    char secret[NET_KEY_TEXT];
    struct stat about;
    uint64_t size;
    int file;
    enum status status = files_open(&file, &size, path);
    if (status)
        return status;
    if (fstat(file, &about) != 0)
        status = status_fail(STATUS_IO, "cannot look at %s: %s", path, strerror(errno));
    else if (about.st_mode & 077)
        status = status_fail(STATUS_REFUSED,
                             "%s can be read by others (mode %03o): a secret key is for its owner only; "
                             "chmod 600 it, or make a new one if somebody may have seen it",
                             path, (unsigned)about.st_mode & 0777);
    else
        status = read_key(file, path, secret);
    close(file);
    if (!status) {
        status = net_public(public_key, secret);
        if (status)
            status = status_prefix(status, "%s: ", path);
    }
    if (!status && secret_key)
        memcpy(secret_key, secret, NET_KEY_TEXT);
    sodium_memzero(secret, sizeof secret);
    return status;
}

/* The key in path.pub, if there is one. */
static bool read_beside(const char *path, char key[NET_KEY_TEXT])
{
    char beside[FILES_PATH_BYTES];
    uint64_t size;
    int file;
    if ((size_t)snprintf(beside, sizeof beside, "%s.pub", path) >= sizeof beside || !files_exist(beside) ||
        files_open(&file, &size, beside) != STATUS_OK)
        return false;
    const enum status status = read_key(file, beside, key);
    close(file);
    return status == STATUS_OK;
}

enum status key_file_check_pair(const char *path, const char public_key[NET_KEY_TEXT])
{
    char beside[NET_KEY_TEXT];
    if (!read_beside(path, beside) || strcmp(beside, public_key) == 0)
        return STATUS_OK;
    return status_fail(
        STATUS_INPUT,
        "%s.pub holds another key than the one that belongs to the secret key in %s: one of the two "
        "files was replaced or is another process's (trefoil keygen --show prints the public key)",
        path, path);
}

enum status key_file_read_public(const char *path, char public_key[NET_KEY_TEXT])
{
    uint64_t size;
    int file;
    enum status status = files_open(&file, &size, path);
    if (status)
        return status;
    status = read_key(file, path, public_key);
    close(file);
    if (!status)
        status = key_check_public(public_key);
    char beside[NET_KEY_TEXT], own[NET_KEY_TEXT];
    if (!status && read_beside(path, beside) && net_public(own, public_key) == STATUS_OK &&
        strcmp(own, beside) == 0) {
        sodium_memzero(public_key, NET_KEY_TEXT);
        status = status_fail(STATUS_INPUT,
                             "holds the secret key of that process; peers name the public one, %s.pub", path);
    }
    return status ? status_prefix(status, "%s: ", path) : STATUS_OK;
}
