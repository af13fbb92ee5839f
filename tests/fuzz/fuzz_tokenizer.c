/* SPDX-License-Identifier: Apache-2.0
 *
 * A tokenizer.json, a NUL line, and a text: loads the one, encodes the other both ways, decodes the ids at once and as
 * a stream, which must agree.
 */
#include "text/stream.h"
#include "text/tokenizer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void round_trip(const core_tokenizer *tokenizer, const char *text, size_t size, int flags)
{
    core_ids ids = {0};
    core_buffer whole = {0}, streamed = {0};
    core_stream *stream;
    more_error error;
    if (core_tokenizer_encode(tokenizer, text, size, flags, &ids, &error) == MORE_OK &&
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
    const char *bytes = (const char *)data, *cut = size ? memchr(bytes, '\0', size) : NULL;
    size_t json = cut ? (size_t)(cut - bytes) : size;
    core_tokenizer *tokenizer;
    more_error error;
    if (core_tokenizer_parse(bytes, json, "fuzz.json", &tokenizer, &error) != MORE_OK)
        return 0;
    if (cut) {
        round_trip(tokenizer, cut + 1, size - json - 1, 0);
        round_trip(tokenizer, cut + 1, size - json - 1, CORE_ENCODE_SPECIAL);
    }
    core_tokenizer_destroy(tokenizer);
    return 0;
}
