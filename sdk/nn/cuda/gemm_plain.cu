/* SPDX-License-Identifier: Apache-2.0
 *
 * The product in f32 throughout. A block computes 64 x 64 of y, a thread 4 x 4 of them; each sum goes through the
 * columns in order, K_TILE at a time and these added up, whatever else is in the call.
 */
#include "linear.cuh"

#include "launchers.h"

static constexpr int TILE = 64, K_TILE = 16, THREADS = 256;
static constexpr int PITCH = TILE + 4; /* floats; keeps float4 aligned and writes of a column off one bank */

/* x and W as a thread sees them: four columns of one row of a tile. Rows and columns that are not there are zero. */
static __device__ __forceinline__ float4 load_x(const nn_cuda_linear &a, int64_t row, int64_t column, bool aligned)
{
    const float *x = static_cast<const float *>(a.x) + row * a.x_stride + column;
    const int64_t left = row < a.rows ? a.weight.columns - column : 0;
    if (aligned && left >= 4)
        return __ldg(reinterpret_cast<const float4 *>(x));
    return make_float4(left > 0 ? x[0] : 0.0f, left > 1 ? x[1] : 0.0f, left > 2 ? x[2] : 0.0f, left > 3 ? x[3] : 0.0f);
}

template <typename T> union four {
    uint2 bits[sizeof(T) / 2];
    T element[4];
};

template <typename T>
static __device__ __forceinline__ float4 load_w(const nn_cuda_matrix &w, int64_t row, int64_t column)
{
    four<T> e;
    if (row >= w.rows || column >= w.columns)
        return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    const uint2 *from = reinterpret_cast<const uint2 *>(static_cast<const T *>(w.data) + row * w.stride + column);
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(T) / 2); i++)
        e.bits[i] = __ldg(from + i);
    return make_float4(nn_widen(e.element[0]), nn_widen(e.element[1]), nn_widen(e.element[2]), nn_widen(e.element[3]));
}

static __device__ __forceinline__ void store_column(float *tile, float4 values)
{
    tile[0] = values.x;
    tile[PITCH] = values.y;
    tile[2 * PITCH] = values.z;
    tile[3 * PITCH] = values.w;
}

/* Adds the product of a tile of x and one of W, [K_TILE][PITCH] each from the thread's first row on. */
static __device__ __forceinline__ void multiply_tile(const float *x, const float *w, float sums[4][4])
{
    float parts[4][4] = {};
#pragma unroll
    for (int k = 0; k < K_TILE; k++) {
        const float4 a = *reinterpret_cast<const float4 *>(x + k * PITCH);
        const float4 b = *reinterpret_cast<const float4 *>(w + k * PITCH);
        const float down[4] = {a.x, a.y, a.z, a.w}, across[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
        for (int i = 0; i < 16; i++)
            parts[i / 4][i % 4] = fmaf(down[i / 4], across[i % 4], parts[i / 4][i % 4]);
    }
#pragma unroll
    for (int i = 0; i < 16; i++)
        sums[i / 4][i % 4] += parts[i / 4][i % 4];
}

template <typename T> static __global__ void __launch_bounds__(THREADS, 2) plain(nn_cuda_linear a)
{
    constexpr int FLOATS = K_TILE * PITCH; /* of a tile: two of x, two of W, later all sums */
    static_assert(4 * FLOATS >= TILE * TILE, "sums take the place of the tiles");
    __shared__ float4 shared[FLOATS];
    float *tiles = reinterpret_cast<float *>(shared);
    const unsigned tiles_across = static_cast<unsigned>((a.weight.rows + TILE - 1) / TILE);
    const int64_t first_row = static_cast<int64_t>(blockIdx.x / tiles_across) * TILE;
    const int64_t first_output = static_cast<int64_t>(blockIdx.x % tiles_across) * TILE;
    const int row = threadIdx.x / 4, part = threadIdx.x % 4 * 4, store = part * PITCH + row;
    const int down = threadIdx.x / 16 * 4, across = threadIdx.x % 16 * 4;
    const bool aligned = (reinterpret_cast<uintptr_t>(a.x) | static_cast<uintptr_t>(a.x_stride * 4)) % 16 == 0;
    float sums[4][4] = {};
    float4 x = load_x(a, first_row + row, part, aligned), w = load_w<T>(a.weight, first_output + row, part);
    int ring = 0;
    for (int64_t column = 0; column < a.weight.columns; column += K_TILE, ring ^= 2 * FLOATS) {
        float *x_tile = tiles + ring, *w_tile = x_tile + FLOATS;
        store_column(x_tile + store, x);
        store_column(w_tile + store, w);
        __syncthreads();
        x = load_x(a, first_row + row, column + K_TILE + part, aligned);
        w = load_w<T>(a.weight, first_output + row, column + K_TILE + part);
        multiply_tile(x_tile + down, w_tile + across, sums);
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 4; i++)
        *reinterpret_cast<float4 *>(tiles + nn_sum_place(down + i, across, TILE)) =
            make_float4(sums[i][0], sums[i][1], sums[i][2], sums[i][3]);
    __syncthreads();
    nn_finish_tile<TILE, TILE, THREADS>(a, first_row, first_output, tiles);
}

template <typename T> static int launch(void *stream, const nn_cuda_linear *a)
{
    return nn_launch(plain<T>, dim3(nn_blocks(a->rows, TILE) * nn_blocks(a->weight.rows, TILE)), dim3(THREADS), 0,
                     stream, *a);
}

int nn_cuda_linear_plain(void *stream, const nn_cuda_linear *args)
{
    switch (args->weight.storage) {
    case NN_F32:
        return launch<float>(stream, args);
    case NN_F16:
        return launch<__half>(stream, args);
    case NN_BF16:
        return launch<__nv_bfloat16>(stream, args);
    default:
        return NN_CUDA_BAD_VALUE;
    }
}
