#include "tests/parties/parties.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sodium.h>

#include "layers/embedding.h"
#include "layers/pooler.h"
#include "model/random_model.h"

static const char *const names[PARTIES_MEMBERS] = {"P0", "P1", "P2", "owner"};
static const enum net_role roles[PARTIES_MEMBERS] = {NET_ROLE_P0, NET_ROLE_P1, NET_ROLE_P2, NET_ROLE_OWNER};

/* Three ports at once, so that they differ; freed again before the parties bind them. */
static void free_ports(int port[3])
{
    int sockets[3];
    for (int i = 0; i < 3; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof address;
        sockets[i] = socket(AF_INET, SOCK_STREAM, 0);
        ck_assert(sockets[i] >= 0 && bind(sockets[i], (struct sockaddr *)&address, size) == 0);
        ck_assert(getsockname(sockets[i], (struct sockaddr *)&address, &size) == 0);
        port[i] = ntohs(address.sin_port);
    }
    for (int i = 0; i < 3; i++)
        close(sockets[i]);
}

/* Of two parties the one with the higher number calls; clients call all. */
static bool calls(int from, int to)
{
    return from == PARTY_OWNER || (to < 3 && to < from);
}

static void fill_config(struct parties *p, int member)
{
    struct config *c = &p->config[member];
    snprintf(c->name, sizeof c->name, "%s", names[member]);
    c->role = roles[member];
    memcpy(c->public_key, p->public_key[member], NET_KEY_TEXT);
    memcpy(c->secret_key, p->secret_key[member], NET_KEY_TEXT);
    c->timeout_ms = p->timeout_ms;
    c->requests_max = 16;
    c->warm = 1;
    c->bundles_max = 1000;
    c->threads = 1;
    c->fast_links = true;
    if (member < 3) {
        c->listen = p->endpoint[member];
        ck_assert_int_gt(asprintf(&c->store, "%s/%s", p->folder, names[member]), 0);
        c->store_bytes = 1u << 28;
    }
    for (int other = 0; other < PARTIES_MEMBERS; other++) {
        if (other == member || (member == PARTY_OWNER && other > 2))
            continue;
        struct net_peer *peer = &c->peer[c->peers++];
        snprintf(peer->name, sizeof peer->name, "%s", names[other]);
        peer->role = roles[other];
        memcpy(peer->public_key, p->public_key[other], NET_KEY_TEXT);
        peer->endpoint = calls(member, other) ? p->endpoint[other] : NULL;
    }
}

void parties_init(struct parties *p, int timeout_ms, bool inproc)
{
    const char *base = getenv("TMPDIR");
    int port[3];
    memset(p, 0, sizeof *p);
    p->timeout_ms = timeout_ms;
    snprintf(p->folder, sizeof p->folder, "%s/trefoil-parties-XXXXXX", base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(p->folder));
    free_ports(port);
    for (int i = 0; i < PARTIES_MEMBERS; i++)
        ck_ok(net_keygen(p->public_key[i], p->secret_key[i]));
    for (int i = 0; i < 3; i++)
        snprintf(p->endpoint[i], sizeof p->endpoint[i], "%s%d", inproc ? "inproc://party-" : "tcp://127.0.0.1:", port[i]);
    for (int i = 0; i < PARTIES_MEMBERS; i++)
        fill_config(p, i);
}

/* ---- processes: the real program, so that nothing of this one's threads or locks is in them ---- */

static FILE *create(const char *path)
{
    const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(file, 0);
    return fdopen(file, "w");
}

