/* SPDX-License-Identifier: Apache-2.0 */
#include "text/tokenizer.h"

#include "base/file.h"
#include "base/json.h"
#include "text/decoding.h"
#include "text/engine/added.h"
#include "text/engine/bpe.h"
#include "text/engine/decoder.h"
#include "text/engine/normalizer.h"
#include "text/engine/postprocessor.h"
#include "text/engine/pretokenizer.h"
#include "text/engine/utf8.h"
#include <stdlib.h>
#include <string.h>

/* Constant after loading, so that threads share it. */
struct core_tokenizer {
    core_added added;
    core_normalizer normalizer;
    core_pretokenizer pretokenizer;
    core_bpe model;
    core_postprocessor post;
    core_decoder decoder;
    int32_t bos, eos;
};

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

static more_status load_parts(core_tokenizer *t, json_t *json, core_span vocab, core_span merges, const char *name,
                              more_error *error)
{
    json_t *model = json_object_get(json, "model");
    if (!json_is_object(model))
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: has no 'model' object; is it a tokenizer.json?", name);
    more_status status = core_bpe_load(model, vocab, merges, name, &t->model, error);
    if (status == MORE_OK)
        status = core_normalizer_load(json_object_get(json, "normalizer"), name, &t->normalizer, error);
    if (status == MORE_OK)
        status = core_pretokenizer_load(json_object_get(json, "pre_tokenizer"), name, &t->pretokenizer, error);
    if (status == MORE_OK)
        status = core_postprocessor_load(json_object_get(json, "post_processor"), name, &t->post, error);
    if (status == MORE_OK)
        status = core_decoder_load(json_object_get(json, "decoder"), name, &t->decoder, error);
    if (status == MORE_OK)
        status = core_added_load(json_object_get(json, "added_tokens"), name, &t->model.vocabulary, &t->normalizer,
                                 &t->added, error);
    if (status == MORE_OK && t->post.before.count)
        t->bos = t->post.before.data[0];
    return status;
}

more_status core_tokenizer_parse(const char *text, size_t size, const char *name, core_tokenizer **tokenizer,
                                 more_error *error)
{
    core_buffer rest = {0};
    core_span vocab, merges;
    json_t *json = NULL;
    *tokenizer = NULL;
    core_tokenizer *t = calloc(1, sizeof *t);
    if (t)
        core_reader_split(text, size, &vocab, &merges, &rest);
    if (!t || rest.failed) {
        free(t);
        core_buffer_free(&rest);
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", name);
    }
    t->bos = t->eos = -1;
    more_status status = core_json_parse(rest.data ? rest.data : "", rest.size, name, &json, error);
    core_buffer_free(&rest);
    if (status == MORE_OK)
        status = load_parts(t, json, vocab, merges, name, error);
    json_decref(json);
    if (status == MORE_OK)
        *tokenizer = t;
    else
        core_tokenizer_destroy(t);
    return status;
}

/* Id of a token that the configuration names, as a text or as an object with `content`; `absent` when it names none or
 * one that the tokenizer lacks. */
static int32_t configured(const core_tokenizer *t, json_t *config, const char *key, int32_t absent)
{
    json_t *value = json_object_get(config, key);
    if (json_is_object(value))
        value = json_object_get(value, "content");
    int32_t id = json_is_string(value) ? core_tokenizer_id(t, json_string_value(value)) : -1;
    return id < 0 ? absent : id;
}

/* Integers are read as reals, since model_max_length is often 1e30, which is above what jansson takes for an integer.
 */
static more_status load_configuration(const char *path, json_t **config, more_error *error)
{
    core_buffer text = {0};
    json_error_t reason;
    more_status status = core_file_read(path, CORE_JSON_LIMIT, &text, error);
    if (status == MORE_OK)
        *config = json_loadb(text.data, text.size, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &reason);
    core_buffer_free(&text);
    if (status == MORE_OK && !*config)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s:%d:%d: not valid JSON: %s", path, reason.line, reason.column,
                         reason.text);
    return status;
}

static more_status read_configuration(core_tokenizer *t, const char *folder, more_error *error)
{
    json_t *config = NULL;
    more_status status = MORE_OK;
    char *path = core_path_join(folder, "tokenizer_config.json");
    if (!path)
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", folder);
    if (core_file_exists(path)) {
        status = load_configuration(path, &config, error);
        t->bos = configured(t, config, "bos_token", t->bos);
        t->eos = configured(t, config, "eos_token", -1);
        json_decref(config);
    }
    free(path);
    return status;
}

static more_status load_file(const char *file, const char *folder, core_tokenizer **tokenizer, more_error *error)
{
    core_map map = {0};
    more_status status = core_map_open(file, &map, error);
    if (status == MORE_OK && map.size > CORE_JSON_LIMIT)
        status =
            more_fail(error, MORE_ERROR_MEMORY, "%s: is larger than the %zu bytes allowed here", file, CORE_JSON_LIMIT);
    if (status == MORE_OK)
        status = core_tokenizer_parse(map.size ? (const char *)map.data : "", map.size, file, tokenizer, error);
    core_map_close(&map);
    if (status == MORE_OK)
        status = read_configuration(*tokenizer, folder, error);
    if (status != MORE_OK) {
        core_tokenizer_destroy(*tokenizer);
        *tokenizer = NULL;
    }
    return status;
}

more_status core_tokenizer_load(const char *path, core_tokenizer **tokenizer, more_error *error)
{
    bool is_folder = core_folder_exists(path);
    char *folder = is_folder ? strdup(path) : core_path_folder(path);
    char *file = is_folder ? core_path_join(path, "tokenizer.json") : strdup(path);
    *tokenizer = NULL;
    more_status status = folder && file ? load_file(file, folder, tokenizer, error)
                                        : more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", path);
    free(folder);
    free(file);
    return status;
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
    free(t);
}

/* The ids of valid UTF-8. */
static more_status encode_text(const core_tokenizer *t, const char *text, size_t size, core_ids *ids, more_error *error)
{
    core_pieces pieces = {0};
    core_bpe_scratch scratch = {0};
    more_status status = core_added_extract(&t->added, &t->normalizer, text, size, &pieces, error);
    if (status == MORE_OK)
        status = core_pretokenizer_apply(&t->pretokenizer, &pieces, error);
    for (size_t i = 0; i < pieces.count && status == MORE_OK; i++) {
        const core_piece *piece = &pieces.items[i];
        if (piece->id >= 0)
            core_ids_push(ids, piece->id);
        else
            status = core_bpe_encode(&t->model, pieces.text.data + piece->offset, piece->size, &scratch, ids, error);
    }
    core_bpe_scratch_free(&scratch);
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
    int32_t model = t->model.vocabulary.size, added = t->added.vocabulary.size;
    return model > added ? model : added;
}

int32_t core_tokenizer_id(const core_tokenizer *t, const char *token)
{
    int32_t id = core_vocabulary_find(&t->added.vocabulary, token, strlen(token));
    return id >= 0 ? id : core_vocabulary_find(&t->model.vocabulary, token, strlen(token));
}

const char *core_tokenizer_piece(const core_tokenizer *t, int32_t id, size_t *size)
{
    size_t length = 0;
    const char *piece = core_vocabulary_piece(&t->added.vocabulary, id, &length);
    if (!piece)
        piece = core_vocabulary_piece(&t->model.vocabulary, id, &length);
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
