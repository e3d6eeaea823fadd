#include "parties/deal_missing.h"

#include "parties/journal.h"

#define RANGES_MAX 4096 /* of a message */

/* ---- P0 ---- */

struct listing {
    json_t *ranges;
    uint64_t first, last; /* of the range that is growing; 0: none yet */
    uint64_t upto;
    bool failed; /* a range that is not in the list would be dropped */
};

static void end_range(struct listing *l)
{
    if (l->first && json_array_append_new(l->ranges, json_pack("[I, I]", (json_int_t)l->first, (json_int_t)l->last)))
        l->failed = true;
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
    uint64_t mark;
    enum status status =
        store_bundle_serials(job->service->store, job->model->id, job->schedule->hash, &mark, list, &l);
    end_range(&l);
    if (status == STATUS_OK && (l.failed || json_object_set_new(message, "mark", json_integer((json_int_t)mark)) ||
                                json_object_set_new(message, "upto", json_integer((json_int_t)l.upto)) ||
                                json_object_set(message, "ready", l.ranges)))
        status = status_fail(STATUS_MEMORY, "out of memory for the list of bundles");
    json_decref(l.ranges);
    return status;
}

/* ---- P1, P2 ---- */

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

struct missing {
    const json_t *ranges;
    size_t at;
    uint64_t mark, upto;
    json_t *serials;
    bool failed;
};

static void look(void *context, uint64_t serial)
{
    struct missing *m = context;
    if (serial > m->mark && serial <= m->upto && !listed(m->ranges, &m->at, serial) &&
        json_array_append_new(m->serials, json_integer((json_int_t)serial)))
        m->failed = true;
}

enum status deal_drop_missing(const struct job *job, const json_t *message)
{
    struct missing m = {.ranges = json_object_get(message, "ready")};
    struct store *store = job->service->store;
    const unsigned char *model = job->model->id, *schedule = job->schedule->hash;
    uint64_t mark;
    if (!json_is_array(m.ranges))
        return STATUS_OK;
    enum status status = message_number(message, "P0", "mark", INT64_MAX, &m.mark);
    if (status == STATUS_OK)
        status = message_number(message, "P0", "upto", INT64_MAX, &m.upto);
    if (status != STATUS_OK)
        return status;
    m.serials = json_array();
    status = store_bundle_serials(store, model, schedule, &mark, look, &m);
    if (status == STATUS_OK && m.failed)
        status = status_fail(STATUS_MEMORY, "out of memory for the list of bundles");
    const size_t count = json_array_size(m.serials);
    for (size_t i = 0; status == STATUS_OK && i < count; i++)
        status = store_bundle_drop(store, model, schedule,
                                   (uint64_t)json_integer_value(json_array_get(m.serials, i)));
    json_decref(m.serials);
    if (status == STATUS_OK && count)
        journal(job->service->config->name, "burnt %zu bundles that P0 lacks", count);
    return status;
}
