/* SPDX-License-Identifier: Apache-2.0
 *
 * What this machine gives at best, measured with the same instructions and threads that the kernels use; for
 * llavamore-bench, which says what share of it the kernels reach.
 */
#ifndef NN_PROBE_H
#define NN_PROBE_H

#include "nn.h"

/* The kinds of multiply-add that a kernel table may have. */
typedef enum nn_peak {
    NN_PEAK_F32,       /* f32 multiply-add */
    NN_PEAK_BF16,      /* two products of bf16 added to f32 (AVX-512 BF16) */
    NN_PEAK_INT8,      /* four products of 8-bit numbers added to i32 (VNNI; without it three instructions do it) */
    NN_PEAK_TILE_BF16, /* AMX, bf16 */
    NN_PEAK_TILE_INT8, /* AMX, 8-bit numbers */
    NN_PEAKS
} nn_peak;

/* Floats that a probe of the level-2 cache goes through: 352 KiB, more than any level 1, less than any level 2. */
#define NN_PROBE_FED (88 << 10)

/* "f32 fma", "bf16 dot", "int8 dot", "bf16 tile" or "int8 tile". */
const char *nn_peak_name(nn_peak peak);
/* False where the context's kernel table lacks it. */
bool nn_probe_has(const nn_context *context, nn_peak peak);
/* The one that nn_linear multiplies with for weights of this storage and `rows` rows of activations, under the
 * context's arithmetic. */
nn_peak nn_probe_used(const nn_context *context, nn_storage storage, int64_t rows);

/* Operations a second (a multiply-add is two) of all workers together, measured over about `seconds`: when nothing
 * leaves the registers (fed NULL), or with the operands read from `fed`, NN_PROBE_FED floats that each worker holds in
 * its own level-2 cache. 0 where the table lacks the instruction. */
double nn_probe_peak(nn_context *context, nn_peak peak, const float *fed, double seconds);
/* Bytes a second that all workers together read from `count` floats of memory, each worker in pieces of its own: one
 * pass for each of six access patterns (pieces of 1 and 16 MiB, in 1, 2 or 4 streams), the best of them. */
double nn_probe_read(nn_context *context, const float *memory, int64_t count);
/* Seconds that an empty nn_parallel over all workers takes: the mean of `times` one behind the other. */
double nn_probe_barrier(nn_context *context, int64_t times);
/* Seconds on a clock that only goes forward. */
double nn_probe_clock(void);

#endif
