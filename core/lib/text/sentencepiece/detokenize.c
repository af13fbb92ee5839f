/* SPDX-License-Identifier: Apache-2.0
 *
 * The decoder's step for SentencePiece models: U+2581 becomes a space, the first one goes, and bytes become characters.
 */
#include "text/engine/decoder_step.h"
#include "text/engine/utf8.h"
#include "text/sentencepiece/model.h"
#include <string.h>

static void print(core_decoding *decoding, size_t index, const char *text, size_t size)
{
    if (!size)
        return;
    decoding->states[index].started = true;
    core_decoder_give_token(decoding, index + 1, text, size);
}

/* Prints the characters that the held bytes begin with; a byte that begins none becomes U+FFFD. What may still become
 * a character stays, unless no byte follows. */
static void print_bytes(core_decoding *decoding, size_t index, bool finished)
{
    core_buffer *held = &decoding->states[index].held;
    size_t at = 0, length;
    uint32_t code;
    while (at < held->size) {
        core_utf8 verdict = core_utf8_next(held->data + at, held->size - at, &length, &code);
        if (verdict == CORE_UTF8_CUT && !finished)
            break;
        if (verdict == CORE_UTF8_WHOLE) {
            print(decoding, index, held->data + at, length);
            at += length;
        } else {
            print(decoding, index, CORE_UTF8_REPLACEMENT, strlen(CORE_UTF8_REPLACEMENT));
            at++;
        }
    }
    if (at) {
        memmove(held->data, held->data + at, held->size - at);
        held->size -= at;
    }
}

void core_take_sentence_piece(core_decoding *decoding, size_t index, core_chunk chunk)
{
    static const size_t mark = sizeof CORE_SPACE_MARK - 1;
    const core_decoder_step *step = &decoding->decoder->steps[index];
    core_decoder_state *state = &decoding->states[index];
    int byte = step->bytes ? core_byte_of_piece(chunk.data, chunk.size) : -1;
    if (byte >= 0) {
        char c = (char)byte;
        core_buffer_append(&state->held, &c, 1);
        print_bytes(decoding, index, false);
        return;
    }
    print_bytes(decoding, index, true);
    /* `seen`: the space in front has gone already, though it printed nothing. */
    if (step->drop_first && !state->started && !state->seen && chunk.size >= mark &&
        !memcmp(chunk.data, CORE_SPACE_MARK, mark)) {
        chunk.data += mark;
        chunk.size -= mark;
        state->seen = !step->drop_all;
    }
    core_buffer text = {0};
    for (size_t at = 0; at < chunk.size;) {
        bool space = chunk.size - at >= mark && !memcmp(chunk.data + at, CORE_SPACE_MARK, mark);
        core_buffer_append(&text, space ? " " : chunk.data + at, 1);
        at += space ? mark : 1;
    }
    if (text.failed)
        state->held.failed = 1;
    print(decoding, index, text.data, text.size);
    core_buffer_free(&text);
}

void core_flush_sentence_piece(core_decoding *decoding, size_t index)
{
    print_bytes(decoding, index, true);
}
