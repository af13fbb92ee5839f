/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/utf8.h"
#include "text/sentencepiece/model.h"
#include <stdlib.h>
#include <string.h>

#define UNKNOWN_PENALTY 10.0f /* below the least score of a piece */

/* One normalised text on its way to ids. */
typedef struct encoding {
    const core_sentencepiece *model;
    const char *text;
    size_t size;
    core_ids *ids;
    bool after_unknown, failed;
    core_merging *merging;
    uint32_t
        *starts; /* BPE, by symbol: offset in the text, plus 1 << 31 when it is user-defined; one more at the end */
    uint32_t *splits; /* by id of an unused piece: bytes of the left part that last could have made it */
} encoding;

#define USER_DEFINED (1u << 31)

/* A piece of the text, as ids: bytes for what is unknown, else one unknown piece for a run. */
static void give(encoding *e, size_t start, size_t end, int32_t id)
{
    bool unknown = id == e->model->unknown;
    if (unknown && e->model->byte_fallback)
        for (size_t i = start; i < end; i++)
            core_ids_push(e->ids, e->model->bytes[(unsigned char)e->text[i]]);
    else if (!unknown || !e->after_unknown)
        core_ids_push(e->ids, id);
    e->after_unknown = unknown;
}

/* ---- BPE -------------------------------------------------------------------------------------------------------- */

static uint32_t start_of(const encoding *e, uint32_t symbol)
{
    return e->starts[symbol] & ~USER_DEFINED;
}

static uint32_t end_of(const encoding *e, uint32_t symbol)
{
    uint32_t next = e->merging->symbols[symbol].next;
    return next == CORE_NO_SYMBOL ? (uint32_t)e->size : start_of(e, next);
}

static void rate(void *context, core_symbol *symbols, uint32_t at)
{
    encoding *e = context;
    const core_sentencepiece *model = e->model;
    uint32_t next = symbols[at].next;
    if ((e->starts[at] | e->starts[next]) & USER_DEFINED)
        return;
    uint32_t start = start_of(e, at);
    int32_t id = core_vocabulary_find(&model->vocabulary, e->text + start, end_of(e, next) - start);
    if (id < 0 || (model->types[id] != CORE_PIECE_NORMAL && model->types[id] != CORE_PIECE_USER_DEFINED &&
                   model->types[id] != CORE_PIECE_UNUSED))
        return;
    symbols[at].rank = model->ranks[id];
    symbols[at].made = id;
    if (e->splits)
        e->splits[id] = start_of(e, next) - start;
}

/* A symbol that is left. One that became an unused piece is taken apart as it was last put together. */
static void give_symbol(encoding *e, size_t start, size_t end)
{
    const core_sentencepiece *model = e->model;
    size_t *stack = NULL, depth = 0, capacity = 0;
    for (;;) {
        int32_t id = core_vocabulary_find(&model->vocabulary, e->text + start, end - start);
        size_t split = id >= 0 && model->types[id] == CORE_PIECE_UNUSED ? e->splits[id] : 0;
        if (split) {
            if (depth == capacity) {
                capacity = capacity ? capacity * 2 : 64;
                size_t *grown = realloc(stack, capacity * sizeof *grown);
                e->failed |= !grown;
                if (!grown)
                    break;
                stack = grown;
            }
            stack[depth++] = end;
            end = start + split;
            continue;
        }
        give(e, start, end, id < 0 ? model->unknown : id);
        if (!depth)
            break;
        start = end;
        end = stack[--depth];
    }
    free(stack);
}

/* Characters and user-defined pieces are the first symbols. */
static void add_symbols(encoding *e)
{
    uint32_t token, code;
    size_t length;
    for (size_t at = 0; at < e->size; at += length) {
        length = core_trie_match(&e->model->user, e->text + at, e->size - at, &token);
        e->starts[e->merging->count] = (uint32_t)at | (length ? USER_DEFINED : 0);
        if (!length)
            core_utf8_next(e->text + at, e->size - at, &length, &code);
        core_merging_add(e->merging, 0);
        if (e->merging->failed)
            return;
    }
}

