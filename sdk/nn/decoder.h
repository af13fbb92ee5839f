/* SPDX-License-Identifier: Apache-2.0
 *
 * What decoder-only language models of the LLaMA kind share: reading config.json, loading blocks, attention and gated
 * feed-forward over the joined rows of a batch, and the interface functions that are the same for all of them. A plugin
 * gives an nn_decoder_architecture, whose `block` reads like its paper.
 */
#ifndef LLAVAMORE_NN_DECODER_H
#define LLAVAMORE_NN_DECODER_H

#include "loader.h"
#include "options.h"
#include "sessions.h"

enum {
    NN_DECODER_STOPS = 16,    /* most end tokens */
    NN_DECODER_LAYERS = 1024, /* most layers */
    NN_DECODER_REGIMES = 2    /* sets of rotary frequencies, see nn_sequence.regime */
};

/* config.json, checked. */
typedef struct nn_decoder_config {
    int64_t vocabulary, width, layers, context;
    int64_t heads, key_value_heads, head_dimension;
    int64_t intermediate;             /* width of the feed-forward */
    int64_t rotary_dimensions;        /* first channels of a head that turn; even, all of them unless partial */
    int64_t original_context;         /* rows that the first regime of rotary frequencies serves; 0 = all */
    double epsilon;                   /* of every norm */
    float norm_offset;                /* 0, or 1 where norms weigh by 1 + weight */
    float embedding_scale;            /* of every input row */
    float attention_scale;            /* of query times key */
    float attention_softcap;          /* 0 = none */
    float logit_softcap;              /* 0 = none */
    nn_activation activation;         /* of the feed-forward's gate */
    int64_t window;                   /* rows that a windowed layer sees, its own included; 0 = no layer is */
    bool windowed[NN_DECODER_LAYERS]; /* which layers are */
    bool tied_head;                   /* the head is the embedding */
    bool attention_bias, mlp_bias;
    int32_t stop_ids[NN_DECODER_STOPS];
    int32_t stop_count;
    const char *template_name; /* NULL = unknown */
} nn_decoder_config;

/* Rotary frequencies of one regime. */
typedef struct nn_decoder_rotary {
    float values[NN_HEAD_DIMENSION / 2]; /* the first rotary_dimensions / 2, on the host */
    float *frequencies[NN_PLACES];       /* the same in each place */
    float factor;                        /* of cosine and sine */
} nn_decoder_rotary;

/* Weights of one block. Biases, and norms that the architecture does not have, are NULL. */
typedef struct nn_decoder_block {
    float *attention_norm, *attention_post_norm; /* [width], before attention and on what it gives */
    nn_matrix *query_key_value;                  /* [(heads + 2 key_value_heads) head_dimension, width] */
    float *query_key_value_bias;
    nn_matrix *output; /* [width, heads head_dimension] */
    float *output_bias;
    float *mlp_norm, *mlp_post_norm; /* [width] */
    nn_matrix *gate_up;              /* [2 intermediate, width] */
    float *gate_up_bias;
    nn_matrix *down; /* [width, intermediate] */
    float *down_bias;
} nn_decoder_block;

/* Scratch of one forward pass in one place: [rows, ...] each. */
typedef struct nn_decoder_scratch {
    nn_context *context;      /* where the blocks of this place work */
    const int64_t *positions; /* of the batch */
    float *x;                 /* width: what goes from block to block */
    float *normed;            /* width */
    float *query_key_value;   /* (heads + 2 key_value_heads) head_dimension */
    float *attended;          /* heads head_dimension */
    float *gate_up;           /* 2 intermediate */
    float *gated;             /* intermediate */
} nn_decoder_scratch;

/* What makes one architecture; constant. */
typedef struct nn_decoder_architecture {
    const char *name; /* the plugin's id, for messages */
    /* Sets config from the checkpoint's: nn_decoder_config_default, the architecture's own defaults, then what
     * nn_decoder_read_config and its own keys say. Works on a source without a context, for recognise. */
    more_status (*read_config)(const nn_source *source, nn_decoder_config *config, more_error *error);
    /* Fills in values of rotary[0], and of rotary[1] where there are two regimes; factors are 1 when called. */
    more_status (*read_rotary)(const nn_source *source, const nn_decoder_config *config, nn_decoder_rotary *rotary,
                               more_error *error);
    void (*load_block)(nn_loader *loader, const nn_decoder_config *config, int64_t layer, nn_decoder_block *block);
    /* Block `layer` over x [batch->rows, width], in place. */
    void (*block)(const more_language *decoder, const nn_batch *batch, int64_t layer, const nn_decoder_scratch *scratch,
                  float *x);
    more_status (*admit)(const nn_language *language, nn_admission *admission, more_error *error); /* or NULL */
} nn_decoder_architecture;

/* The instance, of every plugin that is built on this. */
struct more_language {
    nn_language base; /* first, see sessions.h */
    const nn_decoder_architecture *architecture;
    nn_context *places[NN_PLACES]; /* one a device of open(); the first has embedding, final norm and head */
    int32_t place_count;
    int32_t layer_places[NN_DECODER_LAYERS]; /* where each block is */
    nn_decoder_config config;
    nn_decoder_rotary rotary[NN_DECODER_REGIMES];
    nn_matrix *embedding;
    nn_decoder_block *blocks;
    float *norm;
    nn_matrix *head; /* the embedding where tied */
    int64_t weight_bytes[NN_PLACES];
};

