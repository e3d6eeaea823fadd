/* Sealing of records, and the keys of a fast link. */
#include <check.h>

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "net/road.h"
#include "tests/run.h"

static const enum aead_cipher ciphers[2] = {AEAD_CHACHA, AEAD_AES};
static unsigned char key[NET_SEAL_KEY] = {1, 2, 3};

struct record {
    unsigned char data[100], tag[NET_SEAL_TAG];
};

static void seal(struct net_seal *s, struct record *out, const char *bound, const unsigned char *data,
                 size_t bytes)
{
    ck_assert(net_seal_begin(s, bound, strlen(bound)));
    ck_assert(net_seal_add(s, out->data, data, bytes / 3));
    ck_assert(net_seal_add(s, out->data + bytes / 3, data + bytes / 3, bytes - bytes / 3));
    ck_assert(net_seal_end(s, out->tag));
}

static bool open_record(struct net_seal *s, const char *bound, const struct record *record,
                        unsigned char *out, size_t bytes)
{
    memcpy(out, record->data, bytes);
    return net_seal_open(s, bound, strlen(bound), out, bytes, record->tag);
}

/* As a connection never does. */
static void start_again(struct net_seal *s)
{
    s->number = 0;
    s->stopped = false;
}

START_TEST(records_open_in_order_to_what_was_sealed)
{
    struct net_seal out, in;
    struct record record;
    unsigned char data[100], opened[100];
    ck_assert_int_eq(net_seal_init(&out, ciphers[_i], key, true), STATUS_OK);
    ck_assert_int_eq(net_seal_init(&in, ciphers[_i], key, false), STATUS_OK);
    for (size_t bytes = 0; bytes <= sizeof data; bytes++) {
        randombytes_buf(data, sizeof data);
        seal(&out, &record, "bound", data, bytes);
        ck_assert(open_record(&in, "bound", &record, opened, bytes));
        ck_assert_mem_eq(opened, data, bytes);
    }
    net_seal_clear(&out);
    net_seal_clear(&in);
}
END_TEST

START_TEST(equal_records_look_different)
{
    struct net_seal out;
    struct record first, second;
    unsigned char data[100] = {0};
    ck_assert_int_eq(net_seal_init(&out, ciphers[_i], key, true), STATUS_OK);
    seal(&out, &first, "bound", data, sizeof data);
    seal(&out, &second, "bound", data, sizeof data);
    ck_assert_mem_ne(first.data, second.data, sizeof data);
    ck_assert_mem_ne(first.tag, second.tag, NET_SEAL_TAG);
    net_seal_clear(&out);
}
END_TEST

START_TEST(a_record_that_was_changed_repeated_or_bound_to_something_else_does_not_open)
{
    struct net_seal out, in;
    struct record record, changed;
    unsigned char data[100] = {5}, opened[100];
    ck_assert_int_eq(net_seal_init(&out, ciphers[_i], key, true), STATUS_OK);
    ck_assert_int_eq(net_seal_init(&in, ciphers[_i], key, false), STATUS_OK);
    seal(&out, &record, "bound", data, sizeof data);
    for (size_t bit = 0; bit < 8 * sizeof record; bit++) {
        changed = record;
        ((unsigned char *)&changed)[bit / 8] ^= (unsigned char)(1u << bit % 8);
        start_again(&in);
        ck_assert(!open_record(&in, "bound", &changed, opened, sizeof data));
    }
    start_again(&in);
    ck_assert(!open_record(&in, "other", &record, opened, sizeof data));
    start_again(&in);
    ck_assert(!open_record(&in, "bound", &record, opened, sizeof data - 1));
    start_again(&in);
    ck_assert(open_record(&in, "bound", &record, opened, sizeof data));
    ck_assert(!open_record(&in, "bound", &record, opened, sizeof data)); /* again */
    net_seal_clear(&out);
    net_seal_clear(&in);
}
END_TEST

START_TEST(after_a_record_that_did_not_open_none_does)
{
    struct net_seal out, in;
    struct record first, second;
    unsigned char zeros[100] = {0}, data[100] = {7}, opened[100];
    ck_assert_int_eq(net_seal_init(&out, ciphers[_i], key, true), STATUS_OK);
    ck_assert_int_eq(net_seal_init(&in, ciphers[_i], key, false), STATUS_OK);
    seal(&out, &first, "bound", zeros, sizeof zeros);
    seal(&out, &second, "bound", data, sizeof data);
    /* Where the first one should be, the second one, such that the attempt to open it turns it into what would open next. */
    for (size_t i = 0; i < sizeof opened; i++)
        opened[i] = second.data[i] ^ first.data[i] ^ zeros[i];
    ck_assert(!net_seal_open(&in, "bound", 5, opened, sizeof opened, second.tag));
    ck_assert(!net_seal_open(&in, "bound", 5, opened, sizeof opened, second.tag));
    ck_assert(!open_record(&in, "bound", &second, opened, sizeof opened));
    start_again(&in);
    ck_assert(open_record(&in, "bound", &first, opened, sizeof opened));
    ck_assert(open_record(&in, "bound", &second, opened, sizeof opened));
    net_seal_stop(&out);
    ck_assert(!net_seal_begin(&out, "bound", 5));
    net_seal_clear(&out);
    net_seal_clear(&in);
}
END_TEST