static void encode_bpe(encoding *e)
{
    e->merging->count = 0;
    e->starts = malloc(e->size * sizeof *e->starts);
    if (e->model->has_unused)
        e->splits = calloc((size_t)e->model->vocabulary.size, sizeof *e->splits);
    if (!e->starts || (e->model->has_unused && !e->splits))
        e->failed = true;
    else
        add_symbols(e);
    e->failed |= e->merging->failed;
    if (!e->failed) {
        core_merging_run(e->merging, rate, e);
        for (uint32_t at = 0; at != CORE_NO_SYMBOL && !e->failed; at = e->merging->symbols[at].next)
            give_symbol(e, start_of(e, at), end_of(e, at));
    }
    e->failed |= e->merging->failed;
    free(e->starts);
    free(e->splits);
}

/* ---- Unigram ---------------------------------------------------------------------------------------------------- */

/* The best way to a place in the text: its score, and the piece that ends there. */
typedef struct way {
    float score;
    int32_t id; /* -1: no way yet */
    uint32_t start;
} way;

/* Sums in float, and of two equal ones the first, that of the longer last piece: long texts fall out as in the package
 * only with its rounding. */
static void offer(way *to, const way *from, uint32_t start, float score, int32_t id)
{
    float sum = score + from->score;
    if (to->id < 0 || sum > to->score)
        *to = (way){sum, id, start};
}

/* All pieces that begin at `start`, where the first character ends at `next`. A user-defined piece has a score that
 * grows with its bytes, in place of its own (measured on sentencepiece 0.2.3). */
static void go_on(const encoding *e, way *ways, size_t start, size_t next)
{
    const core_sentencepiece *model = e->model;
    bool single = false;
    uint32_t node = 0;
    for (size_t end = start + 1; end <= e->size; end++) {
        node = core_trie_step(&model->words, node, (unsigned char)e->text[end - 1]);
        if (!node)
            break;
        if (!model->words.nodes[node].token)
            continue;
        int32_t id = (int32_t)(model->words.nodes[node].token - 1);
        float score = model->types[id] == CORE_PIECE_USER_DEFINED ? (float)(0.1 * (double)(end - start) - 0.1)
                                                                  : model->scores[id];
        offer(&ways[end], &ways[start], (uint32_t)start, score, id);
        single = single || end == next;
    }
    if (!single)
        offer(&ways[next], &ways[start], (uint32_t)start, model->least - UNKNOWN_PENALTY, model->unknown);
}

static void encode_unigram(encoding *e)
{
    way *ways = malloc((e->size + 1) * sizeof *ways);
    uint32_t code;
    if (!ways) {
        e->failed = true;
        return;
    }
    for (size_t i = 0; i <= e->size; i++)
        ways[i] = (way){0, -1, 0};
    for (size_t at = 0, length; at < e->size; at += length) {
        core_utf8_next(e->text + at, e->size - at, &length, &code);
        go_on(e, ways, at, at + length);
    }
    /* The best way is known from its end: turn it around in place. */
    size_t at = e->size, behind = e->size;
    while (at) {
        size_t start = ways[at].start;
        ways[at].start = (uint32_t)behind;
        behind = at;
        at = start;
    }
    for (size_t start = 0, end = behind; start < e->size; start = end, end = ways[end].start)
        give(e, start, end, ways[end].id);
    free(ways);
}

more_status core_sentencepiece_encode(const core_sentencepiece *model, const char *text, size_t size, bool prefix,
                                      core_merging *merging, core_ids *ids, more_error *error)
{
    core_buffer normal = {0};
    encoding e = {.model = model, .ids = ids, .merging = merging};
    core_sentencepiece_normalize(model, text, size, prefix, &normal);
    e.text = normal.data;
    e.size = normal.size;
    e.failed = normal.failed;
    if (e.size >= USER_DEFINED)
        e.failed = true;
    if (!e.failed && e.size)
        (model->unigram ? encode_unigram : encode_bpe)(&e);
    core_buffer_free(&normal);
    if (e.failed || ids->failed)
        return more_fail(error, MORE_ERROR_MEMORY, "tokenizer: out of memory for a text of %zu bytes", size);
    return MORE_OK;
}
