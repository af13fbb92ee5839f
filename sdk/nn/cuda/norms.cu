/* SPDX-License-Identifier: Apache-2.0
 *
 * Row-wise operators: norms and softmax. A row has a warp, or a block where it is wide, that goes over it several
 * times: after the first the row lies in L1, and each thread comes back to its own numbers, so that y may be x.
 */
#include <math.h>

#include "launchers.h"
#include "pieces.cuh"

enum { MOST_LANES = 1024 };

/* A warp a row and eight rows a block, or as many warps a row as leave a thread up to two items. */
static dim3 reducing_block(int64_t items)
{
    unsigned lanes = 32;
    while (lanes < MOST_LANES && 2 * lanes < items)
        lanes *= 2;
    return dim3(lanes, lanes == 32 ? 8 : 1);
}

/* One number of each warp of the block. */
static __device__ inline float *warp_results()
{
    __shared__ float results[MOST_LANES / 32];
    return results;
}

/* warp_reduce over all lanes of a row, for each of them; `nothing` changes no result. */
template <float warp_reduce(float)> static __device__ inline float row_reduce(float value, float nothing)
{
    float *results = warp_results();
    value = warp_reduce(value);
    if (blockDim.x == 32)
        return value;
    __syncthreads(); /* the last reduction's were read */
    if (threadIdx.x % 32 == 0)
        results[threadIdx.x / 32] = value;
    __syncthreads();
    return warp_reduce(threadIdx.x % 32 < blockDim.x / 32 ? results[threadIdx.x % 32] : nothing);
}

template <int N> static __device__ inline float row_sum(const float *x, int64_t width)
{
    float sum = 0.0f;
    NN_UNROLL(2)
    for (int64_t i = N * threadIdx.x; i < width; i += N * blockDim.x) {
        float a[N];
        nn_load<N>(a, x + i);
        for (int k = 0; k < N; k++)
            sum += a[k];
    }
    return row_reduce<nn_warp_sum>(sum, 0.0f);
}

/* Sum of (x - center)^2. */
template <int N> static __device__ inline float row_squares(const float *x, int64_t width, float center)
{
    float sum = 0.0f;
    NN_UNROLL(2)
    for (int64_t i = N * threadIdx.x; i < width; i += N * blockDim.x) {
        float a[N];
        nn_load<N>(a, x + i);
        for (int k = 0; k < N; k++)
            sum = fmaf(a[k] - center, a[k] - center, sum);
    }
    return row_reduce<nn_warp_sum>(sum, 0.0f);
}

/* As numbers that may be absent: all `otherwise` then. */
template <int N> static __device__ inline void load_or(float values[N], const float *from, int64_t i, float otherwise)
{
    if (from)
        nn_load<N>(values, from + i);
    else
        for (int k = 0; k < N; k++)
            values[k] = otherwise;
}

template <int N>
static __global__ void __launch_bounds__(MOST_LANES)
    layer_norm(const float *x, int64_t rows, int64_t width, const float *weight, const float *bias, float epsilon,
               float *y)
{
    NN_UNROLL(1)
    for (int64_t row = nn_first_row(); row < rows; row += nn_row_step()) {
        const float *from = x + row * width;
        float mean = row_sum<N>(from, width) / static_cast<float>(width);
        float factor = 1.0f / sqrtf(row_squares<N>(from, width, mean) / static_cast<float>(width) + epsilon);
        NN_UNROLL(2)
        for (int64_t i = N * threadIdx.x; i < width; i += N * blockDim.x) {
            float a[N], scale[N], shift[N];
            nn_load<N>(a, from + i);
            load_or<N>(scale, weight, i, 1.0f);
            load_or<N>(shift, bias, i, 0.0f);
            for (int k = 0; k < N; k++)
                a[k] = fmaf((a[k] - mean) * factor, scale[k], shift[k]);
            nn_store<N>(y + row * width + i, a);
        }
    }
}

