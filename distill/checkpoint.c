#include "distill/checkpoint.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/files.h"

#define MAGIC "trefoil checkpoint 2\n"
#define MAGIC_BYTES 21
#define SLOTS 2
#define PATH_BYTES FILES_PATH_BYTES

/* A file being read, and the hash of what came through. */
struct stream {
    FILE *file;
    crypto_generichash_state hash;
    bool bad;
};

static void slot_path(char path[PATH_BYTES], const char *folder, unsigned slot)
{
    snprintf(path, PATH_BYTES, "%s/checkpoint-%u", folder, slot);
}

static void get(struct stream *s, void *bytes, size_t n)
{
    s->bad = s->bad || fread(bytes, 1, n, s->file) != n;
    if (!s->bad)
        crypto_generichash_update(&s->hash, bytes, n);
}

static void begin(struct stream *s, FILE *file)
{
    s->file = file;
    s->bad = false;
    crypto_generichash_init(&s->hash, NULL, 0, crypto_generichash_BYTES);
}

/* A file being written, the hash of what went through, and the first failure. */
struct sink {
    struct files_new file;
    crypto_generichash_state hash;
    enum status status;
};

static void put(struct sink *s, const void *bytes, size_t n)
{
    if (s->status != STATUS_OK)
        return;
    crypto_generichash_update(&s->hash, bytes, n);
    s->status = files_new_write(&s->file, bytes, n);
}

static void put_all(struct sink *s, const struct distill_position *position, const unsigned char *fingerprint,
                    const struct distill_weights *weights, const struct distill_adamw *adamw)
{
    unsigned char digest[crypto_generichash_BYTES];
    put(s, MAGIC, MAGIC_BYTES);
    put(s, fingerprint, DISTILL_FINGERPRINT_BYTES);
    put(s, position, sizeof *position);
    put(s, &adamw->steps, sizeof adamw->steps);
    put(s, weights->value, weights->count * sizeof(float));
    put(s, adamw->m, adamw->count * sizeof(float));
    put(s, adamw->v, adamw->count * sizeof(float));
    put(s, adamw->used, adamw->vocabulary);
    crypto_generichash_final(&s->hash, digest, sizeof digest);
    put(s, digest, sizeof digest);
}

enum status distill_checkpoint_write(const char *folder, struct distill_position *position,
                                     const unsigned char fingerprint[DISTILL_FINGERPRINT_BYTES],
                                     const struct distill_weights *weights, const struct distill_adamw *adamw)
{
    char path[PATH_BYTES];
    struct sink sink = {.file = FILES_NEW_NONE};
    struct distill_position next = *position;
    next.generation++;
    slot_path(path, folder, (unsigned)(next.generation % SLOTS));
    crypto_generichash_init(&sink.hash, NULL, 0, crypto_generichash_BYTES);
    sink.status = files_new_open_secret(&sink.file, path);
    put_all(&sink, &next, fingerprint, weights, adamw);
    if (sink.status == STATUS_OK)
        sink.status = files_new_sync(&sink.file);
    if (sink.status == STATUS_OK)
        sink.status = files_new_rename(&sink.file);
    files_new_discard(&sink.file);
    if (sink.status != STATUS_OK)
        return status_prefix(sink.status, position->generation > 0
                                              ? "no checkpoint was written, the one before it is kept: "
                                              : "no checkpoint was written, and there is none before it: ");
    *position = next;
    return files_sync_folder(folder);
}

enum verdict { ABSENT, TORN, FOREIGN, GOOD };

/* Checks one file, whole; *generation is set if it is good. */
static enum verdict inspect(const char *path, const unsigned char *fingerprint, uint64_t *generation)
{
    static const size_t block = 1 << 20;
    unsigned char head[MAGIC_BYTES + DISTILL_FINGERPRINT_BYTES], digest[crypto_generichash_BYTES],
        found[sizeof digest];
    struct distill_position position = {0};
    struct stream s;
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return ABSENT;
    unsigned char *buffer = malloc(block);
    begin(&s, file);
    s.bad = buffer == NULL || fseeko(file, 0, SEEK_END) != 0;
    long long left =
        s.bad ? 0 : (long long)ftello(file) - (long long)(sizeof head + sizeof position + sizeof digest);
    rewind(file);
    get(&s, head, sizeof head);
    get(&s, &position, sizeof position);
    for (; left > 0 && !s.bad; left -= (long long)block)
        get(&s, buffer, left < (long long)block ? (size_t)left : block);
    crypto_generichash_final(&s.hash, digest, sizeof digest);
    bool whole = !s.bad && left <= 0 && fread(found, 1, sizeof found, file) == sizeof found &&
                 memcmp(found, digest, sizeof digest) == 0 && memcmp(head, MAGIC, MAGIC_BYTES) == 0;
    free(buffer);
    fclose(file);
    if (!whole)
        return TORN;
    *generation = position.generation;
    return memcmp(head + MAGIC_BYTES, fingerprint, DISTILL_FINGERPRINT_BYTES) == 0 ? GOOD : FOREIGN;
}

