#include "model/config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/characters.h"
#include "model/files.h"
#include "model/json.h"

static const char *const activations[] = {
    [MODEL_GELU] = "gelu", [MODEL_QUAD] = "quad", [MODEL_RELU] = "relu", NULL};
static const char *const attentions[] = {
    [MODEL_SOFTMAX] = "softmax", [MODEL_2QUAD] = "2quad", [MODEL_2RELU] = "2relu", NULL};

void model_config_default(struct model_config *out)
{
    *out = (struct model_config){
        .hidden = 768,
        .layers = 12,
        .heads = 12,
        .ffn = 3072,
        .vocabulary = 30522,
        .positions = 512,
        .types = 2,
        .labels = 2,
        .layer_norm_eps = 1e-12f,
        .softmax_c = 5.0f,
        .dropout = 0.1f,
        .attention_dropout = 0.1f,
        .lower_case = true,
    };
    for (unsigned i = 0; i < MODEL_LABELS_MAX; i++)
        snprintf(out->label[i], MODEL_LABEL_BYTES, "LABEL_%u", i);
}

/* A field that must have one value for Trefoil to compute the right thing. */
static void read_fixed(struct json_reader *reader, const char *field, const char *word)
{
    unsigned index;
    json_reader_word(reader, &index, field, (const char *const[]){word, NULL});
}

static void read_false(struct json_reader *reader, const char *field, const char *expected)
{
    bool value = false;
    json_reader_flag(reader, &value, field);
    if (!reader->status && value)
        json_reader_refuse(reader, field, expected);
}

static void read_shape(struct json_reader *reader, struct model_config *out)
{
    json_reader_whole(reader, &out->hidden, "hidden_size", 1, CONFIG_HIDDEN_MAX, true);
    json_reader_whole(reader, &out->layers, "num_hidden_layers", 1, CONFIG_LAYERS_MAX, true);
    json_reader_whole(reader, &out->heads, "num_attention_heads", 1, CONFIG_HIDDEN_MAX, true);
    json_reader_whole(reader, &out->ffn, "intermediate_size", 1, CONFIG_FFN_MAX, true);
    json_reader_whole(reader, &out->vocabulary, "vocab_size", 1, CONFIG_VOCABULARY_MAX, true);
    json_reader_whole(reader, &out->positions, "max_position_embeddings", 1, CONFIG_POSITIONS_MAX, true);
    json_reader_whole(reader, &out->types, "type_vocab_size", 1, CONFIG_TYPES_MAX, false);
    json_reader_whole(reader, &out->pad_id, "pad_token_id", 0, CONFIG_VOCABULARY_MAX, false);
}

static void read_kind(struct json_reader *reader, struct model_config *out)
{
    read_fixed(reader, "model_type", "bert");
    read_fixed(reader, "position_embedding_type", "absolute");
    read_false(reader, "is_decoder", "only encoders are known");
    read_false(reader, "add_cross_attention", "only encoders are known");
    unsigned activation = out->activation, attention = out->attention;
    json_reader_word(reader, &activation, "hidden_act", activations);
    json_reader_word(reader, &attention, "attention_softmax", attentions);
    out->activation = (enum model_activation)activation;
    out->attention = (enum model_attention)attention;
    json_reader_flag(reader, &out->learned_c, "softmax_2quad_learned");
    json_reader_flag(reader, &out->learned_quad, "hidden_act_learned");
    json_reader_number(reader, &out->softmax_c, "softmax_2quad_c", -1000, 1000);
    json_reader_number(reader, &out->layer_norm_eps, "layer_norm_eps", 1e-30, 0.1);
    json_reader_number(reader, &out->dropout, "hidden_dropout_prob", 0, 0.99);
    json_reader_number(reader, &out->attention_dropout, "attention_probs_dropout_prob", 0, 0.99);
}

bool model_config_label_is_good(const char *label)
{
    const size_t length = strlen(label);
    return length > 0 && length < MODEL_LABEL_BYTES && characters_are_printable(label);
}

static void read_labels(struct json_reader *reader, struct model_config *out)
{
    json_reader_whole(reader, &out->labels, "num_labels", 1, MODEL_LABELS_MAX, false);
    if (reader->status || !json_reader_has(reader, "id2label"))
        return;
    const json_t *names = json_object_get(reader->root, "id2label");
    size_t count = json_object_size(names);
    if (!json_is_object(names) || count < 1 || count > MODEL_LABELS_MAX) {
        json_reader_refuse(reader, "id2label", "expected an object of 1 to 64 names");
        return;
    }
    if (json_reader_has(reader, "num_labels") && out->labels != count) {
        json_reader_refuse(reader, "num_labels", "id2label has another number of names");
        return;
    }
    out->labels = (uint32_t)count;
    for (unsigned i = 0; i < count; i++) {
        char key[16];
        snprintf(key, sizeof key, "%u", i);
        const char *name = json_string_value(json_object_get(names, key));
        if (!name || !model_config_label_is_good(name)) {
            json_reader_refuse(
                reader, "id2label",
                "expected the keys \"0\", \"1\", ... with printable names of at most 63 bytes");
            return;
        }
        snprintf(out->label[i], MODEL_LABEL_BYTES, "%s", name);
    }
}

