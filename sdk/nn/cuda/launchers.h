/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions that table.cu lists, each in the file of its kind. What they do is said in kernels.h.
 */
#ifndef NN_CUDA_LAUNCHERS_H
#define NN_CUDA_LAUNCHERS_H

#include "kernels.h"

/* norms.cu */
int nn_cuda_layer_norm(void *stream, const float *x, int64_t rows, int64_t width, const float *weight,
                       const float *bias, float epsilon, float *y);
int nn_cuda_rms_norm(void *stream, const float *x, int64_t rows, int64_t width, const float *weight, float offset,
                     float epsilon, float *y);
int nn_cuda_softmax(void *stream, float *x, int64_t rows, int64_t width);

/* elements.cu */
int nn_cuda_activate(void *stream, nn_activation activation, const float *x, int64_t count, float *y);
int nn_cuda_glu(void *stream, nn_activation activation, const float *x, int64_t rows, int64_t width, float *y);
int nn_cuda_add(void *stream, const float *x, int64_t count, float *y);
int nn_cuda_scale(void *stream, float factor, int64_t count, float *y);
int nn_cuda_softcap(void *stream, float cap, int64_t count, float *y);
int nn_cuda_add_scaled(void *stream, const float *x, const float *scale, int64_t rows, int64_t width, float *y);

/* rotary.cu */
int nn_cuda_rotary(void *stream, float *x, int64_t rows, int64_t x_stride, int64_t heads, int64_t head_dimension,
                   int64_t dimensions, const float *frequencies, const int64_t *positions, float attention_factor);

/* embed.cu */
int nn_cuda_embed(void *stream, const nn_cuda_matrix *matrix, const int32_t *ids, int64_t count, float *rows);
int nn_cuda_patches(void *stream, const float *pixels, int64_t height, int64_t width, int64_t patch, float *patches);

/* narrow.cu */
int nn_cuda_narrow(void *stream, const float *x, int64_t rows, int64_t columns, int64_t x_stride, nn_storage storage,
                   void *y, int64_t y_stride);
int nn_cuda_finish(void *stream, const float *x, int64_t rows, int64_t columns, int64_t x_stride, const float *bias,
                   nn_activation activation, const float *residual, float *y, int64_t y_stride);

/* Products. */
int nn_cuda_linear_few_rows(void *stream, const nn_cuda_linear *args);
int nn_cuda_linear_many_rows(void *stream, const nn_cuda_linear *args);
int nn_cuda_linear_plain(void *stream, const nn_cuda_linear *args);

/* Cache and attention. */
int nn_cuda_cache_write(void *stream, const nn_cuda_cache *cache, int64_t rows, const float *key, const float *value,
                        int64_t stride);
size_t nn_cuda_causal_workspace(const nn_cuda_causal *args);
int nn_cuda_attention_causal(void *stream, const nn_cuda_causal *args);
int nn_cuda_attention_full(void *stream, const nn_cuda_full *args);

#endif