START_TEST(a_key_that_has_sealed_all_it_may_seals_and_opens_no_more)
{
    struct net_seal out, in;
    struct record record;
    unsigned char data[1] = {5}, opened[1];
    ck_assert_int_eq(net_seal_init(&out, ciphers[_i], key, true), STATUS_OK);
    ck_assert_int_eq(net_seal_init(&in, ciphers[_i], key, false), STATUS_OK);
    out.number = in.number = NET_SEAL_RECORDS - 1;
    seal(&out, &record, "bound", data, 1);
    ck_assert(open_record(&in, "bound", &record, opened, 1));
    ck_assert(!net_seal_begin(&out, "bound", 5));
    ck_assert(!net_seal_begin(&out, "bound", 5));
    ck_assert(!open_record(&in, "bound", &record, opened, 1));
    net_seal_clear(&out);
    net_seal_clear(&in);
}
END_TEST

/* ---- keys ---- */

struct end {
    struct net_hub *hub;
    struct net_session session;
    struct net_road_secret secret;
};

static void end_init(struct end *e, enum net_role role)
{
    e->hub = calloc(1, sizeof *e->hub);
    e->hub->role = role;
    e->hub->epoch = 100 + (uint64_t)role;
    memset(e->hub->public_key, 'a' + (int)role, NET_KEY_TEXT - 1);
    memset(e->hub->peers[0].public_key, 'a' + NET_ROLE_P1 + NET_ROLE_P2 - (int)role, NET_KEY_TEXT - 1);
    strcpy(e->hub->peers[0].name, "peer");
    e->session = (struct net_session){.hub = e->hub, .id = {.bytes = {9}}};
    net_road_secret_make(&e->secret);
}

static struct net_road_keys derive(const struct end *own, const struct end *other)
{
    struct net_road_keys keys;
    ck_assert_int_eq(net_road_derive(&keys, &own->session, 0, other->hub->epoch, &own->secret,
                                     other->secret.public_key, AEAD_AES),
                     STATUS_OK);
    return keys;
}

static bool agree(const struct end *a, const struct end *b)
{
    const struct net_road_keys x = derive(a, b), y = derive(b, a);
    ck_assert_mem_ne(x.p1, x.p2, NET_SEAL_KEY);
    ck_assert_mem_ne(x.p1, x.ticket, NET_TICKET);
    const bool all = memcmp(&x, &y, sizeof x) == 0;
    const bool any = memcmp(x.p1, y.p1, NET_SEAL_KEY) == 0 || memcmp(x.p2, y.p2, NET_SEAL_KEY) == 0 ||
                     memcmp(x.ticket, y.ticket, NET_TICKET) == 0;
    ck_assert(all == any);
    return all;
}

START_TEST(both_ends_derive_the_same_keys_and_other_ends_other_keys)
{
    struct end p1, p2;
    end_init(&p1, NET_ROLE_P1);
    end_init(&p2, NET_ROLE_P2);
    ck_assert(agree(&p1, &p2));
    p2.session.id.bytes[0]++;
    ck_assert(!agree(&p1, &p2));
    p2.session.id.bytes[0]--;
    p1.hub->peers[0].public_key[3]++;
    ck_assert(!agree(&p1, &p2));
    p1.hub->peers[0].public_key[3]--;
    p2.hub->public_key[0]++;
    ck_assert(!agree(&p1, &p2));
    p2.hub->public_key[0]--;
    ck_assert(agree(&p1, &p2));
    const struct net_road_keys before = derive(&p1, &p2);
    p2.hub->epoch++; /* known to both */
    struct net_road_keys after = derive(&p1, &p2);
    ck_assert_mem_ne(before.p1, after.p1, NET_SEAL_KEY);
    net_road_secret_make(&p2.secret);
    ck_assert(agree(&p1, &p2));
    after = derive(&p1, &p2);
    ck_assert_mem_ne(before.p2, after.p2, NET_SEAL_KEY);
    const unsigned char none[NET_ROAD_PUBLIC] = {0};
    ck_assert_int_eq(net_road_derive(&after, &p1.session, 0, 1, &p1.secret, none, AEAD_AES), STATUS_PEER);
    free(p1.hub);
    free(p2.hub);
}
END_TEST

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    Suite *suite = suite_create("seal");
    TCase *tests = tcase_create("seal");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, records_open_in_order_to_what_was_sealed, 0, 2);
    tcase_add_loop_test(tests, equal_records_look_different, 0, 2);
    tcase_add_loop_test(tests, a_record_that_was_changed_repeated_or_bound_to_something_else_does_not_open, 0,
                        2);
    tcase_add_loop_test(tests, after_a_record_that_did_not_open_none_does, 0, 2);
    tcase_add_loop_test(tests, a_key_that_has_sealed_all_it_may_seals_and_opens_no_more, 0, 2);
    tcase_add_test(tests, both_ends_derive_the_same_keys_and_other_ends_other_keys);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
