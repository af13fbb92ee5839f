/* SPDX-License-Identifier: Apache-2.0
 *
 * What kernels of elements and rows share: numbers taken four at once where they lie so, and how the threads are laid
 * over them.
 */
#ifndef NN_CUDA_PIECES_CUH
#define NN_CUDA_PIECES_CUH

#include "device.cuh"

enum { NN_THREADS = 256, NN_MOST_BLOCKS = 4096 /* enough for any device; each then strides over the rest */ };

/* Before a loop: how many rounds to lay side by side; 1 where code would only grow. */
#ifdef LLAVAMORE_CUDA_EMULATED
#define NN_UNROLL(rounds)
#else
#define NN_PRAGMA(text) _Pragma(#text)
#define NN_UNROLL(rounds) NN_PRAGMA(unroll rounds)
#endif

/* True where 16 bytes may be moved at once: `lengths`, the or of widths and strides, and all addresses allow it. */
template <typename... Pointers> static inline bool nn_by_four(int64_t lengths, Pointers... pointers)
{
    return lengths % 4 == 0 && (... | reinterpret_cast<uintptr_t>(pointers)) % 16 == 0;
}

/* N is 4 or 1. */
template <int N> static __device__ inline void nn_load(float values[N], const float *from)
{
    if constexpr (N == 4) {
        float4 four = *reinterpret_cast<const float4 *>(from);
        values[0] = four.x;
        values[1] = four.y;
        values[2] = four.z;
        values[3] = four.w;
    } else {
        values[0] = *from;
    }
}
template <int N> static __device__ inline void nn_store(float *to, const float values[N])
{
    if constexpr (N == 4)
        *reinterpret_cast<float4 *>(to) = make_float4(values[0], values[1], values[2], values[3]);
    else
        *to = values[0];
}

static inline unsigned nn_striding_blocks(int64_t items, int64_t each)
{
    int64_t most = NN_MOST_BLOCKS * each;
    return nn_blocks(items < most ? items : most, each);
}

/* Elements in a row: each thread begins at nn_first<N>() and goes on by nn_step<N>(). */
static inline dim3 nn_flat_grid(int64_t items)
{
    return dim3(nn_striding_blocks(items, NN_THREADS));
}
template <int N> static __device__ inline int64_t nn_first()
{
    return N * (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x);
}
template <int N> static __device__ inline int64_t nn_step()
{
    return N * static_cast<int64_t>(gridDim.x) * blockDim.x;
}

/* Rows of `items`: a block has lanes along x for the items of a row and rows along y. Rows go by nn_first_row() and
 * nn_row_step(), items by nn_first_item() and nn_item_step(). */
static inline dim3 nn_row_block(int64_t items)
{
    unsigned lanes = 32;
    while (lanes < NN_THREADS && lanes < items)
        lanes *= 2;
    return dim3(lanes, NN_THREADS / lanes);
}
static inline dim3 nn_row_grid(dim3 block, int64_t rows, int64_t items)
{
    return dim3(nn_striding_blocks(rows, block.y), nn_striding_blocks(items, block.x));
}
static __device__ inline int64_t nn_first_row()
{
    return static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
}
static __device__ inline int64_t nn_row_step()
{
    return static_cast<int64_t>(gridDim.x) * blockDim.y;
}
static __device__ inline int64_t nn_first_item()
{
    return static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
}
static __device__ inline int64_t nn_item_step()
{
    return static_cast<int64_t>(gridDim.y) * blockDim.x;
}

#endif
