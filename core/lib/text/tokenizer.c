/* SPDX-License-Identifier: Apache-2.0 */
#include "text/tokenizer_data.h"

#include "text/decoding.h"
#include "text/engine/utf8.h"
#include <stdlib.h>
#include <string.h>

void core_ids_append(core_ids *ids, const int32_t *more, size_t count)
{
    if (count > SIZE_MAX / 8 - ids->count) {
        ids->failed = true;
        return;
    }
    if (ids->count + count > ids->capacity) {
        size_t capacity = ids->capacity ? ids->capacity : 64;
        while (capacity < ids->count + count)
            capacity *= 2;
        int32_t *data = realloc(ids->data, capacity * sizeof *data);
        if (!data) {
            ids->failed = true;
            return;
        }
        ids->data = data;
        ids->capacity = capacity;
    }
    if (count)
        memcpy(ids->data + ids->count, more, count * sizeof *more);
    ids->count += count;
}

void core_ids_push(core_ids *ids, int32_t id)
{
    if (ids->count < ids->capacity)
        ids->data[ids->count++] = id;
    else
        core_ids_append(ids, &id, 1);
}

void core_ids_free(core_ids *ids)
{
    free(ids->data);
    *ids = (core_ids){0};
}

void core_tokenizer_destroy(core_tokenizer *t)
{
    if (!t)
        return;
    core_added_free(&t->added);
    core_normalizer_free(&t->normalizer);
    core_pretokenizer_free(&t->pretokenizer);
    core_bpe_free(&t->model);
    core_postprocessor_free(&t->post);
    core_decoder_free(&t->decoder);
    if (t->pieces)
        core_sentencepiece_free(t->pieces);
    free(t->pieces);
    free(t);
}

/* The ids of a part of the text between added tokens. */
static more_status encode_part(const core_tokenizer *t, const core_pieces *pieces, const core_piece *piece,
                               core_merging *merging, core_ids *ids, more_error *error)
{
    const char *text = pieces->text.data + piece->offset;
    if (!t->pieces)
        return core_bpe_encode(&t->model, text, piece->size, merging, ids, error);
    return core_sentencepiece_encode(t->pieces, text, piece->size, piece->first || !t->prefix_once, merging, ids,
                                     error);
}

/* The ids of valid UTF-8. */
static more_status encode_text(const core_tokenizer *t, const char *text, size_t size, core_ids *ids, more_error *error)
{
    core_pieces pieces = {0};
    core_merging merging = {0};
    more_status status = core_added_extract(&t->added, &t->normalizer, text, size, &pieces, error);
    if (status == MORE_OK)
        status = core_pretokenizer_apply(&t->pretokenizer, &pieces, error);
    for (size_t i = 0; i < pieces.count && status == MORE_OK; i++) {
        const core_piece *piece = &pieces.items[i];
        if (piece->id >= 0)
            core_ids_push(ids, piece->id);
        else
            status = encode_part(t, &pieces, piece, &merging, ids, error);
    }
    core_merging_free(&merging);
    core_pieces_free(&pieces);
    return status;
}

more_status core_tokenizer_encode(const core_tokenizer *t, const char *text, size_t size, int flags, core_ids *ids,
                                  more_error *error)
{
    core_buffer whole = {0};
    size_t good = core_utf8_check(text, size);
    if (good < size && flags & CORE_ENCODE_STRICT)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "text is not UTF-8: byte 0x%02X at offset %zu; convert it to UTF-8",
                         (unsigned)(unsigned char)text[good], good);
    if (good < size) {
        core_utf8_lossy(text, size, &whole);
        text = whole.data;
        size = whole.size;
    }
    if (flags & CORE_ENCODE_SPECIAL)
        core_ids_append(ids, t->post.before.data, t->post.before.count);
    more_status status = whole.failed ? MORE_ERROR_MEMORY : encode_text(t, text, size, ids, error);
    if (flags & CORE_ENCODE_SPECIAL)
        core_ids_append(ids, t->post.behind.data, t->post.behind.count);
    if (whole.failed || (status == MORE_OK && ids->failed))
        status = more_fail(error, MORE_ERROR_MEMORY, "tokenizer: out of memory for a text of %zu bytes", size);
    core_buffer_free(&whole);
    return status;
}

core_decoding *core_tokenizer_decoding(const core_tokenizer *t)
{
    return core_decoding_create(&t->decoder);
}

more_status core_tokenizer_push(const core_tokenizer *t, core_decoding *decoding, int32_t id, bool skip_special,
                                core_buffer *text, more_error *error)
{
    size_t size;
    const char *piece = core_tokenizer_piece(t, id, &size);
    if (!piece || (skip_special && core_tokenizer_is_special(t, id)))
        return MORE_OK;
    if (t->pieces && id < t->pieces->vocabulary.size && !core_added_find(&t->added, id)) {
        if (t->pieces->types[id] == CORE_PIECE_CONTROL)
            return MORE_OK;
        if (t->pieces->types[id] == CORE_PIECE_UNKNOWN) {
            piece = t->pieces->unknown_surface.data;
            size = t->pieces->unknown_surface.size;
        }
    }
    return core_decoding_push(decoding, piece, size, text, error);
}

more_status core_tokenizer_decode(const core_tokenizer *t, const int32_t *ids, size_t count, bool skip_special,
                                  core_buffer *text, more_error *error)
{
    core_decoding *decoding = core_tokenizer_decoding(t);
    more_status status = decoding ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "tokenizer: out of memory");
    for (size_t i = 0; i < count && status == MORE_OK; i++)
        status = core_tokenizer_push(t, decoding, ids[i], skip_special, text, error);
    if (status == MORE_OK)
        status = core_decoding_finish(decoding, text, error);
    core_decoding_destroy(decoding);
    return status;
}

int32_t core_tokenizer_size(const core_tokenizer *t)
{
    int32_t model = core_tokenizer_vocabulary(t)->size, added = t->added.vocabulary.size;
    return model > added ? model : added;
}

int32_t core_tokenizer_id(const core_tokenizer *t, const char *token)
{
    int32_t id = core_vocabulary_find(&t->added.vocabulary, token, strlen(token));
    return id >= 0 ? id : core_vocabulary_find(core_tokenizer_vocabulary(t), token, strlen(token));
}

const char *core_tokenizer_piece(const core_tokenizer *t, int32_t id, size_t *size)
{
    size_t length = 0;
    const char *piece = core_vocabulary_piece(&t->added.vocabulary, id, &length);
    if (!piece)
        piece = core_vocabulary_piece(core_tokenizer_vocabulary(t), id, &length);
    if (size)
        *size = length;
    return piece;
}

bool core_tokenizer_is_special(const core_tokenizer *t, int32_t id)
{
    const core_added_token *token = core_added_find(&t->added, id);
    return token && token->special;
}

int32_t core_tokenizer_bos(const core_tokenizer *t)
{
    return t->bos;
}

int32_t core_tokenizer_eos(const core_tokenizer *t)
{
    return t->eos;
}

bool core_tokenizer_adds_bos(const core_tokenizer *t)
{
    return t->post.before.count && t->post.before.data[0] == t->bos;
}
