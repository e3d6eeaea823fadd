/* Reading the settings of one group of a libconfig file, with messages that name file, line and setting.
 *
 * The first failure sticks: later calls do nothing, so a list of settings is read without a check in between
 * and reader.status is looked at once. */
#ifndef TREFOIL_PARTIES_CONFIG_READER_H
#define TREFOIL_PARTIES_CONFIG_READER_H

#include <stdbool.h>
#include <stdint.h>

#include <libconfig.h>

#include "ring/status.h"

struct config_reader {
    const char *path;              /* of the file, for messages */
    const config_setting_t *group; /* whose settings are read */
    enum status status;
};

/* Sets the status: FILE:LINE: SETTING ... . Does nothing after a failure. */
void config_refuse(struct config_reader *reader, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The message of the last failure, behind the place of this setting. */
void config_refuse_prefix(struct config_reader *reader, const char *name, enum status code);

/* The text of a setting, owned by libconfig; NULL if it is missing, which is a failure if it is required. */
const char *config_text(struct config_reader *reader, const char *name, bool required);
/* *out is left alone if the setting is missing. */
void config_whole(struct config_reader *reader, const char *name, int *out, int low, int high);
/* The same for a number that need not be whole. */
void config_real(struct config_reader *reader, const char *name, double *out, double low, double high);
/* true or false. */
void config_flag(struct config_reader *reader, const char *name, bool *out);
/* A number of bytes: "500 MiB", "64G", or a plain number. */
void config_size(struct config_reader *reader, const char *name, uint64_t *out, uint64_t low);
/* The index of one of the words (case does not matter), or -1. The words end with NULL. */
int config_word(struct config_reader *reader, const char *name, const char *const *words, bool required);
/* Rising whole numbers; *count is 0 if the setting is missing. */
void config_rising(struct config_reader *reader, const char *name, uint32_t *out, uint32_t *count,
                   uint32_t most, uint32_t low, uint32_t high);

#endif