int nn_cuda_layer_norm(void *stream, const float *x, int64_t rows, int64_t width, const float *weight,
                       const float *bias, float epsilon, float *y)
{
    bool four = nn_by_four(width, x, weight, bias, y);
    dim3 block = reducing_block(four ? width / 4 : width);
    return nn_launch(four ? layer_norm<4> : layer_norm<1>, nn_row_grid(block, rows, 1), block, 0, stream, x, rows,
                     width, weight, bias, epsilon, y);
}

template <int N>
static __global__ void __launch_bounds__(MOST_LANES)
    rms_norm(const float *x, int64_t rows, int64_t width, const float *weight, float offset, float epsilon, float *y)
{
    NN_UNROLL(1)
    for (int64_t row = nn_first_row(); row < rows; row += nn_row_step()) {
        const float *from = x + row * width;
        float factor = 1.0f / sqrtf(row_squares<N>(from, width, 0.0f) / static_cast<float>(width) + epsilon);
        NN_UNROLL(2)
        for (int64_t i = N * threadIdx.x; i < width; i += N * blockDim.x) {
            float a[N], scale[N];
            nn_load<N>(a, from + i);
            nn_load<N>(scale, weight + i);
            for (int k = 0; k < N; k++)
                a[k] = a[k] * factor * (offset + scale[k]);
            nn_store<N>(y + row * width + i, a);
        }
    }
}

int nn_cuda_rms_norm(void *stream, const float *x, int64_t rows, int64_t width, const float *weight, float offset,
                     float epsilon, float *y)
{
    bool four = nn_by_four(width, x, weight, y);
    dim3 block = reducing_block(four ? width / 4 : width);
    return nn_launch(four ? rms_norm<4> : rms_norm<1>, nn_row_grid(block, rows, 1), block, 0, stream, x, rows, width,
                     weight, offset, epsilon, y);
}

template <int N> static __device__ inline float row_max(const float *x, int64_t width)
{
    float largest = -INFINITY;
    NN_UNROLL(2)
    for (int64_t i = N * threadIdx.x; i < width; i += N * blockDim.x) {
        float a[N];
        nn_load<N>(a, x + i);
        for (int k = 0; k < N; k++)
            largest = fmaxf(largest, a[k]);
    }
    return row_reduce<nn_warp_max>(largest, -INFINITY);
}

/* x = exp(x - largest), and the sum of it. */
template <int N> static __device__ inline float row_exp(float *x, int64_t width, float largest)
{
    float sum = 0.0f;
    NN_UNROLL(2)
    for (int64_t i = N * threadIdx.x; i < width; i += N * blockDim.x) {
        float a[N];
        nn_load<N>(a, x + i);
        for (int k = 0; k < N; k++)
            sum += a[k] = expf(a[k] - largest);
        nn_store<N>(x + i, a);
    }
    return row_reduce<nn_warp_sum>(sum, 0.0f);
}

template <int N> static __global__ void __launch_bounds__(MOST_LANES) softmax(float *x, int64_t rows, int64_t width)
{
    NN_UNROLL(1)
    for (int64_t row = nn_first_row(); row < rows; row += nn_row_step()) {
        float *at = x + row * width;
        float factor = 1.0f / row_exp<N>(at, width, row_max<N>(at, width));
        NN_UNROLL(2)
        for (int64_t i = N * threadIdx.x; i < width; i += N * blockDim.x) {
            float a[N];
            nn_load<N>(a, at + i);
            for (int k = 0; k < N; k++)
                a[k] *= factor;
            nn_store<N>(at + i, a);
        }
    }
}

int nn_cuda_softmax(void *stream, float *x, int64_t rows, int64_t width)
{
    bool four = nn_by_four(width, x);
    dim3 block = reducing_block(four ? width / 4 : width);
    return nn_launch(four ? softmax<4> : softmax<1>, nn_row_grid(block, rows, 1), block, 0, stream, x, rows, width);
}
