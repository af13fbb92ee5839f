/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/merging.h"

#include <stdlib.h>

#define SHORT 32 /* up to so many symbols, looking for the least rank each time beats a heap */
#define NONE CORE_NO_SYMBOL

void core_merging_free(core_merging *m)
{
    free(m->symbols);
    free(m->heap);
    *m = (core_merging){0};
}

void core_merging_add(core_merging *m, int32_t id)
{
    if (m->count == m->capacity) {
        size_t capacity = m->capacity ? m->capacity * 2 : 256;
        core_symbol *symbols = capacity < NONE ? realloc(m->symbols, capacity * sizeof *symbols) : NULL;
        if (!symbols) {
            m->failed = true;
            return;
        }
        m->symbols = symbols;
        m->capacity = capacity;
    }
    m->symbols[m->count++].id = id;
}

/* A merging at work. */
typedef struct work {
    core_merging *m;
    core_merging_rate rate;
    void *context;
} work;

static void rate(const work *w, uint32_t at)
{
    core_symbol *symbol = &w->m->symbols[at];
    symbol->rank = CORE_NO_RANK;
    symbol->made = -1;
    if (symbol->next != NONE)
        w->rate(w->context, w->m->symbols, at);
}

/* Merges the symbol at `at` with its successor and rates the pairs around it anew. */
static void join(const work *w, uint32_t at)
{
    core_symbol *symbols = w->m->symbols, *left = &symbols[at], *right = &symbols[left->next];
    left->id = left->made;
    right->id = -1;
    left->next = right->next;
    if (left->next != NONE)
        symbols[left->next].previous = at;
    if (left->previous != NONE)
        rate(w, left->previous);
    rate(w, at);
}

static void merge_short(const work *w)
{
    core_symbol *symbols = w->m->symbols;
    for (;;) {
        uint32_t best = CORE_NO_RANK, where = 0;
        for (uint32_t at = 0; at != NONE; at = symbols[at].next) {
            if (symbols[at].rank < best) {
                best = symbols[at].rank;
                where = at;
            }
        }
        if (best == CORE_NO_RANK)
            return;
        join(w, where);
    }
}

/* A binary heap of rank << 32 | position, least first. An entry is out of date when the symbol's rank is another. */
static void heap_push(core_merging *m, uint64_t entry)
{
    if (m->heap_count == m->heap_capacity) {
        size_t capacity = m->heap_capacity ? m->heap_capacity * 2 : 256;
        uint64_t *heap = realloc(m->heap, capacity * sizeof *heap);
        if (!heap) {
            m->failed = true;
            return;
        }
        m->heap = heap;
        m->heap_capacity = capacity;
    }
    size_t at = m->heap_count++;
    for (; at && m->heap[(at - 1) / 2] > entry; at = (at - 1) / 2)
        m->heap[at] = m->heap[(at - 1) / 2];
    m->heap[at] = entry;
}

static uint64_t heap_pop(core_merging *m)
{
    uint64_t *heap = m->heap, least = heap[0], moved = heap[--m->heap_count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < m->heap_count) {
        if (child + 1 < m->heap_count && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= moved)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
    return least;
}

static void push_rated(core_merging *m, uint32_t at)
{
    if (at != NONE && m->symbols[at].rank != CORE_NO_RANK)
        heap_push(m, (uint64_t)m->symbols[at].rank << 32 | at);
}

static void merge_long(const work *w)
{
    core_merging *m = w->m;
    m->heap_count = 0;
    for (uint32_t at = 0; at < m->count; at++)
        push_rated(m, at);
    while (m->heap_count && !m->failed) {
        uint64_t entry = heap_pop(m);
        uint32_t at = (uint32_t)entry;
        if (m->symbols[at].id < 0 || m->symbols[at].rank != entry >> 32)
            continue;
        join(w, at);
        push_rated(m, at);
        push_rated(m, m->symbols[at].previous);
    }
}

void core_merging_run(core_merging *m, core_merging_rate function, void *context)
{
    work w = {m, function, context};
    for (uint32_t at = 0; at < m->count; at++) {
        m->symbols[at].previous = at ? at - 1 : NONE;
        m->symbols[at].next = at + 1 < m->count ? at + 1 : NONE;
    }
    for (uint32_t at = 0; at < m->count; at++)
        rate(&w, at);
    if (m->count <= SHORT)
        merge_short(&w);
    else
        merge_long(&w);
}
