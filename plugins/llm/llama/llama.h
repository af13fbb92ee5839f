/* SPDX-License-Identifier: Apache-2.0
 *
 * The LLaMA architecture: token embedding, blocks of {RMS norm, rotary grouped-query attention, RMS norm, SwiGLU},
 * final RMS norm, head. Serves LLaMA-1/2/3/3.1, Vicuna and DeepSeek-R1-Distill-Llama.
 */
#ifndef LLAMA_H
#define LLAMA_H

#include "loader.h"
#include "sessions.h"

#define LLAMA_MAX_STOPS 16

/* config.json, checked. */
typedef struct llama_config {
    int64_t vocabulary, width, layers, context;
    int64_t heads, key_value_heads, head_dimension;
    int64_t intermediate; /* width of the MLP */
    double epsilon;       /* of every norm */
    bool tied_head;       /* the head is the embedding */
    bool attention_bias, mlp_bias;
    int32_t stop_ids[LLAMA_MAX_STOPS];
    int32_t stop_count;
    const char *template_name; /* NULL = unknown */
} llama_config;

/* Weights of one block. Biases are NULL where the model has none. */
typedef struct llama_block {
    float *attention_norm, *mlp_norm; /* [width] */
    nn_matrix *query_key_value;       /* [(heads + 2 key_value_heads) head_dimension, width] */
    float *query_key_value_bias;
    nn_matrix *output; /* [width, heads head_dimension] */
    float *output_bias;
    nn_matrix *gate_up; /* [2 intermediate, width] */
    float *gate_up_bias;
    nn_matrix *down; /* [width, intermediate] */
    float *down_bias;
} llama_block;

struct more_language {
    nn_language base; /* first, see sessions.h */
    nn_context *context;
    llama_config config;
    float *frequencies; /* [head_dimension / 2], rotary, scaled */
    nn_matrix *embedding;
    llama_block *blocks;
    float *norm;
    nn_matrix *head; /* the embedding where tied */
    int64_t weight_bytes;
};

/* Reads and checks config.json. */
more_status llama_config_read(const nn_source *source, llama_config *config, more_error *error);
/* The head_dimension / 2 rotary frequencies, scaled as the config says. The caller frees them with nn_free, also after
 * a failure. */
more_status llama_frequencies(const nn_source *source, const llama_config *config, float **frequencies,
                              more_error *error);
/* recognise() of the interface. */
void llama_recognise(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition);

#endif
