/* SPDX-License-Identifier: Apache-2.0 */
#include "text/tokenizer_gguf.h"

#include "base/file.h"
#include "base/json.h"
#include "text/engine/utf8.h"
#include "text/tokenizer_data.h"
#include "weights/gguf/gguf.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name

/* One token where it lies in the file. */
typedef struct token {
    const char *text;
    size_t size;
    unsigned char type;
    float score;
} token;

typedef struct loading {
    const char *path;
    const core_gguf *file;
    token *tokens;
    size_t count;
    int32_t bos, eos; /* -1 = none */
    bool add_bos, add_eos;
    more_error *error;
} loading;

static more_status out_of_memory(const loading *l)
{
    return more_fail(l->error, MORE_ERROR_MEMORY, "%s: out of memory for its tokenizer", l->path);
}

/* ---- What the file says ----------------------------------------------------------------------------------------- */

static uint32_t bits_at(const core_gguf_array *array, size_t i)
{
    const unsigned char *at = array->data + 4 * i;
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* An array of one 4-byte number a token; absent where optional is, then count is 0. */
static more_status find_numbers(const loading *l, const char *key, core_gguf_type type, core_gguf_array *array)
{
    *array = (core_gguf_array){0};
    if (!core_gguf_find_array(l->file, key, array))
        return MORE_OK;
    if (array->count != l->count || array->type != type)
        return more_fail(l->error, MORE_ERROR_CORRUPT,
                         "%s: key '%s': %" PRIu64 " numbers of type %d, the %zu tokens need one of type %d each",
                         l->path, key, array->count, (int)array->type, l->count, (int)type);
    return MORE_OK;
}

static more_status read_tokens(loading *l)
{
    core_gguf_array texts, types, scores;
    if (!core_gguf_find_array(l->file, KEY("tokens"), &texts) || texts.type != CORE_GGUF_STRING || !texts.count)
        return more_fail(l->error, MORE_ERROR_NOT_FOUND, "%s: key '%s': there are no tokens; say [llm] tokenizer",
                         l->path, KEY("tokens"));
    if (texts.count > CORE_VOCABULARY_LIMIT)
        return more_fail(l->error, MORE_ERROR_CORRUPT, "%s: key '%s': %" PRIu64 " tokens, at most %d are taken",
                         l->path, KEY("tokens"), texts.count, CORE_VOCABULARY_LIMIT);
    l->count = (size_t)texts.count;
    l->tokens = calloc(l->count, sizeof *l->tokens);
    more_status status = l->tokens ? find_numbers(l, KEY("token_type"), CORE_GGUF_I32, &types) : out_of_memory(l);
    if (status == MORE_OK)
        status = find_numbers(l, KEY("scores"), CORE_GGUF_F32, &scores);
    for (size_t i = 0; i < l->count && status == MORE_OK; i++) {
        token *own = &l->tokens[i];
        own->text = core_gguf_next_text(&texts.data, &own->size);
        uint32_t type = types.count ? bits_at(&types, i) : CORE_PIECE_NORMAL;
        uint32_t score = scores.count ? bits_at(&scores, i) : 0;
        own->type = (unsigned char)type;
        memcpy(&own->score, &score, sizeof score);
        if (type < CORE_PIECE_NORMAL || type > CORE_PIECE_BYTE)
            status = more_fail(l->error, MORE_ERROR_CORRUPT, "%s: key '%s': token %zu has type %" PRIu32 ", 1 to 6 are",
                               l->path, KEY("token_type"), i, type);
        else if (core_utf8_check(own->text, own->size) != own->size)
            status = more_fail(l->error, MORE_ERROR_CORRUPT, "%s: key '%s': token %zu is not UTF-8", l->path,
                               KEY("tokens"), i);
    }
    return status;
}

static json_t *value_of(const loading *l, const char *key)
{
    return json_object_get(core_gguf_metadata(l->file), key);
}

static more_status read_id(const loading *l, const char *key, int32_t *id)
{
    json_t *value = value_of(l, key);
    json_int_t number = json_integer_value(value);
    *id = -1;
    if (!value)
        return MORE_OK;
    if (!json_is_integer(value) || number < 0 || (uint64_t)number >= l->count)
        return more_fail(l->error, MORE_ERROR_CORRUPT, "%s: key '%s': %lld is none of its %zu tokens", l->path, key,
                         (long long)number, l->count);
    *id = (int32_t)number;
    return MORE_OK;
}

static bool read_flag(const loading *l, const char *key, bool absent)
{
    json_t *value = value_of(l, key);
    return json_is_boolean(value) ? json_is_true(value) : absent;
}

/* ---- Merges: as a tokenizer.json -------------------------------------------------------------------------------- */

static void write_text(core_buffer *out, const char *text, size_t size)
{
    core_buffer_append(out, "\"", 1);
    for (size_t i = 0, from = 0; i <= size; i++) {
        unsigned char byte = i < size ? (unsigned char)text[i] : '"';
        if (byte >= 0x20 && byte != '"' && byte != '\\')
            continue;
        core_buffer_append(out, text + from, i - from);
        from = i + 1;
        if (i < size)
            core_buffer_format(out, "\\u%04x", byte);
    }
    core_buffer_append(out, "\"", 1);
}

/* Unused ones have an id only. */
static void write_vocabulary(const loading *l, core_buffer *out)
{
    bool first = true;
    core_buffer_text(out, "\"vocab\":{");
    for (size_t i = 0; i < l->count; i++) {
        if (l->tokens[i].type == CORE_PIECE_UNUSED || !l->tokens[i].size)
            continue;
        core_buffer_text(out, first ? "" : ",");
        write_text(out, l->tokens[i].text, l->tokens[i].size);
        core_buffer_format(out, ":%zu", i);
        first = false;
    }
    core_buffer_text(out, "}");
}

/* Control tokens, and those that the model's makers added. */
static void write_added(const loading *l, core_buffer *out)
{
    bool first = true;
    core_buffer_text(out, "\"added_tokens\":[");
    for (size_t i = 0; i < l->count; i++) {
        bool special = l->tokens[i].type == CORE_PIECE_CONTROL;
        if ((!special && l->tokens[i].type != CORE_PIECE_USER_DEFINED) || !l->tokens[i].size)
            continue;
        core_buffer_format(out, "%s{\"id\":%zu,\"content\":", first ? "" : ",", i);
        write_text(out, l->tokens[i].text, l->tokens[i].size);
        core_buffer_format(out, ",\"normalized\":false,\"special\":%s}", special ? "true" : "false");
        first = false;
    }
    core_buffer_text(out, "]");
}

static more_status write_merges(const loading *l, core_buffer *out)
{
    core_gguf_array merges;
    if (!core_gguf_find_array(l->file, KEY("merges"), &merges) || merges.type != CORE_GGUF_STRING)
        return more_fail(l->error, MORE_ERROR_CORRUPT, "%s: key '%s': there are no merges", l->path, KEY("merges"));
    core_buffer_text(out, "\"merges\":[");
    for (uint64_t i = 0; i < merges.count; i++) {
        size_t size;
        const char *text = core_gguf_next_text(&merges.data, &size);
        core_buffer_text(out, i ? "," : "");
        write_text(out, text, size);
    }
    core_buffer_text(out, "]");
    return MORE_OK;
}

static void write_splits(json_t *splits, core_buffer *out)
{
    core_buffer_text(out, "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[");
    for (size_t i = 0; i < json_array_size(splits); i++) {
        core_buffer_text(out, "{\"type\":\"Split\",\"pattern\":{\"Regex\":");
        write_text(out, json_string_value(json_array_get(splits, i)), json_string_length(json_array_get(splits, i)));
        core_buffer_text(out, "},\"behavior\":\"Isolated\",\"invert\":false},");
    }
    core_buffer_text(out,
                     "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":false}]}");
}

