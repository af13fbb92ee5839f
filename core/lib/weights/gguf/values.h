/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a GGUF header's values under bounds. Internal to gguf/.
 */
#ifndef CORE_WEIGHTS_GGUF_VALUES_H
#define CORE_WEIGHTS_GGUF_VALUES_H

#include "weights/gguf/gguf.h"

/* What is left of the header. */
typedef struct core_gguf_cursor {
    const unsigned char *at, *end;
    const char *path; /* for messages */
} core_gguf_cursor;

/* A text where it lies in the file, without a NUL behind it. */
typedef struct core_gguf_text {
    const char *data;
    size_t size;
} core_gguf_text;

/* Bytes of a scalar; 0 for texts, arrays and what is not known. */
size_t core_gguf_width(uint64_t type);
/* Little-endian numbers of 1 to 8 bytes; nothing is checked. */
uint64_t core_gguf_number(const unsigned char *at, size_t width);

/* Takes the next number or text. `what` names it in the message when the file ends before. */
more_status core_gguf_take(core_gguf_cursor *cursor, size_t width, const char *what, uint64_t *number,
                           more_error *error);
more_status core_gguf_take_text(core_gguf_cursor *cursor, const char *what, core_gguf_text *text, more_error *error);
/* The same for names: at most `limit` bytes, not empty, UTF-8, no control characters. The caller frees *name. */
more_status core_gguf_take_name(core_gguf_cursor *cursor, const char *what, size_t limit, char **name,
                                more_error *error);

/* Takes the value of `key`: *json becomes it, a new reference, or NULL for an array that stays out of the JSON, which
 * *array then (and for every array of scalars) describes; of other values array->data is NULL. */
more_status core_gguf_take_value(core_gguf_cursor *cursor, const char *key, json_t **json, core_gguf_array *array,
                                 more_error *error);

#endif
