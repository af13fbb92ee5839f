/* SPDX-License-Identifier: Apache-2.0
 *
 * What decoding at once and the stream share.
 */
#ifndef CORE_TEXT_DECODING_H
#define CORE_TEXT_DECODING_H

#include "text/engine/decoder.h"
#include "text/tokenizer.h"

/* A decoding of the tokenizer's decoder, the caller's; NULL = out of memory. */
core_decoding *core_tokenizer_decoding(const core_tokenizer *tokenizer);
/* Takes one id and appends to `text` what has become certain. */
more_status core_tokenizer_push(const core_tokenizer *tokenizer, core_decoding *decoding, int32_t id, bool skip_special,
                                core_buffer *text, more_error *error);

#endif
