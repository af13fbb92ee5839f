/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/decoder.h"

#include "text/engine/decoder_step.h"
#include <stdlib.h>
#include <string.h>

static core_decoder_step *add_step(core_decoder *decoder, core_decoder_take take, core_decoder_flush flush, bool whole)
{
    core_decoder_step *steps = realloc(decoder->steps, (decoder->count + 1) * sizeof *steps);
    if (!steps)
        return NULL;
    decoder->steps = steps;
    steps[decoder->count] = (core_decoder_step){.take = take, .flush = flush, .whole = whole};
    return &steps[decoder->count++];
}

static more_status read_replace(core_decoder_step *step, json_t *json, const core_place *place, more_error *error)
{
    more_status status = core_component_pattern(json, place, &step->pattern, error);
    if (status == MORE_OK)
        status = core_component_text(json, "content", place, &step->content, error);
    if (status == MORE_OK)
        step->whole = !core_pattern_is_character(step->pattern);
    return status;
}

static more_status read_strip(core_decoder_step *step, json_t *json, const core_place *place, more_error *error)
{
    more_status status = core_component_character(json, "content", place, &step->content, error);
    if (status == MORE_OK)
        status = core_component_count(json, "start", place, &step->start, error);
    if (status == MORE_OK)
        status = core_component_count(json, "stop", place, &step->stop, error);
    step->whole = step->stop > 0;
    return status;
}

static more_status read_metaspace(core_decoder_step *step, json_t *json, const core_place *place, more_error *error)
{
    static const char *const names[] = {"always", "first", "never", NULL};
    bool prefix;
    int scheme = 0;
    more_status status = core_component_character(json, "replacement", place, &step->content, error);
    if (status == MORE_OK)
        status = core_component_bool(json, "add_prefix_space", true, place, &prefix, error);
    if (status == MORE_OK)
        status = core_component_choice(json, "prepend_scheme", names, prefix ? 0 : 2, place, &scheme, error);
    step->drop_first = scheme != 2;
    return status;
}

static more_status take_step(void *context, json_t *json, const core_place *place, more_error *error)
{
    static const struct kind {
        const char *type;
        core_decoder_take take;
        core_decoder_flush flush;
        bool whole;
        more_status (*read)(core_decoder_step *step, json_t *json, const core_place *place, more_error *error);
    } kinds[] = {{"ByteLevel", core_take_letters, core_flush_letters, true, NULL},
                 {"Replace", core_take_replace, NULL, true, read_replace},
                 {"ByteFallback", core_take_byte, core_flush_bytes, true, NULL},
                 {"Fuse", core_take_fuse, core_flush_fuse, false, NULL},
                 {"Strip", core_take_strip, NULL, false, read_strip},
                 {"Metaspace", core_take_marked, NULL, false, read_metaspace}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(place->type, kinds[i].type))
            continue;
        core_decoder_step *step = add_step(context, kinds[i].take, kinds[i].flush, kinds[i].whole);
        if (!step)
            return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", place->file);
        return kinds[i].read ? kinds[i].read(step, json, place, error) : MORE_OK;
    }
    return core_component_refuse(place, error);
}

more_status core_decoder_load(json_t *json, const char *file, core_decoder *decoder, more_error *error)
{
    if ((!json || json_is_null(json)) && !add_step(decoder, core_take_joined, NULL, false))
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", file);
    return core_component_walk(json, "decoders", file, "decoder", take_step, decoder, error);
}

bool core_decoder_sentencepiece(core_decoder *decoder, bool bytes, bool drop_first, bool drop_all)
{
    core_decoder_step *step = add_step(decoder, core_take_sentence_piece, core_flush_sentence_piece, true);
    if (!step)
        return false;
    step->bytes = bytes;
    step->drop_first = drop_first;
    step->drop_all = drop_all;
    return true;
}

void core_decoder_free(core_decoder *decoder)
{
    for (size_t i = 0; i < decoder->count; i++) {
        core_pattern_destroy(decoder->steps[i].pattern);
        core_buffer_free(&decoder->steps[i].content);
    }
    free(decoder->steps);
    *decoder = (core_decoder){0};
}

core_decoding *core_decoding_create(const core_decoder *decoder)
{
    core_decoding *decoding = calloc(1, sizeof *decoding + decoder->count * sizeof *decoding->states);
    if (decoding)
        decoding->decoder = decoder;
    return decoding;
}

static void reset(core_decoding *decoding)
{
    for (size_t i = 0; i < decoding->decoder->count; i++) {
        core_buffer_free(&decoding->states[i].collected);
        core_buffer_free(&decoding->states[i].held);
        decoding->states[i] = (core_decoder_state){0};
    }
}

void core_decoding_destroy(core_decoding *decoding)
{
    if (!decoding)
        return;
    reset(decoding);
    free(decoding);
}

void core_decoder_give(core_decoding *decoding, size_t index, core_chunk chunk)
{
    if (index == decoding->decoder->count) {
        core_buffer_append(decoding->text, chunk.data, chunk.size);
        return;
    }
    const core_decoder_step *step = &decoding->decoder->steps[index];
    core_buffer *collected = &decoding->states[index].collected;
    if (!step->whole || (chunk.begin && chunk.end)) {
        step->take(decoding, index, chunk);
        return;
    }
    core_buffer_append(collected, chunk.data, chunk.size);
    if (!chunk.end)
        return;
    step->take(decoding, index, (core_chunk){collected->data, collected->size, true, true});
    core_buffer_clear(collected);
}

static more_status outcome(core_decoding *decoding)
{
    bool failed = decoding->text->failed;
    for (size_t i = 0; i < decoding->decoder->count; i++)
        failed = failed || decoding->states[i].collected.failed || decoding->states[i].held.failed;
    if (decoding->status == MORE_OK && failed)
        return more_fail(decoding->error, MORE_ERROR_MEMORY, "tokenizer: out of memory while decoding");
    return decoding->status;
}

more_status core_decoding_push(core_decoding *decoding, const char *token, size_t size, core_buffer *text,
                               more_error *error)
{
    decoding->text = text;
    decoding->error = error;
    decoding->status = MORE_OK;
    core_decoder_give_token(decoding, 0, token, size);
    return outcome(decoding);
}

more_status core_decoding_finish(core_decoding *decoding, core_buffer *text, more_error *error)
{
    decoding->text = text;
    decoding->error = error;
    decoding->status = MORE_OK;
    for (size_t i = 0; i < decoding->decoder->count; i++)
        if (decoding->decoder->steps[i].flush)
            decoding->decoder->steps[i].flush(decoding, i);
    more_status status = outcome(decoding);
    reset(decoding);
    return status;
}
