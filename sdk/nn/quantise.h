/* SPDX-License-Identifier: Apache-2.0
 *
 * GGUF's blocks of 32 quantised numbers, row-major: what `quantize =` makes of a checkpoint while it loads and
 * llavamore-quantize writes. All functions are [any-thread] and give the same bits on every machine whose compiler does
 * not fuse multiply-adds unasked.
 */
#ifndef NN_QUANTISE_H
#define NN_QUANTISE_H

#include <stdint.h>

/* Bytes of a block; scales and minima are f16, little-endian, and stand first:
 * Q8_0  34: scale, 32 signed numbers:                       value = scale * q
 * Q4_0  18: scale, 16 bytes of two numbers n (i and 16 + i): value = scale * (n - 8)
 * Q4_1  20: scale, minimum, 16 bytes likewise:              value = scale * n + minimum */
typedef enum nn_blocks { NN_BLOCKS_Q8_0, NN_BLOCKS_Q4_0, NN_BLOCKS_Q4_1 } nn_blocks;

/* Bytes of `count` values, the last block filled up. */
int64_t nn_blocks_bytes(nn_blocks blocks, int64_t count);
/* Quantises `count` values; what is missing to a whole block counts as zeros. Q8_0 rounds as ggml does: scale = max|x|
 * / 127. The 4-bit kinds take the scale (and minimum) of the least squared error that a search finds. A block with a
 * NaN gets NaN as its scale; magnitudes beyond what f16 scales reach are cut to it. */
void nn_quantise(nn_blocks blocks, const float *values, int64_t count, void *quantised);
/* The first `count` values back. */
void nn_dequantise(nn_blocks blocks, const void *quantised, int64_t count, float *values);

#endif
