/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/added.h"

#include "text/engine/utf8.h"
#include <stdlib.h>
#include <string.h>

static more_status out_of_memory(const char *file, more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", file);
}

/* The package's rule: the model's id, else one above the largest id so far, of the model (counting its texts) and of
 * the added tokens. */
static int32_t choose_id(const core_added *added, const core_vocabulary *model, const char *text, size_t size)
{
    int32_t id = core_vocabulary_find(model, text, size), model_size = (int32_t)model->entry_count;
    if (id >= 0)
        return id;
    int32_t largest = added->vocabulary.size - 1;
    return largest >= model_size || !model_size ? largest + 1 : model_size;
}

more_status core_added_read(json_t *json, const core_place *place, core_added_token *token, core_buffer *text,
                            more_error *error)
{
    *token = (core_added_token){.id = -1};
    struct flag {
        const char *key;
        bool absent, *value;
    } flags[] = {{"special", false, &token->special},
                 {"single_word", false, &token->single_word},
                 {"lstrip", false, &token->left_strip},
                 {"rstrip", false, &token->right_strip},
                 {"normalized", true, &token->normalized}};
    core_buffer_clear(text);
    more_status status = core_component_text(json, "content", place, text, error);
    for (size_t i = 0; i < sizeof flags / sizeof *flags && status == MORE_OK; i++)
        status = core_component_bool(json, flags[i].key, flags[i].absent, place, flags[i].value, error);
    return status;
}

more_status core_added_put(core_added *added, core_added_token token, const char *text, size_t size, const char *file,
                           more_error *error)
{
    if (!size || core_vocabulary_find(&added->vocabulary, text, size) >= 0)
        return MORE_OK;
    if (added->count == added->capacity) {
        size_t capacity = added->capacity ? added->capacity * 2 : 64;
        core_added_token *tokens = realloc(added->tokens, capacity * sizeof *tokens);
        if (!tokens)
            return out_of_memory(file, error);
        added->tokens = tokens;
        added->capacity = capacity;
    }
    added->tokens[added->count++] = token;
    return core_vocabulary_set(&added->vocabulary, text, size, token.id) ? MORE_OK : out_of_memory(file, error);
}

/* Special tokens go in first: they win where two normalise to one text. */
static more_status build_tries(core_added *added, const char *file, const core_normalizer *normalizer,
                               more_error *error)
{
    core_buffer text = {0};
    more_status status = MORE_OK;
    for (uint32_t k = 0; k < 2 * added->count && status == MORE_OK; k++) {
        uint32_t index = k % (uint32_t)added->count;
        const core_added_token *token = &added->tokens[index];
        if (token->special != (k < added->count))
            continue;
        size_t size;
        const char *piece = core_vocabulary_piece(&added->vocabulary, token->id, &size);
        core_trie *trie = token->normalized ? &added->normalized : &added->raw;
        if (token->normalized) {
            status = core_normalizer_apply(normalizer, piece, size, &text, error);
            piece = text.data;
            size = text.size;
        }
        if (status == MORE_OK && !core_trie_add(trie, piece, size, index))
            status = out_of_memory(file, error);
    }
    core_buffer_free(&text);
    return status;
}

more_status core_added_finish(core_added *added, const char *file, const core_normalizer *normalizer, more_error *error)
{
    static const char word[] = "[\\w\\x{200C}\\x{200D}]";
    more_status status = added->word ? MORE_OK : core_pattern_regex(word, sizeof word - 1, file, &added->word, error);
    core_trie_free(&added->raw);
    core_trie_free(&added->normalized);
    return status == MORE_OK ? build_tries(added, file, normalizer, error) : status;
}

more_status core_added_load(json_t *json, const char *file, const core_vocabulary *model,
                            const core_normalizer *normalizer, core_added *added, more_error *error)
{
    core_place place = {file, "added_tokens", "token"};
    json_t *item;
    size_t index;
    core_buffer text = {0};
    core_added_token token;
    more_status status = MORE_OK;
    if (json && !json_is_null(json) && !json_is_array(json))
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: added_tokens must be an array", file);
    json_array_foreach(json, index, item)
    {
        if (status == MORE_OK)
            status = core_added_read(item, &place, &token, &text, error);
        if (status != MORE_OK)
            break;
        token.id = text.size ? choose_id(added, model, text.data, text.size) : -1;
        status = core_added_put(added, token, text.data, text.size, file, error);
    }
    core_buffer_free(&text);
    return status == MORE_OK ? core_added_finish(added, file, normalizer, error) : status;
}

void core_added_free(core_added *added)
{
    core_vocabulary_free(&added->vocabulary);
    free(added->tokens);
    core_trie_free(&added->raw);
    core_trie_free(&added->normalized);
    core_pattern_destroy(added->word);
    *added = (core_added){0};
}

