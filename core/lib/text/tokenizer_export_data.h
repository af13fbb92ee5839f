/* SPDX-License-Identifier: Apache-2.0
 *
 * A tokenizer on its way into a GGUF file. Internal to text/.
 */
#ifndef CORE_TOKENIZER_EXPORT_DATA_H
#define CORE_TOKENIZER_EXPORT_DATA_H

#include "text/tokenizer_data.h"
#include "text/tokenizer_export.h"

typedef struct core_token_table {
    const core_tokenizer_source *source;
    const core_tokenizer *tokenizer;
    char *file, *folder;   /* the tokenizer.json or model; what lies beside it is here */
    json_t *json, *config; /* of tokenizer.json, NULL for a model; of tokenizer_config.json, NULL without one */
    json_t *notes;         /* borrowed */
    unsigned char *types;  /* [rows] core_piece_type */
    float *scores;         /* [rows]; NULL = none */
    bool space_prefix;     /* pieces: a space stands in front of a text */
} core_token_table;

/* The text under the key, "" where there is none. */
static inline const char *core_token_text(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}
/* Sets types, scores and space_prefix of pieces: of a SentencePiece model, or of merges whose order gives scores. */
more_status core_token_score(core_token_table *table, more_error *error);

#endif
