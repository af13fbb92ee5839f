/* SPDX-License-Identifier: Apache-2.0
 *
 * Pre-tokenizers: Sequence, Split, ByteLevel, Metaspace, Digits, Punctuation, Whitespace, WhitespaceSplit.
 */
#ifndef CORE_PRETOKENIZER_H
#define CORE_PRETOKENIZER_H

#include "text/engine/component.h"
#include "text/engine/pieces.h"

/* Zero-initialise (no steps: pieces stay as they are); free with core_pretokenizer_free. */
typedef struct core_pretokenizer {
    struct core_pretokenizer_step *steps;
    size_t count;
} core_pretokenizer;

/* Reads the member "pre_tokenizer", NULL or null for none. */
more_status core_pretokenizer_load(json_t *json, const char *file, core_pretokenizer *pretokenizer, more_error *error);
void core_pretokenizer_free(core_pretokenizer *pretokenizer);
/* Runs the steps over the pieces. [any-thread] */
more_status core_pretokenizer_apply(const core_pretokenizer *pretokenizer, core_pieces *pieces, more_error *error);

#endif
