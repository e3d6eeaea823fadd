/* Configuration and key files: what is read, and what is refused with file, line and setting. */
#include <config.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parties/command.h"
#include "parties/config.h"
#include "parties/key_file.h"
#include "tests/run.h"

static char folder[] = "/tmp/trefoil-config-XXXXXX";
static char path[300];
static char key[4][NET_KEY_TEXT];

static void in_folder(char out[300], const char *name)
{
    snprintf(out, 300, "%s/%s", folder, name);
}

static void set_up(void)
{
    static const char *const names[4] = {"own.key", "p1.key", "p2.key", "client.key"};
    char file[300];
    strcpy(folder, "/tmp/trefoil-config-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    in_folder(path, "party.conf");
    for (int i = 0; i < 4; i++) {
        in_folder(file, names[i]);
        ck_assert_int_eq(key_file_make(file, key[i]), STATUS_OK);
    }
}

static void tear_down(void)
{
    char command[400];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static const char party[] = "name = \"zero\";\n"
                            "role = \"P0\";\n"
                            "key_file = \"own.key\";\n"
                            "listen = \"tcp://127.0.0.1:7700\";\n"
                            "store = \"store\";\n";
static const char peers[] = "peers = (\n"
                            "  { name = \"one\"; role = \"P1\"; key_file = \"p1.key.pub\"; },\n"
                            "  { name = \"two\"; role = \"P2\"; key_file = \"p2.key.pub\"; },\n"
                            "  { name = \"me\"; role = \"client\"; key_file = \"client.key.pub\"; }\n"
                            ");\n";

static void copy_key(const char *to, const char *from)
{
    char command[700];
    snprintf(command, sizeof command, "cp %s/%s %s/%s", folder, from, folder, to);
    ck_assert_int_eq(system(command), 0);
}

static enum status load(struct config *config, const char *text, const char *more, const char *last)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "%s%s%s", text, more, last);
    fclose(file);
    return config_load(config, path);
}

/* Refused, and the message holds the path and the text. */
static void refused(const char *text, const char *more, const char *last, const char *expected)
{
    struct config config;
    ck_assert_int_eq(load(&config, text, more, last), STATUS_INPUT);
    ck_assert_msg(strstr(status_message(), folder) != NULL, "no file in: %s", status_message());
    ck_assert_msg(strstr(status_message(), expected) != NULL, "\"%s\" is not in: %s", expected, status_message());
}

START_TEST(a_party_is_read_with_its_peers_and_the_usual_values)
{
    struct config config;
    char store[300];
    in_folder(store, "store");
    ck_assert_int_eq(load(&config, party, "", peers), STATUS_OK);
    ck_assert_str_eq(config.name, "zero");
    ck_assert_int_eq(config.role, NET_ROLE_P0);
    ck_assert_str_eq(config.public_key, key[0]);
    ck_assert_str_eq(config.listen, "tcp://127.0.0.1:7700");
    ck_assert_str_eq(config.store, store);
    ck_assert_uint_eq(config.store_bytes, (uint64_t)64 << 30);
    ck_assert_int_eq(config.timeout_ms, 20000);
    ck_assert(config.fast_links);
    ck_assert_ptr_null(config.fast_listen);
    ck_assert_uint_eq(config.peers, 3);
    ck_assert_int_eq(config.peer[1].role, NET_ROLE_P2);
    ck_assert_str_eq(config.peer[1].public_key, key[2]);
    ck_assert_ptr_null(config.peer[2].endpoint);
    config_unload(&config);
    ck_assert_int_eq(config.secret_key[0], 0);
}
END_TEST

START_TEST(a_key_in_the_place_of_the_other_is_refused)
{
    char public_party[sizeof party + 8], secret_peers[sizeof peers];
    snprintf(public_party, sizeof public_party, "%s", party);
    strcpy(strstr(public_party, "own.key"), "own.key.pub\";\nlisten = \"tcp://127.0.0.1:7700\";\nstore = \"store\";\n");
    refused(public_party, "", peers, "public key by its name");
    snprintf(secret_peers, sizeof secret_peers, "%s", peers);
    memcpy(strstr(secret_peers, "p2.key.pub\";"), "p2.key\";    ", strlen("p2.key\";    "));
    refused(party, "", secret_peers, "p2.key: holds the secret key");
    copy_key("own.key.pub", "p1.key.pub");
    refused(party, "", peers, "own.key.pub holds another key");
}
END_TEST

