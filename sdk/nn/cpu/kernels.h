/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of CPU kernels: one a variant (baseline, avx2, ..., amx: see select.c), all with the same meaning. Kernels
 * work in the calling thread on memory that the operators of sdk/nn prepared, and allocate nothing.
 *
 * Order of summation (of int8 products: see nn_tile_int8), the same in every kernel of a table, so that a row's result
 * depends on nothing but the row: a product over k is cut into blocks of NN_K_BLOCK; within a block terms are added for
 * ascending k starting from 0; the blocks' sums are added in their order.
 */
#ifndef NN_CPU_KERNELS_H
#define NN_CPU_KERNELS_H

#include "../nn.h"
#include "../probe.h"
#include "bf16.h"
#include "page.h"

#define NN_LOG2_E 1.44269504f

/* For bodies whose constant arguments choose the code. */
#define NN_INLINE static inline __attribute__((always_inline))
/* Before a loop of few, constant turns over vectors that are to live in registers. Not for clang's sanitizers, which
 * would look at every turn's memory for minutes. */
#if !defined(__clang__)
#define NN_UNROLL _Pragma("GCC unroll 16")
#elif __has_feature(address_sanitizer)
#define NN_UNROLL
#else
#define NN_UNROLL _Pragma("clang loop unroll(full)")
#endif

enum {
    NN_K_BLOCK = 256,   /* terms of one block of a product */
    NN_X_STRIDE = 272,  /* floats from row to row of a packed block: 17 cache lines, so that rows spread over sets */
    NN_BLOCK_PAGES = 4, /* pages of a block of keys */
    NN_ATTENTION_BLOCK = NN_BLOCK_PAGES * NN_PAGE, /* keys between two updates of the running softmax */
    NN_SCORE_STRIDE = NN_ATTENTION_BLOCK + NN_PANEL,
    NN_ATTEND_FEW = 6 /* queries that read a cache of another storage than NN_F32 as it is */
};

/* A quantised panel is a run of steps of NN_STEP columns, each whole cache lines: the scales of its first block (one
 * f16 a row of the panel), those of its second, likewise the minima (NN_Q4_OFFSET), then the numbers in groups of 4
 * columns: 4 bytes a row, the operand of the instructions that add 4 products. NN_Q8 stores q + 128; the 4-bit kinds
 * have two groups in 64 bytes, the earlier one in the lower halves of the bytes. */
enum {
    NN_STEP = 2 * NN_BLOCK,
    NN_STEP_SCALES = 2 * NN_PANEL * 2,   /* bytes */
    NN_STEP_BYTES8 = NN_STEP * NN_PANEL, /* of the numbers with a byte each */
    NN_STEP_BYTES4 = NN_STEP_BYTES8 / 2,
    NN_ZERO_Q8 = 128, /* the stored number that stands for 0 */
    NN_ZERO_Q4 = 8
};

/* Bytes before a step's numbers, and of all of it. */
static inline int64_t nn_step_numbers(nn_storage storage)
{
    return storage == NN_Q4_OFFSET ? 2 * NN_STEP_SCALES : NN_STEP_SCALES;
}
static inline int64_t nn_step_bytes(nn_storage storage)
{
    return nn_step_numbers(storage) + (storage == NN_Q8 ? NN_STEP_BYTES8 : NN_STEP_BYTES4);
}

/* A product of a few rows with a few panels, within one block of k:
 * c[r, 16p + l] (+)= sum over k < depth of x[r * NN_X_STRIDE + k] * w[p * panel_stride + 16k + l]. */
typedef struct nn_tile {
    int64_t rows;   /* 1 .. tile_rows of the table */
    int64_t panels; /* 1 .. tile_panels of the table */
    int64_t depth;  /* 1 .. NN_K_BLOCK */
    const float *x;
    const void *w; /* stored type; stride in elements */
    int64_t panel_stride;
    float *c; /* row stride in floats */
    int64_t c_stride;
    bool accumulate;      /* add to c rather than set it */
    const void *ahead;    /* what is needed next, brought closer meanwhile: `ahead_step` bytes a k of each panel */
    int64_t ahead_step;   /* 0 = nothing is needed, and ahead may be NULL */
    int64_t ahead_stride; /* bytes from panel to panel */
} nn_tile;

