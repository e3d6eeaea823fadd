/* SIGKILL at random moments, two hundred times and more: no serial is taken twice, no half-written bundle is
 * ready. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/run.h"
#include "tests/store/support.h"

#define KILLS 220
/* One item that waits in the batch, one that is written straight away, one of several batches. */
static const size_t sizes[] = {3000, 4300000, 50};
#define ITEMS 3
#define AHEAD 3 /* ready bundles kept in stock */

/* What the victims write down, each in one append, after the fact. */
enum note { NOTE_TAKEN = 1, NOTE_BAD, NOTE_CLOSING, NOTE_FOUND };

struct entry {
    uint64_t note, serial;
};

static int notes;

static void note(enum note kind, uint64_t serial)
{
    const struct entry entry = {kind, serial};
    if (write(notes, &entry, sizeof entry) != (ssize_t)sizeof entry)
        _exit(3);
}

static bool fill(struct store *store)
{
    static unsigned char data[4300000];
    struct store_name name = test_name(0);
    struct store_bundle *bundle;
    if (store_next_serial(store, test_model, test_schedule, &name.serial) ||
        store_bundle_create(store, &name, &bundle))
        return false;
    enum status status = STATUS_OK;
    for (uint32_t item = 0; !status && item < ITEMS; item++) {
        /* Only the large item's ends tell serials apart, to leave the time to the store. */
        memset(data, 0, 16);
        test_pattern(data, sizes[item] < 4096 ? sizes[item] : 4096, name.serial, item);
        test_pattern(data + sizes[item] - 16, 16, name.serial, item);
        status = store_bundle_put(bundle, item, data, sizes[item]);
    }
    if (!status)
        status = store_bundle_ready(bundle, test_digest);
    store_bundle_close(&bundle);
    /* Burnt while filling, perhaps: that is no failure. */
    return !status || status == STATUS_STATE;
}

static bool sound(struct store_bundle *bundle)
{
    static unsigned char data[4300000];
    unsigned char want[4096];
    const uint64_t serial = store_bundle_name(bundle)->serial;
    for (uint32_t item = 0; item < ITEMS; item++) {
        const size_t head = sizes[item] < 4096 ? sizes[item] : 4096;
        if (store_bundle_get(bundle, item, data, sizes[item]))
            return false;
        test_pattern(want, 16, serial, item);
        if (memcmp(data + sizes[item] - 16, want, 16))
            return false;
        test_pattern(want, head, serial, item);
        if (memcmp(data, want, head - 16))
            return false;
    }
    return !memcmp(store_bundle_digest(bundle), test_digest, sizeof test_digest);
}

static bool take(struct store *store)
{
    uint64_t serial, mark, count;
    struct store_bundle *bundle;
    if (store_bundle_next(store, test_model, test_schedule, &serial, &mark, &count))
        return false;
    if (!count)
        return true;
    const enum status status = store_bundle_take(store, test_model, test_schedule, serial, &bundle);
    if (status)
        return false;
    note(NOTE_TAKEN, serial);
    if (!sound(bundle))
        note(NOTE_BAD, serial);
    store_bundle_close(&bundle);
    return true;
}

static void *fill_always(void *store)
{
    for (uint64_t serial, mark, count;;) {
        if (store_bundle_next(store, test_model, test_schedule, &serial, &mark, &count))
            _exit(4);
        if (count >= AHEAD)
            usleep(500);
        else if (!fill(store))
            _exit(5);
    }
    return NULL;
}

/* First some rounds that end cleanly, then two threads until the signal comes. */
static void victim(const char *path, unsigned clean)
{
    const struct store_options options = {.path = path, .party = "P1", .map_bytes = 256u << 20};
    for (unsigned round = 0;; round++) {
        struct store *store;
        uint64_t serial, mark, count;
        if (store_open(&store, &options) ||
            store_bundle_next(store, test_model, test_schedule, &serial, &mark, &count))
            _exit(6);
        note(NOTE_FOUND, count);
        if (round == clean) {
            pthread_t thread;
            if (pthread_create(&thread, NULL, fill_always, store))
                _exit(7);
            while (take(store))
                ;
            _exit(8);
        }
        if (!fill(store) || !fill(store) || !take(store))
            _exit(9);
        note(NOTE_CLOSING, 0); /* killed from here on, it may be clean already */
        store_close(&store);
    }
}

static off_t notes_bytes(void)
{
    struct stat stat;
    ck_assert(!fstat(notes, &stat));
    return stat.st_size;
}

static void pause_random(long most_ms)
{
    const struct timespec time = {0, random() % (most_ms * 1000000)};
    nanosleep(&time, NULL);
}

/* A moment within opening and recovery as likely as not, or one after so many notes and a little more. */
static void wait_random(off_t before)
{
    const off_t wanted = before + random() % 4 * (off_t)sizeof(struct entry);
    for (int i = 0; i < 5000 && notes_bytes() < wanted; i++)
        usleep(1000);
    pause_random(wanted == before ? 60 : 15);
}

static void check_notes(const char *path)
{
    struct entry entry;
    uint64_t last = 0, taken = 0, kept = 0;
    bool closing = false;
    ck_assert(!lseek(notes, 0, SEEK_SET));
    while (read(notes, &entry, sizeof entry) == (ssize_t)sizeof entry) {
        ck_assert_msg(entry.note != NOTE_BAD, "bundle %llu was ready and is not whole",
                      (unsigned long long)entry.serial);
        if (entry.note == NOTE_TAKEN) {
            ck_assert_msg(entry.serial > last, "serial %llu was taken again",
                          (unsigned long long)entry.serial);
            last = entry.serial;
            taken++;
        } else if (entry.note == NOTE_FOUND) {
            ck_assert_msg(closing || !entry.serial, "%llu ready bundles survived a crash",
                          (unsigned long long)entry.serial);
            kept += entry.serial;
        }
        closing = entry.note == NOTE_CLOSING;
    }
    /* The test has tested something. */
    ck_assert_uint_gt(taken, KILLS / 4);
    ck_assert_uint_gt(kept, 0);
    struct store *store = test_open_map(path, 256u << 20);
    ck_assert_uint_ge(test_mark(store), last);
    store_close(&store);
}

START_TEST(killed_at_random_it_takes_nothing_twice_and_no_half_bundle_is_ready)
{
    const char *path = test_path("s");
    notes = open(test_path("notes"), O_RDWR | O_CREAT | O_APPEND, 0600);
    ck_assert(notes >= 0);
    struct store *store = test_open_map(path, 256u << 20);
    store_close(&store);
    srandom(20240607);
    for (int i = 0; i < KILLS; i++) {
        const unsigned clean = random() % 8 ? 0 : 1;
        const off_t before = notes_bytes();
        const pid_t child = fork();
        ck_assert(child >= 0);
        if (!child)
            victim(path, clean);
        wait_random(before);
        kill(child, SIGKILL);
        int result;
        ck_assert(waitpid(child, &result, 0) == child);
        ck_assert_msg(WIFSIGNALED(result) && WTERMSIG(result) == SIGKILL, "the victim ended by itself: %d",
                      result);
    }
    check_notes(path);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store kill");
    TCase *test = tcase_create("kill");
    tcase_add_checked_fixture(test, test_folder_setup, test_folder_teardown);
    tcase_set_timeout(test, 300);
    tcase_add_test(test, killed_at_random_it_takes_nothing_twice_and_no_half_bundle_is_ready);
    suite_add_tcase(suite, test);
    return run_suite(suite);
}
