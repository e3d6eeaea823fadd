#include "parties/local.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sodium.h>

#include "parties/service.h"

#define OWNER 3
#define TIMEOUT_MS 120000 /* three parties on few processors */
#define BUNDLES_MAX 100000

static const char *const names[4] = {"P0", "P1", "P2", "owner"};
static const enum net_role roles[4] = {NET_ROLE_P0, NET_ROLE_P1, NET_ROLE_P2, NET_ROLE_OWNER};

/* What a waiting process is told. */
struct orders {
    int port[3];
    struct local_links links;
    uint64_t store_bytes;
};

/* ---- configurations ---- */

static enum status endpoint_of(const char **out, const struct orders *orders, int party)
{
    char *text = NULL;
    if (asprintf(&text, "tcp://127.0.0.1:%d", orders->port[party]) < 0)
        return status_fail(STATUS_MEMORY, "out of memory for an endpoint");
    *out = text;
    return STATUS_OK;
}

/* Of two parties the one with the higher number calls; the owner calls all. */
static enum status add_peers(struct config *c, const struct local *l, int member, const struct orders *orders)
{
    enum status status = STATUS_OK;
    for (int other = 0; status == STATUS_OK && other < 4; other++) {
        if (other == member)
            continue;
        struct net_peer *peer = &c->peer[c->peers++];
        strcpy(peer->name, names[other]);
        peer->role = roles[other];
        memcpy(peer->public_key, l->public_key[other], NET_KEY_TEXT);
        if (other < member)
            status = endpoint_of(&peer->endpoint, orders, other);
    }
    return status;
}

static enum status make_config(struct config *c, const struct local *l, int member,
                               const struct orders *orders)
{
    *c = (struct config){.role = roles[member],
                         .timeout_ms = TIMEOUT_MS,
                         .requests_max = LOCAL_REQUESTS_MAX,
                         .warm = 1,
                         .bundles_max = BUNDLES_MAX,
                         .threads = l->threads,
                         .fast_links = true,
                         .store_bytes = orders->store_bytes};
    strcpy(c->name, names[member]);
    memcpy(c->public_key, l->public_key[member], NET_KEY_TEXT);
    memcpy(c->secret_key, l->secret_key[member], NET_KEY_TEXT);
    enum status status = add_peers(c, l, member, orders);
    if (member == OWNER || status != STATUS_OK)
        return status;
    c->link_rate = orders->links.rate;
    c->link_delay_ms = orders->links.delay_ms;
    status = endpoint_of((const char **)&c->listen, orders, member);
    if (status == STATUS_OK && asprintf(&c->store, "%s/%s", l->folder, names[member]) < 0)
        status = status_fail(STATUS_MEMORY, "out of memory for a path");
    return status;
}

/* ---- a party's process ---- */

static struct service *running;

static void stop_running(int number)
{
    (void)number;
    service_stop(running);
}

static void log_to_file(const struct local *l, int party)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s.log", l->folder, names[party]);
    const int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file >= 0) {
        dup2(file, STDERR_FILENO);
        dup2(file, STDOUT_FILENO);
        close(file);
    }
}

static _Noreturn void serve(const struct local *l, int party, int begin)
{
    struct orders orders;
    struct config config;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN);
    log_to_file(l, party);
    if (read(begin, &orders, sizeof orders) != sizeof orders)
        _exit(0);
    enum status status = make_config(&config, l, party, &orders);
    if (status == STATUS_OK)
        status = service_open(&running, &config, NULL);
    if (status == STATUS_OK) {
        signal(SIGTERM, stop_running);
        status = service_run(running);
    }
    if (status != STATUS_OK)
        fprintf(stderr, "%s: %s\n", names[party], status_message());
    const bool clean = service_close(&running) == STATUS_OK;
    config_unload(&config);
    _exit(status == STATUS_OK && clean ? 0 : 1);
}

static enum status fork_party(struct local *l, struct local_set *set, int party)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return status_fail(STATUS_IO, "cannot make a pipe: %s", strerror(errno));
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        close(ends[1]);
        serve(l, party, ends[0]);
    }
    close(ends[0]);
    set->begin[party] = ends[1];
    set->process[party] = child;
    if (child < 0)
        return status_fail(STATUS_IO, "cannot start a process for %s: %s", names[party], strerror(errno));
    return STATUS_OK;
}

/* ---- the folder ---- */

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)type, (void)where;
    return remove(path);
}

