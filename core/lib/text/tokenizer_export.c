/* SPDX-License-Identifier: Apache-2.0 */
#include "text/tokenizer_export.h"

#include "base/file.h"
#include "base/json.h"
#include "text/tokenizer_export_data.h"
#include "text/tokenizer_gguf.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name
#define TEMPLATE_LIMIT ((size_t)1 << 20)
#define STOPS 3 /* keys for tokens that end an answer */

static more_status no_memory(more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the tokenizer");
}

/* ---- From a GGUF file: as it is ---------------------------------------------------------------------------------- */

static void copy_value(core_gguf_writer *writer, const char *key, json_t *value)
{
    if (json_is_string(value))
        core_gguf_put_text(writer, key, json_string_value(value));
    else if (json_is_boolean(value))
        core_gguf_put_integer(writer, key, CORE_GGUF_BOOL, json_is_true(value));
    else if (json_is_integer(value))
        core_gguf_put_integer(writer, key, json_integer_value(value) < 0 ? CORE_GGUF_I32 : CORE_GGUF_U32,
                              json_integer_value(value));
    else if (json_is_real(value))
        core_gguf_put_real(writer, key, (float)json_real_value(value));
}

static more_status copy_keys(const char *path, core_gguf_writer *writer, more_error *error)
{
    static const char *const long_arrays[] = {KEY("tokens"), KEY("scores"), KEY("token_type"), KEY("merges")};
    core_gguf *file = NULL;
    core_gguf_array array;
    const char *key;
    json_t *value;
    more_status status = core_gguf_open(path, &file, error);
    if (status != MORE_OK)
        return status;
    json_object_foreach(core_gguf_metadata(file), key, value)
    {
        if (strncmp(key, "tokenizer.", strlen("tokenizer.")) != 0)
            continue;
        if (json_is_array(value) && core_gguf_find_array(file, key, &array))
            core_gguf_copy_array(writer, key, &array);
        else
            copy_value(writer, key, value);
    }
    for (size_t i = 0; i < sizeof long_arrays / sizeof *long_arrays; i++) /* which the metadata's JSON leaves out */
        if (!json_object_get(core_gguf_metadata(file), long_arrays[i]) &&
            core_gguf_find_array(file, long_arrays[i], &array))
            core_gguf_copy_array(writer, long_arrays[i], &array);
    core_gguf_close(file);
    return MORE_OK;
}

/* ---- What the folder has ------------------------------------------------------------------------------------------
 */

static void table_clear(core_token_table *table)
{
    json_decref(table->json);
    json_decref(table->config);
    free(table->types);
    free(table->scores);
    free(table->file);
    free(table->folder);
}

/* The file that core_tokenizer_load takes. */
static more_status find_files(core_token_table *table, more_error *error)
{
    const char *path = table->source->path;
    bool is_folder = core_folder_exists(path);
    table->folder = is_folder ? strdup(path) : core_path_folder(path);
    table->file = is_folder ? core_path_join(path, "tokenizer.json") : strdup(path);
    char *config = table->folder ? core_path_join(table->folder, "tokenizer_config.json") : NULL;
    more_status status = table->folder && table->file && config ? MORE_OK : no_memory(error);
    if (status == MORE_OK && !table->tokenizer->pieces)
        status = core_json_load(table->file, &table->json, error);
    if (status == MORE_OK && core_file_exists(config))
        status = core_tokenizer_load_configuration(config, &table->config, error);
    free(config);
    return status;
}

/* True when the tokens are pieces and not merges of bytes. */
static bool is_pieces(const core_token_table *table)
{
    json_t *split = json_object_get(table->json, "pre_tokenizer"), *steps = json_object_get(split, "pretokenizers"),
           *step;
    size_t i;
    bool bytes = !strcmp(core_token_text(split, "type"), "ByteLevel");
    json_array_foreach(steps, i, step)
    {
        bytes |= !strcmp(core_token_text(step, "type"), "ByteLevel");
    }
    return !bytes;
}

/* ---- Merges of bytes ----------------------------------------------------------------------------------------------
 */

