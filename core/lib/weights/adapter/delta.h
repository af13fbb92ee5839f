/* SPDX-License-Identifier: Apache-2.0
 *
 * What a low-rank adapter adds to a matrix: scale B A (LoRA, arXiv 2106.09685), row by row as rows are read.
 */
#ifndef CORE_WEIGHTS_DELTA_H
#define CORE_WEIGHTS_DELTA_H

#include "weights/safetensors.h"

#define CORE_DELTA_ROWS 64 /* rows that core_delta_add takes at a time */

typedef struct core_delta {
    const core_tensor_entry *a, *b; /* [rank, in] and [out, rank], of any float format */
    float scale;                    /* lora_alpha / rank, or / sqrt(rank) */
    bool transposed;                /* the matrix is stored as [in, out]: (B A)^T is added */
    const struct core_delta *next;  /* of another adapter on the same matrix; NULL = no more */
} core_delta;

/* Adds rows [first, first + count) of all deltas of the list to `rows` [count, width], in f32; count is at most
 * CORE_DELTA_ROWS. `flipped`: the rows asked for are columns of the stored matrix. Shapes were checked when the adapter
 * was opened. False without memory. [any-thread] */
bool core_delta_add(const core_delta *delta, bool flipped, int64_t first, int64_t count, int64_t width, float *rows);

/* Rounds f32 values to what `format` (f16, bf16, else nothing) can hold, in place. [any-thread] */
void core_delta_round(const char *format, int64_t count, float *values);

#endif
