/* SPDX-License-Identifier: Apache-2.0
 *
 * What the operators of sdk/nn share and plugins do not see.
 */
#ifndef NN_INTERNAL_H
#define NN_INTERNAL_H

#include <llavamore/profile.h>
#include <pthread.h>

#include "cpu/kernels.h"
#include "nn.h"
#include "operators.h"

enum {
    NN_SCRATCH = 1 << 18,  /* floats of one scratch buffer: 1 MiB, about what a core's own cache holds */
    NN_BLOCK_ROWS = 168,   /* rows of activations that a worker packs at a time; a multiple of 14, 6 and 3 */
    NN_BLOCK_COLUMNS = 512 /* outputs that go with them */
};

struct nn_context {
    const more_host *host;
    const more_log_service *log;
    const more_threads_service *threads;
    const more_progress_service *progress;
    const more_memory_service *memory;
    const more_profile_service *profile; /* NULL where the host has none */
    const nn_kernels *kernels;
    const nn_operators *operators;
    struct nn_cuda *cuda; /* the device that they work on, see cuda/cuda.h; NULL = the host */
    nn_arithmetic arithmetic;
    int32_t workers;

    pthread_mutex_t lock;    /* guards what follows */
    pthread_cond_t returned; /* a scratch buffer came back */
    float *scratch;          /* one allocation of `workers` buffers */
    float **free_scratch;    /* a stack of those not in use */
    int32_t free_count;
    nn_arena *arenas; /* not in use */
};

struct nn_matrix {
    int64_t rows, columns;
    int64_t panels;
    nn_storage storage;
    /* On the host, floats: [panels][columns][NN_PANEL]. Quantised: [panels][steps of NN_STEP columns, the last filled
     * up with zeros], a step as nn_step_bytes says. On a device: see nn_cuda_matrix. */
    void *data;
};

/* A scratch buffer of NN_SCRATCH floats, 64-byte aligned, for the body of one parallel piece of work. There are as many
 * as workers; where nested or concurrent calls need more, a caller waits. A holder must not start parallel work. */
float *nn_scratch_take(nn_context *context);
void nn_scratch_give(nn_context *context, float *scratch);

/* Frees the arenas that are not in use. */
void nn_arenas_free(nn_context *context);

/* Host memory, aligned to 64 bytes; NULL when out of memory or `count` elements of `size` bytes overflow. */
void *nn_allocate(nn_context *context, int64_t count, int64_t size);
void nn_release(nn_context *context, void *memory);
/* The same where the context's operators work, for `what`; nn_free gives it back. */
void *nn_place(nn_context *context, int64_t count, int64_t size, const char *what);

/* nn_parallel, but in this thread alone when the work is too small to be worth waking others: `operations` is about the
 * number of multiply-adds or elements of the whole. */
void nn_parallel_sized(nn_context *context, double operations, int64_t items, int64_t grain, more_range_function body,
                       void *argument);

/* Runs body(argument, unit, scratch) for every unit of [0, units), each taken by whichever worker is free, the first
 * ones first; `scratch` is the worker's own buffer for the length of the call. Small work stays in this thread. */
typedef void (*nn_unit_function)(void *argument, int64_t unit, float *scratch);
void nn_parallel_units(nn_context *context, double operations, int64_t units, nn_unit_function body, void *argument);

/* The ways of nn_linear; strides are never 0 here.
 *
 * In int8 products, for quantised weights. False, and nothing done, where the arithmetic forbids it or there
 * is no memory for the quantised activations. */
bool nn_linear_int8(nn_context *context, const nn_linear_args *args);

/* By the kernels of 16-bit products. False, and nothing done, where they are not for this call: what the
 * arithmetic and the storage say, or no memory for the rounded activations. */
bool nn_linear_pairs(nn_context *context, const nn_linear_args *args);
/* Whether they are for weights of this storage and so many rows. */
bool nn_takes_pairs(const nn_context *context, nn_storage storage, int64_t rows);

/* Only of float storages: the type, and the bytes of an element. */
DLDataType nn_storage_dtype(nn_storage storage);
static inline int64_t nn_storage_bytes(nn_storage storage)
{
    return storage == NN_F32 ? 4 : 2;
}

static inline bool nn_is_quantised(nn_storage storage)
{
    return storage >= NN_FLOATS;
}

static inline int64_t nn_ceil_divide(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Bytes of a panel of a matrix of `columns` columns; so of its part before any column (a multiple of NN_STEP where the
 * storage is quantised). */
static inline int64_t nn_panel_bytes(nn_storage storage, int64_t columns)
{
    if (nn_is_quantised(storage))
        return nn_ceil_divide(columns, NN_STEP) * nn_step_bytes(storage);
    return columns * NN_PANEL * nn_storage_bytes(storage);
}

/* On a device, rows are this far apart: whole groups of 8 elements, the padding zeros. */
static inline int64_t nn_row_stride(int64_t columns)
{
    return nn_ceil_divide(columns, 8) * 8;
}

static inline int64_t nn_row_stride_bytes(const nn_matrix *matrix)
{
    return nn_row_stride(matrix->columns) * nn_storage_bytes(matrix->storage);
}

/* Bytes of a matrix on a device; see nn_matrix_bytes. */
static inline int64_t nn_device_matrix_bytes(int64_t rows, int64_t columns, nn_storage storage)
{
    return rows * nn_row_stride(columns) * nn_storage_bytes(storage);
}

/* Where column k of a panel begins, as nn_panel_bytes takes k. */
static inline const char *nn_panel_at(const nn_matrix *matrix, int64_t panel, int64_t k)
{
    return (const char *)matrix->data + panel * nn_panel_bytes(matrix->storage, matrix->columns) +
           nn_panel_bytes(matrix->storage, k);
}

/* Rows of the matrix in panels [first, last): the last panel may be filled up. */
static inline int64_t nn_panel_rows(const nn_matrix *matrix, int64_t first, int64_t last)
{
    int64_t end = last * NN_PANEL;
    return (end < matrix->rows ? end : matrix->rows) - first * NN_PANEL;
}

/* Asks for the `part`-th of `parts` parts of the `bytes` bytes at `at`, which are needed soon. NN_INLINE, since gcc 12
 * drops a call of what only prefetches. */
NN_INLINE void nn_fetch_part(const char *at, int64_t bytes, int64_t part, int64_t parts)
{
    const int64_t line = 64, lines = nn_ceil_divide(bytes, line);
    for (int64_t i = lines * part / parts; i < lines * (part + 1) / parts; i++)
        __builtin_prefetch(at + i * line, 0, 2);
}

/* Activation, bias and residual of finished sums: rows [first, last), `count` outputs from `column` on; c is row
 * `first`'s, its stride in floats. */
static inline void nn_linear_finish(const nn_kernels *kernels, const nn_linear_args *args, const float *c,
                                    int64_t c_stride, int64_t first, int64_t last, int64_t column, int64_t count)
{
    for (int64_t row = first; row < last; row++) {
        int64_t at = row * args->y_stride + column;
        kernels->finish(c + (row - first) * c_stride, count, args->bias ? args->bias + column : NULL, args->activation,
                        args->residual ? args->residual + at : NULL, args->y + at);
    }
}

/* Asks for where these results go. */
NN_INLINE void nn_linear_fetch(const nn_linear_args *args, int64_t first, int64_t last, int64_t column, int64_t count)
{
    for (int64_t row = first; row < last; row++)
        nn_fetch_part((const char *)(args->y + row * args->y_stride + column), count * (int64_t)sizeof(float), 0, 1);
}

static inline int64_t nn_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t nn_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

#endif
