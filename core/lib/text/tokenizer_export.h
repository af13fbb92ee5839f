/* SPDX-License-Identifier: Apache-2.0
 *
 * A tokenizer to the key-values of a GGUF file, the way back of tokenizer_gguf.h: merges of bytes under the name of
 * their split (share/layouts/gguf-tokenizers.json), or pieces with scores.
 */
#ifndef CORE_TOKENIZER_EXPORT_H
#define CORE_TOKENIZER_EXPORT_H

#include "text/tokenizer.h"
#include "weights/gguf/write.h"
#include <jansson.h>

/* All borrowed. */
typedef struct core_tokenizer_source {
    const char *path; /* what the tokenizer was loaded from: a file, or a folder */
    const core_tokenizer *tokenizer;
    const char *rules;    /* path of gguf-tokenizers.json */
    const int32_t *stops; /* tokens that end an answer; the file has place for three */
    size_t stop_count;
    int64_t rows; /* of the model's embedding: the file lists so many tokens */
} core_tokenizer_source;

/* Adds the keys tokenizer.*, the chat template of the folder included. `notes` (an array) gets a line for what the file
 * says otherwise than the source. MORE_ERROR_UNSUPPORTED: a tokenizer of which a GGUF file cannot tell, named.
 * [any-thread] */
more_status core_tokenizer_export(const core_tokenizer_source *source, core_gguf_writer *writer, json_t *notes,
                                  more_error *error);

#endif
