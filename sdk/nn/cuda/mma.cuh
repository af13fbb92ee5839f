/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensor cores and asynchronous copies (sm_80 and later), each a line of PTX, or a call of the emulator. T is __half or
 * __nv_bfloat16; a register of 32 bits holds two of them, the first in the lower half. Lane l has group g = l / 4 and
 * place p = l % 4.
 */
#ifndef NN_CUDA_MMA_CUH
#define NN_CUDA_MMA_CUH

#include "device.cuh"

/* d = a b + c by the whole warp, a [16, 16], b [16, 8], c and d [16, 8] (d may be c). A lane holds
 *   a[0..3]: rows g, g + 8, g, g + 8 at columns 2p and 2p + 1, the latter two 8 columns further,
 *   b[0..1]: column g at rows 2p and 2p + 1, the second 8 rows further,
 *   c[0..3]: row g at columns 2p and 2p + 1, row g + 8 at the same. */
template <typename T>
static __device__ __forceinline__ void nn_mma_16816(float d[4], const uint32_t a[4], const uint32_t b[2],
                                                    const float c[4]);

#ifdef LLAVAMORE_CUDA_EMULATED

template <>
__device__ __forceinline__ void nn_mma_16816<__half>(float d[4], const uint32_t a[4], const uint32_t b[2],
                                                     const float c[4])
{
    cudaemu_mma_16816_f16(d, a, b, c);
}

template <>
__device__ __forceinline__ void nn_mma_16816<__nv_bfloat16>(float d[4], const uint32_t a[4], const uint32_t b[2],
                                                            const float c[4])
{
    cudaemu_mma_16816_bf16(d, a, b, c);
}

#else

#define NN_MMA_16816(T, NAME)                                                                                          \
    template <>                                                                                                        \
    __device__ __forceinline__ void nn_mma_16816<T>(float d[4], const uint32_t a[4], const uint32_t b[2],              \
                                                    const float c[4])                                                  \
    {                                                                                                                  \
        asm("mma.sync.aligned.m16n8k16.row.col.f32." NAME "." NAME ".f32 "                                             \
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"                                      \
            : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])                                                           \
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]),       \
              "f"(c[3]));                                                                                              \
    }
NN_MMA_16816(__half, "f16")
NN_MMA_16816(__nv_bfloat16, "bf16")
#undef NN_MMA_16816

static __device__ __forceinline__ unsigned nn_shared_address(const void *shared)
{
    return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

#endif

/* Four matrices of 8 x 8 from shared memory: lane l names row l % 8 (16 bytes, aligned to 16) of matrix l / 8, and gets
 * in registers[i] of matrix i row g at columns 2p and 2p + 1. */
static __device__ __forceinline__ void nn_ldmatrix_x4(uint32_t registers[4], const void *row)
{
#ifdef LLAVAMORE_CUDA_EMULATED
    cudaemu_ldmatrix_x4(registers, row);
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
                 : "r"(nn_shared_address(row))
                 : "memory");
#endif
}

/* The same of the transposed matrices: rows 2p and 2p + 1 at column g. */
static __device__ __forceinline__ void nn_ldmatrix_x4_trans(uint32_t registers[4], const void *row)
{
#ifdef LLAVAMORE_CUDA_EMULATED
    cudaemu_ldmatrix_x4_trans(registers, row);
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
                 : "r"(nn_shared_address(row))
                 : "memory");
#endif
}

/* Begins a copy of 16 bytes, both sides aligned to 16: the first `bytes` (0 to 16) from `global`, zeros for the rest.
 */
static __device__ __forceinline__ void nn_async_copy_16(void *shared, const void *global, int bytes)
{
#ifdef LLAVAMORE_CUDA_EMULATED
    cudaemu_async_copy_16(shared, global, bytes);
#else
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;"
                 :
                 : "r"(nn_shared_address(shared)), "l"(__cvta_generic_to_global(global)), "r"(bytes)
                 : "memory");
#endif
}

/* Closes a group of this thread's copies; it may be empty. */
static __device__ __forceinline__ void nn_async_commit()
{
#ifdef LLAVAMORE_CUDA_EMULATED
    cudaemu_async_commit();
#else
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/* Waits until at most the last N groups of this thread are under way; others see the copies behind a __syncthreads. */
template <int N> static __device__ __forceinline__ void nn_async_wait()
{
#ifdef LLAVAMORE_CUDA_EMULATED
    cudaemu_async_wait(N);
#else
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}

#endif
