/* SPDX-License-Identifier: Apache-2.0
 *
 * The tokenizer inside a GGUF file, run by the engines that tokenizer.json and tokenizer.model have: its key-values are
 * rewritten as one of the two. What the file leaves to be known by name (its split expressions) stands in
 * share/layouts/gguf-tokenizers.json. Its chat template is not read.
 */
#ifndef CORE_TOKENIZER_GGUF_H
#define CORE_TOKENIZER_GGUF_H

#include "text/tokenizer.h"

/* True for a file that begins as GGUF does. */
bool core_tokenizer_is_gguf(const char *path);
/* `rules` is the path of gguf-tokenizers.json. BOS and EOS are the file's, added where it says so, BOS otherwise too
 * where its kind wants it. Errors: MORE_ERROR_NOT_FOUND (no tokenizer in the file), _UNSUPPORTED (of a kind, or with a
 * split, that is not in the rules), _CORRUPT, _IO. [any-thread] */
more_status core_tokenizer_load_gguf(const char *path, const char *rules, core_tokenizer **tokenizer,
                                     more_error *error);

#endif
