/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/bpe.h"

#include "text/engine/bpe_table.h"
#include "text/engine/utf8.h"
#include <stdlib.h>
#include <string.h>

#define SHOWN(size) ((int)((size) > 60 ? 60 : (size))) /* bytes of a token that a message shows */

typedef struct loading {
    core_bpe *bpe;
    const char *name;
    core_buffer joined; /* left + right of the merge at hand */
    uint32_t rank;
} loading;

static more_status out_of_memory(const char *name, more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", name);
}

static more_status take_token(void *context, const char *text, size_t size, int64_t id, more_error *error)
{
    loading *l = context;
    if (id >= CORE_VOCABULARY_LIMIT)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: model.vocab: id %lld of '%.*s' is above %d", l->name,
                         (long long)id, SHOWN(size), text, CORE_VOCABULARY_LIMIT - 1);
    return core_vocabulary_set(&l->bpe->vocabulary, text, size, (int32_t)id) ? MORE_OK : out_of_memory(l->name, error);
}

static bool grow_merges(core_bpe *bpe, uint64_t count)
{
    core_merge *merges = malloc(count * sizeof *merges);
    if (!merges)
        return false;
    memset(merges, 0xFF, count * sizeof *merges);
    for (uint64_t i = 0; bpe->merges && i <= bpe->merge_mask; i++) {
        if (bpe->merges[i].pair == CORE_NO_PAIR)
            continue;
        uint64_t at = core_merge_hash(bpe->merges[i].pair) & (count - 1);
        while (merges[at].pair != CORE_NO_PAIR)
            at = (at + 1) & (count - 1);
        merges[at] = bpe->merges[i];
    }
    free(bpe->merges);
    bpe->merges = merges;
    bpe->merge_mask = count - 1;
    return true;
}

/* Of two merges of one pair the later counts, as in the package. */
static bool put_merge(core_bpe *bpe, core_merge merge)
{
    if (bpe->merge_count * UINT64_C(3) >= (bpe->merge_mask + 1) * 2 && !grow_merges(bpe, (bpe->merge_mask + 1) * 2))
        return false;
    uint64_t at = core_merge_hash(merge.pair) & bpe->merge_mask;
    while (bpe->merges[at].pair != CORE_NO_PAIR && bpe->merges[at].pair != merge.pair)
        at = (at + 1) & bpe->merge_mask;
    bpe->merge_count += bpe->merges[at].pair == CORE_NO_PAIR;
    bpe->merges[at] = merge;
    return true;
}

/* Room for the merges of a text of so many bytes, at the 16 or more that one takes in most files. */
static bool reserve_merges(core_bpe *bpe, size_t size)
{
    uint64_t count = 64;
    while (count * 16 < size)
        count *= 2;
    return grow_merges(bpe, count);
}

static more_status take_merge(void *context, const char *left, size_t left_size, const char *right, size_t right_size,
                              more_error *error)
{
    loading *l = context;
    core_bpe *bpe = l->bpe;
    core_buffer_clear(&l->joined);
    core_buffer_append(&l->joined, left, left_size);
    core_buffer_append(&l->joined, right, right_size);
    if (l->joined.failed)
        return out_of_memory(l->name, error);
    int32_t a = core_vocabulary_find(&bpe->vocabulary, left, left_size);
    int32_t b = core_vocabulary_find(&bpe->vocabulary, right, right_size);
    int32_t made =
        left_size && right_size ? core_vocabulary_find(&bpe->vocabulary, l->joined.data, l->joined.size) : -1;
    if (a < 0 || b < 0 || made < 0)
        return more_fail(
            error, MORE_ERROR_CORRUPT,
            "%s: model.merges: number %u ('%.*s' and '%.*s') has a side or a result that model.vocab lacks", l->name,
            l->rank, SHOWN(left_size), left, SHOWN(right_size), right);
    uint32_t last, first;
    size_t length;
    core_utf8_last(left, left_size, &last);
    core_utf8_next(right, right_size, &length, &first);
    core_joint_add(bpe->joints, last, first);
    core_merge merge = {(uint64_t)a << 32 | (uint64_t)b, l->rank++, made};
    return put_merge(bpe, merge) ? MORE_OK : out_of_memory(l->name, error);
}