/* The expressions that cut a text, as an array; NULL where a step is of another kind. */
static json_t *find_splits(const core_token_table *table)
{
    json_t *split = json_object_get(table->json, "pre_tokenizer"), *steps = json_object_get(split, "pretokenizers"),
           *step;
    json_t *list = json_array();
    bool good = json_is_array(steps);
    size_t i;
    json_array_foreach(steps, i, step)
    {
        bool isolated =
            !strcmp(core_token_text(step, "behavior"), "Isolated") && !json_is_true(json_object_get(step, "invert"));
        bool kept =
            !strcmp(core_token_text(step, "behavior"), "Removed") && json_is_true(json_object_get(step, "invert"));
        json_t *regex = json_object_get(json_object_get(step, "pattern"), "Regex");
        if (!strcmp(core_token_text(step, "type"), "ByteLevel"))
            good = good && !json_is_true(json_object_get(step, "use_regex")) &&
                   !json_is_true(json_object_get(step, "add_prefix_space"));
        else if (!strcmp(core_token_text(step, "type"), "Split") && json_is_string(regex) && (isolated || kept))
            json_array_append(list, regex);
        else
            good = false;
    }
    if (good)
        return list;
    json_decref(list);
    return NULL;
}

/* A lone ByteLevel step cuts as GPT-2 does. */
static bool is_lone(const core_token_table *table)
{
    json_t *split = json_object_get(table->json, "pre_tokenizer");
    return !strcmp(core_token_text(split, "type"), "ByteLevel") &&
           !json_is_false(json_object_get(split, "use_regex")) &&
           !json_is_true(json_object_get(split, "add_prefix_space"));
}

/* The name of the split with these expressions, the best one the one that treats merges alike; NULL = none. */
static const char *find_split(const core_token_table *table, json_t *rules, bool *alike)
{
    json_t *splits = find_splits(table), *rule;
    bool ignore = json_is_true(json_object_get(json_object_get(table->json, "model"), "ignore_merges"));
    const char *title, *found = NULL;
    *alike = false;
    json_object_foreach(json_object_get(rules, "splits"), title, rule)
    {
        bool same = json_equal(splits, json_object_get(rule, "split")) || (is_lone(table) && !strcmp(title, "gpt-2"));
        if (!same || *alike)
            continue;
        *alike = json_is_true(json_object_get(rule, "ignore_merges")) == ignore;
        found = json_string_value(json_array_get(json_object_get(rule, "names"), 0));
    }
    json_decref(splits);
    return found;
}

static more_status put_merges(const core_token_table *table, core_gguf_writer *writer, more_error *error)
{
    json_t *merges = json_object_get(json_object_get(table->json, "model"), "merges"), *merge;
    core_buffer text = {0};
    size_t i;
    core_gguf_put_array(writer, KEY("merges"), CORE_GGUF_STRING, json_array_size(merges));
    json_array_foreach(merges, i, merge)
    {
        json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
        core_buffer_clear(&text);
        if (json_is_string(merge)) {
            core_buffer_append(&text, json_string_value(merge), json_string_length(merge));
        } else if (json_is_string(left) && json_is_string(right)) {
            core_buffer_append(&text, json_string_value(left), json_string_length(left));
            core_buffer_text(&text, " ");
            core_buffer_append(&text, json_string_value(right), json_string_length(right));
        }
        core_gguf_add_text(writer, text.data ? text.data : "", text.size);
    }
    bool failed = text.failed;
    core_buffer_free(&text);
    return failed ? no_memory(error) : MORE_OK;
}

static more_status put_split(core_token_table *table, json_t *rules, core_gguf_writer *writer, more_error *error)
{
    json_t *normalizer = json_object_get(table->json, "normalizer");
    more_status status = MORE_OK;
    bool alike;
    const char *split = find_split(table, rules, &alike);
    if (!split)
        status = more_fail(error, MORE_ERROR_UNSUPPORTED,
                           "%s: its pre_tokenizer cuts texts in a way that GGUF files have no name for (%s has those "
                           "that are known)",
                           table->file, table->source->rules);
    if (split && !alike)
        core_json_note(table->notes,
                       "the split %s and the source differ in whether whole words are taken from the vocabulary before "
                       "their merges",
                       split);
    if (split && normalizer && !json_is_null(normalizer))
        core_json_note(table->notes,
                       "texts that the source's normalizer changes are read as they are: GGUF files have none");
    if (split) {
        core_gguf_put_text(writer, KEY("pre"), split);
        status = put_merges(table, writer, error);
    }
    return status;
}

/* ---- Tokens -------------------------------------------------------------------------------------------------------
 */

