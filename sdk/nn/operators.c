/* SPDX-License-Identifier: Apache-2.0
 *
 * The operators of nn.h: each goes to the table of its context. And the host's table.
 */
#include "operators.h"

#include <string.h>

#include "cache.h"
#include "internal.h"

static void *allocate(nn_context *context, int64_t bytes, const char *what)
{
    (void)what;
    return nn_allocate(context, bytes, 1);
}

static void copy(nn_context *context, void *to, const void *from, size_t bytes)
{
    (void)context;
    memcpy(to, from, bytes);
}

static void zero(nn_context *context, void *to, size_t bytes)
{
    (void)context;
    memset(to, 0, bytes);
}

const nn_operators nn_host_operators = {
    .allocate = allocate,
    .release = nn_release,
    .copy = copy,
    .zero = zero,
    .linear = nn_host_linear,
    .matrix_rows = nn_host_matrix_rows,
    .layer_norm = nn_host_layer_norm,
    .rms_norm = nn_host_rms_norm,
    .activate = nn_host_activate,
    .glu = nn_host_glu,
    .add = nn_host_add,
    .add_scaled = nn_host_add_scaled,
    .scale = nn_host_scale,
    .softcap = nn_host_softcap,
    .softmax = nn_host_softmax,
    .rotary = nn_host_rotary,
    .attention_full = nn_host_attention_full,
    .cache_write = nn_host_cache_write,
    .attention_causal = nn_host_attention_causal,
    .patches = nn_host_patches,
    .resize_table = nn_host_resize_table,
};

void nn_linear(nn_context *context, const nn_linear_args *args)
{
    context->operators->linear(context, args);
}

void nn_matrix_rows(nn_context *context, const nn_matrix *matrix, const int32_t *ids, int64_t count, float *rows)
{
    context->operators->matrix_rows(context, matrix, ids, count, rows);
}

void nn_layer_norm(nn_context *context, const float *x, int64_t rows, int64_t width, const float *weight,
                   const float *bias, float epsilon, float *y)
{
    context->operators->layer_norm(context, x, rows, width, weight, bias, epsilon, y);
}

void nn_rms_norm(nn_context *context, const float *x, int64_t rows, int64_t width, const float *weight, float offset,
                 float epsilon, float *y)
{
    context->operators->rms_norm(context, x, rows, width, weight, offset, epsilon, y);
}

void nn_activate(nn_context *context, nn_activation activation, const float *x, int64_t count, float *y)
{
    context->operators->activate(context, activation, x, count, y);
}

void nn_glu(nn_context *context, nn_activation activation, const float *x, int64_t rows, int64_t width, float *y)
{
    context->operators->glu(context, activation, x, rows, width, y);
}

void nn_add(nn_context *context, const float *x, int64_t count, float *y)
{
    context->operators->add(context, x, count, y);
}

void nn_add_scaled(nn_context *context, const float *x, const float *scale, int64_t rows, int64_t width, float *y)
{
    context->operators->add_scaled(context, x, scale, rows, width, y);
}

void nn_scale(nn_context *context, float factor, int64_t count, float *y)
{
    context->operators->scale(context, factor, count, y);
}

void nn_softcap(nn_context *context, float cap, int64_t count, float *y)
{
    context->operators->softcap(context, cap, count, y);
}

void nn_softmax(nn_context *context, float *x, int64_t rows, int64_t width)
{
    context->operators->softmax(context, x, rows, width);
}

void nn_rotary(nn_context *context, float *x, int64_t rows, int64_t x_stride, int64_t heads, int64_t head_dimension,
               int64_t dimensions, const float *frequencies, const int64_t *positions, float attention_factor)
{
    context->operators->rotary(context, x, rows, x_stride, heads, head_dimension, dimensions, frequencies, positions,
                               attention_factor);
}

void nn_attention_full(nn_context *context, const float *query, const float *key, const float *value, int64_t stride,
                       int64_t batch, int64_t rows, const int64_t *counts, int64_t heads, int64_t head_dimension,
                       float scale, float *y)
{
    context->operators->attention_full(context, query, key, value, stride, batch, rows, counts, heads, head_dimension,
                                       scale, y);
}

void nn_cache_write(nn_cache *cache, int64_t layer, int64_t rows, const float *key, const float *value, int64_t stride)
{
    nn_cache_table(cache, layer)->context->operators->cache_write(cache, layer, rows, key, value, stride);
}

void nn_attention_causal(nn_context *context, const nn_attention_args *args)
{
    context->operators->attention_causal(context, args);
}

void nn_patches(nn_context *context, const float *pixels, int64_t height, int64_t width, int64_t patch, float *patches)
{
    context->operators->patches(context, pixels, height, width, patch, patches);
}

void nn_resize_table(nn_context *context, const float *table, int64_t rows_in, int64_t columns_in, int64_t width,
                     int64_t rows_out, int64_t columns_out, nn_resize_filter filter, float *resized)
{
    context->operators->resize_table(context, table, rows_in, columns_in, width, rows_out, columns_out, filter,
                                     resized);
}
