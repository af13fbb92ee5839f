/* SPDX-License-Identifier: Apache-2.0
 *
 * Scores of pieces. A reader of the file joins the two neighbours whose joined text has the highest score. Merges by
 * rank come to the same where every pair that makes a piece is a merge, and all merges of a piece rank next to each
 * other: so it is of tokenizers that were made of SentencePiece models.
 */
#include "text/tokenizer_export_data.h"

#include "base/json.h"
#include "text/engine/bpe_table.h"
#include <stdlib.h>
#include <string.h>

static more_status unsupported(const core_token_table *table, const char *part, json_t *step, more_error *error)
{
    return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: its %s has a step '%.60s' that GGUF files have no place for",
                     table->file, part, core_token_text(step, "type"));
}

/* ---- Of a SentencePiece model -------------------------------------------------------------------------------------
 */

static more_status score_model(core_token_table *table, more_error *error)
{
    const core_sentencepiece *model = table->tokenizer->pieces;
    if (model->unigram || !model->escape_spaces || model->space_as_suffix)
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s: a %s: GGUF files have scores of byte-pair models that write spaces as U+2581 in front",
                         table->source->path,
                         model->unigram ? "unigram model" : "model of another way to write spaces");
    for (int32_t id = 0; id < model->vocabulary.size && id < table->source->rows; id++) {
        const core_added_token *added = core_added_find(&table->tokenizer->added, id);
        table->scores[id] = model->scores[id];
        /* What the folder adds counts; of the unknown piece and of bytes the model itself. */
        if (!added || model->types[id] == CORE_PIECE_UNKNOWN || model->types[id] == CORE_PIECE_BYTE)
            table->types[id] = model->types[id];
    }
    table->space_prefix = model->dummy_prefix;
    if (model->charsmap)
        core_json_note(table->notes,
                       "texts that the tokenizer's normalizer changes are read as they are: GGUF files have none");
    if (table->tokenizer->prefix_once && model->dummy_prefix)
        core_json_note(table->notes,
                       "a space is put in front of each part of a text between special tokens, by the source "
                       "in front of the first alone");
    return MORE_OK;
}

/* ---- Of merges ----------------------------------------------------------------------------------------------------
 */

/* One step of the normalizer: spaces become U+2581, one may stand in front. */
static more_status read_step(core_token_table *table, json_t *step, bool *escaped, more_error *error)
{
    const char *type = core_token_text(step, "type");
    bool from_space = !strcmp(core_token_text(json_object_get(step, "pattern"), "String"), " ");
    if (!strcmp(type, "Replace") && from_space && !strcmp(core_token_text(step, "content"), CORE_SPACE_MARK)) {
        *escaped = true;
        return MORE_OK;
    }
    if (!strcmp(type, "Prepend") && !strcmp(core_token_text(step, "prepend"), CORE_SPACE_MARK)) {
        table->space_prefix = true;
        return MORE_OK;
    }
    return unsupported(table, "normalizer", step, error);
}

static more_status read_normalizer(core_token_table *table, bool *escaped, more_error *error)
{
    json_t *json = json_object_get(table->json, "normalizer"), *steps = json_object_get(json, "normalizers"), *step;
    size_t i;
    more_status status = MORE_OK;
    if (!json || json_is_null(json))
        return MORE_OK;
    if (strcmp(core_token_text(json, "type"), "Sequence") != 0)
        return read_step(table, json, escaped, error);
    json_array_foreach(steps, i, step)
    {
        if (status == MORE_OK)
            status = read_step(table, step, escaped, error);
    }
    return status;
}

/* None, one that does the normalizer's work, or one that finds no space left to cut at. */
static more_status read_split(core_token_table *table, bool *escaped, more_error *error)
{
    json_t *json = json_object_get(table->json, "pre_tokenizer");
    if (!json || json_is_null(json))
        return MORE_OK;
    bool spaces = !strcmp(core_token_text(json_object_get(json, "pattern"), "String"), " ");
    if (!strcmp(core_token_text(json, "type"), "Split") && spaces && *escaped)
        return MORE_OK;
    if (strcmp(core_token_text(json, "type"), "Metaspace") != 0 ||
        strcmp(core_token_text(json, "replacement"), CORE_SPACE_MARK) != 0 ||
        !json_is_false(json_object_get(json, "split")))
        return unsupported(table, "pre_tokenizer", json, error);
    const char *scheme = core_token_text(json, "prepend_scheme");
    *escaped = true;
    table->space_prefix = strcmp(scheme, "never") != 0 && !json_is_false(json_object_get(json, "add_prefix_space"));
    if (!strcmp(scheme, "first"))
        core_json_note(table->notes,
                       "a space is put in front of each part of a text between special tokens, by the source "
                       "in front of the first alone");
    return MORE_OK;
}

