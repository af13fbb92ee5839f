/* SPDX-License-Identifier: Apache-2.0
 *
 * The streaming detokenizer: ids go in one by one, and text comes out as soon as it is certain.
 */
#ifndef CORE_STREAM_H
#define CORE_STREAM_H

#include "text/tokenizer.h"

typedef struct core_stream core_stream;

/* The caller owns *stream; the tokenizer must outlive it. With skip_special the text of special tokens is left out.
 * [any-thread] */
more_status core_stream_create(const core_tokenizer *tokenizer, bool skip_special, core_stream **stream,
                               more_error *error);
/* Appends to `text` what is final after this id: whole UTF-8 characters that no later id can change. Bytes that may
 * still become a character are held back; U+FFFD comes only when they no longer can. The concatenation of all pushes
 * and the finish equals core_tokenizer_decode of all ids. [one-thread-per-instance] */
more_status core_stream_push(core_stream *stream, int32_t id, core_buffer *text, more_error *error);
/* Appends what was held back and starts anew, as after create. [one-thread-per-instance] */
more_status core_stream_finish(core_stream *stream, core_buffer *text, more_error *error);
/* NULL is allowed. */
void core_stream_destroy(core_stream *stream);

#endif