START_TEST(a_byte_order_mark_and_the_configuration_of_a_party_are_told)
{
    struct config config;
    refused("\xef\xbb\xbf", party, peers, "byte order mark");
    ck_assert_int_eq(load(&config, party, "", peers), STATUS_OK);
    config_unload(&config);
    ck_assert_int_eq(config_load_caller(&config, path), STATUS_INPUT);
    ck_assert_ptr_nonnull(strstr(status_message(), "the configuration of the party P0"));
}
END_TEST

START_TEST(every_setting_is_read)
{
    struct config config;
    ck_assert_int_eq(load(&config, party,
                          "store_size = \"3 GiB\"; timeout_ms = 1234; threads = 3;\n"
                          "requests_max = 5; bundles_max = 6; buckets = [16, 128];\n"
                          "link_rate = 200000000; link_delay_ms = 0.5;\n"
                          "fast_links = false; fast_listen = \"tcp://*:7711\";\n",
                          peers),
                     STATUS_OK);
    ck_assert_uint_eq(config.store_bytes, (uint64_t)3 << 30);
    ck_assert_int_eq(config.timeout_ms, 1234);
    ck_assert_int_eq(config.threads, 3);
    ck_assert_int_eq(config.requests_max, 5);
    ck_assert_int_eq(config.bundles_max, 6);
    ck_assert_uint_eq(config.buckets, 2);
    ck_assert(!config.fast_links);
    ck_assert_str_eq(config.fast_listen, "tcp://*:7711");
    ck_assert_double_eq(config.link_rate, 2e8);
    ck_assert_double_eq(config.link_delay_ms, 0.5);
    ck_assert_uint_eq(config.bucket[1], 128);
    config_unload(&config);
}
END_TEST

START_TEST(a_misspelt_setting_is_refused_with_its_line)
{
    refused(party, "timeout = 5;\n", peers, "party.conf:6: timeout is no setting");
    refused(party, "model = \"x\";\n", peers, "model is no setting of a process with the role P0");
}
END_TEST

START_TEST(values_out_of_range_are_refused_with_their_line)
{
    refused(party, "timeout_ms = 5;\n", peers, ":6: timeout_ms must be a whole number from 100");
    refused(party, "link_delay_ms = -1;\n", peers, ":6: link_delay_ms must be a number from 0");
    refused(party, "fast_links = 1;\n", peers, ":6: fast_links must be true or false");
    refused(party, "fast_listen = \"ipc:///tmp/x\";\n", peers, ":6: fast_listen must look like tcp://");
    refused(party, "threads = \"two\";\n", peers, ":6: threads must be a whole number");
    refused(party, "threads = 0;\n", peers, "threads must be");
    refused(party, "store_size = \"lots\";\n", peers, ":6: store_size must be a size");
    refused(party, "store_size = \"17179869184 GiB\";\n", peers, "store_size must be a size");
    refused(party, "store_size = \"12 kiB\";\n", peers, "store_size must be at least");
    refused(party, "buckets = [32, 16];\n", peers, "buckets must rise: 16 stands after 32");
    refused(party, "buckets = [1];\n", peers, "buckets holds");
    refused(party, "buckets = 16;\n", peers, "buckets must be a list");
}
END_TEST

START_TEST(what_is_missing_is_named)
{
    refused("", "", "", "role is missing");
    refused("role = \"P0\"; name = \"zero\";\n", "", "", "key_file is missing");
    refused(party, "", "", "peers must be a list");
    refused("name = \"zero\";\nrole = \"P3\";\n", "", "", ":2: role must be one of: P0, P1, P2, owner");
    refused("name = \"z z\";\nrole = \"P0\";\n", "", "", ":1: name must be 1 to 31");
}
END_TEST

START_TEST(a_syntax_error_is_refused_with_its_line)
{
    refused(party, "threads == 3;\n", peers, "party.conf:6: syntax error");
}
END_TEST

START_TEST(a_missing_file_is_an_error)
{
    struct config config;
    in_folder(path, "nowhere.conf");
    ck_assert_int_ne(config_load(&config, path), STATUS_OK);
    ck_assert_ptr_nonnull(strstr(status_message(), "nowhere.conf"));
}
END_TEST

