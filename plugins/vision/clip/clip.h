/* SPDX-License-Identifier: Apache-2.0
 *
 * CLIP's vision tower: patch embedding, class token, learned positions, layer norm, then blocks of {layer norm,
 * attention, layer norm, MLP}. The final norm and the projection are not part of what a language model is given.
 */
#ifndef CLIP_H
#define CLIP_H

#include "loader.h"

#include <llavamore/vision.h>

/* config.json, checked. */
typedef struct clip_config {
    int64_t width, layers, heads, head_dimension;
    int64_t intermediate;           /* width of the MLP */
    int64_t image_size, patch_size; /* pixels */
    int64_t grid;                   /* patches a side: image_size / patch_size, rounded down */
    int64_t tokens;                 /* class token and patches: 1 + grid^2 */
    double epsilon;                 /* of every norm */
    nn_activation activation;
} clip_config;

typedef struct clip_block {
    float *norm1_weight, *norm1_bias, *norm2_weight, *norm2_bias; /* [width] */
    nn_matrix *query_key_value;                                   /* [3 width, width] */
    float *query_key_value_bias;
    nn_matrix *output; /* [width, width] */
    float *output_bias;
    nn_matrix *up; /* [intermediate, width] */
    float *up_bias;
    nn_matrix *down; /* [width, intermediate] */
    float *down_bias;
} clip_block;

struct more_vision {
    nn_context *context;
    clip_config config;
    bool metadata_only;
    int64_t loaded;                 /* blocks in memory, at most config.layers */
    nn_matrix *patch;               /* [width, 3 patch_size^2] */
    float *class_token;             /* [width] */
    float *positions;               /* [tokens, width] */
    float *norm_weight, *norm_bias; /* before the first block */
    clip_block *blocks;
    int64_t weight_bytes;
    char preprocess[512];
};

/* clip_load.c */
more_status clip_config_read(const nn_source *source, clip_config *config, more_error *error);
/* Loads the first `loaded` blocks and what comes before them; what was loaded before a failure stays for clip_close. */
more_status clip_load(more_vision *clip, const nn_source *source, more_error *error);
void clip_unload(more_vision *clip);
void clip_recognise(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition);
const more_tensor_map *clip_tensor_map(void);

/* clip_forward.c */
#define CLIP_CHUNK 16 /* images that go through the blocks together; bounds the memory of a large batch */
more_status clip_encode(more_vision *clip, const more_vision_batch *batch, more_error *error);
/* Bytes of the buffers of a call on `images` images. */
int64_t clip_activation_bytes(const clip_config *config, int64_t images);

#endif
