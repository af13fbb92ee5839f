/* SPDX-License-Identifier: Apache-2.0
 *
 * Token texts and their ids, both ways: texts in one arena, ids by open hashing.
 */
#ifndef CORE_VOCABULARY_H
#define CORE_VOCABULARY_H

#include "base/buffer.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CORE_VOCABULARY_LIMIT (1 << 24) /* ids that we agree to index */

typedef struct core_piece_text {
    uint32_t offset, size; /* in the arena; offset UINT32_MAX: no token */
} core_piece_text;

/* Zero-initialise; free with core_vocabulary_free. */
typedef struct core_vocabulary {
    core_buffer arena;
    core_piece_text *pieces; /* by id */
    int32_t size, capacity;  /* size: largest id + 1 */
    struct core_vocabulary_slot {
        uint32_t hash;
        core_piece_text text; /* offset UINT32_MAX: empty */
        int32_t id;
    } * slots; /* one a distinct text */
    uint32_t slot_mask, entry_count;
} core_vocabulary;

/* The text gets this id, also when it had another. Fails (false) when out of memory; 0 <= id < CORE_VOCABULARY_LIMIT.
 */
bool core_vocabulary_set(core_vocabulary *vocabulary, const char *text, size_t size, int32_t id);
/* Id of a text, -1 when there is none. [any-thread] */
int32_t core_vocabulary_find(const core_vocabulary *vocabulary, const char *text, size_t size);
/* Text of an id and its size; NULL when there is none. [any-thread] */
const char *core_vocabulary_piece(const core_vocabulary *vocabulary, int32_t id, size_t *size);
void core_vocabulary_free(core_vocabulary *vocabulary);

#endif
