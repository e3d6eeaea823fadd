/* What the store costs: put and get of bundles of BERT-base size, the latency of a take, alone and beside
 * filling.
 *
 *     bench/bench_store [FOLDER [BYTES [BUNDLES]]]      defaults: a folder in /tmp, 260000000, 4 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include "ring/clock.h"
#include "store/store.h"

/* Sizes of the items of a layer at 128 tokens, ten bytes an output: attention, projections, feed-forward,
 * small ones. */
static const size_t layer[] = {2949120, 1966080, 983040, 1966080, 983040,  15360,  15360, 15360, 983040,
                               1280,    1280,    983040, 3932160, 3932160, 983040, 1280,  1280,  983040};
#define LAYER_ITEMS (sizeof layer / sizeof *layer)

static const unsigned char model[STORE_HASH_BYTES] = "bench", schedule[STORE_HASH_BYTES] = "bench";
static size_t bundle_bytes = 260000000;

static void must(enum status status)
{
    if (!status)
        return;
    fprintf(stderr, "%s: %s\n", status_name(status), status_message());
    exit(1);
}

/* Processor time of this process: what the store costs on a machine that others use too. */
static double cpu(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Bytes of item number item, 0 behind the last one. */
static size_t item_bytes(uint32_t item, size_t done)
{
    const size_t bytes = layer[item % LAYER_ITEMS];
    return done >= bundle_bytes ? 0 : done + bytes > bundle_bytes ? bundle_bytes - done : bytes;
}

/* Returns the seconds of the puts; ready: those of the call that makes it ready. */
static double fill(struct store *store, uint64_t serial, const unsigned char *data, double *ready)
{
    struct store_name name = {.serial = serial, .bucket = 128, .batch = 1};
    struct store_bundle *bundle;
    memcpy(name.model, model, sizeof model);
    memcpy(name.schedule, schedule, sizeof schedule);
    const double start = clock_seconds();
    must(store_bundle_create(store, &name, &bundle));
    size_t done = 0;
    for (uint32_t item = 0; item_bytes(item, done); item++) {
        const size_t bytes = item_bytes(item, done);
        must(store_bundle_put(bundle, item, data, bytes));
        done += bytes;
    }
    const double middle = clock_seconds();
    must(store_bundle_ready(bundle, model));
    *ready = clock_seconds() - middle;
    store_bundle_close(&bundle);
    return middle - start;
}

static struct store_bundle *take(struct store *store, uint64_t serial, double *seconds)
{
    struct store_bundle *bundle;
    const double start = clock_seconds();
    must(store_bundle_take(store, model, schedule, serial, &bundle));
    *seconds = clock_seconds() - start;
    return bundle;
}

static double get(struct store_bundle *bundle, unsigned char *data)
{
    const double start = clock_seconds();
    size_t done = 0;
    for (uint32_t item = 0; item_bytes(item, done); item++) {
        const size_t bytes = item_bytes(item, done);
        must(store_bundle_get(bundle, item, data, bytes));
        done += bytes;
    }
    return clock_seconds() - start;
}

/* What bundles belong to. */
static void share(struct store *store)
{
    struct store_model *shared;
    must(store_model_create(store, model, &shared));
    must(store_model_ready(shared));
    store_model_close(&shared);
}

struct background {
    struct store *store;
    const unsigned char *data;
    uint64_t serial;
    atomic_bool stop;
};

/* Keeps filling bundles of another schedule, which nobody takes. */
static void *fill_beside(void *context)
{
    struct background *background = context;
    for (uint64_t serial = 1; !atomic_load(&background->stop); serial++) {
        struct store_name name = {.serial = serial};
        struct store_bundle *bundle;
        memcpy(name.model, model, sizeof model);
        must(store_bundle_create(background->store, &name, &bundle));
        for (uint32_t item = 0; item < 20 && !atomic_load(&background->stop); item++)
            must(store_bundle_put(bundle, item, background->data, 3932160));
        store_bundle_close(&bundle);
    }
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

#define TAKES 100
static void bench_takes(struct store *store, const char *how, uint64_t first)
{
    double seconds[TAKES];
    for (uint64_t i = 0; i < TAKES; i++) {
        struct store_name name = {.serial = first + i};
        struct store_bundle *bundle;
        memcpy(name.model, model, sizeof model);
        memcpy(name.schedule, schedule, sizeof schedule);
        must(store_bundle_create(store, &name, &bundle));
        must(store_bundle_put(bundle, 0, "small", 5));
        must(store_bundle_ready(bundle, model));
        store_bundle_close(&bundle);
        bundle = take(store, first + i, &seconds[i]);
        store_bundle_close(&bundle);
    }
    qsort(seconds, TAKES, sizeof *seconds, by_value);
    printf("take %-16s median %7.3f ms  90%% %7.3f ms  worst %7.3f ms\n", how, seconds[TAKES / 2] * 1e3,
           seconds[TAKES * 9 / 10] * 1e3, seconds[TAKES - 1] * 1e3);
}

static void bench_bundles(struct store *store, unsigned char *data, unsigned bundles)
{
    for (uint64_t serial = 1; serial <= bundles; serial++) {
        double ready, taken;
        const double cpu_start = cpu(), put = fill(store, serial, data, &ready), cpu_put = cpu() - cpu_start;
        struct store_bundle *bundle = take(store, serial, &taken);
        const double cpu_middle = cpu(), got = get(bundle, data), cpu_got = cpu() - cpu_middle, start = clock_seconds();
        store_bundle_close(&bundle);
        printf("bundle %2llu  put %5.0f MB/s (cpu %4.0f ms)  ready %5.1f ms  take %5.2f ms  get %5.0f MB/s "
               "(cpu %4.0f ms)  close %5.1f ms\n",
               (unsigned long long)serial, (double)bundle_bytes / put * 1e-6, cpu_put * 1e3, ready * 1e3,
               taken * 1e3, (double)bundle_bytes / got * 1e-6, cpu_got * 1e3, (clock_seconds() - start) * 1e3);
    }
}

static void bench_seal(unsigned char *data)
{
    const size_t bytes = 1 << 20, rounds = 200;
    unsigned char *out = malloc(bytes + crypto_aead_xchacha20poly1305_ietf_ABYTES), nonce[24] = {0},
                  key[32] = {0};
    const double start = cpu();
    for (size_t i = 0; i < rounds; i++)
        crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, data, bytes, NULL, 0, NULL, nonce, key);
    printf("sealing alone %6.0f MB/s (XChaCha20-Poly1305, one thread)\n",
           (double)(bytes * rounds) / (cpu() - start) * 1e-6);
    free(out);
}

int main(int count, char **arguments)
{
    char folder[] = "/tmp/trefoil-bench-XXXXXX";
    const char *path = count > 1 ? arguments[1] : mkdtemp(folder);
    if (count > 2)
        bundle_bytes = strtoull(arguments[2], NULL, 10);
    const unsigned bundles = count > 3 ? (unsigned)strtoul(arguments[3], NULL, 10) : 4;
    const size_t largest = 3932160;
    unsigned char *data = malloc(largest);
    struct store *store;
    const struct store_options options = {.path = path, .party = "P1"};
    if (!path || !data)
        return 1;
    memset(data, 7, largest);
    must(store_open(&store, &options));
    share(store);
    bench_seal(data);
    bench_bundles(store, data, bundles);
    bench_takes(store, "alone", bundles + 1);
    struct background background = {.store = store, .data = data};
    pthread_t thread;
    if (!pthread_create(&thread, NULL, fill_beside, &background)) {
        bench_takes(store, "beside filling", bundles + 1 + TAKES);
        atomic_store(&background.stop, true);
        pthread_join(thread, NULL);
    }
    store_close(&store);
    free(data);
    if (count <= 1) {
        char command[64];
        snprintf(command, sizeof command, "rm -rf %s", folder);
        return system(command) != 0;
    }
    return 0;
}