static void fill_tables(core_bpe *bpe)
{
    core_buffer character = {0};
    for (uint32_t code = 0; code < CORE_BPE_DIRECT; code++) {
        core_buffer_clear(&character);
        core_utf8_append(&character, code);
        bpe->direct[code] =
            character.failed ? -1 : core_vocabulary_find(&bpe->vocabulary, character.data, character.size);
    }
    core_buffer_free(&character);
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        int size = snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
        bpe->bytes[byte] = core_vocabulary_find(&bpe->vocabulary, text, (size_t)size);
    }
}

static more_status read_flag(json_t *model, const char *key, const char *name, bool *flag, more_error *error)
{
    json_t *value = json_object_get(model, key);
    *flag = json_is_true(value);
    if (!value || json_is_boolean(value) || json_is_null(value))
        return MORE_OK;
    return more_fail(error, MORE_ERROR_CORRUPT, "%s: model.%s must be true or false", name, key);
}

/* What the BPE model of the package also has and no model of this field uses. */
static more_status refuse_foreign(json_t *model, const char *name, more_error *error)
{
    static const char *const texts[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    json_t *type = json_object_get(model, "type");
    if (type && (!json_is_string(type) || strcmp(json_string_value(type), "BPE")))
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: model.type '%.60s' is not supported; BPE is", name,
                         json_is_string(type) ? json_string_value(type) : "(not a string)");
    json_t *dropout = json_object_get(model, "dropout");
    if (dropout && !json_is_null(dropout) && !(json_is_number(dropout) && json_number_value(dropout) == 0))
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s: model.dropout makes ids random and is not supported; set "
                         "it to null",
                         name);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json_t *value = json_object_get(model, texts[i]);
        if (value && !json_is_null(value) && !(json_is_string(value) && !json_string_length(value)))
            return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: model.%s is not supported; only null and \"\" are",
                             name, texts[i]);
    }
    return MORE_OK;
}

static more_status read_unknown(json_t *model, const char *name, core_bpe *bpe, more_error *error)
{
    json_t *value = json_object_get(model, "unk_token");
    bpe->unknown = -1;
    if (!value || json_is_null(value))
        return MORE_OK;
    if (!json_is_string(value))
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: model.unk_token must be a string or null", name);
    bpe->unknown = core_vocabulary_find(&bpe->vocabulary, json_string_value(value), json_string_length(value));
    if (bpe->unknown < 0)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: model.unk_token '%.60s' is not in model.vocab", name,
                         json_string_value(value));
    return MORE_OK;
}

more_status core_bpe_load(json_t *model, core_span vocab, core_span merges, const char *name, core_bpe *bpe,
                          more_error *error)
{
    loading l = {.bpe = bpe, .name = name};
    more_status status = refuse_foreign(model, name, error);
    if (status == MORE_OK && (!vocab.data || !merges.data))
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: model.%s is missing or has the wrong type", name,
                           vocab.data ? "merges" : "vocab");
    if (status == MORE_OK && !(bpe->joints = calloc((size_t)1 << (CORE_JOINT_BITS - 6), sizeof *bpe->joints)))
        status = out_of_memory(name, error);
    if (status == MORE_OK && !reserve_merges(bpe, merges.size))
        status = out_of_memory(name, error);
    if (status == MORE_OK)
        status = core_reader_vocab(vocab, name, take_token, &l, error);
    if (status == MORE_OK)
        status = core_reader_merges(merges, name, take_merge, &l, error);
    core_buffer_free(&l.joined);
    if (status == MORE_OK)
        status = read_unknown(model, name, bpe, error);
    if (status == MORE_OK)
        status = read_flag(model, "fuse_unk", name, &bpe->fuse_unknown, error);
    if (status == MORE_OK)
        status = read_flag(model, "byte_fallback", name, &bpe->byte_fallback, error);
    if (status == MORE_OK)
        status = read_flag(model, "ignore_merges", name, &bpe->ignore_merges, error);
    if (status == MORE_OK)
        fill_tables(bpe);
    return status;
}

void core_bpe_free(core_bpe *bpe)
{
    core_vocabulary_free(&bpe->vocabulary);
    free(bpe->merges);
    free(bpe->joints);
    *bpe = (core_bpe){0};
}
