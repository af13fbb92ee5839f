/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels that show what the language does: each writes what its threads got, for test_language.c to compare.
 */
#ifndef CUDAEMU_LANGUAGE_H
#define CUDAEMU_LANGUAGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct language_shape {
    unsigned x, y, z;
} language_shape;

/* ids[number of the thread in the grid] = that number + 1, from the indices of a grid of any shape. */
int language_indices(void *stream, language_shape grid, language_shape block, size_t shared, uint32_t *ids);
/* y[i] = x of the thread behind it in the block's order, around, by static (0) or dynamic (1) shared memory, twice. */
int language_rotate(void *stream, int dynamic, const float *x, unsigned threads, float *y);

/* A warp: out[lane] = 100 + the lane that it read. kind: 0 index, 1 up, 2 down, 3 xor. */
int language_shuffle(void *stream, int kind, int argument, int width, int *out);
/* A warp whose halves shuffle and vote for themselves: out[lane] = sum over the half of lane. */
int language_halves(void *stream, float *out);
/* A warp: out[0..2][lane] = ballot, any, all of bit `lane` of predicates. */
int language_vote(void *stream, unsigned mask, unsigned predicates, unsigned *out);
/* `blocks` of 64 threads: out[0] int sum, [1] unsigned sum, [2] largest int, [3] least int, [4] largest unsigned, [5]
 * least unsigned, [6] a sum by compare and swap; sum = float sum. */
int language_atomics(void *stream, unsigned blocks, uint32_t *out, float *sum);

/* A warp: d = a b + c; a [16, 16], b [16, 8], c and d [16, 8] row-major, of f16 or bf16. */
int language_mma(void *stream, int bfloat16, const uint16_t *a, const uint16_t *b, const float *c, float *d);
/* A warp: registers[lane][i] of the four matrices [4][8][8]. */
int language_ldmatrix(void *stream, int transposed, const uint16_t *matrices, uint32_t *registers);
/* A block of `threads` copies x in pieces of 4 through a ring of three stages; the last has `rest` numbers. */
int language_ring(void *stream, unsigned threads, int pieces, int rest, const float *x, float *y);

/* On the host: the conversions themselves. */
float language_half_to_float(uint16_t bits);
uint16_t language_float_to_half(float value);
float language_bfloat16_to_float(uint16_t bits);
uint16_t language_float_to_bfloat16(float value);
/* Functions of numbers, at one place each. */
int language_functions(void *stream, float x, float y, float *out);

#ifdef __cplusplus
}
#endif
#endif
