/* SPDX-License-Identifier: Apache-2.0
 *
 * A vision transformer: what every plugin of llavamore.vision/1 shares. A plugin describes its encoder in an
 * nn_encoder, with which its own struct more_vision begins, and says in an nn_encoder_kind how to read the config, how
 * to load what comes before the blocks, and how pixels become hidden state 0. This file loads and runs the blocks
 *
 *     x += scale1 * output(attention(norm1(x)));   x += scale2 * down(activation(up(norm2(x))))
 *
 * picks layers, cuts large batches, and gives the interface's functions.
 *
 * The rows of a batch lie one image behind the other, each image with as many as it has, so that a linear layer runs
 * once over images of different sizes; only attention looks at where an image begins and ends. Nothing is padded, so no
 * mask is needed and an image's result is the same in every batch.
 */
#ifndef LLAVAMORE_NN_ENCODER_H
#define LLAVAMORE_NN_ENCODER_H

#include "loader.h"
#include "options.h"

#include <llavamore/vision.h>

/* Weights of one block; norms are layer norms. Canonical names, all below "layers.*.", the same in all plugins:
 * norm1.weight .bias, attention.query.weight .bias (and key, value), attention.output.weight .bias, scale1 (where
 * layer_scale), norm2.weight .bias, mlp.up.weight .bias, mlp.down.weight .bias, scale2. */
typedef struct nn_encoder_block {
    float *norm1_weight, *norm1_bias, *norm2_weight, *norm2_bias; /* [width] */
    nn_matrix *query_key_value;                                   /* [3 width, width] */
    float *query_key_value_bias;                                  /* NULL without attention_bias */
    nn_matrix *output;                                            /* [width, width] */
    float *output_bias;
    float *scale1, *scale2; /* LayerScale [width]; NULL without layer_scale */
    nn_matrix *up;          /* [intermediate, width]; gated: [2 intermediate, width], gate first */
    float *up_bias;
    nn_matrix *down; /* [width, intermediate] */
    float *down_bias;
} nn_encoder_block;

typedef struct nn_encoder nn_encoder;

/* What a plugin supplies, constant data. Each function gets the encoder with which its own struct more_vision begins,
 * and casts it. */
typedef struct nn_encoder_kind {
    const char *name; /* of the plugin, for messages: "clip" */
    size_t size;      /* sizeof(struct more_vision) */
    /* Reads the config and the options into the fields that are marked "configure" below. */
    more_status (*configure)(nn_encoder *encoder, const nn_source *source, const more_open *arguments,
                             more_error *error);
    /* Loads what is not in the blocks; the loader keeps the first failure. */
    void (*load)(nn_encoder *encoder, nn_loader *loader);
    /* Frees what load() loaded, which may have ended anywhere: fields are NULL until loaded. */
    void (*unload)(nn_encoder *encoder);
    /* What an image of width x height (both at least 1) becomes, struct_size excepted. NULL for encoders of fixed
     * resolution: image_size / patch_size patches a side, rounded down, whatever comes. */
    more_status (*plan)(const nn_encoder *encoder, int64_t width, int64_t height, more_vision_plan *plan,
                        more_error *error);
    /* Hidden state 0 of one image: x [plan->tokens, width] of pixels [3, plan->pixel_height, plan->pixel_width]. `plan`
     * has been checked (see nn_encoder_encode). The arena lives for this call alone; take at most embed_floats of it
     * for an image of the trained size. */
    more_status (*embed)(const nn_encoder *encoder, nn_arena *arena, const float *pixels, const more_vision_plan *plan,
                         float *x, more_error *error);
} nn_encoder_kind;

/* Constant from open to close. */
struct nn_encoder {
    const nn_encoder_kind *kind;
    nn_context *context;
    bool metadata_only;
    int64_t loaded; /* blocks in memory, at most layers */
    nn_encoder_block *blocks;
    int64_t weight_bytes;
    int64_t head_dimension; /* width / heads */

    /* configure */
    int64_t width, layers, heads;
    int64_t intermediate;           /* width of the MLP, behind the gate where gated */
    int64_t image_size, patch_size; /* pixels */
    int64_t prefix_tokens;          /* class and register tokens before the patches */
    int64_t tokens;                 /* of an image of the trained size (BUDGET: at most), prefix included */
    int64_t embed_floats;           /* see embed() */
    double epsilon;                 /* of every norm */
    nn_activation activation;
    bool gated;          /* MLP is down(activation(gate) * up), the two halves in one matrix */
    bool layer_scale;    /* both branches end in a factor a channel */
    bool attention_bias; /* of query, key and value; output always has one */
    more_resolution resolutions;
    char preprocess[512]; /* as more_vision_info's */
};

