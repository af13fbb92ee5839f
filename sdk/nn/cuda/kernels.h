/* SPDX-License-Identifier: Apache-2.0
 *
 * The CUDA kernels of sdk/nn, as C sees them: one table of functions that queue work on a stream. Pointers are to
 * device memory unless said otherwise; conventions, formulas and names are those of nn.h. The caller has made the
 * device current, and every count may be 0. Nothing here allocates, waits or throws: what is needed beside is given.
 * Each returns 0 or the runtime's error number, see `message`.
 *
 * Which table a plugin gets is decided when it is linked: kernels.cu compiled by nvcc, the same sources compiled for
 * the emulator of tests/cudaemu, or none (none.c).
 */
#ifndef NN_CUDA_KERNELS_H
#define NN_CUDA_KERNELS_H

#include "../nn.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A matrix [rows, columns] of f32, f16 or bf16, row-major; rows begin `stride` elements apart, a multiple of 8, and the
 * padding behind `columns` is zero. data is aligned to 256 bytes. */
typedef struct nn_cuda_matrix {
    const void *data;
    nn_storage storage;
    int64_t rows, columns, stride;
} nn_cuda_matrix;

/* y = activation(x W^T + bias) + residual, as nn_linear_args. */
typedef struct nn_cuda_linear {
    const void *x; /* [rows, columns of W]: f32 for few_rows and plain, W's storage (16 bits) for many_rows */
    int64_t rows, x_stride;
    nn_cuda_matrix weight;
    const float *bias; /* or NULL */
    nn_activation activation;
    const float *residual; /* stride y_stride; or NULL; may be y */
    float *y;
    int64_t y_stride;
} nn_cuda_linear;

#define NN_CUDA_FEW_ROWS 8 /* most rows of few_rows */

/* One layer's keys and values of a sequence. Page i of the table holds positions [(first_page + i) * NN_PAGE, ...); of
 * head h of the layer, NN_PAGE keys [head_dimension] and behind them NN_PAGE values, of `storage` (f32, f16 or bf16),
 * begin page_offset + h * 2 * NN_PAGE * head_dimension * bytes of an element into the page. */
typedef struct nn_cuda_cache {
    void *const *pages; /* on the device */
    int64_t first_page;
    int64_t page_offset; /* bytes, a multiple of 16 where a head's row is */
    nn_storage storage;
    int64_t key_value_heads, head_dimension;
    int64_t length; /* rows before those of this call */
} nn_cuda_cache;

/* Causal attention of `rows` queries, rows length .. length + rows - 1 of the sequence, whose keys are written. */
typedef struct nn_cuda_causal {
    nn_cuda_cache cache;
    const float *query; /* [rows, heads, head_dimension], row stride `stride` */
    int64_t rows, stride, heads;
    float scale, softcap;
    int64_t window;  /* rows that a query sees, its own included; 0 = all */
    float *y;        /* [rows, heads * head_dimension] */
    bool exact;      /* f32 throughout; else products of 16-bit numbers where keys are stored so */
    void *workspace; /* causal_workspace() bytes */
} nn_cuda_causal;

/* nn_attention_full's arguments. */
typedef struct nn_cuda_full {
    const float *query, *key, *value;
    int64_t stride, batch, rows, heads, head_dimension;
    const int64_t *counts; /* or NULL */
    float scale;
    float *y;
    bool exact; /* f32 throughout; else 16-bit products: `storage` (f16 or bf16) says of what */
    nn_storage storage;
} nn_cuda_full;

typedef struct nn_cuda_kernels {
    const char *compiled; /* what for: "sm_90 and PTX", "emulator" */
    /* The text of an error number. */
    const char *(*message)(int error);

    int (*layer_norm)(void *stream, const float *x, int64_t rows, int64_t width, const float *weight, const float *bias,
                      float epsilon, float *y);
    int (*rms_norm)(void *stream, const float *x, int64_t rows, int64_t width, const float *weight, float offset,
                    float epsilon, float *y);
    int (*activate)(void *stream, nn_activation activation, const float *x, int64_t count, float *y);
    int (*glu)(void *stream, nn_activation activation, const float *x, int64_t rows, int64_t width, float *y);
    int (*add)(void *stream, const float *x, int64_t count, float *y);
    int (*scale)(void *stream, float factor, int64_t count, float *y);
    int (*softcap)(void *stream, float cap, int64_t count, float *y);
    int (*softmax)(void *stream, float *x, int64_t rows, int64_t width);
    /* y[t, i] += scale[i] * x[t, i], of nn_add_scaled */
    int (*add_scaled)(void *stream, const float *x, const float *scale, int64_t rows, int64_t width, float *y);
    int (*rotary)(void *stream, float *x, int64_t rows, int64_t x_stride, int64_t heads, int64_t head_dimension,
                  int64_t dimensions, const float *frequencies, const int64_t *positions, float attention_factor);
    /* Rows `ids` (on the device) of the matrix as f32 [count, columns]. */
    int (*embed)(void *stream, const nn_cuda_matrix *matrix, const int32_t *ids, int64_t count, float *rows);
    int (*patches)(void *stream, const float *pixels, int64_t height, int64_t width, int64_t patch, float *patches);

    /* x f32 [rows, columns] (row stride x_stride) rounded to nearest even, saturated to finite numbers, to y of
     * `storage` (f16 or bf16), row stride y_stride, a multiple of 8, whose padding becomes zero. */
    int (*narrow)(void *stream, const float *x, int64_t rows, int64_t columns, int64_t x_stride, nn_storage storage,
                  void *y, int64_t y_stride);
    /* y = activation(x + bias) + residual, in place where x is y: what a product of cuBLAS lacks. */
    int (*finish)(void *stream, const float *x, int64_t rows, int64_t columns, int64_t x_stride, const float *bias,
                  nn_activation activation, const float *residual, float *y, int64_t y_stride);
    /* At most NN_CUDA_FEW_ROWS rows: reads the weight once, sums in f32. */
    int (*linear_few_rows)(void *stream, const nn_cuda_linear *args);
    /* Tensor cores: x of the weight's 16-bit storage, x_stride a multiple of 8, sums in f32. */
    int (*linear_many_rows)(void *stream, const nn_cuda_linear *args);
    /* f32 throughout, any storage and rows. */
    int (*linear_plain)(void *stream, const nn_cuda_linear *args);

    /* Keys and values [rows, key_value_heads, head_dimension] (row stride `stride`) into the pages. */
    int (*cache_write)(void *stream, const nn_cuda_cache *cache, int64_t rows, const float *key, const float *value,
                       int64_t stride);
    /* Bytes that attention_causal needs. */
    size_t (*causal_workspace)(const nn_cuda_causal *args);
    int (*attention_causal)(void *stream, const nn_cuda_causal *args);
    int (*attention_full)(void *stream, const nn_cuda_full *args);
} nn_cuda_kernels;

/* NULL in a build without CUDA. */
const nn_cuda_kernels *nn_cuda_table(void);

#ifdef __cplusplus
}
#endif
#endif
