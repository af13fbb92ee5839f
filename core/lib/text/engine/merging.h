/* SPDX-License-Identifier: Apache-2.0
 *
 * The merging of byte-pair encoding: of all neighbours those of lowest rank join, the leftmost first, until none can.
 * What a rank is, the model says.
 */
#ifndef CORE_MERGING_H
#define CORE_MERGING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CORE_NO_RANK UINT32_MAX
#define CORE_NO_SYMBOL UINT32_MAX

/* One token, in a list; `rank` and `made` belong to the merge with its successor. A symbol that was merged into its
 * predecessor has id -1. */
typedef struct core_symbol {
    int32_t id, made;
    uint32_t rank, previous, next;
} core_symbol;

/* The symbols of one text, and working memory that the next text uses again. Zero-initialise; free with
 * core_merging_free. */
typedef struct core_merging {
    core_symbol *symbols;
    uint64_t *heap;
    size_t count, capacity, heap_count, heap_capacity;
    bool failed; /* out of memory */
} core_merging;

/* Where the symbol `at` joins its successor, which is there: sets rank and made, which are CORE_NO_RANK and -1. */
typedef void (*core_merging_rate)(void *context, core_symbol *symbols, uint32_t at);

/* Appends a symbol; id >= 0. */
void core_merging_add(core_merging *merging, int32_t id);
/* Merges what was added, count > 0: from symbol 0 on the list then holds what is left. O(n log n). */
void core_merging_run(core_merging *merging, core_merging_rate rate, void *context);
void core_merging_free(core_merging *merging);

#endif
