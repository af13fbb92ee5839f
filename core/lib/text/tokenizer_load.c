/* SPDX-License-Identifier: Apache-2.0 */
#include "text/tokenizer_data.h"

#include "base/file.h"
#include "base/json.h"
#include <stdlib.h>
#include <string.h>

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
int32_t core_tokenizer_configured(const core_tokenizer *t, json_t *config, const char *key, int32_t absent)
{
    json_t *value = json_object_get(config, key);
    if (json_is_object(value))
        value = json_object_get(value, "content");
    int32_t id = json_is_string(value) ? core_tokenizer_id(t, json_string_value(value)) : -1;
    return id < 0 ? absent : id;
}

/* Integers are read as reals, since model_max_length is often 1e30, which is above what jansson takes for an integer.
 */
more_status core_tokenizer_load_configuration(const char *path, json_t **config, more_error *error)
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

/* What tokenizer_config.json beside the file says; what it leaves out of a SentencePiece model, the model knows. */
static more_status read_configuration(core_tokenizer *t, const char *file, const char *folder, more_error *error)
{
    json_t *config = NULL;
    more_status status = MORE_OK;
    char *path = core_path_join(folder, "tokenizer_config.json");
    if (!path)
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", folder);
    if (core_file_exists(path))
        status = core_tokenizer_load_configuration(path, &config, error);
    if (status == MORE_OK && t->pieces)
        status = core_tokenizer_add_pieces(t, config, config ? path : file, error);
    if (config) {
        t->bos = core_tokenizer_configured(t, config, "bos_token", t->bos);
        t->eos = core_tokenizer_configured(t, config, "eos_token", t->pieces ? t->eos : -1);
    }
    if (status == MORE_OK && t->pieces)
        status = core_tokenizer_add_ends(t, config, file, error);
    json_decref(config);
    free(path);
    return status;
}

more_status core_tokenizer_parse_pieces(const unsigned char *data, size_t size, const char *name,
                                        core_tokenizer **tokenizer, more_error *error)
{
    core_tokenizer *t = calloc(1, sizeof *t);
    *tokenizer = NULL;
    if (t)
        t->pieces = calloc(1, sizeof *t->pieces);
    if (!t || !t->pieces) {
        free(t);
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", name);
    }
    core_sentencepiece *pieces = t->pieces;
    more_status status = core_sentencepiece_load(data, size, name, pieces, error);
    bool drop = pieces->dummy_prefix || pieces->remove_extra_spaces;
    if (status == MORE_OK &&
        !core_decoder_sentencepiece(&t->decoder, pieces->byte_fallback, drop, pieces->remove_extra_spaces))
        status = more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", name);
    if (status == MORE_OK)
        status = core_added_finish(&t->added, name, &t->normalizer, error);
    t->bos = pieces->bos;
    t->eos = pieces->eos;
    if (status == MORE_OK)
        *tokenizer = t;
    else
        core_tokenizer_destroy(t);
    return status;
}

/* A SentencePiece model by its name: "tokenizer.model", "spiece.model". */
static bool is_model(const char *file)
{
    size_t size = strlen(file);
    return size > 6 && !strcmp(file + size - 6, ".model");
}

static more_status load_file(const char *file, const char *folder, core_tokenizer **tokenizer, more_error *error)
{
    core_map map = {0};
    more_status status = core_map_open(file, &map, error);
    if (status == MORE_OK && map.size > CORE_JSON_LIMIT)
        status =
            more_fail(error, MORE_ERROR_MEMORY, "%s: is larger than the %zu bytes allowed here", file, CORE_JSON_LIMIT);
    if (status == MORE_OK)
        status = is_model(file)
                     ? core_tokenizer_parse_pieces(map.data, map.size, file, tokenizer, error)
                     : core_tokenizer_parse(map.size ? (const char *)map.data : "", map.size, file, tokenizer, error);
    core_map_close(&map);
    if (status == MORE_OK)
        status = read_configuration(*tokenizer, file, folder, error);
    if (status != MORE_OK) {
        core_tokenizer_destroy(*tokenizer);
        *tokenizer = NULL;
    }
    return status;
}

/* *file becomes the tokenizer's file in a folder: tokenizer.json, which wins, or tokenizer.model. */
static more_status find_file(const char *folder, char **file, more_error *error)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer.model"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *file = core_path_join(folder, names[i]);
        if (!*file)
            return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", folder);
        if (core_file_exists(*file))
            return MORE_OK;
        free(*file);
        *file = NULL;
    }
    return more_fail(error, MORE_ERROR_NOT_FOUND,
                     "%s: no tokenizer: neither tokenizer.json nor tokenizer.model is in this folder; say where it is "
                     "with [llm] tokenizer",
                     folder);
}

more_status core_tokenizer_load(const char *path, core_tokenizer **tokenizer, more_error *error)
{
    bool is_folder = core_folder_exists(path);
    char *folder = is_folder ? strdup(path) : core_path_folder(path);
    char *file = is_folder ? NULL : strdup(path);
    *tokenizer = NULL;
    more_status status = is_folder ? find_file(path, &file, error) : MORE_OK;
    if (status == MORE_OK)
        status = folder && file ? load_file(file, folder, tokenizer, error)
                                : more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", path);
    free(folder);
    free(file);
    return status;
}
