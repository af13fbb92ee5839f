/* SPDX-License-Identifier: Apache-2.0
 *
 * Models of a named shape, without files: share/shapes/NAME.json says config and tensors of a vision encoder, a
 * projector, a language model, or a whole assembly; the weights are seeded random numbers.
 *
 *     {"about": "...",
 *      "vision": {"config": {...}, "preprocessor_config": {...}, "tensors": {"name.*.weight": [rows, columns], ...}},
 *      "projector": {...}, "llm": "name of another file, whose part it is",
 *      "settings": {"vision.layer": "-2", ...}}
 *
 * Every part may be missing; a '*' in a tensor's name stands for each layer.
 */
#ifndef BENCH_SYNTHETIC_H
#define BENCH_SYNTHETIC_H

#include "config/config.h"

/* Parts that a shape has. */
typedef struct synthetic {
    bool vision, projector, llm;
    int64_t vision_width; /* channels of an encoder without a projector: it gets one that changes nothing */
    char folder[256];     /* temporary; "" = none */
} synthetic;

/* Writes what `name` ("NAME" or "NAME:FORMAT", FORMAT f32, f16, bf16, q8, q4 or q4_1; f16 by default) needs into a
 * temporary folder and points the config's keys at it. The folder may go as soon as the model is open; the caller
 * removes it with synthetic_remove, also after a failure. */
more_status synthetic_make(const char *name, core_config *config, synthetic *made, more_error *error);
void synthetic_remove(synthetic *made);
/* Names and descriptions of all shapes, one a line; the caller frees it. NULL when out of memory. */
char *synthetic_list(void);

#endif
