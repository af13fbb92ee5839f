/* SPDX-License-Identifier: Apache-2.0 */
#include <cudaemu.h>

#include "wrong.h"

enum { THREADS = 128 };

static const unsigned full = 0xffffffffu;

/* ---- Addresses --------------------------------------------------------------------------------------------------- */

template <bool RIGHT> static __global__ void read_past_end(const float *x, int count, float *y)
{
    const int i = threadIdx.x;
    if (i < count)
        y[i] = 2.0f * (RIGHT ? x[i] : x[i + 1]);
}

template <bool RIGHT> static __global__ void write_past_end(const float *x, int count, float *y)
{
    const int i = threadIdx.x;
    if (i < (RIGHT ? count : count + 1))
        y[i] = 2.0f * x[min(i, count - 1)];
}

template <bool RIGHT> static __global__ void write_before(const float *x, int count, float *y)
{
    const int i = static_cast<int>(threadIdx.x) - (RIGHT ? 0 : 1);
    if (i < count)
        y[i] = 2.0f * x[max(i, 0)];
}

template <bool RIGHT> static __global__ void write_far_before(const float *x, int count, float *y)
{
    const int i = threadIdx.x;
    if (!RIGHT && i == 0)
        y[-1024] = 0.0f;
    if (i < count)
        y[i] = 2.0f * x[i];
}

template <bool RIGHT> static __global__ void read_misaligned(const float *x, int count, float *y)
{
    const int i = 4 * threadIdx.x;
    if (i + 4 <= count) {
        const float4 *four = reinterpret_cast<const float4 *>(x + i + (RIGHT ? 0 : 1));
        *reinterpret_cast<float4 *>(y + i) =
            make_float4(2.0f * four->x, 2.0f * four->y, 2.0f * four->z, 2.0f * four->w);
    }
}

/* The compiler's checks see it. */
template <bool RIGHT> static __global__ void leave_an_array(const float *x, int count, float *y)
{
    const int i = threadIdx.x;
    float pair[2] = {0.0f, 0.0f};
    if (i < count) {
        pair[RIGHT || i < 60 ? i % 2 : 2] = x[i];
        y[i] = 2.0f * (pair[0] + pair[1]);
    }
}

template <bool RIGHT> static __global__ void follow_wild_pointer(const float *x, int count, float *y)
{
    const int i = threadIdx.x;
    const float *from = RIGHT ? x : reinterpret_cast<const float *>(static_cast<uintptr_t>(4096));
    if (i < count)
        y[i] = 2.0f * from[i];
}

/* ---- Shared memory and barriers ---------------------------------------------------------------------------------- */

/* As many floats as numbers. */
template <bool RIGHT> static __global__ void write_past_shared(const float *x, int count, float *y)
{
    float *shared = static_cast<float *>(cudaemu_shared());
    const int i = threadIdx.x;
    if (i < (RIGHT ? count : count + 1))
        shared[i] = x[min(i, count - 1)];
    __syncthreads();
    if (i < count)
        y[i] = 2.0f * shared[i];
}

template <bool RIGHT> static __global__ void write_before_shared(const float *x, int count, float *y)
{
    float *shared = static_cast<float *>(cudaemu_shared());
    const int i = threadIdx.x;
    if (!RIGHT && i == 0)
        shared[-1] = 0.0f;
    if (i < count)
        shared[i] = x[i];
    __syncthreads();
    if (i < count)
        y[i] = 2.0f * shared[i];
}

/* A thread reads what one behind it wrote, in memory of either kind. */
template <bool RIGHT> static __device__ void turn_around(const float *x, int count, float *y, float *shared)
{
    const int i = threadIdx.x;
    if (i < count)
        shared[i] = x[i];
    if (RIGHT)
        __syncthreads();
    if (i < count)
        y[count - 1 - i] = 2.0f * shared[count - 1 - i];
}

template <bool RIGHT> static __global__ void forget_barrier(const float *x, int count, float *y)
{
    turn_around<RIGHT>(x, count, y, static_cast<float *>(cudaemu_shared()));
}

/* The thread before has been there, unless the order is another one. */
template <bool RIGHT> static __global__ void lean_on_order(const float *x, int count, float *y)
{
    float *shared = static_cast<float *>(cudaemu_shared());
    const int i = threadIdx.x;
    if (i < count)
        shared[i] = x[i];
    if (RIGHT)
        __syncthreads();
    if (i > 0 && i < count)
        y[i - 1] = 2.0f * shared[i - 1];
    if (i == count - 1)
        y[i] = 2.0f * shared[i];
}

/* No templates: the emulator does not know static shared memory of those (README.md). */
static __global__ void forget_barrier_static(const float *x, int count, float *y)
{
    __shared__ float shared[THREADS];
    turn_around<false>(x, count, y, shared);
}

static __global__ void keep_barrier_static(const float *x, int count, float *y)
{
    __shared__ float shared[THREADS];
    turn_around<true>(x, count, y, shared);
}

template <bool RIGHT> static __global__ void diverge(const float *x, int count, float *y)
{
    const int i = threadIdx.x;
    if (RIGHT || i % 2)
        __syncthreads();
    else
        __syncthreads();
    if (i < count)
        y[i] = 2.0f * x[i];
}

