#include "parties/config_reader.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const config_setting_t *member(const struct config_reader *reader, const char *name)
{
    return config_setting_get_member(reader->group, name);
}

/* Where a setting stands; the group's own place if it is missing. */
static void place(const struct config_reader *reader, const char *name, const char **file, unsigned *line)
{
    const config_setting_t *setting = member(reader, name);
    if (!setting)
        setting = reader->group;
    *file = config_setting_source_file(setting);
    if (!*file)
        *file = reader->path;
    *line = config_setting_source_line(setting);
}

void config_refuse(struct config_reader *reader, const char *name, const char *format, ...)
{
    char why[512];
    const char *file;
    unsigned line;
    va_list arguments;
    if (reader->status)
        return;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    place(reader, name, &file, &line);
    if (line)
        reader->status = status_fail(STATUS_INPUT, "%s:%u: %s %s", file, line, name, why);
    else
        reader->status = status_fail(STATUS_INPUT, "%s: %s %s", file, name, why);
}

void config_refuse_prefix(struct config_reader *reader, const char *name, enum status code)
{
    const char *file;
    unsigned line;
    if (reader->status)
        return;
    place(reader, name, &file, &line);
    reader->status = status_prefix(code, "%s:%u: %s: ", file, line, name);
}

/* The setting if it is there and the reading goes well so far. */
static const config_setting_t *setting_of(struct config_reader *reader, const char *name, bool required)
{
    if (reader->status)
        return NULL;
    const config_setting_t *setting = member(reader, name);
    if (!setting && required)
        config_refuse(reader, name, "is missing");
    return setting;
}

const char *config_text(struct config_reader *reader, const char *name, bool required)
{
    const config_setting_t *setting = setting_of(reader, name, required);
    if (!setting)
        return NULL;
    const char *text = config_setting_get_string(setting);
    if (!text)
        config_refuse(reader, name, "must be a text in quotes");
    else if (!*text)
        config_refuse(reader, name, "is empty");
    return reader->status ? NULL : text;
}

static bool is_whole(const config_setting_t *setting)
{
    int type = config_setting_type(setting);
    return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
}

void config_whole(struct config_reader *reader, const char *name, int *out, int low, int high)
{
    const config_setting_t *setting = setting_of(reader, name, false);
    if (!setting)
        return;
    long long value = is_whole(setting) ? config_setting_get_int64(setting) : 0;
    if (!is_whole(setting) || value < low || value > high)
        config_refuse(reader, name, "must be a whole number from %d to %d", low, high);
    else
        *out = (int)value;
}

void config_flag(struct config_reader *reader, const char *name, bool *out)
{
    const config_setting_t *setting = setting_of(reader, name, false);
    if (!setting)
        return;
    if (config_setting_type(setting) != CONFIG_TYPE_BOOL)
        config_refuse(reader, name, "must be true or false");
    else
        *out = config_setting_get_bool(setting) != 0;
}

void config_real(struct config_reader *reader, const char *name, double *out, double low, double high)
{
    const config_setting_t *setting = setting_of(reader, name, false);
    if (!setting)
        return;
    const bool real = config_setting_type(setting) == CONFIG_TYPE_FLOAT;
    const double value = real                ? config_setting_get_float(setting)
                         : is_whole(setting) ? (double)config_setting_get_int64(setting)
                                             : -1;
    if (!(value >= low && value <= high))
        config_refuse(reader, name, "must be a number from %g to %g", low, high);
    else
        *out = value;
}

static bool parse_size(const char *text, uint64_t *out)
{
    static const char *const unit[] = {"", "K", "M", "G", "T", NULL};
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || errno || strchr(text, '-'))
        return false;
    while (*end == ' ')
        end++;
    for (int i = 0; unit[i]; i++) {
        size_t n = strlen(unit[i]);
        if (strncasecmp(end, unit[i], n) != 0)
            continue;
        const char *rest = end + n;
        bool whole = *rest == '\0' || strcasecmp(rest, "B") == 0 || (i && strcasecmp(rest, "iB") == 0);
        if (!whole)
            continue;
        *out = (uint64_t)value << (10 * i);
        return *out >> (10 * i) == value;
    }
    return false;
}

void config_size(struct config_reader *reader, const char *name, uint64_t *out, uint64_t low)
{
    const config_setting_t *setting = setting_of(reader, name, false);
    if (!setting)
        return;
    uint64_t value = 0;
    const char *text = config_setting_get_string(setting);
    bool valid = text && parse_size(text, &value);
    if (is_whole(setting) && config_setting_get_int64(setting) > 0) {
        value = (uint64_t)config_setting_get_int64(setting);
        valid = true;
    }
    if (!valid)
        config_refuse(reader, name, "must be a size such as \"64 GiB\"");
    else if (value < low)
        config_refuse(reader, name, "must be at least %llu MiB", (unsigned long long)(low >> 20));
    else
        *out = value;
}

int config_word(struct config_reader *reader, const char *name, const char *const *words, bool required)
{
    const char *text = config_text(reader, name, required);
    char list[256] = "";
    size_t used = 0;
    if (!text)
        return -1;
    for (int i = 0; words[i]; i++) {
        if (strcasecmp(text, words[i]) == 0)
            return i;
        if (used < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", words[i]);
    }
    config_refuse(reader, name, "must be one of: %s", list);
    return -1;
}

void config_rising(struct config_reader *reader, const char *name, uint32_t *out, uint32_t *count,
                   uint32_t most, uint32_t low, uint32_t high)
{
    const config_setting_t *setting = setting_of(reader, name, false);
    *count = 0;
    if (!setting)
        return;
    int n = config_setting_is_aggregate(setting) ? config_setting_length(setting) : 0;
    if (n < 1 || (uint32_t)n > most) {
        config_refuse(reader, name, "must be a list of 1 to %u whole numbers, such as [16, 32, 64]", most);
        return;
    }
    for (int i = 0; i < n; i++) {
        const config_setting_t *element = config_setting_get_elem(setting, (unsigned)i);
        long long value = is_whole(element) ? config_setting_get_int64(element) : -1;
        if (value < (long long)low || value > (long long)high) {
            config_refuse(reader, name, "holds something that is no whole number from %u to %u", low, high);
            return;
        }
        out[i] = (uint32_t)value;
        if (i && out[i] <= out[i - 1]) {
            config_refuse(reader, name, "must rise: %u stands after %u", out[i], out[i - 1]);
            return;
        }
    }
    *count = (uint32_t)n;
}
