/* SPDX-License-Identifier: Apache-2.0
 *
 * A context's CUDA device, between the operators of nn.h and the kernels: the host's service, a stream on which
 * everything runs in order, cuBLAS where the host has it, and what went wrong, since operators say nothing.
 */
#ifndef NN_CUDA_H
#define NN_CUDA_H

#include <llavamore/cuda.h>

#include "../internal.h"
#include "kernels.h"

/* The first thing that went wrong in a thread since nn_settled told it of the one before. */
typedef struct nn_cuda_failure {
    struct nn_cuda_failure *next;
    pthread_t thread;
    more_status status;
    more_error reason;
} nn_cuda_failure;

typedef struct nn_cuda {
    nn_context *context;
    const more_host *host;
    const more_cuda_service *service;
    const nn_cuda_kernels *kernels;
    int32_t device;
    more_cuda_stream stream;
    nn_storage narrow; /* 16-bit type of products without a weight: that of the first 16-bit matrix; NN_F32 = none */

    pthread_mutex_t lock; /* guards what follows */
    bool blas_sought;
    struct nn_cuda_blas *blas; /* NULL where the host has no cuBLAS */
    nn_cuda_failure *failures; /* one a thread at most */
    bool lost;                 /* one could not be kept: from then on all is told as failed */
} nn_cuda;

extern const nn_operators nn_cuda_operators;

/* Turns a context of the host into one of the device; see nn_context_set_device. */
more_status nn_cuda_attach(nn_context *context, const char *plugin, int32_t device, more_error *error);
void nn_cuda_detach(nn_context *context); /* also where nothing was attached */
more_status nn_cuda_begin(nn_context *context, more_error *error);
more_status nn_cuda_settled(nn_context *context, more_status status, more_error *error);

/* Keeps the calling thread's first failure for nn_settled. */
void nn_cuda_failed(nn_cuda *cuda, more_status status, const char *what);
/* The same of what a launcher of kernels.h returned: 0, or an error number. */
void nn_cuda_launched(nn_cuda *cuda, int result, const char *operation);

/* Device memory for as long as the operators queued until nn_cuda_give take; NULL, and the failure kept, when there is
 * none. */
void *nn_cuda_take(nn_cuda *cuda, int64_t bytes, const char *what);
void nn_cuda_give(nn_cuda *cuda, void *memory);

/* Writes rows [first, end) of what goes to the device into `piece`, which is zeroed. */
typedef more_status (*nn_cuda_fill)(void *argument, int64_t first, int64_t end, void *piece, more_error *error);
/* `rows` rows of `row_bytes` to device memory, in pieces of a multiple of `step` rows, through pinned memory. */
more_status nn_cuda_upload(nn_context *context, void *to, int64_t rows, int64_t row_bytes, int64_t step,
                           nn_cuda_fill fill, void *argument, more_error *error);

/* y [rows, rows of W] = x W^T, or += where `add`, by cuBLAS, x of W's 16-bit storage, y f32; strides in elements.
 * False, and nothing queued, where there is no cuBLAS or it refuses. */
bool nn_cuda_blas_product(nn_cuda *cuda, const nn_cuda_linear *product, bool add);
void nn_cuda_blas_close(nn_cuda *cuda);

#endif
