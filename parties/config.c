#include "parties/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "model/files.h"
#include "parties/config_reader.h"
#include "parties/key_file.h"

#define STORE_SIZE_USUAL ((uint64_t)64 << 30)
#define STORE_SIZE_LEAST ((uint64_t)1 << 20)
#define MEMORY_LEAST ((uint64_t)1 << 20)

static const char *const role_word[] = {"P0", "P1", "P2", "owner", "client", "operator", NULL};

/* Who may have a setting. */
enum { PARTY = 1, CALLER = 2, EVERYONE = PARTY | CALLER };

static const struct {
    const char *name;
    int who;
} settings[] = {
    {"name", EVERYONE},    {"role", EVERYONE},    {"key_file", EVERYONE},  {"timeout_ms", EVERYONE},
    {"threads", EVERYONE}, {"buckets", EVERYONE}, {"peers", EVERYONE},     {"listen", PARTY},
    {"store", PARTY},      {"store_size", PARTY}, {"requests_max", PARTY}, {"bundles_max", PARTY},
    {"warm", PARTY},       {"memory", PARTY},
    {"model", CALLER},     {"tune", CALLER},       {"link_rate", PARTY},   {"link_delay_ms", PARTY},
    {"fast_links", PARTY}, {"fast_listen", PARTY},
};

/* A setting nobody knows is most likely misspelt, and one of the other kind of process is misunderstood. */
static void check_names(struct config_reader *reader, enum net_role role)
{
    int who = net_is_party(role) ? PARTY : CALLER;
    for (int i = 0; i < config_setting_length(reader->group); i++) {
        const char *name = config_setting_name(config_setting_get_elem(reader->group, (unsigned)i));
        size_t at = 0, count = sizeof settings / sizeof *settings;
        while (at < count && strcmp(settings[at].name, name) != 0)
            at++;
        if (at == count)
            config_refuse(reader, name, "is no setting; trefoil.conf(5) lists them all");
        else if (!(settings[at].who & who))
            config_refuse(reader, name, "is no setting of a process with the role %s", role_word[role]);
    }
}

/* Relative paths start at the folder of the configuration. malloc'ed. */
static char *beside(struct config_reader *reader, const char *path)
{
    const char *slash = strrchr(reader->path, '/');
    char *full = NULL;
    if (!path || reader->status)
        return NULL;
    int n = path[0] == '/' || !slash
                ? asprintf(&full, "%s", path)
                : asprintf(&full, "%.*s/%s", (int)(slash - reader->path), reader->path, path);
    if (n < 0) {
        reader->status = status_fail(STATUS_MEMORY, "out of memory for the configuration");
        return NULL;
    }
    return full;
}

static void copy_name(struct config_reader *reader, char out[NET_NAME_MAX])
{
    const char *name = config_text(reader, "name", true);
    if (!name)
        return;
    bool good = strlen(name) < NET_NAME_MAX;
    for (const char *c = name; *c; c++)
        good &= *c > 0x20 && *c < 0x7f;
    if (!good)
        config_refuse(reader, "name", "must be 1 to %d printable characters without spaces",
                      NET_NAME_MAX - 1);
    else
        strcpy(out, name);
}

/* An IPv6 address without brackets: ZeroMQ would look it up as a name, again and again. port: its colon. */
static bool bare_ipv6(const char *host, const char *port)
{
    const char *from = memchr(host, ';', (size_t)(port - host)); /* behind the address to call from */
    if (from)
        host = from + 1;
    const bool brackets = host < port && host[0] == '[' && port[-1] == ']';
    return !brackets && memchr(host, ':', (size_t)(port - host));
}