const core_added_token *core_added_find(const core_added *added, int32_t id)
{
    size_t size;
    if (!core_vocabulary_piece(&added->vocabulary, id, &size))
        return NULL;
    for (size_t i = 0; i < added->count; i++)
        if (added->tokens[i].id == id)
            return &added->tokens[i];
    return NULL;
}

/* One round over one text. */
typedef struct sweep {
    const core_added *added;
    const char *text;
    size_t size;
    size_t done; /* what lies before is in pieces */
    core_scan word;
    more_error *error;
} sweep;

/* *inside: a character of a word is at [at, at + length). */
static more_status is_word(sweep *r, size_t at, size_t length, bool *inside)
{
    size_t start, end;
    core_scan_subject(&r->word, r->text + at, length);
    return core_scan_next(&r->word, inside, &start, &end, r->error);
}

/* *alone: no character of a word touches [start, end). */
static more_status stands_alone(sweep *r, size_t start, size_t end, bool *alone)
{
    bool before = false, behind = false;
    size_t length;
    uint32_t code;
    more_status status = MORE_OK;
    if (start) {
        length = core_utf8_last(r->text, start, &code);
        status = is_word(r, start - length, length, &before);
    }
    if (status == MORE_OK && end < r->size) {
        core_utf8_next(r->text + end, r->size - end, &length, &code);
        status = is_word(r, end, length, &behind);
    }
    *alone = !before && !behind;
    return status;
}

/* Widens [*start, *end) over white space, to the left not into what is done: a token of white space may lie there. */
static void strip_around(const sweep *r, const core_added_token *token, size_t *start, size_t *end)
{
    size_t length;
    uint32_t code;
    if (token->left_strip && *start < r->done)
        *start = r->done;
    while (token->left_strip && *start > r->done) {
        length = core_utf8_last(r->text, *start, &code);
        if (!core_utf8_is_space(code))
            break;
        *start -= length;
    }
    while (token->right_strip && *end < r->size) {
        core_utf8_next(r->text + *end, r->size - *end, &length, &code);
        if (!core_utf8_is_space(code))
            break;
        *end += length;
    }
}

/* Appends the tokens that `trie` finds in [base, base + r->size) of `text`, and the remainders between. */
static more_status extract_round(sweep *r, const core_trie *trie, size_t base, bool first, core_pieces *out)
{
    uint32_t index = 0;
    bool alone;
    r->done = 0;
    for (size_t at = 0; trie->count && at < r->size;) {
        size_t length = core_trie_match(trie, r->text + at, r->size - at, &index);
        if (!length) {
            at++;
            continue;
        }
        const core_added_token *token = &r->added->tokens[index];
        size_t start = at, end = at + length;
        at = end;
        if (token->single_word) {
            more_status status = stands_alone(r, start, end, &alone);
            if (status != MORE_OK)
                return status;
            if (!alone)
                continue;
        }
        strip_around(r, token, &start, &end);
        if (start > r->done)
            core_pieces_add(out, (core_piece){base + r->done, start - r->done, -1, first && !r->done});
        if (end <= start)
            continue;
        core_pieces_add(out, (core_piece){base + start, end - start, token->id, first && !start});
        r->done = end;
    }
    if (r->done < r->size)
        core_pieces_add(out, (core_piece){base + r->done, r->size - r->done, -1, first && !r->done});
    return MORE_OK;
}

static more_status second_round(sweep *r, const core_normalizer *normalizer, const core_pieces *raw, const char *text,
                                core_pieces *pieces)
{
    core_buffer normal = {0};
    more_status status = MORE_OK;
    for (size_t i = 0; i < raw->count && status == MORE_OK; i++) {
        core_piece piece = raw->items[i];
        if (piece.id >= 0) {
            piece.offset = piece.size = 0;
            core_pieces_add(pieces, piece);
            continue;
        }
        status = core_normalizer_apply(normalizer, text + piece.offset, piece.size, &normal, r->error);
        size_t base = pieces->text.size;
        core_buffer_append(&pieces->text, normal.data, normal.size);
        r->text = normal.data;
        r->size = normal.size;
        if (status == MORE_OK)
            status = extract_round(r, &r->added->normalized, base, piece.first, pieces);
    }
    core_buffer_free(&normal);
    return status;
}

more_status core_added_extract(const core_added *added, const core_normalizer *normalizer, const char *text,
                               size_t size, core_pieces *pieces, more_error *error)
{
    core_pieces raw = {0};
    sweep r = {.added = added, .text = text, .size = size, .error = error};
    more_status status = core_scan_begin(&r.word, added->word, error);
    if (status == MORE_OK)
        status = extract_round(&r, &added->raw, 0, true, &raw);
    if (status == MORE_OK)
        status = second_round(&r, normalizer, &raw, text, pieces);
    if (status == MORE_OK && (raw.failed || pieces->failed || pieces->text.failed))
        status = more_fail(error, MORE_ERROR_MEMORY, "tokenizer: out of memory for a text of %zu bytes", size);
    core_scan_end(&r.word);
    core_pieces_free(&raw);
    return status;
}
