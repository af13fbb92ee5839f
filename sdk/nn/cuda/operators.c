/* SPDX-License-Identifier: Apache-2.0
 *
 * The operators of nn.h on a CUDA device: each queues its kernels on the context's stream. Those that multiply or read
 * weights tell a profile so; the time that goes with it is that of queueing.
 */
#include "cuda.h"

#include "../cache.h"
#include "../profile.h"

/* ---- Memory ----------------------------------------------------------------------------------------------------- */

static void *allocate(nn_context *context, int64_t bytes, const char *what)
{
    return nn_cuda_take(context->cuda, bytes, what);
}

static void release(nn_context *context, void *memory)
{
    nn_cuda_give(context->cuda, memory);
}

static void keep(nn_cuda *cuda, more_status status, const more_error *error)
{
    if (status)
        nn_cuda_failed(cuda, status, error->message);
}

static void copy(nn_context *context, void *to, const void *from, size_t bytes)
{
    nn_cuda *cuda = context->cuda;
    more_error error;
    keep(cuda, cuda->service->copy(cuda->host, cuda->device, cuda->stream, to, from, bytes, &error), &error);
}

static void zero(nn_context *context, void *to, size_t bytes)
{
    nn_cuda *cuda = context->cuda;
    more_error error;
    keep(cuda, cuda->service->fill(cuda->host, cuda->device, cuda->stream, to, 0, bytes, &error), &error);
}

/* ---- Linear ----------------------------------------------------------------------------------------------------- */

static nn_cuda_matrix matrix_of(const nn_matrix *matrix)
{
    return (nn_cuda_matrix){.data = matrix->data,
                            .storage = matrix->storage,
                            .rows = matrix->rows,
                            .columns = matrix->columns,
                            .stride = nn_row_stride(matrix->columns)};
}

/* The product of cuBLAS into y, and by another kernel what it lacks. False where cuBLAS does not take it. */
static bool multiply_blas(nn_cuda *cuda, const nn_cuda_linear *product)
{
    bool adds = product->residual == product->y && product->activation == NN_IDENTITY;
    nn_cuda_linear own = *product;
    float *sums = NULL;
    if (product->residual == product->y && !adds) { /* the residual must outlive the sums */
        sums = nn_cuda_take(cuda, product->rows * product->weight.rows * (int64_t)sizeof *sums, "activations");
        own.y = sums;
        own.y_stride = product->weight.rows;
    }
    bool queued = own.y && nn_cuda_blas_product(cuda, &own, adds);
    if (queued && (product->bias || product->activation != NN_IDENTITY || (product->residual && !adds) || sums))
        nn_cuda_launched(cuda,
                         cuda->kernels->finish(cuda->stream, own.y, product->rows, product->weight.rows, own.y_stride,
                                               product->bias, product->activation, adds ? NULL : product->residual,
                                               product->y, product->y_stride),
                         "the end of a matrix product");
    nn_cuda_give(cuda, sums);
    return queued || !own.y;
}

/* Activations rounded to the weight's 16 bits, on tensor cores. */
static void multiply_narrow(nn_cuda *cuda, const nn_linear_args *args, nn_cuda_linear *product)
{
    int64_t stride = nn_row_stride(args->weight->columns);
    void *x = nn_cuda_take(cuda, args->rows * stride * 2, "activations");
    if (!x)
        return;
    nn_cuda_launched(cuda,
                     cuda->kernels->narrow(cuda->stream, args->x, args->rows, args->weight->columns, product->x_stride,
                                           args->weight->storage, x, stride),
                     "rounding of activations");
    product->x = x;
    product->x_stride = stride;
    if (!multiply_blas(cuda, product))
        nn_cuda_launched(cuda, cuda->kernels->linear_many_rows(cuda->stream, product), "a matrix product");
    nn_cuda_give(cuda, x);
}

static void linear(nn_context *context, const nn_linear_args *args)
{
    nn_cuda *cuda = context->cuda;
    const nn_matrix *weight = args->weight;
    nn_cuda_linear product = {.x = args->x,
                              .rows = args->rows,
                              .x_stride = args->x_stride ? args->x_stride : weight->columns,
                              .weight = matrix_of(weight),
                              .bias = args->bias,
                              .activation = args->activation,
                              .residual = args->residual,
                              .y = args->y,
                              .y_stride = args->y_stride ? args->y_stride : weight->rows};
    if (args->rows <= 0)
        return;
    double begin = nn_profile_begin(context);
    /* EXACT: by one kernel whatever the rows, so that a row has the same bits in every call. */
    bool exact = context->arithmetic == NN_ARITHMETIC_EXACT;
    if (args->rows <= NN_CUDA_FEW_ROWS && !exact)
        nn_cuda_launched(cuda, cuda->kernels->linear_few_rows(cuda->stream, &product), "a matrix product");
    else if (exact || weight->storage == NN_F32)
        nn_cuda_launched(cuda, cuda->kernels->linear_plain(cuda->stream, &product), "a matrix product");
    else
        multiply_narrow(cuda, args, &product);
    nn_profile_end_linear(context, begin, weight, args->rows);
}

