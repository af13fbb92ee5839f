/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/bpe.h"

#include "text/engine/bpe_table.h"
#include "text/engine/utf8.h"
#include <stdlib.h>
#include <string.h>

#define SHORT 32 /* up to so many symbols, looking for the least rank each time beats a heap */
#define NO_RANK UINT32_MAX
#define NONE UINT32_MAX

/* One token of the piece, in a list; `rank` and `made` belong to the merge with its successor. A symbol that was merged
 * into its predecessor has id -1. */
typedef struct core_symbol {
    int32_t id, made;
    uint32_t rank, previous, next;
} core_symbol;

/* The symbols of a stretch of the piece across whose ends no merge reaches. */
typedef struct stretch {
    const core_bpe *bpe;
    core_bpe_scratch *scratch;
    core_ids *ids;
    size_t count, heap_count;
    bool failed;
} stretch;

void core_bpe_scratch_free(core_bpe_scratch *scratch)
{
    free(scratch->symbols);
    free(scratch->heap);
    *scratch = (core_bpe_scratch){0};
}

static void add_symbol(stretch *s, int32_t id)
{
    core_bpe_scratch *scratch = s->scratch;
    if (s->count == scratch->capacity) {
        size_t capacity = scratch->capacity ? scratch->capacity * 2 : 256;
        core_symbol *symbols = capacity < NONE ? realloc(scratch->symbols, capacity * sizeof *symbols) : NULL;
        if (!symbols) {
            s->failed = true;
            return;
        }
        scratch->symbols = symbols;
        scratch->capacity = capacity;
    }
    scratch->symbols[s->count++].id = id;
}

static void rate(const core_bpe *bpe, core_symbol *symbols, uint32_t at)
{
    core_symbol *symbol = &symbols[at];
    const core_merge *merge = symbol->next == NONE ? NULL : core_merge_find(bpe, symbol->id, symbols[symbol->next].id);
    symbol->rank = merge ? merge->rank : NO_RANK;
    symbol->made = merge ? merge->made : -1;
}

/* Merges the symbol at `at` with its successor and rates the pairs around it anew. */
static void join(const core_bpe *bpe, core_symbol *symbols, uint32_t at)
{
    core_symbol *left = &symbols[at], *right = &symbols[left->next];
    left->id = left->made;
    right->id = -1;
    left->next = right->next;
    if (left->next != NONE)
        symbols[left->next].previous = at;
    rate(bpe, symbols, at);
    if (left->previous != NONE)
        rate(bpe, symbols, left->previous);
}

static void merge_short(stretch *s)
{
    core_symbol *symbols = s->scratch->symbols;
    for (;;) {
        uint32_t best = NO_RANK, where = 0;
        for (uint32_t at = 0; at != NONE; at = symbols[at].next) {
            if (symbols[at].rank < best) {
                best = symbols[at].rank;
                where = at;
            }
        }
        if (best == NO_RANK)
            return;
        join(s->bpe, symbols, where);
    }
}

/* A binary heap of rank << 32 | position, least first. An entry is out of date when the symbol's rank is another. */
static void heap_push(stretch *s, uint64_t entry)
{
    core_bpe_scratch *scratch = s->scratch;
    if (s->heap_count == scratch->heap_capacity) {
        size_t capacity = scratch->heap_capacity ? scratch->heap_capacity * 2 : 256;
        uint64_t *heap = realloc(scratch->heap, capacity * sizeof *heap);
        if (!heap) {
            s->failed = true;
            return;
        }
        scratch->heap = heap;
        scratch->heap_capacity = capacity;
    }
    size_t at = s->heap_count++;
    for (; at && scratch->heap[(at - 1) / 2] > entry; at = (at - 1) / 2)
        scratch->heap[at] = scratch->heap[(at - 1) / 2];
    scratch->heap[at] = entry;
}

