/* SPDX-License-Identifier: Apache-2.0
 *
 * Attaching a context to a device, what failed there, and memory.
 */
#include "cuda.h"

#include <stdlib.h>
#include <string.h>

#include "../pack.h"

/* ---- Attaching -------------------------------------------------------------------------------------------------- */

static more_status find_service(nn_cuda *cuda, const char *plugin, more_error *error)
{
    cuda->service = cuda->host->get_service(cuda->host, MORE_CUDA_SERVICE);
    if (!cuda->kernels)
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s cannot run on device cuda:%d: it was built without CUDA kernels", plugin,
                         (int)cuda->device);
    if (!cuda->service || !MORE_HAS(cuda->service, more_cuda_service, cublas))
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s cannot run on device cuda:%d: the host lacks the service '%s'", plugin, (int)cuda->device,
                         MORE_CUDA_SERVICE);
    return MORE_OK;
}

/* Whether this device takes the kernels of this build: an architecture that they were not compiled for, or a driver
 * older than the runtime, is told by the first launch. */
static more_status try_kernels(nn_cuda *cuda, const char *plugin, more_error *error)
{
    void *memory;
    more_status status = cuda->service->allocate(cuda->host, cuda->device, cuda->stream, sizeof(float),
                                                 "a first kernel", &memory, error);
    if (status)
        return status;
    int result = cuda->kernels->scale(cuda->stream, 1.0f, 1, memory);
    nn_cuda_give(cuda, memory);
    if (!result)
        return MORE_OK;
    return more_fail(error, MORE_ERROR_UNSUPPORTED,
                     "%s cannot run on device cuda:%d: its kernels were compiled for %s, and: %s", plugin,
                     (int)cuda->device, cuda->kernels->compiled, cuda->kernels->message(result));
}

more_status nn_cuda_attach(nn_context *context, const char *plugin, int32_t device, more_error *error)
{
    nn_cuda *cuda = calloc(1, sizeof *cuda);
    if (!cuda)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for a device's context");
    *cuda = (nn_cuda){.context = context, .host = context->host, .kernels = nn_cuda_table(), .device = device};
    more_status status = find_service(cuda, plugin, error);
    if (!status)
        status = cuda->service->stream_create(cuda->host, device, &cuda->stream, error);
    if (!status)
        status = try_kernels(cuda, plugin, error);
    if (status) {
        if (cuda->stream)
            cuda->service->stream_destroy(cuda->host, device, cuda->stream);
        free(cuda);
        return status;
    }
    pthread_mutex_init(&cuda->lock, NULL);
    context->cuda = cuda;
    context->operators = &nn_cuda_operators;
    nn_log(context, MORE_LOG_INFO, "cuda", "kernels: %s", cuda->kernels->compiled);
    return MORE_OK;
}

void nn_cuda_detach(nn_context *context)
{
    nn_cuda *cuda = context->cuda;
    if (!cuda)
        return;
    nn_cuda_begin(context, NULL);
    nn_cuda_blas_close(cuda);
    cuda->service->stream_destroy(cuda->host, cuda->device, cuda->stream);
    while (cuda->failures) {
        nn_cuda_failure *failure = cuda->failures;
        cuda->failures = failure->next;
        free(failure);
    }
    pthread_mutex_destroy(&cuda->lock);
    free(cuda);
    context->cuda = NULL;
    context->operators = &nn_host_operators;
}

more_status nn_cuda_begin(nn_context *context, more_error *error)
{
    nn_cuda *cuda = context->cuda;
    return cuda->service->use(cuda->host, cuda->device, error);
}

/* ---- Failures --------------------------------------------------------------------------------------------------- */

/* The place of the calling thread's failure in the list, or the list's end. Under the lock. */
static nn_cuda_failure **find_failure(nn_cuda *cuda)
{
    nn_cuda_failure **at = &cuda->failures;
    while (*at && !pthread_equal((*at)->thread, pthread_self()))
        at = &(*at)->next;
    return at;
}

void nn_cuda_failed(nn_cuda *cuda, more_status status, const char *what)
{
    pthread_mutex_lock(&cuda->lock);
    nn_cuda_failure **at = find_failure(cuda);
    if (!*at) {
        nn_cuda_failure *failure = calloc(1, sizeof *failure);
        if (failure) {
            failure->thread = pthread_self();
            failure->status = status;
            more_fail(&failure->reason, status, "%s", what);
        }
        *at = failure;
        cuda->lost |= !failure;
    }
    pthread_mutex_unlock(&cuda->lock);
}

