#include "model/model.h"

#include <stdlib.h>
#include <string.h>

#include "model/config.h"
#include "model/files.h"
#include "model/vocabulary.h"
#include "model/model_tensors.h"
#include "model/safetensors.h"

/* The files of a folder, in the order they are renamed into place. */
enum { WEIGHTS, VOCABULARY, TOKENIZER, CONFIG, FILES };


static enum status write_weights(struct files_new *out, const struct model *model,
                                 enum model_precision precision)
{
    struct model shape = *model;
    struct model_tensor *tensor;
    size_t count;
    bool head = model->head_w != NULL;
    enum status status = model_tensors(&tensor, &count, &shape, model->pooler_w != NULL, head);
    if (status)
        return status;
    struct safetensors_item *item = calloc(count, sizeof *item);
    if (!item)
        status = status_fail(STATUS_MEMORY, "%s: no memory for its list of tensors", out->path);
    for (size_t i = 0; item && i < count; i++) {
        /* A bare encoder is written as Hugging Face writes a BertModel: without the prefix. */
        const char *name = tensor[i].name;
        item[i].name = head ? name : name + strlen("bert.");
        item[i].rows = tensor[i].rows;
        item[i].columns = tensor[i].columns;
        item[i].data = *tensor[i].data;
    }
    if (!status)
        status = safetensors_write(out, item, count, precision);
    free(item);
    free(tensor);
    return status;
}

/* Takes the text over and frees it. */
static enum status write_text(struct files_new *out, char *text)
{
    if (!text)
        return status_fail(STATUS_MEMORY, "%s: no memory", out->path);
    enum status status = files_new_write(out, text, strlen(text));
    if (!status)
        status = files_new_write(out, "\n", 1);
    free(text);
    return status;
}

static enum status copy_vocabulary(struct files_new *out, const char *path)
{
    char *text;
    size_t size;
    enum status status = files_read(&text, &size, path, VOCABULARY_FILE_BYTES);
    if (status)
        return status;
    status = files_new_write(out, text, size);
    free(text);
    return status;
}

static enum status open_all(struct files_new file[FILES], const char *folder, bool vocabulary)
{
    static const char *const names[FILES] = {[WEIGHTS] = "model.safetensors",
                                             [VOCABULARY] = "vocab.txt",
                                             [TOKENIZER] = "tokenizer_config.json",
                                             [CONFIG] = "config.json"};
    enum status status = files_make_folder(folder);
    for (int i = 0; !status && i < FILES; i++) {
        char path[FILES_PATH_BYTES];
        if (i == VOCABULARY && !vocabulary)
            continue;
        status = files_join(path, folder, names[i]);
        if (!status)
            status = i == WEIGHTS ? files_new_open_secret(&file[i], path) : files_new_open(&file[i], path);
    }
    return status;
}

enum status model_write(const struct model *model, const char *folder, enum model_precision precision,
                        const char *vocabulary)
{
    struct files_new file[FILES];
    for (int i = 0; i < FILES; i++)
        file[i] = FILES_NEW_NONE;
    enum status status = model_config_check(&model->config);
    if (status)
        return status;
    if (model->head_w && !model->pooler_w)
        return status_fail(STATUS_INPUT, "%s: a classifier without its pooler cannot be written", folder);
    status = open_all(file, folder, vocabulary != NULL);
    if (!status)
        status = write_weights(&file[WEIGHTS], model, precision);
    if (!status && vocabulary)
        status = copy_vocabulary(&file[VOCABULARY], vocabulary);
    if (!status)
        status = write_text(&file[TOKENIZER], model_config_format_tokenizer(&model->config));
    if (!status)
        status =
            write_text(&file[CONFIG], model_config_format(&model->config, model->head_w != NULL, precision));
    /* All are complete and synced before the first takes its name. */
    for (int i = 0; !status && i < FILES; i++)
        if (file[i].file >= 0)
            status = files_new_sync(&file[i]);
    for (int i = 0; !status && i < FILES; i++)
        if (file[i].temporary[0])
            status = files_new_rename(&file[i]);
    for (int i = 0; i < FILES; i++)
        files_new_discard(&file[i]);
    return status ? status : files_sync_folder(folder);
}
