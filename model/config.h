/* config.json and tokenizer_config.json of a model folder; struct model_config stands in model/model.h.
 *
 *     hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, vocab_size,
 * max_position_embeddings required whole numbers, bounded by the limits below; hidden_size a multiple of
 * num_attention_heads type_vocab_size (2), pad_token_id (0), layer_norm_eps (1e-12), hidden_dropout_prob and
 *     attention_probs_dropout_prob (0.1), hidden_act ("gelu"), num_labels (2), id2label (LABEL_0, ...)
 *         optional, default in brackets
 *     attention_softmax ("softmax"), softmax_2quad_c (5), softmax_2quad_learned, hidden_act_learned (false)
 *         how a student says what it is
 *
 * Fields that would change the arithmetic in a way Trefoil does not know (another model_type, relative
 * positions, a decoder) are refused rather than ignored; other fields are ignored. */
#ifndef TREFOIL_MODEL_CONFIG_H
#define TREFOIL_MODEL_CONFIG_H

#include "model/model.h"

#define CONFIG_FILE_BYTES (1 << 20)
#define CONFIG_TOKENIZER_BYTES (16 << 20) /* tokenizer_config.json may list thousands of added tokens */
#define CONFIG_HIDDEN_MAX 16384
#define CONFIG_LAYERS_MAX 256
#define CONFIG_FFN_MAX 131072
#define CONFIG_VOCABULARY_MAX (1 << 22)
#define CONFIG_POSITIONS_MAX 65536
#define CONFIG_TYPES_MAX 256

/* Checks a config that did not come from model_config_read. STATUS_INPUT names the field as config.json calls
 * it. */
STATUS_MUST_USE enum status model_config_check(const struct model_config *config);
/* A label goes to terminals, into JSON and into the table: printable (model/characters.h), not empty and not too long. */
bool model_config_label_is_good(const char *label);

/* FOLDER/tokenizer_config.json alone; what it does not say, and all if there is no such file, stays. Tokenizers of another kind
 * than BERT's are refused. */
STATUS_MUST_USE enum status model_config_read_tokenizer(struct model_config *out, const char *folder);

/* Both cut text in the same way, as far as tokenizer_config.json says how. */
bool model_config_same_words(const struct model_config *a, const struct model_config *b);

/* The defaults of a BERT-base classifier with two labels, to be changed by the caller. */
void model_config_default(struct model_config *out);

/* The text of config.json (with_head: a BertForSequenceClassification, else a BertModel) and of
 * tokenizer_config.json; to be freed. NULL: no memory. */
char *model_config_format(const struct model_config *config, bool with_head, enum model_precision precision);
char *model_config_format_tokenizer(const struct model_config *config);

#endif
