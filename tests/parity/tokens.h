/* SPDX-License-Identifier: Apache-2.0
 *
 * Comparing a tokenizer with ids and texts that the oracle wrote. What differs fails the cmocka test.
 */
#ifndef TESTS_PARITY_TOKENS_H
#define TESTS_PARITY_TOKENS_H

#include "base/buffer.h"
#include "base/json.h"
#include "text/tokenizer.h"

#define TOKENS_DATA "tests/parity/data/tokens/"

/* A safetensors file in memory. */
typedef struct tokens_arrays {
    core_buffer bytes;
    json_t *header;
    const char *data;
} tokens_arrays;

/* A path below $srcdir; it lasts until the next call. */
const char *tokens_path(const char *relative);
/* Appends what `xz -dc` makes of the file. */
void tokens_unpack(const char *path, core_buffer *bytes);
/* A JSON file below $srcdir; json_decref it. */
json_t *tokens_json(const char *relative);
/* Opens NAME.safetensors.xz. */
void tokens_open_arrays(const char *path, tokens_arrays *a);
void tokens_close_arrays(tokens_arrays *a);
void tokens_same_ids(const char *what, const char *text, const int32_t *wanted, size_t wanted_count,
                     const core_ids *got);
/* Encodes the first strings, as many as the arrays have, and compares; gives their number. */
size_t tokens_compare_ids(const char *name, const core_tokenizer *tokenizer, json_t *strings, const tokens_arrays *a,
                          const char *ids_name, const char *offsets_name, int flags);
/* Decodes the sequences at once and as streams, special tokens kept, and skipped where `texts` has those too. */
void tokens_compare_decoding(const char *name, const core_tokenizer *tokenizer, const tokens_arrays *a, json_t *texts);

#endif