/* The two sides of a merge, "a b" or ["a", "b"]; their texts are borrowed. */
static bool read_merge(json_t *merge, const char **left, size_t *left_size, const char **right, size_t *right_size)
{
    json_t *a = json_array_get(merge, 0), *b = json_array_get(merge, 1);
    if (json_is_string(a) && json_is_string(b)) {
        *left = json_string_value(a);
        *left_size = json_string_length(a);
        *right = json_string_value(b);
        *right_size = json_string_length(b);
        return true;
    }
    const char *text = json_string_value(merge), *blank = text ? strchr(text + (*text != 0), ' ') : NULL;
    if (!blank)
        return false;
    *left = text;
    *left_size = (size_t)(blank - text);
    *right = blank + 1;
    *right_size = strlen(blank + 1);
    return true;
}

/* The score of a piece is the negative rank of its first merge. *apart is how many merges do not rank beside the others
 * of their piece. False when out of memory. */
static bool score_merges(core_token_table *table, int *apart)
{
    json_t *merges = json_object_get(json_object_get(table->json, "model"), "merges"), *merge;
    core_buffer text = {0};
    int32_t last = -1;
    size_t rank;
    *apart = 0;
    json_array_foreach(merges, rank, merge)
    {
        const char *left, *right;
        size_t left_size, right_size;
        if (!read_merge(merge, &left, &left_size, &right, &right_size))
            continue; /* the engine refused such a file */
        core_buffer_clear(&text);
        core_buffer_append(&text, left, left_size);
        core_buffer_append(&text, right, right_size);
        int32_t id = core_vocabulary_find(&table->tokenizer->model.vocabulary, text.data ? text.data : "", text.size);
        if (id < 0 || id >= table->source->rows)
            continue;
        if (table->scores[id] == 0)
            table->scores[id] = -(float)(rank + 1);
        else if (id != last)
            ++*apart;
        last = id;
    }
    bool good = !text.failed;
    core_buffer_free(&text);
    return good;
}

/* Pairs that make a normal piece and are no merge: a reader joins them all the same. *example is such a piece. */
static int count_unmerged(const core_token_table *table, int32_t *example)
{
    const core_vocabulary *vocabulary = &table->tokenizer->model.vocabulary;
    int count = 0;
    for (int32_t id = 0; id < vocabulary->size && id < table->source->rows; id++) {
        size_t size;
        const char *text = core_vocabulary_piece(vocabulary, id, &size);
        for (size_t k = 1; text && table->types[id] == CORE_PIECE_NORMAL && k < size; k++) {
            if (((unsigned char)text[k] & 0xC0) == 0x80) /* inside a character */
                continue;
            int32_t left = core_vocabulary_find(vocabulary, text, k);
            int32_t right = core_vocabulary_find(vocabulary, text + k, size - k);
            if (left < 0 || right < 0 || core_merge_find(&table->tokenizer->model, left, right))
                continue;
            *example = id;
            count++;
        }
    }
    return count;
}

static void type_pieces(core_token_table *table)
{
    const core_bpe *model = &table->tokenizer->model;
    for (int i = 0; i < 256 && model->byte_fallback; i++) {
        char byte = (char)i; /* without a token as a byte the character itself may have one, which comes to the same */
        int32_t id =
            model->bytes[i] >= 0 || i >= 0x80 ? model->bytes[i] : core_vocabulary_find(&model->vocabulary, &byte, 1);
        if (id >= 0 && id < table->source->rows)
            table->types[id] = CORE_PIECE_BYTE;
    }
    if (model->unknown >= 0 && model->unknown < table->source->rows)
        table->types[model->unknown] = CORE_PIECE_UNKNOWN;
    /* Runs of spaces: no text has them as they stand, so that merges alone make them. */
    for (int32_t id = 0; id < table->source->rows; id++) {
        size_t size = 0;
        const char *text = core_tokenizer_piece(table->tokenizer, id, &size);
        bool marked = text && memmem(text, size, CORE_SPACE_MARK, strlen(CORE_SPACE_MARK));
        if (marked && table->types[id] == CORE_PIECE_USER_DEFINED)
            table->types[id] = CORE_PIECE_NORMAL;
    }
}

more_status core_token_score(core_token_table *table, more_error *error)
{
    bool escaped = false;
    int32_t example = 0;
    table->scores = calloc((size_t)table->source->rows, sizeof *table->scores);
    if (!table->scores)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for scores");
    if (table->tokenizer->pieces)
        return score_model(table, error);
    more_status status = read_normalizer(table, &escaped, error);
    if (status == MORE_OK)
        status = read_split(table, &escaped, error);
    if (status == MORE_OK && !escaped)
        status = more_fail(error, MORE_ERROR_UNSUPPORTED,
                           "%s: spaces stay spaces, which GGUF files have for merges of bytes alone", table->file);
    if (status != MORE_OK)
        return status;
    type_pieces(table);
    int apart;
    if (!score_merges(table, &apart))
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for scores");
    int unmerged = count_unmerged(table, &example);
    size_t size = 0;
    const char *piece = core_tokenizer_piece(table->tokenizer, example, &size);
    if (apart || unmerged)
        core_json_note(table->notes,
                       "its merges are not those of scores (%d pairs of pieces that are none, such as those that make "
                       "'%.*s', %d out of order): texts with such pairs get other tokens from the file",
                       unmerged, size < 40 ? (int)size : 40, piece ? piece : "", apart);
    return MORE_OK;
}
