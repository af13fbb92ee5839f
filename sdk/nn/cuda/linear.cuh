/* SPDX-License-Identifier: Apache-2.0
 *
 * What the three products share: reading weights of any float storage, and what is done to a finished sum.
 */
#ifndef NN_CUDA_LINEAR_CUH
#define NN_CUDA_LINEAR_CUH

#include "activation.cuh"
#include "device.cuh"

#define NN_CUDA_PROCESSORS 132 /* what grids are sized for: an H100's, alike on an A100 (108) and a B200 (148) */
#define NN_CUDA_BAD_VALUE 1    /* cudaErrorInvalidValue: a storage or a number of rows that a product does not have */

/* 16 bytes of memory and the elements in them. */
template <typename T> union nn_pack {
    uint4 bits;
    T element[16 / sizeof(T)];
};

/* y = activation(sum + bias) + residual; what is not there is 0. Apart, so as to be read early. */
static __device__ __forceinline__ float nn_bias(const nn_cuda_linear &a, int64_t output)
{
    return a.bias ? a.bias[output] : 0.0f;
}
static __device__ __forceinline__ float nn_residual(const nn_cuda_linear &a, int64_t row, int64_t output)
{
    return a.residual ? a.residual[row * a.y_stride + output] : 0.0f;
}
static __device__ __forceinline__ void nn_finish(const nn_cuda_linear &a, int64_t row, int64_t output, float sum,
                                                 float bias, float residual)
{
    a.y[row * a.y_stride + output] = nn_activated(a.activation, sum + bias) + residual;
}

/* Where a sum lies in a block's tile of them in shared memory, `width` to a row: a warp that writes float2 to four rows
 * meets no bank twice. */
static __device__ __forceinline__ int nn_sum_place(int row, int column, int width)
{
    return row * width + (column ^ (row % 4 * 8));
}

/* Finishes a tile of sums: a thread goes down a column, AT_ONCE of it at a time, whose residuals are on their way
 * together. */
template <int HEIGHT, int WIDTH, int THREADS>
static __device__ __forceinline__ void nn_finish_tile(const nn_cuda_linear &a, int64_t first_row, int64_t first_output,
                                                      const float *sums)
{
    constexpr int AT_ONCE = 8, APART = THREADS / WIDTH;
    const int column = threadIdx.x % WIDTH;
    const int64_t output = first_output + column;
    const int rows = static_cast<int>(a.rows - first_row < HEIGHT ? a.rows - first_row : HEIGHT);
    if (output >= a.weight.rows)
        return;
    const float bias = nn_bias(a, output);
    for (int row = threadIdx.x / WIDTH; row < rows; row += AT_ONCE * APART) {
        float residuals[AT_ONCE];
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            residuals[i] = row + i * APART < rows ? nn_residual(a, first_row + row + i * APART, output) : 0.0f;
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            if (row + i * APART < rows)
                nn_finish(a, first_row + row + i * APART, output, sums[nn_sum_place(row + i * APART, column, WIDTH)],
                          bias, residuals[i]);
    }
}

#endif