START_TEST(endpoints_must_look_like_endpoints)
{
    static const char start[] = "name = \"zero\"; role = \"P0\"; key_file = \"own.key\"; store = \"s\";\n";
    refused(start, "listen = \"127.0.0.1:7\";", peers, ":2: listen must look like tcp://ADDRESS:PORT");
    refused(start, "listen = \"tcp://127.0.0.1\";", peers, "listen must look like tcp://ADDRESS:PORT");
    refused(start, "listen = \"tcp://127.0.0.1:70000\";", peers, "listen must end with a port");
    refused(start, "listen = \"inproc://x\";", peers, "listen must look like");
    refused(start, "listen = \"tcp://::1:7700\";", peers, "listen must hold an IPv6 address in brackets");
    refused(start, "listen = \"tcp://:::*\";", peers, "listen must hold an IPv6 address in brackets");
    refused(start, "listen = \"tcp://[::1]\";", peers, "listen must end with a port");
    static const char *const good[] = {"tcp://[::]:7700", "tcp://[::1]:*", "tcp://*:7700", "tcp://*:*", "ipc:///tmp/a:b"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct config config;
        char listen[80];
        snprintf(listen, sizeof listen, "listen = \"%s\";", good[i]);
        ck_assert_msg(load(&config, start, listen, peers) == STATUS_OK, "%s", status_message());
        config_unload(&config);
    }
}
END_TEST

START_TEST(peers_are_checked_one_by_one)
{
    static const char one[] = "peers = ( { name = \"one\"; role = \"P1\"; key_file = \"p1.key.pub\"; },\n";
    refused(party, "", "peers = ( { name = \"one\"; role = \"P1\"; key_file = \"p1.key.pub\"; } );\n",
            "peers lacks P2");
    refused(party, one, "{ name = \"one\"; role = \"P2\"; key_file = \"p2.key.pub\"; } );", ":7: name is that of");
    refused(party, one, "{ name = \"b\"; role = \"P2\"; key_file = \"p1.key.pub\"; } );", "the same key as one");
    refused(party, one, "{ name = \"b\"; role = \"P1\"; key_file = \"p2.key.pub\"; } );", "there is one only");
    refused(party, one, "{ name = \"b\"; role = \"P0\"; key_file = \"p2.key.pub\"; } );", "this process itself");
    refused(party, one, "{ name = \"b\"; role = \"P2\"; key_file = \"own.key.pub\"; } );", "needs its own");
    refused(party, one, "{ name = \"b\"; role = \"P2\"; key = \"short\"; } );", ":7: key: a public key is 40");
    refused(party, one, "{ name = \"b\"; role = \"P2\"; } );", "key_file or key is missing");
    refused(party, one, "{ name = \"b\"; role = \"P2\"; key_file = \"p2.key.pub\"; adress = \"x\"; } );",
            "adress is no setting of a peer");
    refused(party, one, "{ name = \"b\"; role = \"P2\"; key_file = \"none.pub\"; } );", "none.pub");
}
END_TEST

START_TEST(a_party_must_know_where_those_are_that_it_calls)
{
    static const char two[] = "name = \"two\"; role = \"P2\"; key_file = \"p2.key\"; store = \"s\";\n"
                              "listen = \"tcp://*:7702\";\n";
    static const char one[] = "name = \"one\"; role = \"P1\"; key_file = \"p1.key\"; store = \"s\";\n"
                              "listen = \"tcp://*:7701\";\n";
#define ZERO "peers = ( { name = \"zero\"; role = \"P0\"; key_file = \"own.key.pub\";"
#define CALLED " endpoint = \"tcp://zero:7700\"; },\n"
    refused(one, ZERO " },\n", "{ name = \"two\"; role = \"P2\"; key_file = \"p2.key.pub\"; } );",
            ":3: endpoint is missing: P1 calls P0");
    refused(two, ZERO CALLED, "{ name = \"one\"; role = \"P1\"; key_file = \"p1.key.pub\"; } );",
            ":4: endpoint is missing: P2 calls P1");
    struct config config;
    ck_assert_int_eq(load(&config, one, ZERO CALLED, "{ name = \"two\"; role = \"P2\"; key_file = \"p2.key.pub\"; } );"),
                     STATUS_OK);
    ck_assert_str_eq(config.peer[0].endpoint, "tcp://zero:7700");
    ck_assert_ptr_null(config.peer[1].endpoint);
    config_unload(&config);
}
END_TEST

START_TEST(a_client_must_know_where_the_parties_are)
{
    static const char client[] = "name = \"me\"; role = \"client\"; key_file = \"client.key\"; model = \"m\";\n";
    refused(client, "", "peers = ( { name = \"one\"; role = \"P1\"; key_file = \"p1.key.pub\"; } );",
            "endpoint is missing");
    refused(client, "store = \"s\";", peers, "store is no setting of a process with the role client");
    struct config config;
    ck_assert_int_eq(load(&config, client, "tune = \"lan\";\n", "peers = (\n"
                          "{ name = \"0\"; role = \"P0\"; key_file = \"own.key.pub\"; endpoint = \"tcp://[::1]:1\"; },\n"
                          "{ name = \"1\"; role = \"P1\"; key_file = \"p1.key.pub\"; endpoint = \"tcp://b:2\"; },\n"
                          "{ name = \"2\"; role = \"P2\"; key_file = \"p2.key.pub\"; endpoint = \"tcp://c:3\"; } );"),
                     STATUS_OK);
    ck_assert(config.tune_lan);
    ck_assert_str_eq(config.peer[2].endpoint, "tcp://c:3");
    config_unload(&config);
}
END_TEST