static void matrix_rows(nn_context *context, const nn_matrix *matrix, const int32_t *ids, int64_t count, float *rows)
{
    nn_cuda *cuda = context->cuda;
    nn_cuda_matrix own = matrix_of(matrix);
    if (count <= 0)
        return;
    double begin = nn_profile_begin(context);
    int32_t *placed = nn_cuda_take(cuda, count * (int64_t)sizeof *ids, "token ids");
    if (!placed)
        return;
    copy(context, placed, ids, (size_t)count * sizeof *ids);
    nn_cuda_launched(cuda, cuda->kernels->embed(cuda->stream, &own, placed, count, rows), "embedding");
    nn_cuda_give(cuda, placed);
    nn_profile_end_rows(context, begin, matrix, count);
}

/* ---- Element-wise ----------------------------------------------------------------------------------------------- */

static void layer_norm(nn_context *context, const float *x, int64_t rows, int64_t width, const float *weight,
                       const float *bias, float epsilon, float *y)
{
    nn_cuda *cuda = context->cuda;
    nn_cuda_launched(cuda, cuda->kernels->layer_norm(cuda->stream, x, rows, width, weight, bias, epsilon, y),
                     "layer norm");
}

static void rms_norm(nn_context *context, const float *x, int64_t rows, int64_t width, const float *weight,
                     float offset, float epsilon, float *y)
{
    nn_cuda *cuda = context->cuda;
    nn_cuda_launched(cuda, cuda->kernels->rms_norm(cuda->stream, x, rows, width, weight, offset, epsilon, y),
                     "RMS norm");
}

static void activate(nn_context *context, nn_activation activation, const float *x, int64_t count, float *y)
{
    nn_cuda *cuda = context->cuda;
    nn_cuda_launched(cuda, cuda->kernels->activate(cuda->stream, activation, x, count, y), "an activation");
}

static void glu(nn_context *context, nn_activation activation, const float *x, int64_t rows, int64_t width, float *y)
{
    nn_cuda *cuda = context->cuda;
    nn_cuda_launched(cuda, cuda->kernels->glu(cuda->stream, activation, x, rows, width, y), "a gated activation");
}

static void add(nn_context *context, const float *x, int64_t count, float *y)
{
    nn_cuda *cuda = context->cuda;
    nn_cuda_launched(cuda, cuda->kernels->add(cuda->stream, x, count, y), "an addition");
}

static void add_scaled(nn_context *context, const float *x, const float *factors, int64_t rows, int64_t width, float *y)
{
    nn_cuda *cuda = context->cuda;
    nn_cuda_launched(cuda, cuda->kernels->add_scaled(cuda->stream, x, factors, rows, width, y), "LayerScale");
}

static void scale(nn_context *context, float factor, int64_t count, float *y)
{
    nn_cuda *cuda = context->cuda;
    nn_cuda_launched(cuda, cuda->kernels->scale(cuda->stream, factor, count, y), "scaling");
}

static void softcap(nn_context *context, float cap, int64_t count, float *y)
{
    nn_cuda *cuda = context->cuda;
    nn_cuda_launched(cuda, cuda->kernels->softcap(cuda->stream, cap, count, y), "a soft-cap");
}

static void softmax(nn_context *context, float *x, int64_t rows, int64_t width)
{
    nn_cuda *cuda = context->cuda;
    nn_cuda_launched(cuda, cuda->kernels->softmax(cuda->stream, x, rows, width), "softmax");
}

static void rotary(nn_context *context, float *x, int64_t rows, int64_t x_stride, int64_t heads, int64_t head_dimension,
                   int64_t dimensions, const float *frequencies, const int64_t *positions, float attention_factor)
{
    nn_cuda *cuda = context->cuda;
    int64_t stride = x_stride ? x_stride : heads * head_dimension;
    nn_cuda_launched(cuda,
                     cuda->kernels->rotary(cuda->stream, x, rows, stride, heads, head_dimension, dimensions,
                                           frequencies, positions, attention_factor),
                     "rotary embedding");
}

/* ---- Attention -------------------------------------------------------------------------------------------------- */

/* Without a weight of 16 bits there is no type to round to. */
static bool is_exact(const nn_context *context)
{
    return context->arithmetic == NN_ARITHMETIC_EXACT || context->cuda->narrow == NN_F32;
}

