/* SPDX-License-Identifier: Apache-2.0
 *
 * Added tokens: texts that become one id each before the model sees the rest. As in the tokenizers package there are
 * two rounds, the longest match at the leftmost place winning: tokens that are not `normalized` on the text as it is
 * given, then the normalised ones, themselves normalised, on each normalised remainder.
 */
#ifndef CORE_ADDED_H
#define CORE_ADDED_H

#include "text/engine/component.h"
#include "text/engine/normalizer.h"
#include "text/engine/pieces.h"
#include "text/engine/trie.h"
#include "text/engine/vocabulary.h"

typedef struct core_added_token {
    int32_t id;
    bool special, single_word, left_strip, right_strip, normalized;
} core_added_token;

/* Zero-initialise; free with core_added_free. */
typedef struct core_added {
    core_vocabulary vocabulary; /* texts of the tokens */
    core_added_token *tokens;
    size_t count, capacity;
    core_trie raw, normalized;
    core_pattern *word; /* one character of a word */
} core_added;

/* Reads the array "added_tokens", NULL for none. A text that `model` has gets the id from there, any other the next
 * free id behind it, as in the package (which overlooks the file's own "id"). */
more_status core_added_load(json_t *json, const char *file, const core_vocabulary *model,
                            const core_normalizer *normalizer, core_added *added, more_error *error);
/* The same by hand: reads one object's text and flags, without its id; puts a token in, of two equal texts the first;
 * makes ready what was put in, also a second time when more came. */
more_status core_added_read(json_t *json, const core_place *place, core_added_token *token, core_buffer *text,
                            more_error *error);
more_status core_added_put(core_added *added, core_added_token token, const char *text, size_t size, const char *file,
                           more_error *error);
more_status core_added_finish(core_added *added, const char *file, const core_normalizer *normalizer,
                              more_error *error);
void core_added_free(core_added *added);
/* The token with this id; NULL when it is none. [any-thread] */
const core_added_token *core_added_find(const core_added *added, int32_t id);
/* Cuts the text into added tokens and normalised remainders, appended to `pieces`. [any-thread] */
more_status core_added_extract(const core_added *added, const core_normalizer *normalizer, const char *text,
                               size_t size, core_pieces *pieces, more_error *error);

#endif
