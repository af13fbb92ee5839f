/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore.cuda/1: the NVIDIA devices of the machine, as the host found them. Driver and cuBLAS are looked for at run
 * time, so a host has this service whether or not there is a device, and a plugin with kernels inside loads on a
 * machine that has neither.
 *
 * A plugin links the static CUDA runtime for its own kernels and takes from here what all plugins of a process share:
 * memory (cached, and counted for the report of the most that was used), streams, events, the way through pinned memory
 * to a device, and cuBLAS. Streams and events are the driver's handles (CUstream, CUevent), which the runtime's are
 * too. Devices are numbered as in DLDevice.device_id under kDLCUDA, from 0; each has one context, the primary one.
 */
#ifndef LLAVAMORE_CUDA_H
#define LLAVAMORE_CUDA_H

#include <llavamore/host.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MORE_CUDA_SERVICE "llavamore.cuda/1"

typedef void *more_cuda_stream; /* CUstream */
typedef void *more_cuda_event;  /* CUevent */

/* Filled by describe(); the caller sets struct_size. */
typedef struct more_cuda_info {
    size_t struct_size;
    char name[128];
    int32_t capability;   /* 10 * major + minor: 90 for an H100 */
    int32_t processors;   /* multiprocessors */
    int64_t total_bytes;  /* of the device's memory */
    int64_t free_bytes;   /* of them, by what the driver says now, to all processes */
    int64_t used_bytes;   /* handed out by allocate() and not given back */
    int64_t peak_bytes;   /* most that used_bytes has been */
    int64_t cached_bytes; /* given back and kept for the next that asks */
} more_cuda_info;

typedef struct more_cuda_service {
    size_t struct_size;
    /* Devices; 0 without a driver or without a device. [any-thread] */
    int32_t (*count)(const more_host *host);
    /* Why count() is 0, as one line; "" when it is not. Lives as long as the host. [any-thread] */
    const char *(*reason)(const more_host *host);
    /* MORE_ERROR_NOT_FOUND for a device that is not there, here and in all below. [any-thread] */
    more_status (*describe)(const more_host *host, int32_t device, more_cuda_info *info, more_error *error);
    /* Makes the device's context current in the calling thread, as every launch of a kernel needs it; the functions
     * below do so themselves and leave it so. [any-thread] */
    more_status (*use)(const more_host *host, int32_t device, more_error *error);

    /* A stream that does not wait for the default one. [any-thread] */
    more_status (*stream_create)(const more_host *host, int32_t device, more_cuda_stream *stream, more_error *error);
    /* Waits for what is queued; memory that was given back on it goes back to the driver, and what is given back later
     * becomes everyone's. NULL is allowed. [any-thread] */
    void (*stream_destroy)(const more_host *host, int32_t device, more_cuda_stream stream);
    /* Waits for what is queued on this stream, and says what went wrong there: MORE_ERROR_INTERNAL with the driver's
     * word for it. [any-thread] */
    more_status (*synchronize)(const more_host *host, int32_t device, more_cuda_stream stream, more_error *error);
    /* Events without timing. [any-thread] */
    more_status (*event_create)(const more_host *host, int32_t device, more_cuda_event *event, more_error *error);
    void (*event_destroy)(const more_host *host, int32_t device, more_cuda_event event); /* NULL is allowed */
    more_status (*event_record)(const more_host *host, int32_t device, more_cuda_event event, more_cuda_stream stream,
                                more_error *error);
    /* Makes the stream, not the caller, wait for the event. [any-thread] */
    more_status (*stream_wait)(const more_host *host, int32_t device, more_cuda_stream stream, more_cuda_event event,
                               more_error *error);

    /* `bytes` of uninitialised device memory, aligned to 256, for work queued on `stream`. What was given back on a
     * stream is given again on that stream alone, where its last user's work stands before the next one's; before
     * memory runs out, everything kept is freed. MORE_ERROR_MEMORY says for what (`what`: "the key-value cache"), how
     * much was needed, free and held. `bytes` may be 0. [any-thread] */
    more_status (*allocate)(const more_host *host, int32_t device, more_cuda_stream stream, size_t bytes,
                            const char *what, void **memory, more_error *error);
    /* Gives back what allocate gave; NULL is allowed. Work that reads it may still be queued on its stream.
     * [any-thread] */
    void (*release)(const more_host *host, int32_t device, void *memory);

    /* Queues a copy; either side may be of the host or of the device. From host memory: its bytes were taken on return.
     * To host memory: they are there on return, for which the stream is waited for. [any-thread] */
    more_status (*copy)(const more_host *host, int32_t device, more_cuda_stream stream, void *to, const void *from,
                        size_t bytes, more_error *error);
    /* Queues setting `bytes` bytes to `value`. [any-thread] */
    more_status (*fill)(const more_host *host, int32_t device, more_cuda_stream stream, void *to, uint8_t value,
                        size_t bytes, more_error *error);

    /* Uploading in pieces while the next one is made: a piece of pinned memory (*bytes of it, 1 MiB at least), whose
     * last upload is over. Give it back by stage_end in any case. [any-thread] */
    more_status (*stage_begin)(const more_host *host, int32_t device, void **piece, size_t *bytes, more_error *error);
    /* Queues the copy of the piece's first `bytes` bytes to device memory; 0 = none, just give it back. [any-thread] */
    more_status (*stage_end)(const more_host *host, int32_t device, more_cuda_stream stream, void *piece, void *to,
                             size_t bytes, more_error *error);

    /* An entry point of cuBLAS by its exported name ("cublasGemmEx"); NULL where cuBLAS or the name is not there: the
     * plugin's own product then runs, slower. [any-thread] */
    void *(*cublas)(const more_host *host, const char *name);
} more_cuda_service;

#ifdef __cplusplus
}
#endif
#endif