/* tcp://HOST:PORT or ipc://PATH; ZeroMQ judges the host. */
static const char *endpoint(struct config_reader *reader, const char *name, bool wildcard, bool required)
{
    const char *text = config_text(reader, name, required);
    if (!text)
        return NULL;
    const char *port = strrchr(text, ':');
    char *end = NULL;
    long number = 0;
    if (strncmp(text, "ipc:///", 7) == 0 && text[7])
        return text;
    if (strncmp(text, "tcp://", 6) != 0 || port <= text + 6) {
        config_refuse(reader, name, "must look like tcp://ADDRESS:PORT");
        return NULL;
    }
    number = strtol(port + 1, &end, 10);
    if (!(wildcard && strcmp(port, ":*") == 0) && (end == port + 1 || *end || number < 1 || number > 65535)) {
        config_refuse(reader, name, "must end with a port from 1 to 65535");
        return NULL;
    }
    if (bare_ipv6(text + 6, port)) {
        config_refuse(reader, name, "must hold an IPv6 address in brackets: tcp://[::1]:7700");
        return NULL;
    }
    if (!wildcard && strncmp(text + 6, "*:", 2) == 0) {
        config_refuse(reader, name, "must name the machine to call, not *");
        return NULL;
    }
    return text;
}

static void read_own_key(struct config_reader *reader, struct config *config)
{
    char *path = beside(reader, config_text(reader, "key_file", true));
    if (!path)
        return;
    const size_t length = strlen(path);
    enum status status = STATUS_OK;
    if (length > 4 && strcmp(path + length - 4, ".pub") == 0)
        status = status_fail(STATUS_INPUT, "%s is a public key by its name; this is the place of the secret one", path);
    if (!status)
        status = key_file_read(path, config->public_key, config->secret_key);
    if (!status)
        status = key_file_check_pair(path, config->public_key);
    if (status)
        config_refuse_prefix(reader, "key_file", status);
    free(path);
}

static void read_settings(struct config_reader *reader, struct config *config)
{
    static const char *const tunes[] = {"wan", "lan", NULL};
    copy_name(reader, config->name);
    read_own_key(reader, config);
    config_whole(reader, "timeout_ms", &config->timeout_ms, 100, 3600000);
    config_whole(reader, "threads", &config->threads, 1, 1024);
    config_rising(reader, "buckets", config->bucket, &config->buckets,
                  sizeof config->bucket / sizeof *config->bucket, 2, 65536);
    if (!net_is_party(config->role)) {
        config->model = beside(reader, config_text(reader, "model", false));
        config->tune_lan = config_word(reader, "tune", tunes, false) == 1;
        return;
    }
    const char *listen = endpoint(reader, "listen", true, true);
    if (listen && !(config->listen = strdup(listen)))
        reader->status = status_fail(STATUS_MEMORY, "out of memory for the configuration");
    const char *fast_listen = endpoint(reader, "fast_listen", true, false);
    if (fast_listen && strncmp(fast_listen, "tcp://", 6) != 0)
        config_refuse(reader, "fast_listen", "must look like tcp://ADDRESS:PORT");
    else if (fast_listen && !(config->fast_listen = strdup(fast_listen)))
        reader->status = status_fail(STATUS_MEMORY, "out of memory for the configuration");
    config_flag(reader, "fast_links", &config->fast_links);
    config->store = beside(reader, config_text(reader, "store", true));
    config_size(reader, "store_size", &config->store_bytes, STORE_SIZE_LEAST);
    config_whole(reader, "requests_max", &config->requests_max, 1, 1024);
    config_whole(reader, "bundles_max", &config->bundles_max, 1, 1000000);
    config_whole(reader, "warm", &config->warm, 0, 64);
    config_size(reader, "memory", &config->memory_bytes, MEMORY_LEAST);
    config_real(reader, "link_rate", &config->link_rate, 1e3, 1e12);
    config_real(reader, "link_delay_ms", &config->link_delay_ms, 0, 10000);
}

/* ---- peers ---- */

static void check_peer_names(struct config_reader *reader)
{
    for (int i = 0; i < config_setting_length(reader->group); i++) {
        const char *name = config_setting_name(config_setting_get_elem(reader->group, (unsigned)i));
        if (strcmp(name, "name") && strcmp(name, "role") && strcmp(name, "key") && strcmp(name, "key_file") &&
            strcmp(name, "endpoint"))
            config_refuse(reader, name, "is no setting of a peer: name, role, key or key_file, endpoint");
    }
}

