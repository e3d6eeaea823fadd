#include "distill/runlog.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char heading[] =
    "phase\tepoch\tstep\ttokens\tloss\tembedding\thidden\tscore\tspread\trate\tnorm\tdev\t"
    "tokens_per_second\tseconds\n";

static enum status failed(const struct distill_log *log, const char *what)
{
    enum status code = errno == ENOSPC || errno == EDQUOT ? STATUS_FULL : STATUS_IO;
    return status_fail(code, "%s: cannot %s the log: %s", log->path, what, strerror(errno));
}

/* Cuts the log to what the checkpoint saw. One that is shorter keeps its rows. */
static enum status go_on(struct distill_log *log, off_t bytes)
{
    struct stat found;
    if (fstat(fileno(log->file), &found) != 0)
        return failed(log, "look at");
    if ((found.st_size > bytes && ftruncate(fileno(log->file), bytes) != 0) ||
        fseeko(log->file, 0, SEEK_END) != 0)
        return failed(log, "cut");
    if (found.st_size == 0)
        return fputs(heading, log->file) == EOF ? failed(log, "write") : STATUS_OK;
    if (found.st_size < bytes && fputc('\n', log->file) == EOF) /* its last row may be torn */
        return failed(log, "write");
    return STATUS_OK;
}

enum status distill_log_open(struct distill_log *log, const char *folder, uint64_t bytes)
{
    *log = (struct distill_log){0};
    if ((size_t)snprintf(log->path, sizeof log->path, "%s/log.tsv", folder) >= sizeof log->path)
        return status_fail(STATUS_INPUT, "%s: the name is too long", folder);
    log->file = bytes > 0 ? fopen(log->path, "r+") : NULL;
    if (log->file != NULL)
        return go_on(log, (off_t)bytes);
    if (bytes == 0 || errno == ENOENT)
        log->file = fopen(log->path, "w");
    if (log->file == NULL)
        return failed(log, "open");
    return fputs(heading, log->file) == EOF ? failed(log, "write") : STATUS_OK;
}

static void field(FILE *file, double value, const char *format)
{
    fputc('\t', file);
    if (isfinite(value))
        fprintf(file, format[0] == 'i' ? "%.0f" : "%.6g", value);
}

enum status distill_log_write(struct distill_log *log, const struct distill_row *row)
{
    fprintf(log->file, "%s\t%.4f\t%llu\t%llu", row->phase, row->epoch, (unsigned long long)row->step,
            (unsigned long long)row->tokens);
    const double value[] = {row->loss,   row->embedding, row->hidden, row->score,
                            row->spread, row->rate,      row->norm,   row->dev};
    for (size_t i = 0; i < sizeof value / sizeof *value; i++)
        field(log->file, value[i], "g");
    field(log->file, row->speed, "i");
    field(log->file, row->seconds, "i");
    fputc('\n', log->file);
    if (fflush(log->file) != 0 || ferror(log->file))
        return failed(log, "write");
    return STATUS_OK;
}

enum status distill_log_bytes(struct distill_log *log, uint64_t *bytes)
{
    if (fflush(log->file) != 0 || fsync(fileno(log->file)) != 0)
        return failed(log, "write");
    *bytes = (uint64_t)ftello(log->file);
    return STATUS_OK;
}

void distill_log_close(struct distill_log *log)
{
    if (log->file != NULL)
        fclose(log->file);
    log->file = NULL;
}