static void type_tokens(core_token_table *table)
{
    for (int32_t id = 0; id < table->source->rows; id++) {
        const core_added_token *added = core_added_find(&table->tokenizer->added, id);
        bool there = core_tokenizer_piece(table->tokenizer, id, NULL) != NULL;
        table->types[id] = (unsigned char)(!there           ? CORE_PIECE_UNUSED
                                           : !added         ? CORE_PIECE_NORMAL
                                           : added->special ? CORE_PIECE_CONTROL
                                                            : CORE_PIECE_USER_DEFINED);
    }
}

/* True where the text is this id's and not that of another one. */
static bool is_first(const core_tokenizer *tokenizer, const char *text, size_t size, int32_t id)
{
    int32_t added = core_vocabulary_find(&tokenizer->added.vocabulary, text, size);
    return (added >= 0 ? added : core_vocabulary_find(core_tokenizer_vocabulary(tokenizer), text, size)) == id;
}

/* Each id's text, of which readers want no two alike: those without one, and second ones, are called by their id. */
static void put_tokens(core_token_table *table, core_gguf_writer *writer)
{
    int64_t rows = table->source->rows;
    core_gguf_put_array(writer, KEY("tokens"), CORE_GGUF_STRING, (uint64_t)rows);
    for (int32_t id = 0; id < rows; id++) {
        char spare[32];
        size_t size = 0;
        const char *text = core_tokenizer_piece(table->tokenizer, id, &size);
        bool second = text && !is_first(table->tokenizer, text, size, id);
        bool named = !text || !size || second;
        snprintf(spare, sizeof spare, "[PAD%d]", (int)id);
        if (named)
            table->types[id] = CORE_PIECE_UNUSED;
        else if (table->types[id] == CORE_PIECE_BYTE && size == 1)
            snprintf(spare, sizeof spare, "<0x%02X>", (unsigned)(unsigned char)*text);
        if (named || (table->types[id] == CORE_PIECE_BYTE && size == 1)) {
            text = spare;
            size = strlen(spare);
        }
        core_gguf_add_text(writer, text, size);
    }
    core_gguf_put_array(writer, KEY("token_type"), CORE_GGUF_I32, (uint64_t)rows);
    for (int64_t id = 0; id < rows; id++)
        core_gguf_add_integer(writer, table->types[id]);
    if (!table->scores)
        return;
    core_gguf_put_array(writer, KEY("scores"), CORE_GGUF_F32, (uint64_t)rows);
    for (int64_t id = 0; id < rows; id++)
        core_gguf_add_real(writer, table->scores[id]);
}

/* ---- Ids and ends -------------------------------------------------------------------------------------------------
 */

static void put_id(const core_token_table *table, core_gguf_writer *writer, const char *key, int64_t id)
{
    if (id >= 0 && id < table->source->rows)
        core_gguf_put_integer(writer, key, CORE_GGUF_U32, id);
}

/* The tokenizer's own end token first, where it is one of the model's. */
static void put_stops(const core_token_table *table, core_gguf_writer *writer)
{
    static const char *const keys[STOPS] = {KEY("eos_token_id"), KEY("eot_token_id"), KEY("eom_token_id")};
    const core_tokenizer_source *source = table->source;
    int32_t eos = core_tokenizer_eos(table->tokenizer);
    bool own = false;
    size_t used = 0;
    for (size_t i = 0; i < source->stop_count; i++)
        own |= source->stops[i] == eos;
    if (own || !source->stop_count)
        put_id(table, writer, keys[used++], eos);
    for (size_t i = 0; i < source->stop_count; i++) {
        if (own && source->stops[i] == eos)
            continue;
        if (used < STOPS)
            put_id(table, writer, keys[used], source->stops[i]);
        used++;
    }
    if (used > STOPS)
        core_json_note(table->notes, "%zu tokens end an answer, the file has place for %d", used, STOPS);
}

static void put_ends(const core_token_table *table, core_gguf_writer *writer)
{
    const core_postprocessor *post = &table->tokenizer->post;
    int32_t unknown = table->tokenizer->pieces ? table->tokenizer->pieces->unknown : table->tokenizer->model.unknown;
    put_id(table, writer, KEY("bos_token_id"), core_tokenizer_bos(table->tokenizer));
    put_stops(table, writer);
    put_id(table, writer, KEY("unknown_token_id"), unknown);
    put_id(table, writer, KEY("padding_token_id"),
           core_tokenizer_configured(table->tokenizer, table->config, "pad_token", -1));
    core_gguf_put_integer(writer, KEY("add_bos_token"), CORE_GGUF_BOOL, core_tokenizer_adds_bos(table->tokenizer));
    core_gguf_put_integer(writer, KEY("add_eos_token"), CORE_GGUF_BOOL, post->behind.count > 0);
    if (post->before.count > 1 || post->behind.count > 1)
        core_json_note(table->notes, "the tokenizer puts several tokens around a text, the file says one");
}

