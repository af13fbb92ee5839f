/* SPDX-License-Identifier: Apache-2.0
 *
 * Products by cuBLAS, whose entry points the host found: declared here as its documentation gives them, so that no
 * header of CUDA is needed.
 */
#include "cuda.h"

#include <stdlib.h>

/* cudaDataType_t, cublasComputeType_t, cublasGemmAlgo_t, cublasOperation_t. */
enum { R_32F = 0, R_16F = 2, R_16BF = 14, COMPUTE_32F = 68, ALGO_DEFAULT = -1, OP_N = 0, OP_T = 1 };

typedef int (*create_function)(void **handle);
typedef int (*destroy_function)(void *handle);
typedef int (*set_stream_function)(void *handle, void *stream);
typedef int (*gemm_function)(void *handle, int transposed_a, int transposed_b, int m, int n, int k, const void *alpha,
                             const void *a, int a_type, int lda, const void *b, int b_type, int ldb, const void *beta,
                             void *c, int c_type, int ldc, int compute, int algorithm);

typedef struct nn_cuda_blas {
    void *handle;
    destroy_function destroy;
    gemm_function gemm;
} nn_cuda_blas;

/* dlsym's object pointers are functions, as POSIX has it. */
static void find(const nn_cuda *cuda, const char *name, void *function)
{
    *(void **)function = cuda->service->cublas(cuda->host, name);
}

static nn_cuda_blas *open_blas(nn_cuda *cuda)
{
    create_function create;
    set_stream_function set_stream;
    nn_cuda_blas found = {0};
    find(cuda, "cublasCreate_v2", &create);
    find(cuda, "cublasSetStream_v2", &set_stream);
    find(cuda, "cublasDestroy_v2", &found.destroy);
    find(cuda, "cublasGemmEx", &found.gemm);
    if (!create || !set_stream || !found.destroy || !found.gemm || create(&found.handle))
        return NULL;
    nn_cuda_blas *blas = set_stream(found.handle, cuda->stream) ? NULL : malloc(sizeof *blas);
    if (blas)
        *blas = found;
    else
        found.destroy(found.handle);
    return blas;
}

/* Opened by the first product, for a handle takes time and memory of the device. Under the lock. */
static nn_cuda_blas *take_blas(nn_cuda *cuda)
{
    if (!cuda->blas_sought) {
        cuda->blas = open_blas(cuda);
        nn_log(cuda->context, MORE_LOG_INFO, "cuda", "products of many rows: %s",
               cuda->blas ? "cuBLAS" : "our own kernels");
    }
    cuda->blas_sought = true;
    return cuda->blas;
}

void nn_cuda_blas_close(nn_cuda *cuda)
{
    if (cuda->blas)
        cuda->blas->destroy(cuda->blas->handle);
    free(cuda->blas);
}

/* cuBLAS counts columns first: its C^T = W x^T is our y = x W^T. */
bool nn_cuda_blas_product(nn_cuda *cuda, const nn_cuda_linear *p, bool add)
{
    const float one = 1.0f, none = 0.0f;
    int type = p->weight.storage == NN_F16 ? R_16F : R_16BF, refused = -1;
    if (p->rows > INT32_MAX || p->weight.rows > INT32_MAX || p->weight.stride > INT32_MAX || p->x_stride > INT32_MAX ||
        p->y_stride > INT32_MAX)
        return false;
    pthread_mutex_lock(&cuda->lock); /* a handle is for one thread at a time */
    nn_cuda_blas *blas = take_blas(cuda);
    if (blas)
        refused = blas->gemm(blas->handle, OP_T, OP_N, (int)p->weight.rows, (int)p->rows, (int)p->weight.columns, &one,
                             p->weight.data, type, (int)p->weight.stride, p->x, type, (int)p->x_stride,
                             add ? &one : &none, p->y, R_32F, (int)p->y_stride, COMPUTE_32F, ALGO_DEFAULT);
    pthread_mutex_unlock(&cuda->lock);
    return !refused;
}