/* ---- Reading config.json: decoder_config.c ---------------------------------------------------------------------- */

/* MORE_ERROR_UNSUPPORTED: `key` is `value`, the plugin takes `allowed`. */
more_status nn_decoder_refuse(const nn_source *source, const char *plugin, const char *key, const char *value,
                              const char *allowed, more_error *error);
/* A number that must be above 0 and finite, under group.name, or under name when group is NULL. */
more_status nn_decoder_positive(const nn_source *source, const char *group, const char *name, double *value,
                                more_error *error);
/* The same, keeping *value when `name` is absent. */
more_status nn_decoder_positive_or(const nn_source *source, const char *name, double *value, more_error *error);
/* The same, 0 when absent or null. */
more_status nn_decoder_positive_or_none(const nn_source *source, const char *name, float *value, more_error *error);
/* 2,048 rows, epsilon 1e-6, SiLU, inputs as they are; zero is "as the heads say" for key_value_heads and
 * head_dimension, none for all else. */
nn_decoder_config nn_decoder_config_default(void);
/* Sizes, heads, epsilon, tied head and end tokens under the keys that transformers' decoders share. Keys that may be
 * absent keep what config holds; then all of a head turns and scores are scaled by 1 / sqrt(head_dimension). */
more_status nn_decoder_read_config(const nn_source *source, nn_decoder_config *config, more_error *error);
/* Plain, "linear" and "llama3" frequencies under rope_parameters or rope_theta and rope_scaling; theta is the base when
 * none is given. */
more_status nn_decoder_read_rotary(const nn_source *source, const char *plugin, const nn_decoder_config *config,
                                   double theta, nn_decoder_rotary *rotary, more_error *error);
/* The keys of it: "rope_parameters" or "rope_scaling", its type ("default" when there is none) and the base. */
more_status nn_decoder_rotary_group(const nn_source *source, const char **group, const char **type, double *theta,
                                    more_error *error);

/* How recognise tells an architecture: by model_type, or, where config.json names none, by tensor names. */
typedef struct nn_decoder_signature {
    const char *const *model_types; /* NULL-terminated */
    const char *const *present;     /* Hugging Face names that must be there, NULL-terminated */
    const char *const *absent;      /* names that must not, NULL-terminated */
    const char *tensors;            /* for the reason: "tensors named as LLaMA's" */
} nn_decoder_signature;

/* recognise() of the interface: 100 by model_type, 50 by names; the settings name the template. */
void nn_decoder_recognise(const nn_decoder_architecture *architecture, const nn_decoder_signature *signature,
                          const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition);

/* ---- Loading and running ---------------------------------------------------------------------------------------- */

/* Loads "layers.*.attention.{query,key,value,output}", ".mlp.{gate,up,down}", with biases where the config has them,
 * and "layers.*.{attention,mlp}_norm". */
void nn_decoder_load_block(nn_loader *loader, const nn_decoder_config *config, int64_t layer, nn_decoder_block *block);
/* y = norm(x): root mean square, weight [width] plus the architecture's offset. In place allowed. `context` is the
 * scratch's. */
void nn_decoder_norm(const more_language *decoder, nn_context *context, const float *x, int64_t rows,
                     const float *weight, float *y);
/* y = output(attention(rotary(query), rotary(key), value)) + residual, all of scratch->normed, which y may be. residual
 * may be NULL or y. */
void nn_decoder_attend(const more_language *decoder, const nn_batch *batch, int64_t layer,
                       const nn_decoder_scratch *scratch, const float *residual, float *y);
/* y = down(activation(gate) * up) + residual, both of scratch->normed, which y may be. residual may be NULL or y. */
void nn_decoder_feed_forward(const more_language *decoder, const nn_batch *batch, int64_t layer,
                             const nn_decoder_scratch *scratch, const float *residual, float *y);
/* nn_decoder_architecture.block of the LLaMA kind: x += attention(norm(x)); x += feed_forward(norm(x)) */
void nn_decoder_block_prenorm(const more_language *decoder, const nn_batch *batch, int64_t layer,
                              const nn_decoder_scratch *scratch, float *x);

/* ---- The interface ---------------------------------------------------------------------------------------------- */

/* The options of every decoder plugin: those of options.h, kv_cache. */
#define NN_DECODER_OPTION_COUNT (NN_OPTION_COUNT + 1)
extern const more_option nn_decoder_options[NN_DECODER_OPTION_COUNT];

/* open() of the interface, for the plugin's architecture. */
more_status nn_decoder_open(const nn_decoder_architecture *architecture, const more_open *arguments,
                            more_language **language, more_error *error);
/* The functions of more_language_interface of the same names. */
void nn_decoder_close(more_language *decoder);
void nn_decoder_describe(const more_language *decoder, more_language_info *info);
more_status nn_decoder_estimate(const more_language *decoder, int64_t sessions, int64_t length, int64_t batch,
                                more_memory *memory, more_error *error);
int64_t nn_decoder_kv_bytes(const more_language *decoder, int64_t rows);
more_status nn_decoder_session_create(more_language *decoder, int64_t planned_length, more_session **session,
                                      more_error *error);
more_status nn_decoder_embed(more_language *decoder, const int32_t *ids, int64_t count, more_tensor *rows,
                             more_error *error);
more_status nn_decoder_advance(more_language *decoder, more_advance *items, int32_t count);

#endif