/* Phases are indices, the others counts that the training loop goes on from. */
static bool within(const struct distill_reach *reach, const struct distill_position *position,
                   const struct distill_adamw *adamw)
{
    return position->phase < reach->phases && position->step <= reach->steps[position->phase] &&
           position->best_phase <= position->phase && position->sum_steps <= position->step &&
           position->log_bytes <= INT64_MAX &&
           (position->step == 0 || adamw->steps <= position->step); /* at step 0 it forgets them */
}

static enum status load(const char *path, struct distill_position *position,
                        const struct distill_reach *reach, struct distill_weights *weights,
                        struct distill_adamw *adamw)
{
    struct stream s;
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return status_fail(STATUS_IO, "%s: cannot open: %s", path, strerror(errno));
    begin(&s, file);
    s.bad = fseeko(file, MAGIC_BYTES + DISTILL_FINGERPRINT_BYTES, SEEK_SET) != 0;
    get(&s, position, sizeof *position);
    get(&s, &adamw->steps, sizeof adamw->steps);
    get(&s, weights->value, weights->count * sizeof(float));
    get(&s, adamw->m, adamw->count * sizeof(float));
    get(&s, adamw->v, adamw->count * sizeof(float));
    get(&s, adamw->used, adamw->vocabulary);
    fclose(file);
    if (s.bad)
        return status_fail(STATUS_CORRUPT, "%s: the checkpoint is shorter than this model", path);
    if (!within(reach, position, adamw))
        return status_fail(STATUS_CORRUPT,
                           "%s: the checkpoint stands in a phase or at a step that this run does not have; "
                           "start over with --overwrite",
                           path);
    return STATUS_OK;
}

enum status distill_checkpoint_read(const char *folder, struct distill_position *position,
                                    const unsigned char fingerprint[DISTILL_FINGERPRINT_BYTES],
                                    const struct distill_reach *reach, struct distill_weights *weights,
                                    struct distill_adamw *adamw)
{
    char path[SLOTS][PATH_BYTES];
    uint64_t generation[SLOTS] = {0};
    enum verdict verdict[SLOTS];
    int best = -1, torn = -1, foreign = -1;
    for (unsigned i = 0; i < SLOTS; i++) {
        slot_path(path[i], folder, i);
        verdict[i] = inspect(path[i], fingerprint, &generation[i]);
        if (verdict[i] == GOOD && (best < 0 || generation[i] > generation[best]))
            best = (int)i;
        torn = verdict[i] == TORN ? (int)i : torn;
        foreign = verdict[i] == FOREIGN ? (int)i : foreign;
    }
    if (foreign >= 0)
        return status_fail(
            STATUS_FOREIGN,
            "%s: this checkpoint is of a run with other options, data or models; name another output "
            "folder, or start over with --overwrite",
            path[foreign]);
    if (torn >= 0 && best >= 0)
        fprintf(stderr, "%s is torn; going on from %s\n", path[torn], path[best]);
    if (best < 0 && torn >= 0)
        return status_fail(STATUS_CORRUPT,
                           "%s: the checkpoint is torn and there is none before it; start over with "
                           "--overwrite",
                           path[torn]);
    if (best < 0)
        return status_fail(STATUS_EMPTY, "%s: no checkpoint", folder);
    return load(path[best], position, reach, weights, adamw);
}

void distill_checkpoint_remove(const char *folder)
{
    char path[PATH_BYTES], unfinished[PATH_BYTES + sizeof FILES_NEW_SUFFIX];
    for (unsigned i = 0; i < SLOTS; i++) {
        slot_path(path, folder, i);
        snprintf(unfinished, sizeof unfinished, "%s" FILES_NEW_SUFFIX, path);
        unlink(path);
        unlink(unfinished);
    }
}