static void read_problem(struct json_reader *reader, struct model_config *out)
{
    static const char *const problems[] = {"single_label_classification", "regression", NULL};
    unsigned problem = 0;
    json_reader_word(reader, &problem, "problem_type", problems);
    out->regression = problem == 1 || out->labels == 1;
}

enum status model_config_read_tokenizer(struct model_config *out, const char *folder)
{
    static const char *const classes[] = {"BertTokenizer",
                                          "BertTokenizerFast",
                                          "DistilBertTokenizer",
                                          "DistilBertTokenizerFast",
                                          "ElectraTokenizer",
                                          "ElectraTokenizerFast",
                                          "PreTrainedTokenizerFast",
                                          NULL};
    char path[FILES_PATH_BYTES];
    struct json_reader reader;
    enum status status = files_join(path, folder, "tokenizer_config.json");
    if (status || !files_exist(path))
        return status;
    status = json_reader_load(&reader, path, CONFIG_TOKENIZER_BYTES);
    if (!status) {
        unsigned class = 0;
        bool strip, ideographs = !out->ideographs_joined, basic = true;
        json_reader_flag(&reader, &out->lower_case, "do_lower_case");
        strip = out->lower_case;
        json_reader_flag(&reader, &strip, "strip_accents");
        json_reader_flag(&reader, &ideographs, "tokenize_chinese_chars");
        out->accents_differ = strip != out->lower_case;
        out->ideographs_joined = !ideographs;
        /* What would cut text in another way. */
        json_reader_word(&reader, &class, "tokenizer_class", classes);
        json_reader_flag(&reader, &basic, "do_basic_tokenize");
        if (!basic)
            json_reader_refuse(&reader, "do_basic_tokenize", "a tokenizer without it is not known here");
        status = reader.status;
    }
    json_reader_clear(&reader);
    return status;
}

enum status model_config_read(struct model_config *out, const char *folder)
{
    char path[FILES_PATH_BYTES];
    struct json_reader reader;
    model_config_default(out);
    enum status status = files_join(path, folder, "config.json");
    if (status)
        return status;
    status = json_reader_load(&reader, path, CONFIG_FILE_BYTES);
    if (!status) {
        read_kind(&reader, out);
        read_shape(&reader, out);
        read_labels(&reader, out);
        read_problem(&reader, out);
        status = reader.status;
    }
    json_reader_clear(&reader);
    if (status)
        return status;
    status = model_config_check(out);
    if (status)
        return status_prefix(status, "%s: ", path);
    return model_config_read_tokenizer(out, folder);
}

bool model_config_same_words(const struct model_config *a, const struct model_config *b)
{
    return a->lower_case == b->lower_case && a->accents_differ == b->accents_differ &&
           a->ideographs_joined == b->ideographs_joined;
}

static enum status check_range(const char *field, uint32_t value, uint32_t low, uint32_t high)
{
    if (value >= low && value <= high)
        return STATUS_OK;
    return status_fail(STATUS_INPUT, "\"%s\" is %u; expected %u to %u", field, value, low, high);
}

static enum status check_shape(const struct model_config *config)
{
    enum status status = check_range("hidden_size", config->hidden, 1, CONFIG_HIDDEN_MAX);
    if (!status)
        status = check_range("num_hidden_layers", config->layers, 1, CONFIG_LAYERS_MAX);
    if (!status)
        status = check_range("num_attention_heads", config->heads, 1, config->hidden);
    if (!status)
        status = check_range("intermediate_size", config->ffn, 1, CONFIG_FFN_MAX);
    if (!status)
        status = check_range("vocab_size", config->vocabulary, 1, CONFIG_VOCABULARY_MAX);
    if (!status)
        status = check_range("max_position_embeddings", config->positions, 1, CONFIG_POSITIONS_MAX);
    if (!status)
        status = check_range("type_vocab_size", config->types, 1, CONFIG_TYPES_MAX);
    if (!status)
        status = check_range("num_labels", config->labels, 1, MODEL_LABELS_MAX);
    if (!status)
        status = check_range("pad_token_id", config->pad_id, 0, config->vocabulary - 1);
    if (!status && config->hidden % config->heads != 0)
        status =
            status_fail(STATUS_INPUT, "\"hidden_size\" is %u, not a multiple of \"num_attention_heads\", %u",
                        config->hidden, config->heads);
    return status;
}