static void read_peer_key(struct config_reader *reader, struct net_peer *peer)
{
    const char *key = config_text(reader, "key", false);
    const char *file = config_text(reader, "key_file", false);
    if (reader->status)
        return;
    if (!key == !file) {
        config_refuse(reader, key ? "key" : "key_file",
                      key ? "and key_file exclude each other" : "or key is missing");
        return;
    }
    enum status status = STATUS_OK;
    char *path = beside(reader, file);
    if (key && !(status = key_check_public(key)))
        strcpy(peer->public_key, key);
    else if (path)
        status = key_file_read_public(path, peer->public_key);
    free(path);
    if (status)
        config_refuse_prefix(reader, key ? "key" : "key_file", status);
}

/* Of two parties the one with the higher number calls. */
static bool party_calls(enum net_role from, enum net_role to)
{
    return net_is_party(from) && net_is_party(to) && from > to;
}

static void read_peer(struct config_reader *reader, struct config *config)
{
    struct net_peer *peer = &config->peer[config->peers];
    check_peer_names(reader);
    copy_name(reader, peer->name);
    int role = config_word(reader, "role", role_word, true);
    read_peer_key(reader, peer);
    const char *call = endpoint(reader, "endpoint", false, !net_is_party(config->role) && role <= NET_ROLE_P2);
    if (reader->status)
        return;
    peer->role = (enum net_role)role;
    if (!net_is_party(config->role) && !net_is_party(peer->role))
        config_refuse(reader, "role",
                      "must be P0, P1 or P2: a process with the role %s talks to parties only",
                      role_word[config->role]);
    else if (call && !net_is_party(peer->role))
        config_refuse(reader, "endpoint", "is for parties: an %s calls, and is not called", role_word[role]);
    else if (peer->role == config->role && net_is_party(peer->role))
        config_refuse(reader, "role", "is %s, which is this process itself", role_word[role]);
    else if (strcmp(peer->name, config->name) == 0)
        config_refuse(reader, "name", "is the name of this process itself");
    else if (strcmp(peer->public_key, config->public_key) == 0)
        config_refuse(reader, "name", "has the key of this process itself: every process needs its own");
    else if (!call && party_calls(config->role, peer->role))
        config_refuse(reader, "endpoint", "is missing: %s calls %s", role_word[config->role], role_word[role]);
    for (uint32_t i = 0; i < config->peers; i++) {
        const struct net_peer *other = &config->peer[i];
        if (strcmp(other->name, peer->name) == 0)
            config_refuse(reader, "name", "is that of another peer as well");
        if (strcmp(other->public_key, peer->public_key) == 0)
            config_refuse(reader, "name", "has the same key as %s", other->name);
        if (other->role == peer->role && net_is_party(peer->role))
            config_refuse(reader, "role", "is %s, as that of %s is: there is one only", role_word[role],
                          other->name);
    }
    if (!reader->status && call && !(peer->endpoint = strdup(call)))
        reader->status = status_fail(STATUS_MEMORY, "out of memory for the configuration");
    if (!reader->status)
        config->peers++;
}

static void read_peers(struct config_reader *reader, struct config *config)
{
    if (reader->status)
        return;
    const config_setting_t *list = config_setting_get_member(reader->group, "peers");
    if (!list || !config_setting_is_list(list)) {
        config_refuse(reader, "peers", "must be a list of groups: peers = ( { name = ...; }, { ... } );");
        return;
    }
    int count = config_setting_length(list);
    if (count > NET_PEERS_MAX)
        config_refuse(reader, "peers", "lists %d, but at most %d are possible", count, NET_PEERS_MAX);
    for (int i = 0; !reader->status && i < count; i++) {
        struct config_reader peer = {.path = reader->path,
                                     .group = config_setting_get_elem(list, (unsigned)i)};
        if (!config_setting_is_group(peer.group))
            config_refuse(reader, "peers", "must hold groups: { name = ...; role = ...; key_file = ...; }");
        else
            read_peer(&peer, config);
        if (peer.status)
            reader->status = peer.status;
    }
    for (int role = NET_ROLE_P0; !reader->status && role <= NET_ROLE_P2; role++) {
        bool found = role == (int)config->role;
        for (uint32_t i = 0; i < config->peers; i++)
            found |= (int)config->peer[i].role == role;
        if (!found)
            config_refuse(reader, "peers", "lacks %s: all three parties are needed", role_word[role]);
    }
}