/* ---- Config (encoder_config.c) ---------------------------------------------------------------------------------- */

#define NN_ENCODER_KEY_SIZE 64

/* The config key of `name`: a whole model keeps the tower's keys under "vision_config.", a tower alone at top level.
 * Gives `key` back. */
const char *nn_encoder_key(const more_weights_service *weights, more_checkpoint *checkpoint, const char *name,
                           char key[NN_ENCODER_KEY_SIZE]);

/* Reads the keys that all vision configs of transformers share: hidden_size, num_hidden_layers, num_attention_heads,
 * intermediate_size, image_size, patch_size, num_channels (must be 3), hidden_act (quick_gelu, gelu, gelu_pytorch_tanh,
 * silu), layer_norm_eps. A missing key leaves its field as it was set before the call, and is an error where that is 0,
 * but for intermediate, which may also be set behind the call (from DINOv2's mlp_ratio). Then checks that heads divide
 * width, head_dimension <= NN_HEAD_DIMENSION, patch_size <= image_size, 0 < epsilon < 1. Errors name file, key and
 * value. */
more_status nn_encoder_read_config(nn_encoder *encoder, const nn_source *source, more_error *error);

/* MORE_ERROR_UNSUPPORTED, naming `title` ("CLIP"), unless the config's model_type is absent or one of `types` (`count`
 * strings): else a language model's hidden_size would be taken for the tower's. */
more_status nn_encoder_require_type(const nn_encoder *encoder, const nn_source *source, const char *title,
                                    const char *const *types, int32_t count, more_error *error);

/* Sets tokens and embed_floats for an encoder of one size: image_size / patch_size patches a side, rounded down. */
void nn_encoder_fix_size(nn_encoder *encoder);

/* The body of recognise(): score 100 when model_type (nested or not) is one of `types`, else 0, and the reason. Gives
 * the weights service, or NULL where the host has none, for a look at tensors. */
const more_weights_service *nn_encoder_recognise(const more_host *host, more_checkpoint *checkpoint,
                                                 const char *const *types, int32_t count,
                                                 more_recognition *recognition);

/* ---- Names and patches ------------------------------------------------------------------------------------------ */

/* The tensor map of towers that transformers keeps under "vision_model." (CLIP, SigLIP, SigLIP 2): the blocks, and
 * class_token, patch.weight .bias, positions, norm.weight .bias (before the first block) as far as the model has them.
 */
const more_tensor_map *nn_encoder_vision_model_map(void);

/* x [grid, width] = patches W^T + bias + positions, of pixels [3, plan->pixel_height, plan->pixel_width]. weight
 * [width, 3 patch_size^2] as a convolution's kernel, bias [width], positions [grid, width]; the two last may be NULL.
 */
more_status nn_encoder_embed_patches(const nn_encoder *encoder, nn_arena *arena, const float *pixels,
                                     const more_vision_plan *plan, const nn_matrix *weight, const float *bias,
                                     const float *positions, float *x, more_error *error);

/* ---- The interface ---------------------------------------------------------------------------------------------- */

/* The options that every encoder has, those of options.h first; the first rows of the plugin's table. */
enum { NN_ENCODER_OPTION_BLOCKS = NN_OPTION_COUNT, NN_ENCODER_OPTION_COUNT };
#define NN_ENCODER_OPTION_ROWS                                                                                         \
    NN_OPTION_ROWS,                                                                                                    \
    {                                                                                                                  \
        "blocks", MORE_INT64, "0", 0, 1024, NULL,                                                                      \
            "Number of transformer blocks to load, counted from the first; 0 = all. Later hidden states cannot be "    \
            "asked for."                                                                                               \
    }
/* The table of a plugin that has no more than these. */
extern const more_option nn_encoder_options[NN_ENCODER_OPTION_COUNT];

/* The body of the plugin's open(). */
more_status nn_encoder_open(const nn_encoder_kind *kind, const more_open *arguments, more_vision **vision,
                            more_error *error);

/* The functions of more_vision_interface of the same names, to be put into the plugin's table as they are: its struct
 * more_vision must begin with an nn_encoder. encode() refuses a plan that does not fit its pixels, whose grid is not
 * pixels / patch_size rounded down, or whose tokens are not prefix_tokens + grid. */
void nn_encoder_close(more_vision *vision);
void nn_encoder_describe(const more_vision *vision, more_vision_info *info);
more_status nn_encoder_estimate(const more_vision *vision, int64_t images, more_memory *memory, more_error *error);
more_status nn_encoder_plan(const more_vision *vision, int64_t width, int64_t height, more_vision_plan *plan,
                            more_error *error);
more_status nn_encoder_encode(more_vision *vision, const more_vision_batch *batch, more_error *error);

#endif
