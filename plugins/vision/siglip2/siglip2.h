/* SPDX-License-Identifier: Apache-2.0
 *
 * SigLIP 2's vision tower, in its two forms. At a fixed resolution it is SigLIP's graph with other weights (and the
 * config's model_type still says siglip). NaFlex (transformers' Siglip2VisionModel) takes pictures of any shape: as
 * many patches as a budget allows at the picture's own aspect ratio, and positions resized to that grid.
 */
#ifndef SIGLIP2_H
#define SIGLIP2_H

#include "encoder.h"

struct more_vision {
    nn_encoder encoder;
    bool naflex;
    int64_t budget;    /* NaFlex: most patches of an image */
    int64_t side;      /* the table of positions is side x side */
    nn_matrix *patch;  /* [width, 3 patch_size^2]; NaFlex: columns in the order (row, column, channel) */
    float *patch_bias; /* [width] */
    float *positions;  /* [side^2, width] */
};

enum { SIGLIP2_OPTION_MAX_NUM_PATCHES = NN_ENCODER_OPTION_COUNT, SIGLIP2_OPTION_COUNT };

/* siglip2_config.c */
more_status siglip2_configure(nn_encoder *encoder, const nn_source *source, const more_open *arguments,
                              more_error *error);
void siglip2_recognise(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition);

#endif
