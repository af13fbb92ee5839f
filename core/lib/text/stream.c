/* SPDX-License-Identifier: Apache-2.0 */
#include "text/stream.h"

#include "text/decoding.h"
#include <stdlib.h>

struct core_stream {
    const core_tokenizer *tokenizer;
    core_decoding *decoding;
    bool skip_special;
};

more_status core_stream_create(const core_tokenizer *tokenizer, bool skip_special, core_stream **stream,
                               more_error *error)
{
    core_stream *s = calloc(1, sizeof *s);
    *stream = NULL;
    if (s)
        s->decoding = core_tokenizer_decoding(tokenizer);
    if (!s || !s->decoding) {
        free(s);
        return more_fail(error, MORE_ERROR_MEMORY, "tokenizer: out of memory for a stream");
    }
    s->tokenizer = tokenizer;
    s->skip_special = skip_special;
    *stream = s;
    return MORE_OK;
}

more_status core_stream_push(core_stream *stream, int32_t id, core_buffer *text, more_error *error)
{
    return core_tokenizer_push(stream->tokenizer, stream->decoding, id, stream->skip_special, text, error);
}

more_status core_stream_finish(core_stream *stream, core_buffer *text, more_error *error)
{
    return core_decoding_finish(stream->decoding, text, error);
}

void core_stream_destroy(core_stream *stream)
{
    if (!stream)
        return;
    core_decoding_destroy(stream->decoding);
    free(stream);
}