/* Rows of activations as 8-bit numbers, in tiles of `rows` rows. A tile is a run of steps of NN_STEP columns: scales
 * f32 [rows]; what the sum of the numbers of each of its two blocks contributes [2][rows], int32 -zero * sum where the
 * weights are stored with a zero, for NN_Q4_OFFSET the sum as f32; then the numbers [rows][NN_STEP]. The steps of each
 * NN_X_STEPS of a row (fewer at its end) have the same scale: fewer scales leave the multipliers to the products. */
enum {
    NN_X_STEPS = 2,
    NN_X_HEAD = 12 /* bytes of a row before the numbers */
};
static inline int64_t nn_x_step_bytes(int64_t rows)
{
    return rows * (NN_X_HEAD + NN_STEP);
}

/* A product of a tile of quantised rows with a few quantised panels in int8 arithmetic. For each NN_X_STEPS steps in
 * turn, from t = 0: for each block of them t = fma(dot, scale of w, t), the dot exact, and with minima t = fma(minimum,
 * sum of x, t); then c[r, p, l] = fma(t, scale of x, c). */
typedef struct nn_tile_int8 {
    int64_t rows;   /* 1 .. int8_rows of the table */
    int64_t panels; /* 1 .. int8_panels of the table, or with one row of few_int8 int8_stream */
    int64_t steps;  /* the first of them begins a scale of x */
    const void *x;
    const void *w; /* stride from panel to panel in bytes */
    int64_t panel_stride;
    float *c; /* strides from row to row and panel to panel in floats */
    int64_t c_stride, c_panel;
    bool accumulate; /* begin with c rather than 0 */
} nn_tile_int8;

/* Running softmax of one query, in units of log2: over the keys seen so far, the largest score times log2(e), and the
 * sum of 2^(score log2(e) - largest). -FLT_MAX and 0 at first. */
typedef struct nn_running {
    float maximum;
    float sum;
} nn_running;

/* A tile of queries against a block of keys: scores, and with their weights the sums of values. */
typedef struct nn_attend {
    int64_t rows;      /* 1 .. tile_rows of the table; 1 .. NN_ATTEND_FEW where the storage is not NN_F32 */
    int64_t dimension; /* channels of a head */
    const float *q;    /* [dimension][NN_PANEL]: the queries side by side */
    /* The block's pages (page.h); those outside [first_key, last_key) are not touched. Keys that are needed next are
     * brought closer meanwhile: they are only asked for, so that any address does. */
    const void *keys[NN_BLOCK_PAGES], *values[NN_BLOCK_PAGES], *ahead[NN_BLOCK_PAGES];
    int64_t first_key, last_key; /* keys of the block that any row sees; first_key is a multiple of NN_PANEL */
    int64_t position;            /* of the block's first key */
    const int64_t *first, *last; /* [rows] positions that each sees: [first, last) */
    float scale, softcap;        /* softcap 0 = none */
    nn_running *running;         /* [rows] */
    float *sums;                 /* [rows] of nn_padded_dimension floats, stride in floats */
    int64_t sum_stride;
    float *scores; /* work space, [rows][NN_SCORE_STRIDE] */
} nn_attend;

