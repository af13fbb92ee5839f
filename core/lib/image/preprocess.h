/* SPDX-License-Identifier: Apache-2.0
 *
 * From a preprocessor_config.json to steps, and the running of steps.
 */
#ifndef CORE_IMAGE_PREPROCESS_H
#define CORE_IMAGE_PREPROCESS_H

#include "image/image.h"
#include "plugin/call.h"
#include <jansson.h>

typedef enum core_pad {
    CORE_PAD_NONE = 0,
    CORE_PAD_SQUARE = 1 /* LLaVA's expand2square before the processor, filled with int(mean * 255) a channel */
} core_pad;

/* The steps that transformers' slow processor would take for this config, in its order, as text that a pipeline parses:
 * "convert_rgb(), pad_square(122, 116, 104), resize_shortest(336, bicubic), ...". `path` names the config in messages;
 * the caller frees *steps. A key or value that is not understood is MORE_ERROR_UNSUPPORTED naming it, never guessed at.
 * [any-thread] */
more_status core_preprocess_steps(json_t *config, const char *path, core_pad pad, char **steps, more_error *error);
/* The same from FOLDER/preprocessor_config.json; MORE_ERROR_NOT_FOUND when the folder has none. [any-thread] */
more_status core_preprocess_steps_from_config(const char *folder, core_pad pad, char **steps, more_error *error);
/* Puts padding in front of steps that lack it (those of an INI file or of a plugin's describe()): after a leading
 * convert_rgb(), filled by the mean of their normalize(). Text that pads already, or pad NONE, is copied. The caller
 * frees *padded. MORE_ERROR_ARGUMENT when no normalize() gives a mean. [any-thread] */
more_status core_preprocess_add_padding(const char *steps, core_pad pad, char **padded, more_error *error);

/* Steps bound and ready to run. Immutable: several threads may run one at a time. */
typedef struct core_pipeline core_pipeline;

/* Parses and checks `steps`; `where` begins the messages of mistakes in it. max_pixels caps every image between steps
 * (0 = CORE_IMAGE_MAX_PIXELS). On failure *pipeline is NULL. */
more_status core_pipeline_create(const core_functions *functions, const char *steps, const char *where,
                                 int64_t max_pixels, core_pipeline **pipeline, more_error *error);
/* NULL is allowed. */
void core_pipeline_free(core_pipeline *pipeline);
/* Runs the steps on `decoded` (left as it is) and leaves the result in `pixels` (initialised by the caller): f32 [3,
 * height, width]. Steps find decoded's plan_width and plan_height. The caller checks the size against the encoder's
 * plan. A step's error is preceded by its name; MORE_ERROR_ARGUMENT when the last step does not leave 3 float channels.
 * [any-thread] */
more_status core_pipeline_run(const core_pipeline *pipeline, const more_image *decoded, core_image *pixels,
                              more_error *error);

#endif
