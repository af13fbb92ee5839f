/* SPDX-License-Identifier: Apache-2.0
 *
 * A length byte, so many bytes of text, and a SentencePiece model: loads it, encodes the text, decodes the ids at once
 * and as a stream, which must agree.
 */
#include "text/stream.h"
#include "text/tokenizer.h"

#include <stdint.h>
#include <string.h>

static void round_trip(const core_tokenizer *tokenizer, const char *text, size_t size)
{
    core_ids ids = {0};
    core_buffer whole = {0}, streamed = {0};
    core_stream *stream;
    more_error error;
    if (core_tokenizer_encode(tokenizer, text, size, CORE_ENCODE_SPECIAL, &ids, &error) == MORE_OK &&
        core_tokenizer_decode(tokenizer, ids.data, ids.count, false, &whole, &error) == MORE_OK &&
        core_stream_create(tokenizer, false, &stream, &error) == MORE_OK) {
        for (size_t i = 0; i < ids.count; i++)
            core_stream_push(stream, ids.data[i], &streamed, &error);
        core_stream_finish(stream, &streamed, &error);
        core_stream_destroy(stream);
        if (whole.size != streamed.size || (whole.size && memcmp(whole.data, streamed.data, whole.size)))
            __builtin_trap();
    }
    core_ids_free(&ids);
    core_buffer_free(&whole);
    core_buffer_free(&streamed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    core_tokenizer *tokenizer;
    more_error error;
    if (!size || data[0] >= size)
        return 0;
    const uint8_t *model = data + 1 + data[0];
    if (core_tokenizer_parse_pieces(model, size - 1 - data[0], "fuzz.model", &tokenizer, &error) == MORE_OK) {
        round_trip(tokenizer, (const char *)data + 1, data[0]);
        core_tokenizer_destroy(tokenizer);
    }
    return 0;
}
