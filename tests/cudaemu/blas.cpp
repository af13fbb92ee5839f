/* SPDX-License-Identifier: Apache-2.0
 *
 * The entry points of cuBLAS that hosts use: products with sums in f32, queued on the handle's stream.
 */
#include "emulator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* cublasStatus_t, cudaDataType_t, cublasComputeType_t, cublasOperation_t. */
enum { NOT_READY = 1, NO_MEMORY = 3, BAD_VALUE = 7, NOT_SUPPORTED = 15 };
enum { R_32F = 0, R_16F = 2, R_16BF = 14, LEAST_COMPUTE_32F = 68, MOST_COMPUTE_32F = 78, OP_N = 0, OP_C = 2 };

typedef struct blas {
    struct blas *next;
    void *stream;
    int device;
} blas;

static blas *handles;

static blas *blas_of(void *handle)
{
    blas *found = handles;
    while (found && found != handle)
        found = found->next;
    return found;
}

int cublasCreate_v2(void **handle)
{
    emu_lock lock;
    if (emu_current_device() == EMU_NOWHERE)
        return NOT_READY;
    blas *made = static_cast<blas *>(calloc(1, sizeof *made));
    if (!made)
        return NO_MEMORY;
    made->device = emu_current_device();
    made->next = handles;
    handles = made;
    *handle = made;
    return 0;
}

int cublasDestroy_v2(void *handle)
{
    emu_lock lock;
    blas *freed = blas_of(handle);
    if (!freed)
        return NOT_READY;
    blas **at = &handles;
    while (*at != freed)
        at = &(*at)->next;
    *at = freed->next;
    free(freed);
    return 0;
}

int cublasSetStream_v2(void *handle, void *stream)
{
    emu_lock lock;
    blas *found = blas_of(handle);
    if (!found)
        return NOT_READY;
    if (!emu_stream_of(stream))
        return BAD_VALUE;
    found->stream = stream;
    return 0;
}

int cublasSetWorkspace_v2(void *handle, void *workspace, size_t bytes)
{
    emu_lock lock;
    if (!blas_of(handle))
        return NOT_READY;
    if (reinterpret_cast<uintptr_t>(workspace) % 256 != 0)
        return BAD_VALUE;
    if (bytes)
        emu_memory_range(workspace, bytes, "cublasSetWorkspace: the workspace");
    return 0;
}

const char *cublasGetStatusString(int status)
{
    switch (status) {
    case 0:
        return "success";
    case NOT_READY:
        return "the library was not initialized";
    case NO_MEMORY:
        return "the resource allocation failed";
    case BAD_VALUE:
        return "an unsupported value or parameter was passed to the function";
    case NOT_SUPPORTED:
        return "the functionality requested is not supported";
    default:
        return "unknown status";
    }
}

/* ---- Products ---------------------------------------------------------------------------------------------------- */

static float element(const void *from, int64_t index, int type)
{
    uint16_t bits = 0;
    if (type == R_32F)
        return static_cast<const float *>(from)[index];
    bits = static_cast<const uint16_t *>(from)[index];
    return type == R_16F ? nn_f16_to_f32(bits) : nn_bf16_to_f32(bits);
}

/* op(x) in f32, [columns of op(x)][rows]: `rows` is its first dimension, ld that of x as it is stored. */
static float *unpacked(const void *x, int type, bool transposed, int64_t rows, int64_t columns, int64_t ld)
{
    float *all = static_cast<float *>(malloc(static_cast<size_t>(rows * columns + 1) * sizeof(float)));
    if (!all)
        emu_fail("no memory for a product");
    for (int64_t column = 0; column < columns; column++)
        for (int64_t row = 0; row < rows; row++)
            all[column * rows + row] = element(x, transposed ? row * ld + column : column * ld + row, type);
    return all;
}

/* Bytes from the first to the last element of `rows` x `columns`, column-major. */
static size_t extent(int64_t rows, int64_t columns, int64_t ld, int type)
{
    return rows && columns ? static_cast<size_t>((columns - 1) * ld + rows) * (type == R_32F ? 4 : 2) : 0;
}

