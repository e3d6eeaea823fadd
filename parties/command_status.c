#include "parties/command.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "parties/client.h"
#include "parties/print.h"

struct arguments {
    struct command_place place;
    bool json;
};

static const struct argp_option options[] = {
    {"json", 'j', NULL, 0, "Print a JSON object with what each party says", 0},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &arguments->place;
        return 0;
    case 'j':
        arguments->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument %s", argument);
        return 0;
    case ARGP_KEY_END:
        command_place_check(&arguments->place, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&command_place_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {options,
                                 parse,
                                 NULL,
                                 "What the three parties say of themselves: models, bundles left, peers. "
                                 "Exit status 1 if one does not answer.",
                                 children,
                                 NULL,
                                 NULL};

static const char *text_of(const json_t *object, const char *field)
{
    const char *text = json_string_value(json_object_get(object, field));
    return text ? text : "?";
}

static long long number_of(const json_t *object, const char *field)
{
    return (long long)json_integer_value(json_object_get(object, field));
}

static void print_peers(const json_t *party)
{
    const json_t *peers = json_object_get(party, "peers");
    for (size_t i = 0; i < json_array_size(peers); i++) {
        const json_t *peer = json_array_get(peers, i);
        printf("%s%s %s", i ? ", " : "  peers: ", text_of(peer, "name"),
               json_is_true(json_object_get(peer, "up")) ? "up" : "down");
    }
    putchar('\n');
}

static void print_party(const json_t *party)
{
    char size[PRINT_SIZE];
    const json_t *models = json_object_get(party, "models"), *bundles = json_object_get(party, "bundles");
    printf("%s: version %s, up %lld s, %lld requests under way\n", text_of(party, "party"),
           text_of(party, "version"), number_of(party, "uptime_s"), number_of(party, "requests"));
    print_peers(party);
    for (size_t i = 0; i < json_array_size(models); i++) {
        const json_t *model = json_array_get(models, i);
        printf("  model %.12s %s\n", text_of(model, "id"), text_of(model, "name"));
    }
    for (size_t i = 0; i < json_array_size(bundles); i++) {
        const json_t *b = json_array_get(bundles, i);
        printf("  bundles of %.12s, %lld tokens, batch %lld, %s: %lld ready, %lld filling, %lld used or "
               "burnt, %s\n",
               text_of(b, "model"), number_of(b, "bucket"), number_of(b, "batch"), text_of(b, "tune"),
               number_of(b, "ready"), number_of(b, "filling"), number_of(b, "mark"),
               print_bytes(size, (uint64_t)number_of(b, "bytes")));
    }
}

/* What one party says, or {"party", "error"}. */
static json_t *ask(struct client *client, enum net_role role, bool *failed)
{
    char *text = NULL;
    enum status status = client_status(client, role, &text);
    json_t *json = status ? NULL : json_loads(text, 0, NULL);
    free(text);
    if (json)
        return json;
    *failed = true;
    char name[] = {'P', (char)('0' + role), '\0'};
    return json_pack("{s:s, s:s}", "party", name, "error",
                     status ? status_message() : "its answer is not JSON");
}

static enum status report(struct client *client, bool json, bool *failed)
{
    json_t *parties = json_array();
    for (int role = NET_ROLE_P0; role <= NET_ROLE_P2; role++) {
        json_t *party = ask(client, (enum net_role)role, failed);
        const char *error = json_string_value(json_object_get(party, "error"));
        if (!json && error)
            printf("%s: no answer: %s\n", text_of(party, "party"), error);
        else if (!json)
            print_party(party);
        json_array_append_new(parties, party);
    }
    if (json)
        return print_json(json_pack("{s:o}", "parties", parties));
    json_decref(parties);
    return STATUS_OK;
}

int command_status(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct config config;
    struct client *client = NULL;
    bool failed = false;
    command_parse(&argp, argc, argv, &arguments);
    enum status status = config_load_caller(&config, arguments.place.path);
    if (status)
        return command_fail(argv[0]);
    status = client_open(&client, &config, NULL);
    if (!status)
        status = report(client, arguments.json, &failed);
    client_close(&client);
    config_unload(&config);
    if (!status && failed)
        status = status_fail(STATUS_TIMEOUT, "not every party answers");
    return status ? command_fail(argv[0]) : COMMAND_OK;
}
