/* SPDX-License-Identifier: Apache-2.0
 *
 * The tokenizer: text to ids and back, driven wholly by a tokenizer.json in the format of the Hugging Face `tokenizers`
 * package, or by a SentencePiece model (tokenizer.model), with the same ids as these packages give. What a file asks
 * for and this engine has not is refused by name when the file is loaded; nothing is skipped in silence.
 */
#ifndef CORE_TOKENIZER_H
#define CORE_TOKENIZER_H

#include "base/buffer.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct core_tokenizer core_tokenizer;

/* A growable list of token ids. Zero-initialise it; the owner frees it. As in core_buffer, an append that runs out of
 * memory sets `failed` and keeps the content. */
typedef struct core_ids {
    int32_t *data; /* NULL while empty */
    size_t count, capacity;
    bool failed;
} core_ids;

void core_ids_append(core_ids *ids, const int32_t *more, size_t count);
void core_ids_push(core_ids *ids, int32_t id);
void core_ids_free(core_ids *ids);

/* How core_tokenizer_encode treats its text; flags are or-ed. */
enum {
    CORE_ENCODE_SPECIAL = 1, /* add what the post-processor adds (BOS, ...); `add_special_tokens` of the reference */
    CORE_ENCODE_STRICT = 2   /* refuse text that is not UTF-8, naming the byte offset, instead of putting U+FFFD */
};

/* Reads `path`: a tokenizer.json, a SentencePiece model whose name ends in ".model", or a folder that holds a
 * tokenizer.json, else a tokenizer.model. A tokenizer_config.json beside it names the BOS and EOS tokens, and for a
 * model also its added tokens (added_tokens_decoder; without it the model's control pieces), add_bos_token,
 * add_eos_token, and with `legacy` false that only the front of a text gets the model's space. The caller owns
 * *tokenizer. `truncation` and `padding` of the file are left to callers, as transformers does. Errors:
 * MORE_ERROR_NOT_FOUND, _IO, _CORRUPT (not valid, or contradicts itself), _UNSUPPORTED (a component that this engine
 * has not, by its type). [any-thread] */
more_status core_tokenizer_load(const char *path, core_tokenizer **tokenizer, more_error *error);
/* The same from memory; `name` stands for the file in messages. [any-thread] */
more_status core_tokenizer_parse(const char *json, size_t size, const char *name, core_tokenizer **tokenizer,
                                 more_error *error);
/* A SentencePiece model from memory, alone: as in the sentencepiece package no text is an added token, and no BOS is
 * added. [any-thread] */
more_status core_tokenizer_parse_pieces(const unsigned char *data, size_t size, const char *name,
                                        core_tokenizer **tokenizer, more_error *error);
/* NULL is allowed. */
void core_tokenizer_destroy(core_tokenizer *tokenizer);

/* Appends the ids of `size` bytes of text. Text of added tokens inside it becomes their ids, special ones too, as in
 * the reference. Without CORE_ENCODE_STRICT each maximal ill-formed part becomes one U+FFFD (as Python's
 * errors="replace"). [any-thread] */
more_status core_tokenizer_encode(const core_tokenizer *tokenizer, const char *text, size_t size, int flags,
                                  core_ids *ids, more_error *error);
/* Appends the text of `count` ids, always whole UTF-8: bytes that form none become U+FFFD, in the number that the
 * reference prints. Ids that the vocabulary lacks print nothing. [any-thread] */
more_status core_tokenizer_decode(const core_tokenizer *tokenizer, const int32_t *ids, size_t count, bool skip_special,
                                  core_buffer *text, more_error *error);

/* Largest id + 1, added tokens included. A model's vocabulary may be larger (padding rows). [any-thread] */
int32_t core_tokenizer_size(const core_tokenizer *tokenizer);
/* Id of a token by its exact text ("<|eot_id|>", "Ġthe"); -1 when there is none. [any-thread] */
int32_t core_tokenizer_id(const core_tokenizer *tokenizer, const char *token);
/* The token's text as it stands in the file, with its size in *size (it may hold NUL) when size is not NULL; NULL for
 * an id without token. Lives as long as the tokenizer. [any-thread] */
const char *core_tokenizer_piece(const core_tokenizer *tokenizer, int32_t id, size_t *size);
/* True for an added token that the file marks special. [any-thread] */
bool core_tokenizer_is_special(const core_tokenizer *tokenizer, int32_t id);
/* BOS: what tokenizer_config.json names, else the token that the post-processor puts first; -1 without one. EOS: what
 * tokenizer_config.json names; -1 without one. [any-thread] */
int32_t core_tokenizer_bos(const core_tokenizer *tokenizer);
int32_t core_tokenizer_eos(const core_tokenizer *tokenizer);
/* True when CORE_ENCODE_SPECIAL puts the BOS in front of every text. [any-thread] */
bool core_tokenizer_adds_bos(const core_tokenizer *tokenizer);

#endif