static void check(const emu_product *p)
{
    emu_memory_range(p->a, p->transposed_a ? extent(p->k, p->m, p->lda, p->type) : extent(p->m, p->k, p->lda, p->type),
                     "A");
    emu_memory_range(p->b, p->transposed_b ? extent(p->n, p->k, p->ldb, p->type) : extent(p->k, p->n, p->ldb, p->type),
                     "B");
    emu_memory_range(p->c, extent(p->m, p->n, p->ldc, R_32F), "C");
}

/* A column of C at a time: sums over k in its order, all rows side by side. */
static void run_product(const emu_work *work)
{
    const emu_product *p = &work->product;
    check(p);
    float *a = unpacked(p->a, p->type, p->transposed_a, p->m, p->k, p->lda);
    float *b = unpacked(p->b, p->type, p->transposed_b, p->k, p->n, p->ldb);
    float *sums = static_cast<float *>(malloc(static_cast<size_t>(p->m) * sizeof(float)));
    if (!sums)
        emu_fail("no memory for a product");
    for (int64_t j = 0; j < p->n; j++) {
        memset(sums, 0, static_cast<size_t>(p->m) * sizeof(float));
        for (int64_t k = 0; k < p->k; k++)
            for (int64_t i = 0; i < p->m; i++)
                sums[i] += a[k * p->m + i] * b[j * p->k + k];
        float *c = p->c + j * p->ldc;
        for (int64_t i = 0; i < p->m; i++)
            c[i] = p->alpha * sums[i] + (p->beta != 0.0f ? p->beta * c[i] : 0.0f);
    }
    free(sums);
    free(b);
    free(a);
    emu_memory_check(work->device);
}

static int product_error(const emu_product *p, int a_type, int b_type, int c_type, int compute)
{
    int64_t rows_a = p->transposed_a ? p->k : p->m, rows_b = p->transposed_b ? p->n : p->k;
    if (p->m < 0 || p->n < 0 || p->k < 0 || p->lda < (rows_a > 1 ? rows_a : 1) || p->ldb < (rows_b > 1 ? rows_b : 1) ||
        p->ldc < (p->m > 1 ? p->m : 1))
        return BAD_VALUE;
    bool known = a_type == R_32F || a_type == R_16F || a_type == R_16BF;
    return known && a_type == b_type && c_type == R_32F && compute >= LEAST_COMPUTE_32F && compute <= MOST_COMPUTE_32F
               ? 0
               : NOT_SUPPORTED;
}

int cublasGemmEx(void *handle, int op_a, int op_b, int m, int n, int k, const void *alpha, const void *a, int a_type,
                 int lda, const void *b, int b_type, int ldb, const void *beta, void *c, int c_type, int ldc,
                 int compute, int algorithm)
{
    emu_lock lock;
    blas *found = blas_of(handle);
    emu_stream *stream = found ? emu_stream_of(found->stream) : NULL;
    if (!found || !stream)
        return NOT_READY;
    if (op_a < OP_N || op_a > OP_C || op_b < OP_N || op_b > OP_C || !alpha || !beta || algorithm < -1)
        return BAD_VALUE;
    emu_work work = {};
    work.name = "cublasGemmEx";
    work.run = run_product;
    work.product = {op_a != OP_N,
                    op_b != OP_N,
                    m,
                    n,
                    k,
                    lda,
                    ldb,
                    ldc,
                    *static_cast<const float *>(alpha),
                    *static_cast<const float *>(beta),
                    a,
                    b,
                    a_type,
                    static_cast<float *>(c)};
    int error = product_error(&work.product, a_type, b_type, c_type, compute);
    if (error || !m || !n)
        return error;
    return emu_stream_add(stream, &work) ? NO_MEMORY : 0;
}

int emu_blas_leaks(bool print)
{
    int leaks = 0;
    for (const blas *handle = handles; handle; handle = handle->next, leaks++)
        if (print)
            fprintf(stderr, "cudaemu: leak: a cuBLAS handle of device %d\n", handle->device);
    return leaks;
}
