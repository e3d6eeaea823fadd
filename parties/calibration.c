#include "parties/calibration.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/files.h"
#include "parties/clear.h"
#include "parties/progress.h"
#include "parties/texts.h"

/* The texts as samples; pairs are cut where the model knows only one kind of token, long ones at its
 * positions. */
static enum status make_samples(struct sample **out, const struct texts *texts,
                                const struct model_config *config)
{
    struct sample *samples = calloc(texts->count + 1, sizeof *samples);
    *out = samples;
    if (!samples)
        return status_fail(STATUS_MEMORY, "out of memory while calibrating");
    for (size_t i = 0; i < texts->count; i++) {
        struct tokens *tokens = &texts->tokens[i];
        if (config->types < 2)
            memset(tokens->type, 0, tokens->count);
        tokens_cut(tokens, config->positions);
        samples[i] = tokens_sample(tokens);
    }
    return STATUS_OK;
}

static enum status read_samples(struct texts *out, const struct tokenizer *tokenizer, const char *folder,
                                const char *path)
{
    char beside[FILES_PATH_BYTES];
    if (path)
        return texts_read(out, tokenizer, path, 0);
    enum status status = files_join(beside, folder, "calibration.txt");
    if (status)
        return status;
    if (files_exist(beside))
        return texts_read(out, tokenizer, beside, 0);
    return texts_parse(out, tokenizer, calibration_texts, "the sample texts", 0);
}

static enum status calibrate(struct calibrated *out, const char *folder, const char *path)
{
    struct tokenizer *tokenizer = NULL;
    struct texts texts = {0};
    struct sample *samples = NULL;
    struct progress progress;
    enum status status = tokenizer_open(&tokenizer, folder);
    if (!status)
        status = read_samples(&texts, tokenizer, folder, path);
    if (!status)
        status = make_samples(&samples, &texts, &out->model.config);
    if (!status) {
        progress_start(&progress, "calibrating");
        status = model_calibrate(&out->model, &out->folded, samples, texts.count, progress_update_size,
                                 &progress, &out->description);
        progress_end(&progress);
    }
    free(samples);
    texts_clear(&texts);
    tokenizer_close(&tokenizer);
    return status;
}

void calibrated_name(char *out, size_t size, const char *folder)
{
    size_t end = strlen(folder);
    while (end > 1 && folder[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin > 0 && folder[begin - 1] != '/')
        begin--;
    snprintf(out, size, "%.*s", (int)(end - begin), folder + begin);
}

enum status calibrated_open(struct calibrated *out, const char *folder, const char *texts, const char *name)
{
    memset(out, 0, sizeof *out);
    enum status status = clear_model_read(&out->model, &out->folded, folder);
    if (!status)
        status = calibrate(out, folder, texts);
    if (!status)
        status = model_tables_digest(out->description.tables, &out->model, folder);
    if (!status && name)
        snprintf(out->description.name, sizeof out->description.name, "%s", name);
    else if (!status)
        calibrated_name(out->description.name, sizeof out->description.name, folder);
    if (status)
        calibrated_clear(out);
    return status;
}

void calibrated_clear(struct calibrated *calibrated)
{
    description_clear(&calibrated->description);
    folded_clear(&calibrated->folded);
    model_clear(&calibrated->model);
}
