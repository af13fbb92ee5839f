/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/pretokenizer.h"

#include "text/engine/bytes.h"
#include "text/engine/split.h"
#include "text/engine/utf8.h"
#include <stdlib.h>
#include <string.h>

typedef struct core_pretokenizer_step core_pretokenizer_step;
/* Reads `in`, fills the empty `out`. */
typedef more_status (*step_function)(const core_pretokenizer_step *step, core_pieces *in, core_pieces *out,
                                     more_error *error);

typedef enum prepend_scheme { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER } prepend_scheme;

struct core_pretokenizer_step {
    step_function apply;
    core_pattern *pattern; /* split */
    core_split_behaviour behaviour;
    bool invert;
    core_buffer replacement; /* mark spaces */
    prepend_scheme scheme;
};

static more_status split(const core_pretokenizer_step *step, core_pieces *in, core_pieces *out, more_error *error)
{
    core_buffer swapped = out->text;
    out->text = in->text;
    in->text = swapped;
    return core_split(step->pattern, step->behaviour, step->invert, in, out, error);
}

/* Copies a piece into `out` through `write`, which appends its new text. */
typedef void (*write_function)(const core_pretokenizer_step *step, const char *text, const core_piece *piece,
                               core_buffer *out);

static more_status rewrite(const core_pretokenizer_step *step, core_pieces *in, core_pieces *out, write_function write)
{
    for (size_t i = 0; i < in->count; i++) {
        core_piece piece = in->items[i];
        if (piece.id < 0) {
            size_t offset = out->text.size;
            write(step, in->text.data + piece.offset, &piece, &out->text);
            piece.offset = offset;
            piece.size = out->text.size - offset;
        }
        core_pieces_add(out, piece);
    }
    return MORE_OK;
}

static void write_spaced(const core_pretokenizer_step *step, const char *text, const core_piece *piece,
                         core_buffer *out)
{
    (void)step;
    if (text[0] != ' ')
        core_buffer_text(out, " ");
    core_buffer_append(out, text, piece->size);
}

static more_status add_prefix_space(const core_pretokenizer_step *step, core_pieces *in, core_pieces *out,
                                    more_error *error)
{
    (void)error;
    return rewrite(step, in, out, write_spaced);
}

static void write_letters(const core_pretokenizer_step *step, const char *text, const core_piece *piece,
                          core_buffer *out)
{
    (void)step;
    size_t done = 0;
    for (size_t at = 0; at < piece->size; at++) {
        unsigned char byte = (unsigned char)text[at];
        if (byte < 0x80 && core_byte_is_printable(byte))
            continue;
        core_buffer_append(out, text + done, at - done);
        core_utf8_append(out, core_byte_letter(byte));
        done = at + 1;
    }
    core_buffer_append(out, text + done, piece->size - done);
}

static more_status bytes_to_letters(const core_pretokenizer_step *step, core_pieces *in, core_pieces *out,
                                    more_error *error)
{
    (void)error;
    return rewrite(step, in, out, write_letters);
}

static void write_marked(const core_pretokenizer_step *step, const char *text, const core_piece *piece,
                         core_buffer *out)
{
    const core_buffer *mark = &step->replacement;
    bool marked = text[0] == ' ' || (piece->size >= mark->size && !memcmp(text, mark->data, mark->size));
    if (!marked && (step->scheme == PREPEND_ALWAYS || (step->scheme == PREPEND_FIRST && piece->first)))
        core_buffer_append(out, mark->data, mark->size);
    size_t done = 0;
    for (size_t at = 0; at < piece->size; at++) {
        if (text[at] != ' ')
            continue;
        core_buffer_append(out, text + done, at - done);
        core_buffer_append(out, mark->data, mark->size);
        done = at + 1;
    }
    core_buffer_append(out, text + done, piece->size - done);
}

static more_status mark_spaces(const core_pretokenizer_step *step, core_pieces *in, core_pieces *out, more_error *error)
{
    (void)error;
    return rewrite(step, in, out, write_marked);
}

static core_pretokenizer_step *add_step(core_pretokenizer *pretokenizer, step_function apply)
{
    core_pretokenizer_step *steps = realloc(pretokenizer->steps, (pretokenizer->count + 1) * sizeof *steps);
    if (!steps)
        return NULL;
    pretokenizer->steps = steps;
    steps[pretokenizer->count] = (core_pretokenizer_step){.apply = apply};
    return &steps[pretokenizer->count++];
}

static more_status out_of_memory(const core_place *place, more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", place->file);
}

/* A split at an expression that the type implies. */
static more_status add_split(core_pretokenizer *pretokenizer, const char *expression, core_split_behaviour behaviour,
                             bool invert, const core_place *place, more_error *error)
{
    core_pretokenizer_step *step = add_step(pretokenizer, split);
    if (!step)
        return out_of_memory(place, error);
    step->behaviour = behaviour;
    step->invert = invert;
    return core_pattern_regex(expression, strlen(expression), place->type, &step->pattern, error);
}

static more_status read_split(core_pretokenizer *pretokenizer, json_t *json, const core_place *place, more_error *error)
{
    static const char *const names[] = {"Removed",        "Isolated",   "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous", NULL};
    core_pretokenizer_step *step = add_step(pretokenizer, split);
    int choice = 0;
    if (!step)
        return out_of_memory(place, error);
    more_status status = core_component_pattern(json, place, &step->pattern, error);
    if (status == MORE_OK)
        status = core_component_choice(json, "behavior", names, -1, place, &choice, error);
    if (status == MORE_OK && choice < 0)
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: %s.Split: 'behavior' is missing", place->file, place->part);
    if (status == MORE_OK)
        status = core_component_bool(json, "invert", false, place, &step->invert, error);
    step->behaviour = (core_split_behaviour)choice;
    return status;
}