/* The rule whose "names" have the file's split; NULL with the error for one that is not known. */
static json_t *find_rule(const loading *l, json_t *rules)
{
    json_t *pre = value_of(l, KEY("pre")), *rule, *splits = json_object_get(rules, "splits");
    const char *wanted = json_is_string(pre) ? json_string_value(pre) : "default", *title;
    core_buffer known = {0};
    json_object_foreach(splits, title, rule)
    {
        json_t *names = json_object_get(rule, "names");
        for (size_t i = 0; i < json_array_size(names); i++) {
            const char *name = json_string_value(json_array_get(names, i));
            if (name && !strcmp(name, wanted)) {
                core_buffer_free(&known);
                return rule;
            }
            core_buffer_format(&known, "%s%s", known.size ? ", " : "", name ? name : "");
        }
    }
    more_fail(
        l->error, MORE_ERROR_UNSUPPORTED,
        "%s: key '%s': the split '%.60s' is not known (%.300s are): say [llm] tokenizer = the folder that the model "
        "came from",
        l->path, KEY("pre"), wanted, known.data ? known.data : "none");
    core_buffer_free(&known);
    return NULL;
}

static more_status load_merges(loading *l, json_t *rules, core_tokenizer **tokenizer)
{
    core_buffer out = {0};
    json_t *rule = find_rule(l, rules);
    if (!rule)
        return MORE_ERROR_UNSUPPORTED;
    l->add_bos = read_flag(l, KEY("add_bos_token"), json_is_true(json_object_get(rule, "add_bos")));
    core_buffer_text(&out, "{\"model\":{\"type\":\"BPE\",");
    write_vocabulary(l, &out);
    core_buffer_text(&out, ",");
    more_status status = write_merges(l, &out);
    core_buffer_format(&out, ",\"ignore_merges\":%s},",
                       json_is_true(json_object_get(rule, "ignore_merges")) ? "true" : "false");
    write_splits(json_object_get(rule, "split"), &out);
    core_buffer_text(&out, ",\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,"
                           "\"use_regex\":true},");
    write_added(l, &out);
    core_buffer_text(&out, "}");
    if (status == MORE_OK && out.failed)
        status = out_of_memory(l);
    if (status == MORE_OK)
        status = core_tokenizer_parse(out.data, out.size, l->path, tokenizer, l->error);
    core_buffer_free(&out);
    if (status != MORE_OK)
        return status;
    core_tokenizer *t = *tokenizer;
    t->bos = l->bos;
    t->eos = l->eos;
    if (l->bos >= 0 && l->add_bos)
        core_ids_push(&t->post.before, l->bos);
    if (l->eos >= 0 && l->add_eos)
        core_ids_push(&t->post.behind, l->eos);
    return t->post.before.failed || t->post.behind.failed ? out_of_memory(l) : MORE_OK;
}