template <bool RIGHT> static __global__ void return_early(const float *x, int count, float *y)
{
    const int i = threadIdx.x;
    if (!RIGHT && i >= count)
        return;
    __syncthreads();
    if (i < count)
        y[i] = 2.0f * x[i];
}

/* ---- Warps ------------------------------------------------------------------------------------------------------- */

template <bool RIGHT> static __global__ void lack_a_lane(const float *x, int count, float *y)
{
    const int i = threadIdx.x;
    const float there = __shfl_sync(RIGHT ? full : full & ~(1u << 5), i < count ? x[i] : 0.0f, i % 32);
    if (i < count)
        y[i] = 2.0f * there;
}

template <bool RIGHT> static __global__ void read_absent_lane(const float *x, int count, float *y)
{
    const int i = threadIdx.x, lane = i % 32;
    const float here = i < count ? x[i] : 0.0f;
    float there = here;
    if (RIGHT)
        there = __shfl_xor_sync(full, __shfl_xor_sync(full, here, 16), 16);
    else if (lane < 16)
        there = __shfl_xor_sync(0xffffu, here, 16);
    if (i < count)
        y[i] = 2.0f * there;
}

template <bool RIGHT> static __global__ void leave_the_warp(const float *x, int count, float *y)
{
    const int i = threadIdx.x;
    if (!RIGHT && i >= count)
        return;
    const float there = __shfl_sync(full, i < count ? x[i] : 0.0f, i % 32);
    if (i < count)
        y[i] = 2.0f * there;
}

template <bool RIGHT> static __global__ void part_the_warp(const float *x, int count, float *y)
{
    const int i = threadIdx.x;
    unsigned together = 0;
    if (RIGHT || i % 32 < 16)
        together = __ballot_sync(full, 1);
    else
        __syncwarp();
    if (i < count)
        y[i] = together ? 2.0f * x[i] : 0.0f;
}

template <bool RIGHT> static __global__ void multiply_apart(const float *x, int count, float *y)
{
    const int i = threadIdx.x;
    const uint32_t a[4] = {0, 0, 0, 0}, b[2] = {0, 0};
    float sums[4] = {i < count ? x[i] : 0.0f, 0.0f, 0.0f, 0.0f};
    if (RIGHT || i < count)
        cudaemu_mma_16816_f16(sums, a, b, sums);
    if (i < count)
        y[i] = 2.0f * sums[0];
}

/* ---- Asynchronous copies ----------------------------------------------------------------------------------------- */

template <bool RIGHT> static __global__ void forget_wait(const float *x, int count, float *y)
{
    float *shared = static_cast<float *>(cudaemu_shared());
    const int i = threadIdx.x, begin = 4 * i;
    if (begin < count)
        cudaemu_async_copy_16(shared + begin, x + begin, 4 * min(count - begin, 4));
    cudaemu_async_commit();
    cudaemu_async_wait(RIGHT ? 0 : 1);
    __syncthreads();
    if (i < count)
        y[i] = 2.0f * shared[i];
}

/* Brings the next numbers to where others still read, which a late copy forgives. */
template <bool RIGHT> static __global__ void copy_too_soon(const float *x, int count, float *y)
{
    float *shared = static_cast<float *>(cudaemu_shared());
    const int i = threadIdx.x, begin = 4 * i;
    if (begin < count)
        cudaemu_async_copy_16(shared + begin, x + begin, 16);
    cudaemu_async_commit();
    cudaemu_async_wait(0);
    __syncthreads();
    float value = i < count ? shared[i] : 0.0f;
    if (RIGHT)
        __syncthreads();
    if (begin < count)
        cudaemu_async_copy_16(shared + begin, y + begin, 16);
    cudaemu_async_commit();
    if (!RIGHT && i < count)
        value = shared[i];
    __syncthreads();
    if (i < count)
        y[i] = 2.0f * value;
}

template <bool RIGHT> static __global__ void copy_past_end(const float *x, int count, float *y)
{
    float *shared = static_cast<float *>(cudaemu_shared());
    const int i = threadIdx.x, begin = 4 * i;
    if (begin < (RIGHT ? count : count + 4))
        cudaemu_async_copy_16(shared + begin % count, x + begin, 16);
    cudaemu_async_commit();
    cudaemu_async_wait(0);
    __syncthreads();
    if (i < count)
        y[i] = 2.0f * shared[i];
}

