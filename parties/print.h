/* What commands write for people and for programs. */
#ifndef TREFOIL_PARTIES_PRINT_H
#define TREFOIL_PARTIES_PRINT_H

#include <jansson.h>
#include <stdint.h>

#include "ring/status.h"

#define PRINT_SIZE 24

/* One line of JSON on standard output; takes json over. NULL is STATUS_MEMORY. */
STATUS_MUST_USE enum status print_json(json_t *json);

/* 1536 -> "1.5 kB": decimal units, three digits. Returns out. */
const char *print_bytes(char out[PRINT_SIZE], uint64_t bytes);
/* 26214400 -> "26.2 M". Returns out. */
const char *print_amount(char out[PRINT_SIZE], uint64_t amount);

#endif
