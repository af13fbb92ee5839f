/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/bpe.h"

#include "text/engine/bpe_table.h"
#include "text/engine/utf8.h"

/* The symbols of a stretch of the piece across whose ends no merge reaches. */
typedef struct stretch {
    const core_bpe *bpe;
    core_merging *merging;
    core_ids *ids;
} stretch;

static void rate(void *context, core_symbol *symbols, uint32_t at)
{
    const stretch *s = context;
    core_symbol *symbol = &symbols[at];
    const core_merge *merge = core_merge_find(s->bpe, symbol->id, symbols[symbol->next].id);
    if (merge) {
        symbol->rank = merge->rank;
        symbol->made = merge->made;
    }
}

/* Merges what the stretch holds, appends its ids and empties it. */
static void finish(stretch *s)
{
    core_merging *m = s->merging;
    if (m->count == 1)
        core_ids_push(s->ids, m->symbols[0].id);
    if (m->count > 1) {
        core_merging_run(m, rate, s);
        for (uint32_t at = 0; at != CORE_NO_SYMBOL; at = m->symbols[at].next)
            core_ids_push(s->ids, m->symbols[at].id);
    }
    m->count = 0;
}

/* The bytes of a character that is no token; false when one of them is no token either. */
static bool add_bytes(stretch *s, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (s->bpe->bytes[(unsigned char)bytes[i]] < 0)
            return false;
    for (size_t i = 0; i < size; i++)
        core_merging_add(s->merging, s->bpe->bytes[(unsigned char)bytes[i]]);
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
    for (size_t at = 0, length; at < size && !s->merging->failed; at += length) {
        core_utf8_next(piece + at, size - at, &length, &code);
        int32_t id = character_id(bpe, piece + at, length, code);
        if (id >= 0) {
            if (waiting)
                core_merging_add(s->merging, bpe->unknown);
            else if (!joinable && s->merging->count && !core_joint_may(bpe->joints, before, code))
                finish(s);
            waiting = false;
            core_merging_add(s->merging, id);
            before = code;
            joinable = false;
            continue;
        }
        joinable = true;
        if (bpe->byte_fallback && add_bytes(s, piece + at, length))
            continue;
        if (bpe->unknown >= 0) {
            if (waiting && !bpe->fuse_unknown)
                core_merging_add(s->merging, bpe->unknown);
            waiting = true;
        }
    }
    if (waiting)
        core_merging_add(s->merging, bpe->unknown);
}

more_status core_bpe_encode(const core_bpe *bpe, const char *piece, size_t size, core_merging *merging, core_ids *ids,
                            more_error *error)
{
    if (bpe->ignore_merges) {
        int32_t whole = core_vocabulary_find(&bpe->vocabulary, piece, size);
        if (whole >= 0) {
            core_ids_push(ids, whole);
            return MORE_OK;
        }
    }
    stretch s = {.bpe = bpe, .merging = merging, .ids = ids};
    merging->count = 0;
    add_characters(&s, piece, size);
    finish(&s);
    if (merging->failed || ids->failed)
        return more_fail(error, MORE_ERROR_MEMORY, "tokenizer: out of memory at a piece of %zu bytes", size);
    return MORE_OK;
}