void nn_cuda_launched(nn_cuda *cuda, int result, const char *operation)
{
    char what[MORE_ERROR_SIZE];
    if (result == 0)
        return;
    snprintf(what, sizeof what, "cuda:%d: %s could not be started: %s", (int)cuda->device, operation,
             cuda->kernels->message(result));
    nn_cuda_failed(cuda, MORE_ERROR_INTERNAL, what);
}

/* Told once: what is broken for good, the driver says again. */
more_status nn_cuda_settled(nn_context *context, more_status status, more_error *error)
{
    nn_cuda *cuda = context->cuda;
    pthread_mutex_lock(&cuda->lock);
    nn_cuda_failure **at = find_failure(cuda), *failure = *at;
    if (failure)
        *at = failure->next;
    bool lost = cuda->lost;
    pthread_mutex_unlock(&cuda->lock);
    if (failure && (!status || status == MORE_ERROR_MEMORY)) {
        status = failure->status;
        if (error)
            *error = failure->reason;
    } else if (!status && lost) {
        status = more_fail(error, MORE_ERROR_MEMORY, "cuda:%d: something failed, and no memory was left to say what",
                           (int)cuda->device);
    }
    free(failure);
    return status;
}

/* ---- Memory ----------------------------------------------------------------------------------------------------- */

void *nn_cuda_take(nn_cuda *cuda, int64_t bytes, const char *what)
{
    more_error error;
    void *memory = NULL;
    more_status status = cuda->service->allocate(cuda->host, cuda->device, cuda->stream, (size_t)nn_max(bytes, 0), what,
                                                 &memory, &error);
    if (!status)
        return memory;
    nn_cuda_failed(cuda, status, error.message);
    return NULL;
}

void nn_cuda_give(nn_cuda *cuda, void *memory)
{
    cuda->service->release(cuda->host, cuda->device, memory);
}

/* One piece: made on the host, queued for the device. */
static more_status upload_piece(nn_cuda *cuda, char *to, int64_t first, int64_t end, int64_t row_bytes, void *piece,
                                nn_cuda_fill fill, void *argument, more_error *error)
{
    size_t bytes = (size_t)((end - first) * row_bytes);
    memset(piece, 0, bytes);
    more_status status = fill(argument, first, end, piece, error), ended;
    ended = cuda->service->stage_end(cuda->host, cuda->device, cuda->stream, piece, to + first * row_bytes,
                                     status ? 0 : bytes, status ? NULL : error);
    return status ? status : ended;
}

/* Rows so wide that a piece cannot hold `step` of them go by way of memory of their own. */
static more_status upload_wide(nn_context *context, char *to, int64_t first, int64_t end, int64_t row_bytes,
                               nn_cuda_fill fill, void *argument, more_error *error)
{
    nn_cuda *cuda = context->cuda;
    void *rows = nn_allocate(context, end - first, row_bytes);
    if (!rows)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for rows on their way to cuda:%d", (int)cuda->device);
    memset(rows, 0, (size_t)((end - first) * row_bytes));
    more_status status = fill(argument, first, end, rows, error);
    if (!status)
        status = cuda->service->copy(cuda->host, cuda->device, cuda->stream, to + first * row_bytes, rows,
                                     (size_t)((end - first) * row_bytes), error);
    nn_release(context, rows);
    return status;
}

more_status nn_cuda_upload(nn_context *context, void *to, int64_t rows, int64_t row_bytes, int64_t step,
                           nn_cuda_fill fill, void *argument, more_error *error)
{
    nn_cuda *cuda = context->cuda;
    more_status status = MORE_OK;
    for (int64_t first = 0, end; first < rows && !status; first = end) {
        void *piece;
        size_t room;
        status = cuda->service->stage_begin(cuda->host, cuda->device, &piece, &room, error);
        if (status)
            return status;
        int64_t fits = (int64_t)room / row_bytes / step * step;
        end = nn_min(rows, first + nn_max(fits, step));
        if (fits > 0) {
            status = upload_piece(cuda, to, first, end, row_bytes, piece, fill, argument, error);
        } else {
            status = cuda->service->stage_end(cuda->host, cuda->device, cuda->stream, piece, NULL, 0, error);
            if (!status)
                status = upload_wide(context, to, first, end, row_bytes, fill, argument, error);
        }
    }
    return status;
}
