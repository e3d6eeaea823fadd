/* The public part of a model, which a client needs to embed its text: the embedding tables and nothing else.
 *
 * A public folder holds config.json, tokenizer_config.json, vocab.txt, a model.safetensors with the three tables
 * bert.embeddings.{word,position,token_type}_embeddings.weight only, and trefoil_model_id: which model of the parties it belongs
 * to, a line of hexadecimal digits. */
#ifndef TREFOIL_MODEL_EMBEDDINGS_H
#define TREFOIL_MODEL_EMBEDDINGS_H

#include "model/model.h"

/* Reads the tables of a folder, public or whole; every other pointer of out is NULL. model_clear frees it.
 * Errors as model_read. */
STATUS_MUST_USE enum status model_read_embeddings(struct model *out, const char *folder);

#define MODEL_TABLES_BYTES 32
/* The hash of the tables and of the folder's vocab.txt: the same for a whole folder and for its public one. With other
 * tables or words of the same size a client would get a wrong answer. */
STATUS_MUST_USE enum status model_tables_digest(unsigned char digest[MODEL_TABLES_BYTES], const struct model *model,
                                                const char *folder);

/* Whether a folder may be written into: STATUS_INPUT if it holds a model already, unless that is a public one, whose
 * tables the owner of the whole model can write again. */
STATUS_MUST_USE enum status model_check_free(const char *folder);

#define MODEL_ID_BYTES 32 /* model/description.h */
#define MODEL_ID_TEXT_BYTES (2 * MODEL_ID_BYTES + 1)

/* Writes a public folder (made if missing) from the folder of a whole model, weights of which are in model.
 * F16 where that loses nothing. id: of the model at the parties, in hexadecimal digits. */
STATUS_MUST_USE enum status model_write_embeddings(const struct model *model, const char *folder,
                                                   const char *from, const char *id);

/* The id that a public folder was written with; "" if it says none, as the folder of a whole model. STATUS_INPUT if what it says
 * is no id. */
STATUS_MUST_USE enum status model_read_id(char id[MODEL_ID_TEXT_BYTES], const char *folder);

#endif
