/* SPDX-License-Identifier: Apache-2.0
 *
 * What libcudaemu.so exports to hosts: of the driver and of cuBLAS what llavamore uses, under their exported names, and
 * what tests ask the emulator itself. Hosts look these up by name; tests of the emulator link to them.
 */
#ifndef CUDAEMU_DRIVER_H
#define CUDAEMU_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

typedef unsigned long long cudaemu_address; /* CUdeviceptr */

int cuInit(unsigned flags);
int cuDriverGetVersion(int *version);
int cuGetErrorName(int error, const char **name);
int cuGetErrorString(int error, const char **text);

int cuDeviceGetCount(int *count);
int cuDeviceGet(int *device, int index);
int cuDeviceGetName(char *name, int size, int device);
int cuDeviceGetAttribute(int *value, int attribute, int device);
int cuDeviceTotalMem_v2(size_t *bytes, int device);

int cuDevicePrimaryCtxRetain(void **context, int device);
int cuDevicePrimaryCtxRelease_v2(int device);
int cuCtxSetCurrent(void *context);
int cuCtxGetCurrent(void **context);
int cuCtxSynchronize(void);

int cuMemGetInfo_v2(size_t *available, size_t *total);
int cuMemAlloc_v2(cudaemu_address *address, size_t bytes);
int cuMemFree_v2(cudaemu_address address);
int cuMemHostAlloc(void **memory, size_t bytes, unsigned flags);
int cuMemFreeHost(void *memory);
int cuPointerGetAttribute(void *value, int attribute, cudaemu_address address);

int cuMemcpyAsync(cudaemu_address to, cudaemu_address from, size_t bytes, void *stream);
int cuMemcpyHtoDAsync_v2(cudaemu_address to, const void *from, size_t bytes, void *stream);
int cuMemcpyDtoHAsync_v2(void *to, cudaemu_address from, size_t bytes, void *stream);
int cuMemcpyDtoDAsync_v2(cudaemu_address to, cudaemu_address from, size_t bytes, void *stream);
int cuMemsetD8Async(cudaemu_address to, unsigned char value, size_t bytes, void *stream);

int cuStreamCreate(void **stream, unsigned flags);
int cuStreamDestroy_v2(void *stream);
int cuStreamSynchronize(void *stream);
int cuStreamQuery(void *stream);
int cuStreamWaitEvent(void *stream, void *event, unsigned flags);

int cuEventCreate(void **event, unsigned flags);
int cuEventDestroy_v2(void *event);
int cuEventRecord(void *event, void *stream);
int cuEventQuery(void *event);
int cuEventSynchronize(void *event);

int cublasCreate_v2(void **handle);
int cublasDestroy_v2(void *handle);
int cublasSetStream_v2(void *handle, void *stream);
int cublasSetWorkspace_v2(void *handle, void *workspace, size_t bytes);
const char *cublasGetStatusString(int status);
/* f32, f16 and bf16 (0, 2, 14) with sums and result in f32; alpha and beta are the host's. */
int cublasGemmEx(void *handle, int op_a, int op_b, int m, int n, int k, const void *alpha, const void *a, int a_type,
                 int lda, const void *b, int b_type, int ldb, const void *beta, void *c, int c_type, int ldc,
                 int compute, int algorithm);

/* Makes the process's `number`-th allocation of device memory, from 1, fail; 0 = none. */
void cudaemu_fail_allocation(int64_t number);
/* How many there were so far, failed ones too. */
int64_t cudaemu_allocations(void);
/* Allocations (pinned ones too), streams, events and cuBLAS handles that are not freed. */
int cudaemu_leaks(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
