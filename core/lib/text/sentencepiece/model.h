/* SPDX-License-Identifier: Apache-2.0
 *
 * SentencePiece models (tokenizer.model): the file, text to ids and ids to text, with the results of the sentencepiece
 * package (0.2). Model types: BPE and unigram.
 */
#ifndef CORE_SENTENCEPIECE_H
#define CORE_SENTENCEPIECE_H

#include "text/engine/merging.h"
#include "text/engine/trie.h"
#include "text/engine/vocabulary.h"
#include "text/tokenizer.h"

#define CORE_SPACE_MARK "\xE2\x96\x81" /* U+2581, what spaces become */

/* The numbers are the file's. */
typedef enum core_piece_type {
    CORE_PIECE_NORMAL = 1,
    CORE_PIECE_UNKNOWN = 2,
    CORE_PIECE_CONTROL = 3,
    CORE_PIECE_USER_DEFINED = 4,
    CORE_PIECE_UNUSED = 5,
    CORE_PIECE_BYTE = 6
} core_piece_type;

/* Constant after loading. Zero-initialise; free with core_sentencepiece_free. */
typedef struct core_sentencepiece {
    core_vocabulary vocabulary;
    float *scores;        /* by id */
    unsigned char *types; /* by id */
    uint32_t *ranks;      /* BPE, by id: 0 for the highest score, equal for equal ones */
    core_trie user;       /* user-defined pieces, which nothing cuts or merges */
    core_trie words;      /* unigram: all pieces that text can become */
    float least;          /* score of a normal piece */
    int32_t unknown, bos, eos;
    int32_t bytes[256];          /* ids of <0x00> .. <0xFF> */
    core_buffer unknown_surface; /* what the unknown piece prints */
    bool unigram, byte_fallback, has_unused;
    bool dummy_prefix, remove_extra_spaces, escape_spaces, space_as_suffix;
    uint32_t *charsmap; /* units of the double array that finds what the normalizer replaces; NULL without one */
    size_t charsmap_size;
    core_buffer replacements; /* texts, each ended by NUL, at the offsets that the double array holds */
} core_sentencepiece;

/* Reads a serialised ModelProto; `name` is the file. Errors: MORE_ERROR_CORRUPT, MORE_ERROR_UNSUPPORTED (another model
 * type, a denormalizer). [any-thread] */
more_status core_sentencepiece_load(const unsigned char *data, size_t size, const char *name, core_sentencepiece *model,
                                    more_error *error);
void core_sentencepiece_free(core_sentencepiece *model);

/* Appends the text as the model wants it: characters replaced, spaces made U+2581, and `prefix` (with the model's
 * consent) a space in front. Valid UTF-8. [any-thread] */
void core_sentencepiece_normalize(const core_sentencepiece *model, const char *text, size_t size, bool prefix,
                                  core_buffer *normal);
/* Appends the ids of valid UTF-8, as encode() of the package gives them; without `prefix` as if add_dummy_prefix were
 * off. `merging` is working memory. [any-thread] */
more_status core_sentencepiece_encode(const core_sentencepiece *model, const char *text, size_t size, bool prefix,
                                      core_merging *merging, core_ids *ids, more_error *error);

#endif