static void attention_full(nn_context *context, const float *query, const float *key, const float *value,
                           int64_t stride, int64_t batch, int64_t rows, const int64_t *counts, int64_t heads,
                           int64_t head_dimension, float factor, float *y)
{
    nn_cuda *cuda = context->cuda;
    int64_t *placed = NULL;
    if (batch <= 0 || rows <= 0 || heads <= 0)
        return;
    double begin = nn_profile_begin(context);
    if (counts) {
        placed = nn_cuda_take(cuda, batch * (int64_t)sizeof *counts, "counts of rows");
        if (!placed)
            return;
        copy(context, placed, counts, (size_t)batch * sizeof *counts);
    }
    const nn_cuda_full full = {.query = query,
                               .key = key,
                               .value = value,
                               .stride = stride ? stride : heads * head_dimension,
                               .batch = batch,
                               .rows = rows,
                               .heads = heads,
                               .head_dimension = head_dimension,
                               .counts = placed,
                               .scale = factor,
                               .y = y,
                               .exact = is_exact(context),
                               .storage = cuda->narrow};
    nn_cuda_launched(cuda, cuda->kernels->attention_full(cuda->stream, &full), "attention");
    nn_cuda_give(cuda, placed);
    nn_profile_end_full(context, begin, batch, rows, heads * head_dimension);
}

static nn_cuda_cache cache_of(const nn_cache *cache, int64_t layer)
{
    const nn_page_table *table = nn_cache_table(cache, layer);
    return (nn_cuda_cache){.pages = table->placed,
                           .first_page = table->first,
                           .page_offset = cache->slots[layer] * cache->config.key_value_heads *
                                          nn_cache_head_bytes(&cache->config, false),
                           .storage = cache->config.storage,
                           .key_value_heads = cache->config.key_value_heads,
                           .head_dimension = cache->config.head_dimension,
                           .length = cache->length};
}

static void cache_write(nn_cache *cache, int64_t layer, int64_t rows, const float *key, const float *value,
                        int64_t stride)
{
    nn_cuda *cuda = nn_cache_table(cache, layer)->context->cuda;
    const nn_cuda_cache own = cache_of(cache, layer);
    int64_t width = own.key_value_heads * own.head_dimension;
    nn_cuda_launched(cuda, cuda->kernels->cache_write(cuda->stream, &own, rows, key, value, stride ? stride : width),
                     "writing to the key-value cache");
}

static void attention_causal(nn_context *context, const nn_attention_args *args)
{
    nn_cuda *cuda = context->cuda;
    const nn_cache_config *config = &args->cache->config;
    nn_cuda_causal causal = {
        .cache = cache_of(args->cache, args->layer),
        .query = args->query,
        .rows = args->rows,
        .stride = args->stride ? args->stride : args->heads * config->head_dimension,
        .heads = args->heads,
        .scale = args->scale,
        .softcap = args->softcap,
        .window = nn_is_windowed(config, args->layer) ? config->window : 0,
        .y = args->y,
        .exact = context->arithmetic == NN_ARITHMETIC_EXACT,
    };
    if (args->rows <= 0)
        return;
    double begin = nn_profile_begin(context);
    causal.workspace = nn_cuda_take(cuda, (int64_t)cuda->kernels->causal_workspace(&causal), "attention");
    if (causal.workspace)
        nn_cuda_launched(cuda, cuda->kernels->attention_causal(cuda->stream, &causal), "attention");
    nn_cuda_give(cuda, causal.workspace);
    nn_profile_end_causal(context, begin, args);
}

/* ---- Vision ----------------------------------------------------------------------------------------------------- */

static void patches(nn_context *context, const float *pixels, int64_t height, int64_t width, int64_t patch, float *cut)
{
    nn_cuda *cuda = context->cuda;
    nn_cuda_launched(cuda, cuda->kernels->patches(cuda->stream, pixels, height, width, patch, cut),
                     "cutting of patches");
}

/* On the host: a table of positions is small. */
static void resize_table(nn_context *context, const float *table, int64_t rows_in, int64_t columns_in, int64_t width,
                         int64_t rows_out, int64_t columns_out, nn_resize_filter filter, float *resized)
{
    int64_t in = rows_in * columns_in * width, out = rows_out * columns_out * width;
    float *values = nn_allocate(context, in + out, sizeof *values);
    if (!values) {
        nn_cuda_failed(context->cuda, MORE_ERROR_MEMORY, "no memory to resize a table of positions");
        return;
    }
    copy(context, values, table, (size_t)in * sizeof *values);
    nn_host_resize_table(context, values, rows_in, columns_in, width, rows_out, columns_out, filter, values + in);
    copy(context, resized, values + in, (size_t)out * sizeof *values);
    nn_release(context, values);
}

const nn_operators nn_cuda_operators = {
    .allocate = allocate,
    .release = release,
    .copy = copy,
    .zero = zero,
    .linear = linear,
    .matrix_rows = matrix_rows,
    .layer_norm = layer_norm,
    .rms_norm = rms_norm,
    .activate = activate,
    .glu = glu,
    .add = add,
    .add_scaled = add_scaled,
    .scale = scale,
    .softcap = softcap,
    .softmax = softmax,
    .rotary = rotary,
    .attention_full = attention_full,
    .cache_write = cache_write,
    .attention_causal = attention_causal,
    .patches = patches,
    .resize_table = resize_table,
};