template <bool RIGHT> static __global__ void copy_misaligned(const float *x, int count, float *y)
{
    float *shared = static_cast<float *>(cudaemu_shared());
    const int i = threadIdx.x, begin = 4 * i;
    if (begin < count)
        cudaemu_async_copy_16(shared + begin, x + begin + (RIGHT ? 0 : 1), 16);
    cudaemu_async_commit();
    cudaemu_async_wait(0);
    __syncthreads();
    if (i < count)
        y[i] = 2.0f * shared[i];
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

#define WRONG(NAME) WRONG_PAIR(NAME, NAME<true>, NAME<false>)
#define WRONG_PAIR(NAME, GOOD, BAD)                                                                                    \
    static int launch_##NAME(void *stream, bool right, const float *x, int count, float *y)                            \
    {                                                                                                                  \
        return cudaemu_launch(right ? GOOD : BAD, 1, THREADS, sizeof(float) * static_cast<size_t>(count), stream, x,   \
                              count, y);                                                                               \
    }
WRONG(read_past_end)
WRONG(write_past_end)
WRONG(write_before)
WRONG(write_far_before)
WRONG(read_misaligned)
WRONG(leave_an_array)
WRONG(follow_wild_pointer)
WRONG(write_past_shared)
WRONG(write_before_shared)
WRONG(forget_barrier)
WRONG_PAIR(forget_barrier_static, keep_barrier_static, forget_barrier_static)
WRONG(diverge)
WRONG(return_early)
WRONG(lack_a_lane)
WRONG(read_absent_lane)
WRONG(leave_the_warp)
WRONG(part_the_warp)
WRONG(multiply_apart)
WRONG(forget_wait)
WRONG(copy_past_end)
WRONG(lean_on_order)
WRONG(copy_too_soon)
WRONG(copy_misaligned)

const wrong_kernel wrong_kernels[] = {
    {"read past the end", launch_read_past_end, 100,
     "kernel read_past_end<false>, block (0, 0, 0), thread (99, 0, 0): read offset 400 of allocation 1 "
     "(400 bytes of device 0), past its end"},
    {"read one past the end", launch_read_past_end, 99, NULL},
    {"write past the end", launch_write_past_end, 100, "thread (100, 0, 0): wrote offset 400 of allocation 2"},
    {"write one past the end", launch_write_past_end, 99,
     "kernel write_past_end<false>: somebody wrote offset 396 of allocation 2 (396 bytes of device 0), past its end"},
    {"write one before the beginning", launch_write_before, 100,
     "somebody wrote offset -4 of allocation 2 (400 bytes of device 0), before its beginning"},
    {"write before the beginning", launch_write_far_before, 100,
     "thread (0, 0, 0): wrote offset -4096 of allocation 2"},
    {"read a misaligned address", launch_read_misaligned, 100, "a misaligned"},
    {"leave an array of its own", launch_leave_an_array, 100, "thread (60, 0, 0): a misaligned address, a bad index"},
    {"follow a wild pointer", launch_follow_wild_pointer, 100, "read 0x1000, which is no device memory"},
    {"write past shared memory", launch_write_past_shared, 100,
     "thread (100, 0, 0): wrote offset 400 of its dynamic shared memory (400 bytes)"},
    {"write one past shared memory", launch_write_past_shared, 99,
     "wrote offset 396 of its dynamic shared memory (396 bytes)"},
    {"write before shared memory", launch_write_before_shared, 100,
     "somebody wrote offset -4 of its dynamic shared memory (400 bytes), before its beginning"},
    {"forget a barrier", launch_forget_barrier, 100, NULL},
    {"forget a barrier, static shared memory", launch_forget_barrier_static, 100, NULL},
    {"diverge at a barrier", launch_diverge, 100, "divergent barrier: waits at __syncthreads (wrong.cu:"},
    {"return before a barrier", launch_return_early, 100,
     "divergent barrier: 100 of 128 threads wait at __syncthreads"},
    {"call outside the mask", launch_lack_a_lane, 100, "lane 5 calls with mask 0xffffffdf, which lacks it"},
    {"read an absent lane", launch_read_absent_lane, 100, "lane 0 reads lane 16, which mask 0x0000ffff lacks"},
    {"shuffle with lanes that have returned", launch_leave_the_warp, 100,
     "with mask 0xffffffff in warp 3 waits for lane 4, which has returned"},
    {"shuffle with lanes elsewhere", launch_part_the_warp, 100, "but others of mask 0xffffffff wait at __ballot_sync"},
    {"multiply with half a warp", launch_multiply_apart, 100, "in warp 3 waits for lane 4, which has returned"},
    {"forget to wait for a copy", launch_forget_wait, 100, NULL},
    {"copy past the end", launch_copy_past_end, 100, "thread (25, 0, 0): read offset 400 of allocation 1"},
    {"copy from a misaligned address", launch_copy_misaligned, 100, "an address is no multiple of 16"},
};
const int wrong_kernel_count = sizeof wrong_kernels / sizeof *wrong_kernels;

int wrong_order(void *stream, bool right, const float *x, int count, float *y)
{
    return launch_lean_on_order(stream, right, x, count, y);
}

int wrong_copy(void *stream, bool right, const float *x, int count, float *y)
{
    return launch_copy_too_soon(stream, right, x, count, y);
}

typedef struct numbers {
    const float *x;
    int count;
    float *y;
} numbers;

static __global__ void twice(numbers n)
{
    const int i = threadIdx.x;
    if (i < n.count)
        n.y[i] = 2.0f * n.x[i];
}

int wrong_double(void *stream, const float *x, int count, float *y)
{
    const numbers n = {x, count, y};
    return cudaemu_launch(twice, 1, THREADS, 0, stream, n);
}