static uint64_t heap_pop(stretch *s)
{
    uint64_t *heap = s->scratch->heap, least = heap[0], moved = heap[--s->heap_count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < s->heap_count) {
        if (child + 1 < s->heap_count && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= moved)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
    return least;
}

static void push_rated(stretch *s, uint32_t at)
{
    if (at != NONE && s->scratch->symbols[at].rank != NO_RANK)
        heap_push(s, (uint64_t)s->scratch->symbols[at].rank << 32 | at);
}

static void merge_long(stretch *s)
{
    core_symbol *symbols = s->scratch->symbols;
    s->heap_count = 0;
    for (uint32_t at = 0; at < s->count; at++)
        push_rated(s, at);
    while (s->heap_count && !s->failed) {
        uint64_t entry = heap_pop(s);
        uint32_t at = (uint32_t)entry;
        if (symbols[at].id < 0 || symbols[at].rank != entry >> 32)
            continue;
        join(s->bpe, symbols, at);
        push_rated(s, at);
        push_rated(s, symbols[at].previous);
    }
}

/* Merges what the stretch holds, appends its ids and empties it. */
static void finish(stretch *s)
{
    core_symbol *symbols = s->scratch->symbols;
    if (s->count == 1)
        core_ids_push(s->ids, symbols[0].id);
    if (s->count > 1) {
        for (uint32_t at = 0; at < s->count; at++) {
            symbols[at].previous = at ? at - 1 : NONE;
            symbols[at].next = at + 1 < s->count ? at + 1 : NONE;
            symbols[at].rank = NO_RANK;
        }
        for (uint32_t at = 0; at < s->count; at++)
            rate(s->bpe, symbols, at);
        if (s->count <= SHORT)
            merge_short(s);
        else
            merge_long(s);
        for (uint32_t at = 0; at != NONE; at = symbols[at].next)
            core_ids_push(s->ids, symbols[at].id);
    }
    s->count = 0;
}

/* The bytes of a character that is no token; false when one of them is no token either. */
static bool add_bytes(stretch *s, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (s->bpe->bytes[(unsigned char)bytes[i]] < 0)
            return false;
    for (size_t i = 0; i < size; i++)
        add_symbol(s, s->bpe->bytes[(unsigned char)bytes[i]]);
    return true;
}

static int32_t character_id(const core_bpe *bpe, const char *bytes, size_t size, uint32_t code)
{
    return code < CORE_BPE_DIRECT ? bpe->direct[code] : core_vocabulary_find(&bpe->vocabulary, bytes, size);
}

/* The unknown token waits until a known character comes, so that a run of them can be one; as in the package, bytes
 * that come in between do not end the run. */
static void add_characters(stretch *s, const char *piece, size_t size)
{
    const core_bpe *bpe = s->bpe;
    uint32_t code, before = 0;
    bool waiting = false, joinable = true;
    for (size_t at = 0, length; at < size && !s->failed; at += length) {
        core_utf8_next(piece + at, size - at, &length, &code);
        int32_t id = character_id(bpe, piece + at, length, code);
        if (id >= 0) {
            if (waiting)
                add_symbol(s, bpe->unknown);
            else if (!joinable && s->count && !core_joint_may(bpe->joints, before, code))
                finish(s);
            waiting = false;
            add_symbol(s, id);
            before = code;
            joinable = false;
            continue;
        }
        joinable = true;
        if (bpe->byte_fallback && add_bytes(s, piece + at, length))
            continue;
        if (bpe->unknown >= 0) {
            if (waiting && !bpe->fuse_unknown)
                add_symbol(s, bpe->unknown);
            waiting = true;
        }
    }
    if (waiting)
        add_symbol(s, bpe->unknown);
}

more_status core_bpe_encode(const core_bpe *bpe, const char *piece, size_t size, core_bpe_scratch *scratch,
                            core_ids *ids, more_error *error)
{
    if (bpe->ignore_merges) {
        int32_t whole = core_vocabulary_find(&bpe->vocabulary, piece, size);
        if (whole >= 0) {
            core_ids_push(ids, whole);
            return MORE_OK;
        }
    }
    stretch s = {.bpe = bpe, .scratch = scratch, .ids = ids};
    add_characters(&s, piece, size);
    finish(&s);
    if (s.failed || ids->failed)
        return more_fail(error, MORE_ERROR_MEMORY, "tokenizer: out of memory at a piece of %zu bytes", size);
    return MORE_OK;
}
