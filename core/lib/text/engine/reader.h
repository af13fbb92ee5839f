/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads the two large members of a tokenizer.json, model.vocab and model.merges, straight from the text: a tree of the
 * million values that a file of 256,000 tokens holds would take longer to build than all the rest.
 */
#ifndef CORE_READER_H
#define CORE_READER_H

#include "base/buffer.h"
#include <stdint.h>

/* A part of the file. */
typedef struct core_span {
    const char *data; /* NULL: the member is absent */
    size_t size;
} core_span;

/* Finds model.vocab when it is an object and model.merges when it is an array (of several the last), and appends to
 * `rest` the document with these two emptied, for an ordinary parser, which also reports what is wrong with the
 * document. [any-thread] */
void core_reader_split(const char *json, size_t size, core_span *vocab, core_span *merges, core_buffer *rest);

/* Reads `{"text": id, ...}`, calling `take` for each; a `take` that does not return MORE_OK ends the reading. `name` is
 * the file for messages. Errors: MORE_ERROR_CORRUPT with the byte offset in the file. [any-thread] */
typedef more_status (*core_reader_token)(void *context, const char *text, size_t size, int64_t id, more_error *error);
more_status core_reader_vocab(core_span vocab, const char *name, core_reader_token take, void *context,
                              more_error *error);
/* Reads `["left right", ...]` or `[["left", "right"], ...]`. */
typedef more_status (*core_reader_merge)(void *context, const char *left, size_t left_size, const char *right,
                                         size_t right_size, more_error *error);
more_status core_reader_merges(core_span merges, const char *name, core_reader_merge take, void *context,
                               more_error *error);

#endif
