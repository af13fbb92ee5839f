/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of 16-bit numbers, the part of a kernel table that only some CPUs have. Both factors are rounded to bf16 and
 * lie in pairs of two neighbouring k, the earlier in the lower half of a 32-bit word; sums are f32. Two kinds of
 * instructions take that form: the bf16 dot product (16 lanes of one pair each) and the bf16 tile product of AMX, for
 * which 16 pairs of a panel, 1 KiB, are one operand. So a panel of pairs is [pairs of k][NN_PANEL] words.
 *
 * Order of summation: one chain for ascending k, whatever the blocks, so that a row's result depends on nothing but the
 * row, among few and many.
 */
#ifndef NN_CPU_BF16_H
#define NN_CPU_BF16_H

#include "../nn.h"

enum {
    NN_PAIR_BLOCK = 512,   /* terms of one block of k: NN_K_BLOCK pairs */
    NN_PAIR_GRAIN = 32,    /* terms, to a multiple of which pairs are filled up with zeros */
    NN_PAIR_COLUMNS = 256, /* outputs of one worker's block */
};

/* c[r, 16p + l] (+)= sum over k < depth of x[r, k] * w[p, 16k + l], both in bf16. */
typedef struct nn_pair_tile {
    int64_t rows;      /* 1 .. tile_rows of the kernels; c has room for a multiple of row_step, x of height */
    int64_t panels;    /* any number */
    int64_t depth;     /* terms */
    const uint32_t *x; /* pairs, [blocks of NN_PAIR_BLOCK terms][rows][NN_X_STRIDE] */
    int64_t x_block;   /* words from block to block */
    const void *w;     /* pairs or a stored panel; stride in bytes */
    int64_t panel_stride;
    float *c; /* row stride in floats */
    int64_t c_stride;
    bool accumulate; /* go on from c rather than from 0 */
    int64_t height;  /* as given to begin */
} nn_pair_tile;

typedef struct nn_pair_kernels {
    const char *instruction; /* for the log */
    int64_t tile_rows;
    int64_t tile_panels;
    int64_t row_step;       /* rows are cut at multiples of this */
    int64_t block_rows;     /* of one worker's block, a multiple of tile_rows */
    int64_t quantised_rows; /* from so many rows on quantised weights are multiplied here too; INT64_MAX = never */

    /* Around the tiles of one worker's block: `height` = rows of a register tile, at most row_step. NULL = nothing to
     * do. */
    void (*begin)(int64_t height);
    void (*end)(void);
    /* x rounded to nearest even, in pairs, filled up with zeros to NN_PAIR_GRAIN. */
    void (*round)(const float *x, int64_t count, uint32_t *pairs);
    /* `count` terms, at most NN_PAIR_BLOCK, of a stored panel as pairs, filled up as x is; quantised panels from the
     * beginning of a step. NULL where quantised_rows is INT64_MAX and the storage quantised. */
    void (*pair[NN_STORAGES])(const void *stored, int64_t count, uint32_t *pairs);
    /* w is pairs, depth at most NN_PAIR_BLOCK and a multiple of NN_PAIR_GRAIN. */
    void (*tile)(const nn_pair_tile *tile);
    /* w as it is stored, all of k in one call: for few rows, which memory binds. NULL = tile serves them as well. */
    void (*few[NN_FLOATS])(const nn_pair_tile *tile);
} nn_pair_kernels;

#endif
