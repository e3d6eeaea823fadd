/* Latency of small rounds and throughput of large ones between two processes on this machine, over tcp with
 * CURVE, and on a fast link.
 *
 *     bench_net [SMALL_ROUNDS [LARGE_ROUNDS [LARGE_BYTES]]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/net.h"
#include "ring/clock.h"

struct side {
    char public_key[NET_KEY_TEXT], secret_key[NET_KEY_TEXT];
};

static const struct net_session_id session_id[2] = {{.bytes = {1, 2, 3}}, {.bytes = {4, 5, 6}}};

static void check(enum status status)
{
    if (status == STATUS_OK)
        return;
    fprintf(stderr, "bench_net: %s\n", status_message());
    exit(1);
}

static double cpu(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           1e-6 * (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static struct net_hub *open_hub(const struct side sides[2], int me, const char *listen, const char *call)
{
    struct net_peer peer = {.role = me == 0 ? NET_ROLE_P2 : NET_ROLE_P1, .endpoint = call};
    struct net_options options = {.role = me == 0 ? NET_ROLE_P1 : NET_ROLE_P2,
                                  .name = me == 0 ? "P1" : "P2",
                                  .bind = listen,
                                  .fast_links = true,
                                  .peers = &peer,
                                  .peer_count = 1};
    struct net_hub *hub;
    strcpy(peer.name, me == 0 ? "P2" : "P1");
    memcpy(peer.public_key, sides[!me].public_key, NET_KEY_TEXT);
    memcpy(options.public_key, sides[me].public_key, NET_KEY_TEXT);
    memcpy(options.secret_key, sides[me].secret_key, NET_KEY_TEXT);
    check(net_hub_open(&hub, NULL, &options));
    return hub;
}

static double run(struct net_session *session, uint32_t *number, int rounds, size_t bytes)
{
    unsigned char *out = malloc(bytes), *in = malloc(bytes);
    if (out == NULL || in == NULL)
        exit(1);
    memset(out, 1, bytes);
    double start = clock_seconds();
    for (int i = 0; i < rounds; i++) {
        struct net_round round;
        net_round_init(&round, session, 0, (*number)++);
        check(net_round_queue(&round, out, in, bytes));
        check(net_round_run(&round));
        net_round_clear(&round);
    }
    double time = clock_seconds() - start;
    free(out);
    free(in);
    return time;
}

static void measure(struct net_hub *hub, const int rounds[2], size_t large, bool fast, bool print)
{
    struct net_session *session;
    const char *why = "";
    uint32_t number = 0;
    check(net_session_open(&session, hub, &session_id[fast]));
    double began = clock_seconds();
    if (fast)
        check(net_session_fast(session, 0, &why));
    if (print && fast)
        printf("fast link%s%s: made in %.1f ms\n", *why ? ", over CURVE because the peer " : "", why,
               1e3 * (clock_seconds() - began));
    if (print && !fast)
        printf("CURVE\n");
    run(session, &number, 100, 8);
    double time = run(session, &number, rounds[0], 8);
    if (print)
        printf("  8-byte rounds: %.1f us each\n", 1e6 * time / rounds[0]);
    run(session, &number, 2, large);
    double spent = cpu();
    time = run(session, &number, rounds[1], large);
    spent = cpu() - spent;
    double giga = 1e-9 * (double)large * rounds[1];
    if (print)
        printf("  %zu-byte rounds: %.2f ms each, %.2f GB/s each way, %.2f CPU-s a GB each way\n", large,
               1e3 * time / rounds[1], giga / time, spent / giga);
    net_session_close(&session);
}

int main(int argc, char **argv)
{
    int rounds[2] = {argc > 1 ? atoi(argv[1]) : 2000, argc > 2 ? atoi(argv[2]) : 20};
    size_t large = argc > 3 ? strtoul(argv[3], NULL, 10) : (size_t)8 << 20;
    struct side sides[2];
    int pipe_ends[2];
    char endpoint[256] = "";
    for (int i = 0; i < 2; i++)
        check(net_keygen(sides[i].public_key, sides[i].secret_key));
    if (pipe(pipe_ends) != 0)
        return 1;
    pid_t child = fork();
    if (child == 0) {
        struct net_hub *hub = open_hub(sides, 0, "tcp://127.0.0.1:*", NULL);
        strcpy(endpoint, net_hub_endpoint(hub));
        if (write(pipe_ends[1], endpoint, sizeof endpoint) != sizeof endpoint)
            return 1;
        for (int fast = 0; fast < 2; fast++)
            measure(hub, rounds, large, fast, false);
        net_hub_close(&hub);
        return 0;
    }
    if (read(pipe_ends[0], endpoint, sizeof endpoint) != sizeof endpoint)
        return 1;
    struct net_hub *hub = open_hub(sides, 1, NULL, endpoint);
    for (int fast = 0; fast < 2; fast++)
        measure(hub, rounds, large, fast, true);
    net_hub_close(&hub);
    int status;
    waitpid(child, &status, 0);
    return status != 0;
}
