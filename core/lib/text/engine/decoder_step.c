/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/decoder_step.h"

#include "text/engine/bytes.h"
#include "text/engine/utf8.h"
#include <string.h>

void core_decoder_give_token(core_decoding *decoding, size_t index, const char *data, size_t size)
{
    core_decoder_give(decoding, index, (core_chunk){data, size, true, true});
}

/* Hands on a part of the one token that a fusing step makes. */
static void give_fused(core_decoding *decoding, size_t index, const char *data, size_t size, bool end)
{
    core_decoder_state *state = &decoding->states[index];
    bool begin = !state->started;
    if (!size && !end)
        return;
    state->started = !end;
    core_decoder_give(decoding, index + 1, (core_chunk){data, size, begin, end});
}

/* ByteLevel: a token of letters is its bytes; any other token is the bytes of its text. */
static void append_bytes(core_buffer *held, core_chunk token)
{
    size_t before = held->size, length;
    uint32_t code;
    for (size_t at = 0; at < token.size; at += length) {
        core_utf8_next(token.data + at, token.size - at, &length, &code);
        int byte = core_byte_of_letter(code);
        if (byte < 0) {
            held->size = before;
            core_buffer_append(held, token.data, token.size);
            return;
        }
        char c = (char)byte;
        core_buffer_append(held, &c, 1);
    }
}

void core_take_letters(core_decoding *decoding, size_t index, core_chunk chunk)
{
    core_buffer *held = &decoding->states[index].held, text = {0};
    append_bytes(held, chunk);
    size_t at = 0, length;
    uint32_t code;
    while (at < held->size) {
        size_t good = core_utf8_check(held->data + at, held->size - at);
        core_buffer_append(&text, held->data + at, good);
        at += good;
        if (at == held->size || core_utf8_next(held->data + at, held->size - at, &length, &code) == CORE_UTF8_CUT)
            break;
        core_buffer_text(&text, CORE_UTF8_REPLACEMENT);
        at += length;
    }
    if (at) {
        memmove(held->data, held->data + at, held->size - at);
        held->size -= at;
    }
    if (text.failed)
        held->failed = 1;
    give_fused(decoding, index, text.data, text.size, false);
    core_buffer_free(&text);
}

void core_flush_letters(core_decoding *decoding, size_t index)
{
    core_buffer *held = &decoding->states[index].held;
    bool cut = held->size > 0;
    core_buffer_clear(held);
    give_fused(decoding, index, CORE_UTF8_REPLACEMENT, cut ? strlen(CORE_UTF8_REPLACEMENT) : 0, true);
}

void core_take_replace(core_decoding *decoding, size_t index, core_chunk chunk)
{
    const core_decoder_step *step = &decoding->decoder->steps[index];
    core_buffer text = {0};
    more_status status =
        core_pattern_replace(step->pattern, chunk.data, chunk.size, &step->content, &text, decoding->error);
    if (status == MORE_OK && text.failed)
        status = more_fail(decoding->error, MORE_ERROR_MEMORY, "tokenizer: out of memory while decoding");
    if (decoding->status == MORE_OK)
        decoding->status = status;
    core_decoder_give(decoding, index + 1, (core_chunk){text.data, text.size, chunk.begin, chunk.end});
    core_buffer_free(&text);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

int core_byte_of_piece(const char *text, size_t size)
{
    if (size != 6 || memcmp(text, "<0x", 3) || text[5] != '>' || hex_digit(text[3]) < 0 || hex_digit(text[4]) < 0)
        return -1;
    return hex_digit(text[3]) << 4 | hex_digit(text[4]);
}

/* ByteFallback: a run of <0xNN> is a text when it is UTF-8 as a whole, else one U+FFFD a byte; so a run is held back
 * until it ends. */
void core_take_byte(core_decoding *decoding, size_t index, core_chunk chunk)
{
    int value = core_byte_of_piece(chunk.data, chunk.size);
    if (value >= 0) {
        char byte = (char)value;
        core_buffer_append(&decoding->states[index].held, &byte, 1);
        return;
    }
    core_flush_bytes(decoding, index);
    core_decoder_give(decoding, index + 1, chunk);
}

void core_flush_bytes(core_decoding *decoding, size_t index)
{
    core_buffer *held = &decoding->states[index].held;
    if (held->size && core_utf8_check(held->data, held->size) == held->size)
        core_decoder_give_token(decoding, index + 1, held->data, held->size);
    else
        for (size_t i = 0; i < held->size; i++)
            core_decoder_give_token(decoding, index + 1, CORE_UTF8_REPLACEMENT, strlen(CORE_UTF8_REPLACEMENT));
    core_buffer_clear(held);
}

void core_take_fuse(core_decoding *decoding, size_t index, core_chunk chunk)
{
    give_fused(decoding, index, chunk.data, chunk.size, false);
}

void core_flush_fuse(core_decoding *decoding, size_t index)
{
    give_fused(decoding, index, "", 0, true);
}

/* Strip with a `stop` sees whole tokens, without one also chunks. */
void core_take_strip(core_decoding *decoding, size_t index, core_chunk chunk)
{
    const core_decoder_step *step = &decoding->decoder->steps[index];
    core_decoder_state *state = &decoding->states[index];
    size_t unit = step->content.size;
    if (chunk.begin) {
        state->seen = 0;
        state->started = false;
    }
    while (!state->started && state->seen < step->start && chunk.size >= unit &&
           !memcmp(chunk.data, step->content.data, unit)) {
        chunk.data += unit;
        chunk.size -= unit;
        state->seen++;
    }
    if (chunk.size)
        state->started = true;
    for (int64_t cut = 0;
         cut < step->stop && chunk.size >= unit && !memcmp(chunk.data + chunk.size - unit, step->content.data, unit);
         cut++)
        chunk.size -= unit;
    core_decoder_give(decoding, index + 1, chunk);
}

void core_take_marked(core_decoding *decoding, size_t index, core_chunk chunk)
{
    const core_decoder_step *step = &decoding->decoder->steps[index];
    core_decoder_state *state = &decoding->states[index];
    const core_buffer *mark = &step->content;
    core_buffer text = {0};
    state->seen += chunk.begin;
    for (size_t at = 0; at < chunk.size;) {
        if (chunk.size - at < mark->size || memcmp(chunk.data + at, mark->data, mark->size)) {
            core_buffer_append(&text, chunk.data + at++, 1);
            continue;
        }
        if (!step->drop_first || state->seen > 1)
            core_buffer_text(&text, " ");
        at += mark->size;
    }
    if (text.failed)
        state->held.failed = 1;
    core_decoder_give(decoding, index + 1, (core_chunk){text.data, text.size, chunk.begin, chunk.end});
    core_buffer_free(&text);
}

void core_take_joined(core_decoding *decoding, size_t index, core_chunk chunk)
{
    core_decoder_state *state = &decoding->states[index];
    if (chunk.begin && state->seen++)
        core_decoder_give_token(decoding, index + 1, " ", 1);
    core_decoder_give(decoding, index + 1, chunk);
}
