#include "parties/deal_missing.h"

#include <stdlib.h>

#include "parties/journal.h"

#define RANGES_MAX 4096 /* of a message */

/* ---- P0 ---- */

struct listing {
    json_t *ranges;
    uint64_t first, last; /* of the range that is growing; 0: none yet */
    uint64_t upto;
};

static void end_range(struct listing *l)
{
    if (l->first)
        json_array_append_new(l->ranges, json_pack("[I, I]", (json_int_t)l->first, (json_int_t)l->last));
    l->first = 0;
}

static void list(void *context, uint64_t serial)
{
    struct listing *l = context;
    if (l->upto < INT64_MAX)
        return;
    if (l->first && serial == l->last + 1) {
        l->last = serial;
        return;
    }
    end_range(l);
    if (json_array_size(l->ranges) == RANGES_MAX)
        l->upto = l->last;
    else
        l->first = l->last = serial;
}

enum status deal_list_ready(const struct job *job, json_t *message)
{
    struct listing l = {.ranges = json_array(), .upto = INT64_MAX};
    uint64_t serial, mark, count;
    struct store *store = job->service->store;
    enum status status =
        store_bundle_next(store, job->model->id, job->schedule->hash, &serial, &mark, &count);
    if (status == STATUS_OK)
        status = store_bundle_serials(store, job->model->id, job->schedule->hash, list, &l);
    end_range(&l);
    if (status == STATUS_OK && (json_object_set_new(message, "mark", json_integer((json_int_t)mark)) ||
                                json_object_set_new(message, "upto", json_integer((json_int_t)l.upto)) ||
                                json_object_set(message, "ready", l.ranges)))
        status = status_fail(STATUS_MEMORY, "out of memory for the list of bundles");
    json_decref(l.ranges);
    return status;
}

/* ---- P1, P2 ---- */

struct serials {
    uint64_t *at;
    size_t count, capacity;
};

static void collect(void *context, uint64_t serial)
{
    struct serials *s = context;
    if (s->count < s->capacity)
        s->at[s->count++] = serial;
}

/* What is ready here; more may become so meanwhile, and is left out. */
static enum status own_serials(const struct job *job, struct serials *out)
{
    uint64_t serial, mark, count;
    struct store *store = job->service->store;
    enum status status =
        store_bundle_next(store, job->model->id, job->schedule->hash, &serial, &mark, &count);
    if (status != STATUS_OK)
        return status;
    out->at = calloc(count + 1, sizeof *out->at);
    if (!out->at)
        return status_fail(STATUS_MEMORY, "out of memory for the list of bundles");
    out->capacity = count;
    return store_bundle_serials(store, job->model->id, job->schedule->hash, collect, out);
}

/* Whether a range holds it; at: the first one that may, of all serials that come rising. */
static bool listed(const json_t *ranges, size_t *at, uint64_t serial)
{
    for (; *at < json_array_size(ranges); ++*at) {
        const json_t *range = json_array_get(ranges, *at);
        const json_int_t first = json_integer_value(json_array_get(range, 0)),
                         last = json_integer_value(json_array_get(range, 1));
        if ((json_int_t)serial <= last)
            return (json_int_t)serial >= first;
    }
    return false;
}

enum status deal_drop_missing(const struct job *job, const json_t *message)
{
    const json_t *ranges = json_object_get(message, "ready");
    struct serials own = {0};
    uint64_t mark = 0, upto = 0, dropped = 0;
    if (!json_is_array(ranges))
        return STATUS_OK;
    enum status status = message_number(message, "P0", "mark", INT64_MAX, &mark);
    if (status == STATUS_OK)
        status = message_number(message, "P0", "upto", INT64_MAX, &upto);
    if (status == STATUS_OK)
        status = own_serials(job, &own);
    size_t at = 0;
    for (size_t i = 0; status == STATUS_OK && i < own.count; i++) {
        if (own.at[i] <= mark || own.at[i] > upto || listed(ranges, &at, own.at[i]))
            continue;
        status = store_bundle_drop(job->service->store, job->model->id, job->schedule->hash, own.at[i]);
        dropped += status == STATUS_OK;
    }
    free(own.at);
    if (dropped)
        journal(job->service->config->name, "burnt %llu bundles that P0 lacks", (unsigned long long)dropped);
    return status;
}