/* FOLDER/P<number>.conf and .key, as the config in memory has it. */
static void write_config(const struct parties *p, int number)
{
    const struct config *c = &p->config[number];
    char path[300];
    snprintf(path, sizeof path, "%s/%s.key", p->folder, names[number]);
    FILE *file = create(path);
    fprintf(file, "%s\n", c->secret_key);
    ck_assert_int_eq(fclose(file), 0);
    snprintf(path, sizeof path, "%s/%s.conf", p->folder, names[number]);
    file = create(path);
    fprintf(file,
            "name = \"%s\"; role = \"%s\"; key_file = \"%s.key\"; listen = \"%s\"; store = \"%s\";\n"
            "store_size = \"%llu\"; timeout_ms = %d; threads = %d; requests_max = %d; bundles_max = %d;\npeers = (\n",
            c->name, names[number], names[number], c->listen, c->store, (unsigned long long)c->store_bytes, c->timeout_ms,
            c->threads, c->requests_max, c->bundles_max);
    for (uint32_t i = 0; i < c->peers; i++) {
        const struct net_peer *peer = &c->peer[i];
        fprintf(file, "%s{ name = \"%s\"; role = \"%s\"; key = \"%s\";", i ? ",\n" : "", peer->name,
                peer->role == NET_ROLE_OWNER ? "owner" : names[peer->role], peer->public_key);
        if (peer->endpoint)
            fprintf(file, " endpoint = \"%s\";", peer->endpoint);
        fprintf(file, " }");
    }
    fprintf(file, " );\n");
    ck_assert_int_eq(fclose(file), 0);
}

/* Where standard output or error goes: to the end of a file, or nowhere. */
static int direct(posix_spawn_file_actions_t *actions, int number, const char *path)
{
    return path ? posix_spawn_file_actions_addopen(actions, number, path, O_WRONLY | O_CREAT | O_APPEND, 0600)
                : posix_spawn_file_actions_addclose(actions, number);
}

void parties_start(struct parties *p, int number)
{
    char log[300];
    snprintf(log, sizeof log, "%s/%s.log", p->folder, names[number]);
    parties_start_to(p, number, log, log);
}