/* ---- the whole file ---- */

static enum status load(config_t *file, const char *path)
{
    char *text;
    size_t size;
    /* First, for its message: libconfig only says that something went wrong. */
    enum status status = files_read(&text, &size, path, 1 << 20);
    if (status)
        return status;
    const bool marked = strncmp(text, "\xef\xbb\xbf", 3) == 0;
    free(text);
    if (marked)
        return status_fail(STATUS_INPUT, "%s:1: starts with a byte order mark: save it as UTF-8 without one", path);
    const char *slash = strrchr(path, '/');
    char folder[FILES_PATH_BYTES];
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    config_set_include_dir(file, folder);
    if (config_read_file(file, path))
        return STATUS_OK;
    const char *where = config_error_file(file);
    return status_fail(STATUS_INPUT, "%s:%d: %s", where ? where : path, config_error_line(file),
                       config_error_text(file));
}

enum status config_load(struct config *out, const char *path)
{
    config_t file;
    memset(out, 0, sizeof *out);
    out->timeout_ms = 20000;
    out->threads = 1;
    out->fast_links = true;
    out->requests_max = 8;
    out->bundles_max = 64;
    out->warm = 1;
    out->store_bytes = STORE_SIZE_USUAL;
    if (sodium_init() < 0)
        return status_fail(STATUS_IO, "cannot start libsodium");
    config_init(&file);
    struct config_reader reader = {.path = path, .status = load(&file, path)};
    if (!reader.status) {
        reader.group = config_root_setting(&file);
        int role = config_word(&reader, "role", role_word, true);
        if (!reader.status) {
            out->role = (enum net_role)role;
            check_names(&reader, out->role);
        }
        read_settings(&reader, out);
        read_peers(&reader, out);
    }
    config_destroy(&file);
    if (reader.status)
        config_unload(out);
    return reader.status;
}

enum status config_load_caller(struct config *out, const char *path)
{
    enum status status = config_load(out, path);
    if (status || !net_is_party(out->role))
        return status;
    status = status_fail(STATUS_INPUT,
                         "%s is the configuration of the party %s, for trefoil party; say that of a client, an owner "
                         "or an operator",
                         path, role_word[out->role]);
    config_unload(out);
    return status;
}

void config_unload(struct config *config)
{
    free(config->listen);
    free(config->fast_listen);
    free(config->store);
    free(config->model);
    for (size_t i = 0; i < NET_PEERS_MAX; i++)
        free((char *)config->peer[i].endpoint);
    sodium_memzero(config, sizeof *config);
}

enum status config_hub(const struct config *config, void *context, struct net_hub **hub)
{
    struct net_options options = {
        .name = config->name,
        .role = config->role,
        .bind = config->listen,
        .peers = config->peer,
        .peer_count = config->peers,
        .timeout_ms = config->timeout_ms,
        .fast_links = config->fast_links,
        .fast_bind = config->fast_listen,
        .link_rate = config->link_rate,
        .link_delay_ms = config->link_delay_ms,
    };
    memcpy(options.public_key, config->public_key, NET_KEY_TEXT);
    memcpy(options.secret_key, config->secret_key, NET_KEY_TEXT);
    enum status status = net_hub_open(hub, context, &options);
    sodium_memzero(&options, sizeof options);
    return status;
}