START_TEST(a_secret_key_that_others_can_read_is_refused)
{
    struct config config;
    char file[300];
    in_folder(file, "own.key");
    ck_assert_int_eq(chmod(file, 0640), 0);
    ck_assert_int_eq(load(&config, party, "", peers), STATUS_REFUSED);
    ck_assert_ptr_nonnull(strstr(status_message(), "chmod 600"));
    ck_assert_ptr_nonnull(strstr(status_message(), "party.conf:3: key_file"));
}
END_TEST

START_TEST(keys_are_private_and_never_written_over)
{
    char file[300], public_key[NET_KEY_TEXT], again[NET_KEY_TEXT];
    struct stat about;
    in_folder(file, "new.key");
    ck_assert_int_eq(key_file_make(file, public_key), STATUS_OK);
    ck_assert_int_eq(stat(file, &about), 0);
    ck_assert_int_eq(about.st_mode & 0777, 0600);
    ck_assert_int_eq(key_file_make(file, again), STATUS_INPUT);
    ck_assert_int_eq(key_file_read(file, again, NULL), STATUS_OK);
    ck_assert_str_eq(again, public_key);
    in_folder(file, "new.key.pub");
    ck_assert_int_eq(key_file_read_public(file, again), STATUS_OK);
    ck_assert_str_eq(again, public_key);
}
END_TEST

START_TEST(a_torn_key_file_is_refused)
{
    char file[300], public_key[NET_KEY_TEXT];
    static const char *const texts[] = {"", "short\n", "0123456789012345678901234567890123456789x\n"};
    in_folder(file, "torn.key");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        FILE *out = fopen(file, "w");
        fputs(texts[i], out);
        fclose(out);
        ck_assert_int_eq(chmod(file, 0600), 0);
        ck_assert_int_eq(key_file_read(file, public_key, NULL), STATUS_INPUT);
        ck_assert_ptr_nonnull(strstr(status_message(), "torn.key"));
    }
}
END_TEST

START_TEST(a_public_key_without_its_place_leaves_no_secret_behind)
{
    char file[300], beside[300], public_key[NET_KEY_TEXT];
    in_folder(file, "half.key");
    in_folder(beside, "half.key.pub");
    ck_assert_int_eq(mkdir(beside, 0700), 0);
    ck_assert_int_ne(key_file_make(file, public_key), STATUS_OK);
    ck_assert_int_ne(access(file, F_OK), 0);
}
END_TEST

/* In the test's own process, which Check forks. */
START_TEST(no_core_file_is_left_whoever_it_is_piped_to)
{
    struct rlimit limit;
    command_forbid_core_files();
    ck_assert_int_eq(getrlimit(RLIMIT_CORE, &limit), 0);
    ck_assert_uint_eq(limit.rlim_max, 0);
#ifndef TREFOIL_SANITIZER
    ck_assert_int_eq(prctl(PR_GET_DUMPABLE), 0);
#endif
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("parties/config");
    TCase *tests = tcase_create("config");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_party_is_read_with_its_peers_and_the_usual_values);
    tcase_add_test(tests, a_key_in_the_place_of_the_other_is_refused);
    tcase_add_test(tests, a_byte_order_mark_and_the_configuration_of_a_party_are_told);
    tcase_add_test(tests, every_setting_is_read);
    tcase_add_test(tests, a_misspelt_setting_is_refused_with_its_line);
    tcase_add_test(tests, values_out_of_range_are_refused_with_their_line);
    tcase_add_test(tests, what_is_missing_is_named);
    tcase_add_test(tests, a_syntax_error_is_refused_with_its_line);
    tcase_add_test(tests, a_missing_file_is_an_error);
    tcase_add_test(tests, endpoints_must_look_like_endpoints);
    tcase_add_test(tests, peers_are_checked_one_by_one);
    tcase_add_test(tests, a_party_must_know_where_those_are_that_it_calls);
    tcase_add_test(tests, a_client_must_know_where_the_parties_are);
    tcase_add_test(tests, a_secret_key_that_others_can_read_is_refused);
    tcase_add_test(tests, keys_are_private_and_never_written_over);
    tcase_add_test(tests, no_core_file_is_left_whoever_it_is_piped_to);
    tcase_add_test(tests, a_torn_key_file_is_refused);
    tcase_add_test(tests, a_public_key_without_its_place_leaves_no_secret_behind);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