/* ---- Pieces: as a SentencePiece model --------------------------------------------------------------------------- */

static void write_varint(core_buffer *out, uint64_t number)
{
    do {
        unsigned char byte = (unsigned char)((number & 127) | (number > 127 ? 128 : 0));
        core_buffer_append(out, &byte, 1);
        number >>= 7;
    } while (number);
}

static void write_number(core_buffer *out, uint32_t field, uint64_t number)
{
    write_varint(out, field << 3);
    write_varint(out, number);
}

static void write_bytes(core_buffer *out, uint32_t field, const core_buffer *bytes)
{
    write_varint(out, field << 3 | 2);
    write_varint(out, bytes->size);
    core_buffer_append(out, bytes->data ? bytes->data : "", bytes->size);
    out->failed |= bytes->failed;
}

/* Texts that the makers added have blanks, for which the engine knows the mark that text gets; fields 1 to 3 are
 * text, score and type. */
static void write_piece(const token *own, core_buffer *text, core_buffer *piece, core_buffer *out)
{
    uint32_t score;
    memcpy(&score, &own->score, sizeof score);
    unsigned char bytes[] = {2 << 3 | 5, (unsigned char)score, (unsigned char)(score >> 8),
                             (unsigned char)(score >> 16), (unsigned char)(score >> 24)};
    core_buffer_clear(text);
    core_buffer_clear(piece);
    for (size_t i = 0; i < own->size; i++)
        if (own->type == CORE_PIECE_USER_DEFINED && own->text[i] == ' ')
            core_buffer_text(text, CORE_SPACE_MARK);
        else
            core_buffer_append(text, own->text + i, 1);
    write_bytes(piece, 1, text);
    core_buffer_append(piece, bytes, sizeof bytes);
    write_number(piece, 3, own->type);
    write_bytes(out, 1, piece);
}

/* A ModelProto: pieces, trainer_spec (model_type 3 = BPE 2, byte_fallback 35), normalizer_spec (add_dummy_prefix 3,
 * remove_extra_whitespaces 4, escape_whitespaces 5). */
