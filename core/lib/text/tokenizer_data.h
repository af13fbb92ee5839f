/* SPDX-License-Identifier: Apache-2.0
 *
 * A loaded tokenizer: what a tokenizer.json says, or a SentencePiece model with the tokens that its folder adds.
 */
#ifndef CORE_TOKENIZER_DATA_H
#define CORE_TOKENIZER_DATA_H

#include "text/engine/added.h"
#include "text/engine/bpe.h"
#include "text/engine/decoder.h"
#include "text/engine/normalizer.h"
#include "text/engine/postprocessor.h"
#include "text/engine/pretokenizer.h"
#include "text/sentencepiece/model.h"
#include "text/tokenizer.h"

/* Constant after loading, so that threads share it. */
struct core_tokenizer {
    core_added added;
    core_normalizer normalizer;
    core_pretokenizer pretokenizer;
    core_bpe model;
    core_sentencepiece *pieces; /* in place of normalizer, pretokenizer and model; NULL for a tokenizer.json */
    bool prefix_once;           /* pieces: a space goes in front of the text's first part only, not of each one */
    core_postprocessor post;
    core_decoder decoder;
    int32_t bos, eos;
};

/* Texts and ids of the model, without the added tokens. [any-thread] */
static inline const core_vocabulary *core_tokenizer_vocabulary(const core_tokenizer *t)
{
    return t->pieces ? &t->pieces->vocabulary : &t->model.vocabulary;
}

/* tokenizer_config.json, a new reference; integers are reals in it. */
more_status core_tokenizer_load_configuration(const char *path, json_t **config, more_error *error);
/* The id of a token that it names under `key` as a text or an object; `absent` where it does not. */
int32_t core_tokenizer_configured(const core_tokenizer *tokenizer, json_t *config, const char *key, int32_t absent);
/* Gives a SentencePiece tokenizer the added tokens that tokenizer_config.json (NULL for none) lists, and all control
 * pieces and the unknown one as special tokens. `name` is that file, or the model's. */
more_status core_tokenizer_add_pieces(core_tokenizer *tokenizer, json_t *config, const char *name, more_error *error);
/* Then what stands around a text: BOS unless tokenizer_config.json says no, EOS where it says yes. */
more_status core_tokenizer_add_ends(core_tokenizer *tokenizer, json_t *config, const char *name, more_error *error);

#endif