/* chat_template of tokenizer_config.json (of several the one called default), else chat_template.jinja. */
static more_status put_chat_template(const core_token_table *table, core_gguf_writer *writer, more_error *error)
{
    json_t *said = json_object_get(table->config, "chat_template"), *item;
    const char *text = json_string_value(said);
    core_buffer own = {0};
    size_t i;
    more_status status = MORE_OK;
    json_array_foreach(said, i, item)
    {
        if (!strcmp(core_token_text(item, "name"), "default"))
            text = json_string_value(json_object_get(item, "template"));
    }
    char *path = core_path_join(table->folder, "chat_template.jinja");
    if (!path)
        return no_memory(error);
    if (!text && core_file_exists(path)) {
        status = core_file_read(path, TEMPLATE_LIMIT, &own, error);
        text = own.data;
    }
    if (status == MORE_OK && text)
        core_gguf_put_text(writer, "tokenizer.chat_template", text);
    core_buffer_free(&own);
    free(path);
    return status;
}

/* ---- All of it ----------------------------------------------------------------------------------------------------
 */

/* What files call the kind of tokenizer that an engine runs; "" for none. */
static const char *kind_of(json_t *rules, const char *engine)
{
    const char *kind;
    json_t *value;
    json_object_foreach(json_object_get(rules, "engines"), kind, value)
    {
        if (json_is_string(value) && !strcmp(json_string_value(value), engine))
            return kind;
    }
    return "";
}

/* What added tokens do to the text around them, and files have no place for. */
static void note_added(const core_token_table *table)
{
    const core_added *added = &table->tokenizer->added;
    int count = 0;
    for (size_t i = 0; i < added->count; i++)
        count += added->tokens[i].single_word || added->tokens[i].left_strip || added->tokens[i].right_strip;
    if (count)
        core_json_note(table->notes,
                       "%d of its added tokens swallow blanks beside them, or stand for whole words alone: GGUF files "
                       "cannot say so, and such blanks become tokens",
                       count);
}

static more_status put_kind(core_token_table *table, json_t *rules, core_gguf_writer *writer, more_error *error)
{
    bool pieces = table->tokenizer->pieces || is_pieces(table);
    type_tokens(table);
    core_gguf_put_text(writer, KEY("model"), kind_of(rules, pieces ? "pieces" : "merges"));
    if (!pieces)
        return put_split(table, rules, writer, error);
    more_status status = core_token_score(table, error);
    core_gguf_put_text(writer, KEY("pre"), "default");
    core_gguf_put_integer(writer, KEY("add_space_prefix"), CORE_GGUF_BOOL, table->space_prefix);
    return status;
}

more_status core_tokenizer_export(const core_tokenizer_source *source, core_gguf_writer *writer, json_t *notes,
                                  more_error *error)
{
    core_token_table table = {.source = source, .tokenizer = source->tokenizer, .notes = notes};
    if (core_tokenizer_is_gguf(source->path))
        return copy_keys(source->path, writer, error);
    if (source->rows < 1 || source->rows > CORE_VOCABULARY_LIMIT)
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: %" PRId64 " tokens, 1 to %d are taken", source->path,
                         source->rows, CORE_VOCABULARY_LIMIT);
    json_t *rules = NULL;
    more_status status = core_json_load(source->rules, &rules, error);
    if (status == MORE_OK)
        status = find_files(&table, error);
    table.types = calloc((size_t)source->rows, sizeof *table.types);
    if (status == MORE_OK && !table.types)
        status = no_memory(error);
    if (status == MORE_OK)
        status = put_kind(&table, rules, writer, error);
    if (status == MORE_OK) {
        note_added(&table);
        put_tokens(&table, writer);
        put_ends(&table, writer);
        status = put_chat_template(&table, writer, error);
    }
    if (status == MORE_OK && core_tokenizer_size(source->tokenizer) > source->rows)
        core_json_note(table.notes, "%d tokens have no row in the model's embedding and are left out",
                       (int)(core_tokenizer_size(source->tokenizer) - source->rows));
    table_clear(&table);
    json_decref(rules);
    return status;
}