void parties_start_to(struct parties *p, int number, const char *out, const char *err)
{
    char config[300];
    const char *program = getenv("TREFOIL_PROGRAM");
    ck_assert_msg(program && access(program, X_OK) == 0, "TREFOIL_PROGRAM does not name the trefoil program");
    snprintf(config, sizeof config, "%s/%s.conf", p->folder, names[number]);
    write_config(p, number);
    /* Not fork: what a child of threads may do before it is another program is very little, and less under a sanitizer. */
    const char *const arguments[] = {"setpriv", "--pdeathsig", "KILL", program, "party", "--config", config, NULL};
    posix_spawn_file_actions_t actions;
    pid_t child = 0;
    ck_assert_int_eq(posix_spawn_file_actions_init(&actions), 0);
    ck_assert_int_eq(direct(&actions, STDOUT_FILENO, out), 0);
    ck_assert_int_eq(direct(&actions, STDERR_FILENO, err), 0);
    ck_assert_int_eq(posix_spawnp(&child, arguments[0], &actions, NULL, (char *const *)arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    p->process[number] = child;
}

void parties_kill(struct parties *p, int number)
{
    if (p->process[number] > 0) {
        kill(p->process[number], SIGKILL);
        waitpid(p->process[number], NULL, 0);
    }
    p->process[number] = 0;
}

int parties_stop(struct parties *p, int number)
{
    return parties_stop_by(p, number, SIGTERM);
}

/* The process has ended. 128 and more: by a signal. */
static int exit_status(struct parties *p, int number, int result)
{
    p->process[number] = 0;
    return WIFEXITED(result) ? WEXITSTATUS(result) : 128 + WTERMSIG(result);
}

int parties_stop_by(struct parties *p, int number, int signal_number)
{
    int result = -1;
    if (p->process[number] > 0) {
        kill(p->process[number], signal_number);
        waitpid(p->process[number], &result, 0);
    }
    return exit_status(p, number, result);
}

int parties_stop_by_many(struct parties *p, int number)
{
    int result = -1;
    while (p->process[number] > 0 && waitpid(p->process[number], &result, WNOHANG) == 0)
        kill(p->process[number], SIGTERM);
    return exit_status(p, number, result);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)type, (void)where;
    return remove(path);
}

void parties_clear(struct parties *p)
{
    for (int i = 0; i < 3; i++) {
        parties_kill(p, i);
        free(p->config[i].store);
    }
    nftw(p->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    sodium_memzero(p, sizeof *p);
}

/* ---- a model and questions to it ---- */

void parties_tiny_model(struct model *model, uint32_t layers, uint64_t seed)
{
    struct model_config c = {.hidden = 16,
                             .layers = layers,
                             .heads = 2,
                             .ffn = 32,
                             .vocabulary = 200,
                             .positions = 32,
                             .types = 2,
                             .labels = 2,
                             .layer_norm_eps = 1e-12f,
                             .softmax_c = 5.0f,
                             .activation = MODEL_QUAD,
                             .attention = MODEL_2QUAD,
                             .lower_case = true};
    strcpy(c.label[0], "no");
    strcpy(c.label[1], "yes");
    ck_ok(random_model_make(model, &c, seed));
}

#define SAMPLES 48 /* texts are random in most tests, and none should be far from all of these */

void parties_calibrate(const struct model *model, const struct folded *folded, uint32_t bucket, struct description *out)
{
    struct question q[SAMPLES];
    struct sample samples[SAMPLES];
    for (uint32_t i = 0; i < SAMPLES; i++) {
        question_make(&q[i], model, bucket - i % (bucket - 1), bucket);
        samples[i] = (struct sample){q[i].id, NULL, q[i].length};
    }
    ck_ok(model_calibrate(model, folded, samples, SAMPLES, NULL, NULL, out));
    for (int i = 0; i < SAMPLES; i++)
        question_clear(&q[i]);
}

void question_make(struct question *q, const struct model *model, uint32_t length, uint32_t bucket)
{
    memset(q, 0, sizeof *q);
    q->length = length;
    q->bucket = bucket;
    for (uint32_t i = 0; i < length; i++)
        q->id[i] = randombytes_uniform(model->config.vocabulary);
    q->embeddings = malloc((size_t)bucket * model->config.hidden * sizeof *q->embeddings);
    ck_assert_ptr_nonnull(q->embeddings);
    const struct sample sample = {q->id, NULL, length};
    ck_ok(model_embed(model, &sample, bucket, q->embeddings));
}

void question_clear(struct question *q)
{
    free(q->embeddings);
}

/* The static weights as P1 would hold them if all masks were zero. */
static struct static_share *clear_weights(const struct schedule *s, const struct folded *folded)
{
    struct static_share *out = calloc(s->weights, sizeof *out);
    for (uint32_t i = 0; i < s->weights; i++) {
        const struct weight *w = &s->weight[i];
        const size_t n = weight_size(w);
        int64_t *v = malloc(n * sizeof *v);
        for (size_t j = 0; j < n; j++)
            v[j] = llround(ldexp((double)folded->weight[i][j], w->frac));
        if (w->kind == WEIGHT_MATRIX) {
            ck_ok(ring_gemm_pack_masked(&out[i].online, RING_GEMM_AUTO, w->rows, w->cols, v, w->rows, true, false));
            free(v);
        } else {
            out[i].m = v;
            out[i].l = calloc(n, sizeof *out[i].l);
        }
    }
    return out;
}

void question_fixed(const struct question *q, const struct description *d, const struct folded *folded, float *logits)
{
    struct schedule s;
    int64_t out[MODEL_LABELS_MAX], *x, mu[64];
    ck_ok(description_compile(d, q->bucket, 1, TUNE_WAN, &s));
    struct static_share *weights = clear_weights(&s, folded);
    const struct tensor *in = &s.tensor[s.gate[0].out];
    x = malloc(tensor_size(in) * sizeof *x);
    for (size_t i = 0; i < tensor_size(in); i++)
        x[i] = llround(ldexp((double)q->embeddings[i], in->frac));
    for (uint32_t t = 0; t < q->bucket; t++)
        mu[t] = t < q->length ? (int64_t)1 << embedding_mask_power(q->bucket, q->length) : 0;
    const int64_t *const input[2] = {x, mu};
    ck_ok(walk_fixed(&s, weights, input, out));
    for (uint32_t i = 0; i < d->config.labels; i++)
        logits[i] = ldexpf((float)out[i], -POOLER_LOGIT_FRAC);
    for (uint32_t i = 0; i < s.weights; i++) {
        ring_gemm_close(&weights[i].online);
        free(weights[i].m);
        free(weights[i].l);
    }
    free(weights);
    free(x);
    schedule_clear(&s);
}