static void remove_folder(const struct local *l)
{
    nftw(l->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Stores and keys must not stay where the caller is interrupted or killed: a process that waits until nobody else has the other end of its
 * pipe, as parties inherit it, takes them away. */
static enum status fork_cleaner(struct local *l)
{
    int ends[2];
    char byte;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return status_fail(STATUS_IO, "cannot make a pipe: %s", strerror(errno));
    fflush(NULL);
    l->cleaner = fork();
    if (l->cleaner == 0) {
        const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
        for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
            signal(ignored[i], SIG_IGN);
        close(ends[1]);
        while (read(ends[0], &byte, 1) < 0 && errno == EINTR)
            ;
        remove_folder(l);
        _exit(0);
    }
    close(ends[0]);
    l->alive = ends[1];
    if (l->cleaner > 0)
        return STATUS_OK;
    close(l->alive);
    return status_fail(STATUS_IO, "cannot start a process for %s: %s", l->folder, strerror(errno));
}

/* ---- from outside ---- */

enum status local_init(struct local *l, int sets, int threads)
{
    const char *base = getenv("TMPDIR");
    *l = (struct local){.threads = threads, .running = -1};
    snprintf(l->folder, sizeof l->folder, "%s/trefoil-bench-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(l->folder)) {
        const enum status status =
            status_fail(STATUS_IO, "cannot make the folder %s: %s (see TMPDIR)", l->folder, strerror(errno));
        l->folder[0] = '\0';
        return status;
    }
    enum status status = fork_cleaner(l);
    for (int i = 0; status == STATUS_OK && i < 4; i++)
        status = net_keygen(l->public_key[i], l->secret_key[i]);
    l->sets = sets < LOCAL_SETS_MAX ? sets : LOCAL_SETS_MAX;
    for (int i = 0; i < l->sets; i++)
        for (int party = 0; status == STATUS_OK && party < 3; party++)
            status = fork_party(l, &l->set[i], party);
    return status;
}

/* Three ports at once, so that they differ; freed again before the parties bind them. */
static enum status free_ports(int port[3])
{
    int sockets[3] = {-1, -1, -1};
    enum status status = STATUS_OK;
    for (int i = 0; i < 3; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof address;
        sockets[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (sockets[i] < 0 || bind(sockets[i], (struct sockaddr *)&address, size) != 0 ||
            getsockname(sockets[i], (struct sockaddr *)&address, &size) != 0)
            status = status_fail(STATUS_IO, "no free port on 127.0.0.1: %s", strerror(errno));
        port[i] = ntohs(address.sin_port);
    }
    for (int i = 0; i < 3; i++)
        if (sockets[i] >= 0)
            close(sockets[i]);
    return status;
}

/* Sends each process of a set a signal and waits for its end. */
static void end_set(struct local_set *set, int signal_number)
{
    for (int i = 0; i < 3; i++)
        if (set->process[i] > 0)
            kill(set->process[i], signal_number);
    for (int i = 0; i < 3; i++) {
        if (set->process[i] > 0) {
            waitpid(set->process[i], NULL, 0);
            close(set->begin[i]);
        }
        set->process[i] = 0;
    }
}

enum status local_start(struct local *l, int number, struct local_links links, uint64_t store_bytes,
                        struct client **client)
{
    struct orders orders = {.links = links, .store_bytes = store_bytes};
    struct config owner;
    *client = NULL;
    if (l->running >= 0)
        end_set(&l->set[l->running], SIGTERM);
    l->running = number;
    enum status status = free_ports(orders.port);
    for (int i = 0; status == STATUS_OK && i < 3; i++)
        if (write(l->set[number].begin[i], &orders, sizeof orders) != sizeof orders)
            status = status_fail(STATUS_IO, "%s has ended: see %s/%s.log", names[i], l->folder, names[i]);
    if (status != STATUS_OK)
        return status;
    status = make_config(&owner, l, OWNER, &orders);
    if (status == STATUS_OK)
        status = client_open(client, &owner, NULL);
    config_unload(&owner);
    return status;
}

void local_clear(struct local *l)
{
    for (int i = 0; i < l->sets; i++)
        end_set(&l->set[i], SIGKILL);
    if (l->cleaner > 0) {
        close(l->alive);
        waitpid(l->cleaner, NULL, 0);
    } else if (l->folder[0]) {
        remove_folder(l);
    }
    sodium_memzero(l, sizeof *l);
}