typedef struct nn_kernels {
    const char *name;
    const char *instructions; /* what it multiplies with, for the log */
    int64_t tile_rows;
    int64_t tile_panels;

    /* By storage of w. */
    void (*tile[NN_FLOATS])(const nn_tile *tile);
    /* One row of x through whole panels: c[16p + l] = sum over k < depth, blocks included; any number of panels. */
    void (*stream[NN_FLOATS])(const float *x, int64_t depth, const void *w, int64_t panel_stride, int64_t panels,
                              float *c);
    /* The first `count` stored values of (the rest of) a panel as f32, column by column; count is a multiple of
     * NN_PANEL. Quantised: from the beginning of a step. */
    void (*widen[NN_STORAGES])(const void *stored, int64_t count, float *values);

    int64_t int8_rows;
    int64_t int8_panels;
    int64_t int8_stream; /* panels that one row goes through side by side */
    /* By storage of w less NN_FLOATS, as is all of int8. w has a byte for each number: NN_Q8, or what `unpack` made. */
    void (*tile_int8[NN_STORAGES - NN_FLOATS])(const nn_tile_int8 *tile);
    /* The same with w as it is stored. */
    void (*few_int8[NN_STORAGES - NN_FLOATS])(const nn_tile_int8 *tile);
    /* `steps` steps of a panel of 4-bit numbers with a byte for each number: what stands before them is kept. */
    void (*unpack[NN_STORAGES - NN_FLOATS])(const void *w, int64_t steps, void *bytes);
    /* Quantises `count` values of a row as row `row` of a tile of `rows`, for weights stored as `weight`; columns that
     * are missing to a whole step become zeros. For each NN_X_STEPS steps scale = max|x| / 127 (0 below 1e-30;
     * NaN where x has one), numbers rounded to nearest even. The same bits from every table. */
    void (*quantise)(const float *x, int64_t count, nn_storage weight, int64_t rows, int64_t row, void *tile);

    const nn_pair_kernels *pairs; /* NULL = no products of 16-bit numbers */

    /* y = activation(c + bias) + residual over `count` columns; bias and residual may be NULL, residual may be y. */
    void (*finish)(const float *c, int64_t count, const float *bias, nn_activation activation, const float *residual,
                   float *y);
    void (*activate)(nn_activation activation, const float *x, int64_t count, float *y);
    /* y = activation(gate) * x */
    void (*glu)(nn_activation activation, const float *gate, const float *x, int64_t count, float *y);
    void (*add)(const float *x, int64_t count, float *y);
    void (*scale)(float factor, int64_t count, float *y);
    /* y = cap tanh(y / cap) */
    void (*softcap)(float cap, int64_t count, float *y);
    /* One row each. */
    void (*layer_norm)(const float *x, int64_t width, const float *weight, const float *bias, float epsilon, float *y);
    void (*rms_norm)(const float *x, int64_t width, const float *weight, float offset, float epsilon, float *y);
    void (*softmax)(float *x, int64_t width);
    /* (a, b) = (a cos - b sin, b cos + a sin), `count` pairs */
    void (*rotate)(float *a, float *b, const float *cosine, const float *sine, int64_t count);

    /* By storage of the cache. */
    void (*attend[NN_CACHE_STORAGES])(const nn_attend *tile);
    /* A head's part of a page as one of NN_F32. */
    void (*widen_page[NN_CACHE_STORAGES])(const void *page, int64_t dimension, float *to);
    /* Joins a running softmax over other keys, and its `count` sums (a multiple of NN_PANEL), to a total. */
    void (*merge)(nn_running *total, float *totals, const nn_running *part, const float *sums, int64_t count);

    /* For llavamore-bench. By nn_peak, NULL where the instruction set lacks it: about `rounds` times some multiply-adds
     * on registers, or with operands from `fed` (NULL = not), NN_PROBE_FED floats. Returns how many single ones. */
    int64_t (*peak[NN_PEAKS])(int64_t rounds, const float *fed, float *result);
    /* Reads `count` floats in 1, 2 or 4 streams side by side. Both results only keep the compiler from leaving it. */
    void (*read_memory)(const float *memory, int64_t count, int32_t streams, float *result);
} nn_kernels;

/* The table called `name`; of NULL the best one that this CPU and its operating system run. NULL, and *reason a
 * constant text, when the name is unknown or the CPU lacks it. */
const nn_kernels *nn_kernels_select(const char *name, const char **reason);
/* The `index`-th table of this build, weakest first, runnable here or not; NULL past the end. For tests. */
const nn_kernels *nn_kernels_at(int32_t index);
bool nn_kernels_runnable(const nn_kernels *kernels);

extern const nn_kernels nn_kernels_baseline;
extern const nn_kernels nn_kernels_avx2;
extern const nn_kernels nn_kernels_avx512;
extern const nn_kernels nn_kernels_avx512vnni;
extern const nn_kernels nn_kernels_avx512bf16;
extern const nn_kernels nn_kernels_amx;

#endif
