/* SPDX-License-Identifier: Apache-2.0
 *
 * Decoders: Sequence, ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace; none, which joins tokens with spaces;
 * and that of SentencePiece models. They run as a pipeline that is fed token by token, so that decoding at once and
 * decoding as a stream are one.
 */
#ifndef CORE_DECODER_H
#define CORE_DECODER_H

#include "text/engine/component.h"

/* Zero-initialise; free with core_decoder_free. */
typedef struct core_decoder {
    struct core_decoder_step *steps;
    size_t count;
} core_decoder;

/* Reads the member "decoder", NULL or null for none. */
more_status core_decoder_load(json_t *json, const char *file, core_decoder *decoder, more_error *error);
/* The decoder of a SentencePiece model: `bytes`: it has pieces for bytes; `drop_first`: the space in front of a text is
 * the model's, `drop_all`: as are all spaces there. False = out of memory. */
bool core_decoder_sentencepiece(core_decoder *decoder, bool bytes, bool drop_first, bool drop_all);
void core_decoder_free(core_decoder *decoder);

/* One text on its way through a decoder. */
typedef struct core_decoding core_decoding;

/* NULL = out of memory. The decoder must outlive it. [any-thread] */
core_decoding *core_decoding_create(const core_decoder *decoder);
void core_decoding_destroy(core_decoding *decoding);
/* Takes one token's text and appends to `text` what has become certain. [one-thread-per-instance] */
more_status core_decoding_push(core_decoding *decoding, const char *token, size_t size, core_buffer *text,
                               more_error *error);
/* Appends what was held back; the decoding is as new afterwards. [one-thread-per-instance] */
more_status core_decoding_finish(core_decoding *decoding, core_buffer *text, more_error *error);

#endif