static void write_model(const loading *l, core_buffer *out)
{
    core_buffer text = {0}, part = {0};
    bool bytes = false;
    for (size_t i = 0; i < l->count; i++) {
        write_piece(&l->tokens[i], &text, &part, out);
        bytes |= l->tokens[i].type == CORE_PIECE_BYTE;
    }
    core_buffer_clear(&part);
    write_number(&part, 3, 2);
    write_number(&part, 35, bytes);
    write_bytes(out, 2, &part);
    core_buffer_clear(&part);
    write_number(&part, 3, read_flag(l, KEY("add_space_prefix"), true));
    write_number(&part, 4, read_flag(l, KEY("remove_extra_whitespaces"), false));
    write_number(&part, 5, true);
    write_bytes(out, 3, &part);
    core_buffer_free(&text);
    core_buffer_free(&part);
}

static more_status load_pieces(loading *l, core_tokenizer **tokenizer)
{
    core_buffer out = {0};
    core_gguf_array scores;
    if (!core_gguf_find_array(l->file, KEY("scores"), &scores))
        return more_fail(l->error, MORE_ERROR_CORRUPT, "%s: key '%s': there are no scores", l->path, KEY("scores"));
    write_model(l, &out);
    more_status status = out.failed ? out_of_memory(l)
                                    : core_tokenizer_parse_pieces((const unsigned char *)out.data, out.size, l->path,
                                                                  tokenizer, l->error);
    core_buffer_free(&out);
    if (status != MORE_OK)
        return status;
    l->add_bos = read_flag(l, KEY("add_bos_token"), true);
    json_t *config = json_pack("{s:b, s:b}", "add_bos_token", l->add_bos, "add_eos_token", l->add_eos);
    status = config ? core_tokenizer_add_pieces(*tokenizer, config, l->path, l->error) : out_of_memory(l);
    (*tokenizer)->bos = l->bos;
    (*tokenizer)->eos = l->eos;
    if (status == MORE_OK)
        status = core_tokenizer_add_ends(*tokenizer, config, l->path, l->error);
    json_decref(config);
    return status;
}

/* ---- Either ------------------------------------------------------------------------------------------------------ */

static more_status load_kind(loading *l, json_t *rules, core_tokenizer **tokenizer)
{
    const char *kind = json_string_value(value_of(l, KEY("model")));
    const char *engine = kind ? json_string_value(json_object_get(json_object_get(rules, "engines"), kind)) : NULL;
    if (engine && !strcmp(engine, "merges"))
        return load_merges(l, rules, tokenizer);
    if (engine && !strcmp(engine, "pieces"))
        return load_pieces(l, tokenizer);
    return more_fail(l->error, kind ? MORE_ERROR_UNSUPPORTED : MORE_ERROR_NOT_FOUND,
                     "%s: key '%s': %s%.60s; say [llm] tokenizer = the folder that the model came from", l->path,
                     KEY("model"), kind ? "no engine here takes tokenizers of the kind " : "the file has no tokenizer",
                     kind ? kind : "");
}

bool core_tokenizer_is_gguf(const char *path)
{
    char head[4];
    FILE *file = fopen(path, "re");
    size_t size = file ? fread(head, 1, sizeof head, file) : 0;
    if (file)
        fclose(file);
    return core_gguf_is(head, size);
}

more_status core_tokenizer_load_gguf(const char *path, const char *rules, core_tokenizer **tokenizer, more_error *error)
{
    core_gguf *file = NULL;
    json_t *json = NULL;
    loading l = {.path = path, .error = error};
    *tokenizer = NULL;
    more_status status = core_gguf_open(path, &file, error);
    l.file = file;
    if (status == MORE_OK)
        status = core_json_load(rules, &json, error);
    if (status == MORE_OK)
        status = read_tokens(&l);
    if (status == MORE_OK)
        status = read_id(&l, KEY("bos_token_id"), &l.bos);
    if (status == MORE_OK)
        status = read_id(&l, KEY("eos_token_id"), &l.eos);
    if (status == MORE_OK) {
        l.add_eos = read_flag(&l, KEY("add_eos_token"), false);
        status = load_kind(&l, json, tokenizer);
    }
    if (status != MORE_OK) {
        core_tokenizer_destroy(*tokenizer);
        *tokenizer = NULL;
    }
    free(l.tokens);
    json_decref(json);
    core_gguf_close(file);
    return status;
}
