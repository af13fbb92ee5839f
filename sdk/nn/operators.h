/* SPDX-License-Identifier: Apache-2.0
 *
 * The table behind the operators of nn.h: one of the host CPU, one of CUDA devices. A context has one of them and
 * memory of its kind, see nn_alloc_f32, and all that its operators are given lies there.
 */
#ifndef NN_OPERATORS_H
#define NN_OPERATORS_H

#include "nn.h"

typedef struct nn_operators {
    /* Memory: `bytes` of it, 64-byte aligned, uninitialised; NULL when there is none (`what` for the message). */
    void *(*allocate)(nn_context *context, int64_t bytes, const char *what);
    void (*release)(nn_context *context, void *memory); /* NULL is allowed */
    /* Between this memory and itself or the host's; in the order of the operators. What is copied to the host is there
     * on return, unless the context has failed. */
    void (*copy)(nn_context *context, void *to, const void *from, size_t bytes);
    void (*zero)(nn_context *context, void *to, size_t bytes);

    /* The operators of the same names. */
    void (*linear)(nn_context *context, const nn_linear_args *args);
    void (*matrix_rows)(nn_context *context, const nn_matrix *matrix, const int32_t *ids, int64_t count, float *rows);
    void (*layer_norm)(nn_context *context, const float *x, int64_t rows, int64_t width, const float *weight,
                       const float *bias, float epsilon, float *y);
    void (*rms_norm)(nn_context *context, const float *x, int64_t rows, int64_t width, const float *weight,
                     float offset, float epsilon, float *y);
    void (*activate)(nn_context *context, nn_activation activation, const float *x, int64_t count, float *y);
    void (*glu)(nn_context *context, nn_activation activation, const float *x, int64_t rows, int64_t width, float *y);
    void (*add)(nn_context *context, const float *x, int64_t count, float *y);
    void (*add_scaled)(nn_context *context, const float *x, const float *scale, int64_t rows, int64_t width, float *y);
    void (*scale)(nn_context *context, float factor, int64_t count, float *y);
    void (*softcap)(nn_context *context, float cap, int64_t count, float *y);
    void (*softmax)(nn_context *context, float *x, int64_t rows, int64_t width);
    void (*rotary)(nn_context *context, float *x, int64_t rows, int64_t x_stride, int64_t heads, int64_t head_dimension,
                   int64_t dimensions, const float *frequencies, const int64_t *positions, float attention_factor);
    void (*attention_full)(nn_context *context, const float *query, const float *key, const float *value,
                           int64_t stride, int64_t batch, int64_t rows, const int64_t *counts, int64_t heads,
                           int64_t head_dimension, float scale, float *y);
    void (*cache_write)(nn_cache *cache, int64_t layer, int64_t rows, const float *key, const float *value,
                        int64_t stride);
    void (*attention_causal)(nn_context *context, const nn_attention_args *args);
    void (*patches)(nn_context *context, const float *pixels, int64_t height, int64_t width, int64_t patch,
                    float *patches);
    void (*resize_table)(nn_context *context, const float *table, int64_t rows_in, int64_t columns_in, int64_t width,
                         int64_t rows_out, int64_t columns_out, nn_resize_filter filter, float *resized);
} nn_operators;

extern const nn_operators nn_host_operators;

/* Those of the host's table, each in the file of its kind. */
void nn_host_linear(nn_context *context, const nn_linear_args *args);
void nn_host_matrix_rows(nn_context *context, const nn_matrix *matrix, const int32_t *ids, int64_t count, float *rows);
void nn_host_layer_norm(nn_context *context, const float *x, int64_t rows, int64_t width, const float *weight,
                        const float *bias, float epsilon, float *y);
void nn_host_rms_norm(nn_context *context, const float *x, int64_t rows, int64_t width, const float *weight,
                      float offset, float epsilon, float *y);
void nn_host_activate(nn_context *context, nn_activation activation, const float *x, int64_t count, float *y);
void nn_host_glu(nn_context *context, nn_activation activation, const float *x, int64_t rows, int64_t width, float *y);
void nn_host_add(nn_context *context, const float *x, int64_t count, float *y);
void nn_host_add_scaled(nn_context *context, const float *x, const float *scale, int64_t rows, int64_t width, float *y);
void nn_host_scale(nn_context *context, float factor, int64_t count, float *y);
void nn_host_softcap(nn_context *context, float cap, int64_t count, float *y);
void nn_host_softmax(nn_context *context, float *x, int64_t rows, int64_t width);
void nn_host_rotary(nn_context *context, float *x, int64_t rows, int64_t x_stride, int64_t heads,
                    int64_t head_dimension, int64_t dimensions, const float *frequencies, const int64_t *positions,
                    float attention_factor);
void nn_host_attention_full(nn_context *context, const float *query, const float *key, const float *value,
                            int64_t stride, int64_t batch, int64_t rows, const int64_t *counts, int64_t heads,
                            int64_t head_dimension, float scale, float *y);
void nn_host_cache_write(nn_cache *cache, int64_t layer, int64_t rows, const float *key, const float *value,
                         int64_t stride);
void nn_host_attention_causal(nn_context *context, const nn_attention_args *args);
void nn_host_patches(nn_context *context, const float *pixels, int64_t height, int64_t width, int64_t patch,
                     float *patches);
void nn_host_resize_table(nn_context *context, const float *table, int64_t rows_in, int64_t columns_in, int64_t width,
                          int64_t rows_out, int64_t columns_out, nn_resize_filter filter, float *resized);

#endif