enum status model_config_check(const struct model_config *config)
{
    enum status status = check_shape(config);
    if (status)
        return status;
    if (!(config->layer_norm_eps > 0 && config->layer_norm_eps <= 0.1f))
        return status_fail(STATUS_INPUT, "\"layer_norm_eps\" is %g; expected more than 0, at most 0.1",
                           (double)config->layer_norm_eps);
    if (!isfinite(config->softmax_c))
        return status_fail(STATUS_INPUT, "\"softmax_2quad_c\" is not a finite number");
    if (config->learned_c && config->attention != MODEL_2QUAD)
        return status_fail(STATUS_INPUT, "\"softmax_2quad_learned\" needs \"attention_softmax\": \"2quad\"");
    if (config->learned_quad && config->activation != MODEL_QUAD)
        return status_fail(STATUS_INPUT, "\"hidden_act_learned\" needs \"hidden_act\": \"quad\"");
    if (config->regression && config->labels != 1)
        return status_fail(STATUS_INPUT, "\"problem_type\" is \"regression\" with %u labels; expected one",
                           config->labels);
    for (unsigned i = 0; i < config->labels; i++)
        if (!memchr(config->label[i], 0, MODEL_LABEL_BYTES) || !model_config_label_is_good(config->label[i]))
            return status_fail(STATUS_INPUT,
                               "\"id2label\": name %u is empty, too long or not printable UTF-8", i);
    return STATUS_OK;
}

/* The shortest decimal that reads back as the same float, so that 1e-12 is written as 1e-12. */
static json_t *real(float value)
{
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    return json_real(strtod(text, NULL));
}

static json_t *format_labels(const struct model_config *config, bool by_name)
{
    json_t *out = json_object();
    for (unsigned i = 0; i < config->labels; i++) {
        char key[16];
        snprintf(key, sizeof key, "%u", i);
        if (by_name)
            json_object_set_new(out, config->label[i], json_integer(i));
        else
            json_object_set_new(out, key, json_string(config->label[i]));
    }
    return out;
}

char *model_config_format(const struct model_config *config, bool with_head, enum model_precision precision)
{
    json_t *root = json_pack(
        "{s:[s], s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "architectures",
        with_head ? "BertForSequenceClassification" : "BertModel", "model_type", "bert", "hidden_size",
        (json_int_t)config->hidden, "num_hidden_layers", (json_int_t)config->layers, "num_attention_heads",
        (json_int_t)config->heads, "intermediate_size", (json_int_t)config->ffn, "vocab_size",
        (json_int_t)config->vocabulary, "max_position_embeddings", (json_int_t)config->positions,
        "type_vocab_size", (json_int_t)config->types, "pad_token_id", (json_int_t)config->pad_id);
    json_object_set_new(root, "hidden_act", json_string(activations[config->activation]));
    if (config->learned_quad)
        json_object_set_new(root, "hidden_act_learned", json_true());
    if (config->attention != MODEL_SOFTMAX)
        json_object_set_new(root, "attention_softmax", json_string(attentions[config->attention]));
    if (config->attention == MODEL_2QUAD)
        json_object_set_new(root, "softmax_2quad_c", real(config->softmax_c));
    if (config->learned_c)
        json_object_set_new(root, "softmax_2quad_learned", json_true());
    json_object_set_new(root, "layer_norm_eps", real(config->layer_norm_eps));
    json_object_set_new(root, "hidden_dropout_prob", real(config->dropout));
    json_object_set_new(root, "attention_probs_dropout_prob", real(config->attention_dropout));
    json_object_set_new(root, "id2label", format_labels(config, false));
    json_object_set_new(root, "label2id", format_labels(config, true));
    if (config->regression)
        json_object_set_new(root, "problem_type", json_string("regression"));
    json_object_set_new(root, "torch_dtype", json_string(precision == MODEL_F16 ? "float16" : "float32"));
    char *text =
        root ? json_dumps(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(root);
    return text;
}

char *model_config_format_tokenizer(const struct model_config *config)
{
    json_t *root = json_pack("{s:b, s:i, s:s}", "do_lower_case", config->lower_case, "model_max_length",
                             (int)config->positions, "tokenizer_class", "BertTokenizer");
    if (config->accents_differ)
        json_object_set_new(root, "strip_accents", json_boolean(!config->lower_case));
    if (config->ideographs_joined)
        json_object_set_new(root, "tokenize_chinese_chars", json_false());
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
    json_decref(root);
    return text;
}
