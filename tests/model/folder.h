/* Folders made by tests: temporary, filled with a small model, removed at the end. */
#ifndef TREFOIL_TESTS_MODEL_FOLDER_H
#define TREFOIL_TESTS_MODEL_FOLDER_H

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/config.h"
#include "model/files.h"
#include "model/model_tensors.h"
#include "ring/status.h"

static char folder[128];

static inline void folder_setup(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.60s/trefoil-test-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static inline void folder_remove(const char *path)
{
    DIR *open = opendir(path);
    if (!open)
        return;
    for (struct dirent *entry; (entry = readdir(open));) {
        char inside[FILES_PATH_BYTES];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        ck_assert(!files_join(inside, path, entry->d_name));
        if (unlink(inside) != 0)
            folder_remove(inside);
    }
    closedir(open);
    rmdir(path);
}

static inline void folder_teardown(void)
{
    folder_remove(folder);
}

/* folder/name; the same buffer every time. */
static inline const char *folder_path(const char *name)
{
    static char path[FILES_PATH_BYTES];
    ck_assert(!files_join(path, folder, name));
    return path;
}

static inline void folder_write(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(folder_path(name), "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

static inline void folder_write_text(const char *name, const char *text)
{
    folder_write(name, text, strlen(text));
}

/* Whether TREFOIL_SHARED has a folder; says so on standard error if tests of it are left out. */
static inline bool folder_is_shared(const char *name)
{
    char path[FILES_PATH_BYTES];
    const char *shared = getenv("TREFOIL_SHARED");
    if (shared && !files_join(path, shared, name) && files_exist(path))
        return true;
    fprintf(stderr, "tests of %s are left out: it is not in TREFOIL_SHARED, %s\n", name,
            shared ? shared : "which is not set");
    return false;
}

/* The code, and a message that has each of the words in it. */
#define ck_assert_fails(call, code, ...)                                                                \
    do {                                                                                                \
        enum status got_ = (call);                                                                      \
        const char *words_[] = {__VA_ARGS__};                                                           \
        ck_assert_msg(got_ == (code), "%s instead of %s: %s", status_name(got_), status_name(code),     \
                      status_message());                                                                \
        for (size_t i_ = 0; i_ < sizeof words_ / sizeof *words_; i_++)                                  \
            ck_assert_msg(strstr(status_message(), words_[i_]) != NULL, "no \"%s\" in: %s", words_[i_], \
                          status_message());                                                            \
    } while (0)

#define ck_assert_works(call)                                                            \
    do {                                                                                 \
        enum status got_ = (call);                                                       \
        ck_assert_msg(got_ == STATUS_OK, "%s: %s", status_name(got_), status_message()); \
    } while (0)

/* A shape small enough to be read thousands of times. */
static inline struct model_config small_config(void)
{
    struct model_config config;
    model_config_default(&config);
    config.hidden = 8;
    config.layers = 2;
    config.heads = 2;
    config.ffn = 12;
    config.vocabulary = 20;
    config.positions = 16;
    config.labels = 3;
    return config;
}

/* Fills every tensor with numbers that F16 holds exactly, different from one tensor to the next. */
static inline void small_fill(struct model *model)
{
    struct model_tensor *tensor;
    size_t count;
    ck_assert_works(model_tensors(&tensor, &count, model, model->pooler_w != NULL, model->head_w != NULL));
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < model_tensor_elements(&tensor[i]); j++)
            (*tensor[i].data)[j] = (float)((int)(i * 37 + j * 5) % 199 - 99) / 64;
    free(tensor);
}

#endif
