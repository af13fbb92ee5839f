/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of CPU kernels: one a variant (baseline, avx2, avx512), all with the same meaning. Kernels work in the
 * calling thread on memory that the operators of sdk/nn prepared, and allocate nothing.
 *
 * Order of summation, the same in every kernel of a table, so that a row's result depends on nothing but the row: a
 * product over k is cut into blocks of NN_K_BLOCK; within a block terms are added for ascending k starting from 0; the
 * blocks' sums are added in their order.
 */
#ifndef NN_CPU_KERNELS_H
#define NN_CPU_KERNELS_H

#include "../nn.h"

/* For bodies whose constant arguments choose the code. */
#define NN_INLINE static inline __attribute__((always_inline))
/* Before a loop of few, constant turns over vectors that are to live in registers. */
#if defined(__clang__)
#define NN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define NN_UNROLL _Pragma("GCC unroll 16")
#endif

enum {
    NN_K_BLOCK = 256,  /* terms of one block of a product */
    NN_X_STRIDE = 272, /* floats from row to row of a packed block: 17 cache lines, so that rows spread over sets */
    NN_ATTENTION_BLOCK = 4 * NN_PAGE, /* keys between two updates of the running softmax */
};

/* Stored types of weights and cache. */
typedef enum nn_storage { NN_F32, NN_F16, NN_BF16, NN_STORAGES } nn_storage;

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

/* Running softmax of one query: over the keys seen so far, the largest score and the sum of exp(score - largest). */
typedef struct nn_running {
    float maximum;
    float sum;
} nn_running;

typedef struct nn_kernels {
    const char *name;
    int64_t tile_rows;
    int64_t tile_panels;

    /* By stored type of w. */
    void (*tile[NN_STORAGES])(const nn_tile *tile);
    /* One row of x through whole panels: c[16p + l] = sum over k < depth, blocks included; any number of panels. */
    void (*stream[NN_STORAGES])(const float *x, int64_t depth, const void *w, int64_t panel_stride, int64_t panels,
                                float *c);
    /* `count` stored values as f32; count is a multiple of NN_PANEL. */
    void (*widen[NN_STORAGES])(const void *stored, int64_t count, float *values);

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

    /* Scores of one query against a block of keys, columns [0, width): times `scale`, soft-capped (0 = not), columns
     * outside [first, last) masked; turned in place into exp(score - new maximum), and the running softmax updated.
     * Returns what sums made under the old maximum are to be multiplied with. s has room for width rounded up to
     * NN_PANEL. */
    float (*attend)(float *s, int64_t width, int64_t first, int64_t last, float scale, float softcap,
                    nn_running *running);

    /* For llavamore-bench. `rounds` of multiply-adds in registers; returns their number, lanes counted one by one. */
    int64_t (*multiply_add)(int64_t rounds, float *result);
    /* Reads `count` floats in 1, 2 or 4 streams side by side. Both results only keep the compiler from leaving it. */
    void (*read_memory)(const float *memory, int64_t count, int32_t streams, float *result);
} nn_kernels;

/* The best table that this CPU and its operating system can run, at most `limit` ("baseline", "avx2", "avx512"; NULL =
 * no limit). NULL, and *reason a constant text, when limit is unknown or more than the CPU has. */
const nn_kernels *nn_kernels_select(const char *limit, const char **reason);
/* The `index`-th table of this build, weakest first, runnable here or not; NULL past the end. For tests. */
const nn_kernels *nn_kernels_at(int32_t index);
bool nn_kernels_runnable(const nn_kernels *kernels);

extern const nn_kernels nn_kernels_baseline;
extern const nn_kernels nn_kernels_avx2;
extern const nn_kernels nn_kernels_avx512;

#endif
