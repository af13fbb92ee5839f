/* SPDX-License-Identifier: Apache-2.0
 *
 * Byte-pair encoding as the BPE model of the tokenizers package does it: characters become tokens (or bytes, or the
 * unknown token), then the neighbours with the merge of lowest rank join, the leftmost first, until none can.
 */
#ifndef CORE_BPE_H
#define CORE_BPE_H

#include "text/engine/merging.h"
#include "text/engine/reader.h"
#include "text/engine/vocabulary.h"
#include "text/tokenizer.h"
#include <jansson.h>

#define CORE_BPE_DIRECT 1024 /* characters whose id stands in a table */

typedef struct core_merge {
    uint64_t pair; /* left << 32 | right; UINT64_MAX = empty slot */
    uint32_t rank;
    int32_t made;
} core_merge;

/* Zero-initialise; free with core_bpe_free. */
typedef struct core_bpe {
    core_vocabulary vocabulary;
    core_merge *merges; /* open hashing; NULL before loading */
    uint64_t merge_mask;
    uint32_t merge_count;
    uint64_t *joints; /* bits: hashes of (last character of a left side, first character of its right side) */
    int32_t direct[CORE_BPE_DIRECT];
    int32_t bytes[256]; /* ids of <0x00> .. <0xFF>, -1 where absent */
    int32_t unknown;    /* -1 without one */
    bool fuse_unknown, byte_fallback, ignore_merges;
} core_bpe;

/* Reads the `model` object of a tokenizer.json whose vocab and merges stand apart. `name` is the file. Errors:
 * MORE_ERROR_CORRUPT, MORE_ERROR_UNSUPPORTED (another model type, dropout, subword prefixes and suffixes). */
more_status core_bpe_load(json_t *model, core_span vocab, core_span merges, const char *name, core_bpe *bpe,
                          more_error *error);
void core_bpe_free(core_bpe *bpe);

/* Appends the ids of one piece of valid UTF-8; `merging` is working memory. O(n log n) in its length. Fails when out of
 * memory. [any-thread] */
more_status core_bpe_encode(const core_bpe *bpe, const char *piece, size_t size, core_merging *merging, core_ids *ids,
                            more_error *error);

#endif