static more_status read_byte_level(core_pretokenizer *pretokenizer, json_t *json, const core_place *place,
                                   more_error *error)
{
    static const char gpt2[] = "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
    bool prefix, expression;
    more_status status = core_component_bool(json, "add_prefix_space", true, place, &prefix, error);
    if (status == MORE_OK)
        status = core_component_bool(json, "use_regex", true, place, &expression, error);
    if (status == MORE_OK && prefix && !add_step(pretokenizer, add_prefix_space))
        status = out_of_memory(place, error);
    if (status == MORE_OK && expression)
        status = add_split(pretokenizer, gpt2, CORE_SPLIT_ISOLATED, false, place, error);
    if (status == MORE_OK && !add_step(pretokenizer, bytes_to_letters))
        status = out_of_memory(place, error);
    return status;
}

/* Files from before prepend_scheme say add_prefix_space instead. */
static more_status read_metaspace(core_pretokenizer *pretokenizer, json_t *json, const core_place *place,
                                  more_error *error)
{
    static const char *const names[] = {"always", "first", "never", NULL};
    bool prefix, cut;
    int scheme;
    core_pretokenizer_step *step = add_step(pretokenizer, mark_spaces);
    if (!step)
        return out_of_memory(place, error);
    more_status status = core_component_character(json, "replacement", place, &step->replacement, error);
    if (status == MORE_OK)
        status = core_component_bool(json, "add_prefix_space", true, place, &prefix, error);
    if (status == MORE_OK)
        status = core_component_choice(json, "prepend_scheme", names, prefix ? PREPEND_ALWAYS : PREPEND_NEVER, place,
                                       &scheme, error);
    if (status == MORE_OK)
        status = core_component_bool(json, "split", true, place, &cut, error);
    if (status != MORE_OK)
        return status;
    step->scheme = (prepend_scheme)scheme;
    if (!cut)
        return MORE_OK;
    size_t marker = pretokenizer->count - 1;
    if (!(step = add_step(pretokenizer, split)))
        return out_of_memory(place, error);
    const core_buffer *mark = &pretokenizer->steps[marker].replacement;
    step->behaviour = CORE_SPLIT_MERGED_WITH_NEXT;
    return core_pattern_literal(mark->data, mark->size, place->type, &step->pattern, error);
}

static more_status read_punctuation(core_pretokenizer *pretokenizer, json_t *json, const core_place *place,
                                    more_error *error)
{
    static const char *const names[] = {"Removed",        "Isolated",   "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous", NULL};
    int behaviour;
    more_status status = core_component_choice(json, "behavior", names, CORE_SPLIT_ISOLATED, place, &behaviour, error);
    if (status != MORE_OK)
        return status;
    return add_split(pretokenizer, "[\\x21-\\x2F\\x3A-\\x40\\x5B-\\x60\\x7B-\\x7E\\p{P}]",
                     (core_split_behaviour)behaviour, false, place, error);
}

static more_status take_step(void *context, json_t *json, const core_place *place, more_error *error)
{
    if (!strcmp(place->type, "Split"))
        return read_split(context, json, place, error);
    if (!strcmp(place->type, "ByteLevel"))
        return read_byte_level(context, json, place, error);
    if (!strcmp(place->type, "Metaspace"))
        return read_metaspace(context, json, place, error);
    if (!strcmp(place->type, "Punctuation"))
        return read_punctuation(context, json, place, error);
    if (!strcmp(place->type, "Whitespace")) /* by Rust's regex, whose \\w has the joiners too */
        return add_split(context, "[\\w\\x{200C}\\x{200D}]+|[^\\w\\s\\x{200C}\\x{200D}]+", CORE_SPLIT_REMOVED, true,
                         place, error);
    if (!strcmp(place->type, "WhitespaceSplit"))
        return add_split(context, "\\s", CORE_SPLIT_REMOVED, false, place, error);
    if (!strcmp(place->type, "Digits")) {
        bool single;
        more_status status = core_component_bool(json, "individual_digits", false, place, &single, error);
        if (status != MORE_OK)
            return status;
        return add_split(context, "\\p{N}", single ? CORE_SPLIT_ISOLATED : CORE_SPLIT_CONTIGUOUS, false, place, error);
    }
    return core_component_refuse(place, error);
}

more_status core_pretokenizer_load(json_t *json, const char *file, core_pretokenizer *pretokenizer, more_error *error)
{
    return core_component_walk(json, "pretokenizers", file, "pre_tokenizer", take_step, pretokenizer, error);
}

void core_pretokenizer_free(core_pretokenizer *pretokenizer)
{
    for (size_t i = 0; i < pretokenizer->count; i++) {
        core_pattern_destroy(pretokenizer->steps[i].pattern);
        core_buffer_free(&pretokenizer->steps[i].replacement);
    }
    free(pretokenizer->steps);
    *pretokenizer = (core_pretokenizer){0};
}

more_status core_pretokenizer_apply(const core_pretokenizer *pretokenizer, core_pieces *pieces, more_error *error)
{
    core_pieces next = {0};
    more_status status = MORE_OK;
    for (size_t i = 0; i < pretokenizer->count && status == MORE_OK; i++) {
        core_pieces_clear(&next);
        status = pretokenizer->steps[i].apply(&pretokenizer->steps[i], pieces, &next, error);
        core_pieces swapped = *pieces;
        *pieces = next;
        next = swapped;
        if (status == MORE_OK && (pieces->failed || pieces->text.failed))
            status = more_fail(error, MORE_ERROR_MEMORY, "tokenizer: out of memory for %zu pieces", pieces->count);
    }
    core_pieces_free(&next);
    return status;
}
