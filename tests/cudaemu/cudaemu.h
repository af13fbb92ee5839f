/* SPDX-License-Identifier: Apache-2.0
 *
 * CUDA's language for sources compiled as host C++: what kernels may use of it, and how one is queued. README.md says
 * what is modelled. Everything here is a call into libcudaemu.so or a line of plain C++, without the C++ library.
 */
#ifndef CUDAEMU_H
#define CUDAEMU_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <new>
#include <tuple>
#include <type_traits>

#include "cudaemu_types.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
/* One block runs at a time. The section is what the emulator poisons before each block. */
#define __shared__ static __attribute__((section("cudaemu_static")))

/* ---- libcudaemu.so ----------------------------------------------------------------------------------------------- */

/* Where a collective operation stands in its source. */
typedef struct cudaemu_site {
    const char *operation, *file;
    int line;
} cudaemu_site;

typedef struct cudaemu_thread {
    uint3 index;
} cudaemu_thread;

typedef struct cudaemu_block {
    uint3 index;
    dim3 size, grid;
} cudaemu_block;

/* A launch as it is queued: `call` is a closure from malloc. */
typedef struct cudaemu_kernel {
    const void *function; /* only for its name */
    void (*run)(const void *call);
    void *call;
    char *shared_begin, *shared_end; /* static shared memory of the module */
    dim3 grid, block;
    size_t shared;
} cudaemu_kernel;

enum cudaemu_shuffle { CUDAEMU_INDEX, CUDAEMU_UP, CUDAEMU_DOWN, CUDAEMU_XOR };
enum cudaemu_vote { CUDAEMU_BALLOT, CUDAEMU_ANY, CUDAEMU_ALL };

extern "C" {
#pragma GCC visibility push(default)
extern cudaemu_thread *cudaemu_current;
extern cudaemu_block cudaemu_grid;

int cudaemu_queue(const cudaemu_kernel *kernel, void *stream);
/* Fails for a pointer that is not NULL and into no live device memory. */
void cudaemu_check_argument(const void *function, int number, const void *pointer);
void *cudaemu_shared(void);
void cudaemu_barrier(const cudaemu_site *site);
void cudaemu_warp_barrier(unsigned mask, const cudaemu_site *site);
uint32_t cudaemu_warp_shuffle(unsigned mask, uint32_t value, cudaemu_shuffle kind, int lane, int width,
                              const cudaemu_site *site);
unsigned cudaemu_warp_vote(unsigned mask, int predicate, cudaemu_vote kind, const cudaemu_site *site);
void cudaemu_warp_mma(float d[4], const uint32_t a[4], const uint32_t b[2], const float c[4], int bfloat16,
                      const cudaemu_site *site);
void cudaemu_warp_ldmatrix(uint32_t registers[4], const void *row, int transposed, const cudaemu_site *site);
void cudaemu_async_copy_16(void *shared, const void *global, int bytes_that_exist);
void cudaemu_async_commit(void);
void cudaemu_async_wait(int groups);
const char *cudaemu_error_text(int error);
#pragma GCC visibility pop

/* The section's bounds, from the linker; NULL in a module without static shared memory. */
extern char __start_cudaemu_static[] __attribute__((weak, visibility("hidden")));
extern char __stop_cudaemu_static[] __attribute__((weak, visibility("hidden")));
}

/* ---- Threads ----------------------------------------------------------------------------------------------------- */

#define threadIdx (cudaemu_current->index)
#define blockIdx (cudaemu_grid.index)
#define blockDim (cudaemu_grid.size)
#define gridDim (cudaemu_grid.grid)

/* The caller's place, as a default argument. */
#define CUDAEMU_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

static inline void __syncthreads(CUDAEMU_SITE)
{
    const cudaemu_site site = {"__syncthreads", file, line};
    cudaemu_barrier(&site);
}

static inline void __syncwarp(unsigned mask = 0xffffffffu, CUDAEMU_SITE)
{
    const cudaemu_site site = {"__syncwarp", file, line};
    cudaemu_warp_barrier(mask, &site);
}

static inline void __threadfence() {}

/* ---- Warps ------------------------------------------------------------------------------------------------------- */

template <typename T>
static inline T cudaemu_shuffled(unsigned mask, T value, cudaemu_shuffle kind, int lane, int width,
                                 const cudaemu_site *site)
{
    static_assert(sizeof(T) == 4, "shuffles are of 32 bits");
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits = cudaemu_warp_shuffle(mask, bits, kind, lane, width, site);
    memcpy(&value, &bits, sizeof bits);
    return value;
}

