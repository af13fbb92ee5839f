/* SPDX-License-Identifier: Apache-2.0
 *
 * What every kernel file includes: the language of the device, from nvcc or from the emulator of tests/cudaemu, and the
 * little that both lack. A kernel uses no more of CUDA than tests/cudaemu/README.md lists.
 */
#ifndef NN_CUDA_DEVICE_CUH
#define NN_CUDA_DEVICE_CUH

#ifdef LLAVAMORE_CUDA_EMULATED
#include <cudaemu.h>
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#endif

#include "kernels.h"

/* Dynamic shared memory of the block, aligned to 16 bytes. */
template <typename T> static __device__ inline T *nn_shared()
{
#ifdef LLAVAMORE_CUDA_EMULATED
    return static_cast<T *>(cudaemu_shared());
#else
    extern __shared__ __align__(16) unsigned char nn_shared_bytes[];
    return reinterpret_cast<T *>(nn_shared_bytes);
#endif
}

/* Queues kernel<<<grid, block, shared bytes, stream>>>(arguments); 0 or the error. An empty grid is no launch. */
template <typename... Parameters, typename... Arguments>
static inline int nn_launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared, void *stream,
                            Arguments... arguments)
{
    if (grid.x == 0 || grid.y == 0 || grid.z == 0)
        return 0;
#ifdef LLAVAMORE_CUDA_EMULATED
    return cudaemu_launch(kernel, grid, block, shared, stream, static_cast<Parameters>(arguments)...);
#else
    if (shared > 48 * 1024) {
        cudaError_t status = cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel),
                                                  cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
        if (status != cudaSuccess)
            return status;
    }
    kernel<<<grid, block, shared, static_cast<cudaStream_t>(stream)>>>(static_cast<Parameters>(arguments)...);
    return cudaGetLastError();
#endif
}

static __device__ inline float nn_widen(float value)
{
    return value;
}
static __device__ inline float nn_widen(__half value)
{
    return __half2float(value);
}
static __device__ inline float nn_widen(__nv_bfloat16 value)
{
    return __bfloat162float(value);
}

/* To nearest even. */
template <typename T> static __device__ inline T nn_narrow(float value);
template <> __device__ inline float nn_narrow<float>(float value)
{
    return value;
}
template <> __device__ inline __half nn_narrow<__half>(float value)
{
    return __float2half_rn(value);
}
template <> __device__ inline __nv_bfloat16 nn_narrow<__nv_bfloat16>(float value)
{
    return __float2bfloat16_rn(value);
}

/* The sum over a warp, the largest of it; every lane gets it. */
static __device__ inline float nn_warp_sum(float value)
{
    for (int offset = 16; offset > 0; offset /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, offset);
    return value;
}
static __device__ inline float nn_warp_max(float value)
{
    for (int offset = 16; offset > 0; offset /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, offset));
    return value;
}

static inline unsigned nn_blocks(int64_t items, int64_t each)
{
    return static_cast<unsigned>((items + each - 1) / each);
}

#endif