#define CUDAEMU_SHUFFLE(NAME, KIND, T, LANE)                                                                           \
    static inline T NAME(unsigned mask, T value, LANE lane, int width = 32, CUDAEMU_SITE)                              \
    {                                                                                                                  \
        const cudaemu_site site = {#NAME, file, line};                                                                 \
        return cudaemu_shuffled(mask, value, KIND, static_cast<int>(lane), width, &site);                              \
    }
#define CUDAEMU_SHUFFLES(NAME, KIND, LANE)                                                                             \
    CUDAEMU_SHUFFLE(NAME, KIND, float, LANE)                                                                           \
    CUDAEMU_SHUFFLE(NAME, KIND, int, LANE) CUDAEMU_SHUFFLE(NAME, KIND, unsigned, LANE)
CUDAEMU_SHUFFLES(__shfl_sync, CUDAEMU_INDEX, int)
CUDAEMU_SHUFFLES(__shfl_up_sync, CUDAEMU_UP, unsigned)
CUDAEMU_SHUFFLES(__shfl_down_sync, CUDAEMU_DOWN, unsigned)
CUDAEMU_SHUFFLES(__shfl_xor_sync, CUDAEMU_XOR, int)

static inline unsigned __ballot_sync(unsigned mask, int predicate, CUDAEMU_SITE)
{
    const cudaemu_site site = {"__ballot_sync", file, line};
    return cudaemu_warp_vote(mask, predicate, CUDAEMU_BALLOT, &site);
}

static inline int __any_sync(unsigned mask, int predicate, CUDAEMU_SITE)
{
    const cudaemu_site site = {"__any_sync", file, line};
    return static_cast<int>(cudaemu_warp_vote(mask, predicate, CUDAEMU_ANY, &site));
}

static inline int __all_sync(unsigned mask, int predicate, CUDAEMU_SITE)
{
    const cudaemu_site site = {"__all_sync", file, line};
    return static_cast<int>(cudaemu_warp_vote(mask, predicate, CUDAEMU_ALL, &site));
}

static inline void cudaemu_mma_16816_f16(float d[4], const uint32_t a[4], const uint32_t b[2], const float c[4],
                                         CUDAEMU_SITE)
{
    const cudaemu_site site = {"mma.m16n8k16.f16", file, line};
    cudaemu_warp_mma(d, a, b, c, 0, &site);
}

static inline void cudaemu_mma_16816_bf16(float d[4], const uint32_t a[4], const uint32_t b[2], const float c[4],
                                          CUDAEMU_SITE)
{
    const cudaemu_site site = {"mma.m16n8k16.bf16", file, line};
    cudaemu_warp_mma(d, a, b, c, 1, &site);
}

static inline void cudaemu_ldmatrix_x4(uint32_t registers[4], const void *row, CUDAEMU_SITE)
{
    const cudaemu_site site = {"ldmatrix.x4", file, line};
    cudaemu_warp_ldmatrix(registers, row, 0, &site);
}

static inline void cudaemu_ldmatrix_x4_trans(uint32_t registers[4], const void *row, CUDAEMU_SITE)
{
    const cudaemu_site site = {"ldmatrix.x4.trans", file, line};
    cudaemu_warp_ldmatrix(registers, row, 1, &site);
}

/* ---- Launching --------------------------------------------------------------------------------------------------- */

template <typename... Parameters> struct cudaemu_call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> arguments;
};

template <typename... Parameters> static void cudaemu_run(const void *call)
{
    const auto *bound = static_cast<const cudaemu_call<Parameters...> *>(call);
    std::apply(bound->kernel, bound->arguments);
}

template <typename T> static inline void cudaemu_argument(const void *, int, const T &) {}
template <typename T> static inline void cudaemu_argument(const void *function, int number, T *pointer)
{
    cudaemu_check_argument(function, number, static_cast<const void *>(pointer));
}

/* Queues kernel<<<grid, block, shared, stream>>>(arguments), which are copied; 0 or an error of the runtime. */
template <typename... Parameters>
static inline int cudaemu_launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared, void *stream,
                                 Parameters... arguments)
{
    using call = cudaemu_call<Parameters...>;
    static_assert((... && std::is_trivially_copyable<Parameters>::value), "arguments are copied as bytes");
    static_assert(sizeof(call) <= 4096, "CUDA has room for 4 KiB of arguments");
    const void *function = reinterpret_cast<const void *>(kernel);
    int number = 0;
    static_cast<void>((..., cudaemu_argument(function, ++number, arguments)));
    void *memory = malloc(sizeof(call));
    if (!memory)
        return 2;
    new (memory) call{kernel, std::tuple<Parameters...>(arguments...)};
    const cudaemu_kernel queued = {
        function, cudaemu_run<Parameters...>, memory, __start_cudaemu_static, __stop_cudaemu_static, grid, block,
        shared};
    return cudaemu_queue(&queued, stream);
}

typedef int cudaError_t;

static inline const char *cudaGetErrorString(cudaError_t error)
{
    return cudaemu_error_text(error);
}

#endif
