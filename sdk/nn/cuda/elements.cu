/* SPDX-License-Identifier: Apache-2.0
 *
 * Activations and element-wise operators. N numbers at once, see pieces.cuh; where y may be x, each thread has read
 * what it writes.
 */
#include "activation.cuh"
#include "launchers.h"
#include "pieces.cuh"

template <int N>
static __global__ void __launch_bounds__(NN_THREADS)
    activate(nn_activation activation, const float *x, int64_t count, float *y)
{
    NN_UNROLL(1)
    for (int64_t i = nn_first<N>(); i < count; i += nn_step<N>()) {
        float a[N];
        nn_load<N>(a, x + i);
        for (int k = 0; k < N; k++)
            a[k] = nn_activated(activation, a[k]);
        nn_store<N>(y + i, a);
    }
}

int nn_cuda_activate(void *stream, nn_activation activation, const float *x, int64_t count, float *y)
{
    bool four = nn_by_four(count, x, y);
    return nn_launch(four ? activate<4> : activate<1>, nn_flat_grid(four ? count / 4 : count), NN_THREADS, 0, stream,
                     activation, x, count, y);
}

template <int N> static __global__ void __launch_bounds__(NN_THREADS) add(const float *x, int64_t count, float *y)
{
    NN_UNROLL(1)
    for (int64_t i = nn_first<N>(); i < count; i += nn_step<N>()) {
        float a[N], sum[N];
        nn_load<N>(a, x + i);
        nn_load<N>(sum, y + i);
        for (int k = 0; k < N; k++)
            sum[k] += a[k];
        nn_store<N>(y + i, sum);
    }
}

int nn_cuda_add(void *stream, const float *x, int64_t count, float *y)
{
    bool four = nn_by_four(count, x, y);
    return nn_launch(four ? add<4> : add<1>, nn_flat_grid(four ? count / 4 : count), NN_THREADS, 0, stream, x, count,
                     y);
}

template <int N> static __global__ void __launch_bounds__(NN_THREADS) scale(float factor, int64_t count, float *y)
{
    NN_UNROLL(1)
    for (int64_t i = nn_first<N>(); i < count; i += nn_step<N>()) {
        float a[N];
        nn_load<N>(a, y + i);
        for (int k = 0; k < N; k++)
            a[k] *= factor;
        nn_store<N>(y + i, a);
    }
}

int nn_cuda_scale(void *stream, float factor, int64_t count, float *y)
{
    bool four = nn_by_four(count, y);
    return nn_launch(four ? scale<4> : scale<1>, nn_flat_grid(four ? count / 4 : count), NN_THREADS, 0, stream, factor,
                     count, y);
}

template <int N> static __global__ void __launch_bounds__(NN_THREADS) softcap(float cap, int64_t count, float *y)
{
    NN_UNROLL(1)
    for (int64_t i = nn_first<N>(); i < count; i += nn_step<N>()) {
        float a[N];
        nn_load<N>(a, y + i);
        for (int k = 0; k < N; k++)
            a[k] = cap * tanhf(a[k] / cap);
        nn_store<N>(y + i, a);
    }
}

int nn_cuda_softcap(void *stream, float cap, int64_t count, float *y)
{
    bool four = nn_by_four(count, y);
    return nn_launch(four ? softcap<4> : softcap<1>, nn_flat_grid(four ? count / 4 : count), NN_THREADS, 0, stream, cap,
                     count, y);
}

template <int N>
static __global__ void __launch_bounds__(NN_THREADS)
    glu(nn_activation activation, const float *x, int64_t rows, int64_t width, float *y)
{
    NN_UNROLL(1)
    for (int64_t row = nn_first_row(); row < rows; row += nn_row_step()) {
        NN_UNROLL(1)
        for (int64_t i = N * nn_first_item(); i < width; i += N * nn_item_step()) {
            float gate[N], up[N];
            nn_load<N>(gate, x + 2 * row * width + i);
            nn_load<N>(up, x + (2 * row + 1) * width + i);
            for (int k = 0; k < N; k++)
                up[k] *= nn_activated(activation, gate[k]);
            nn_store<N>(y + row * width + i, up);
        }
    }
}

int nn_cuda_glu(void *stream, nn_activation activation, const float *x, int64_t rows, int64_t width, float *y)
{
    bool four = nn_by_four(width, x, y);
    int64_t items = four ? width / 4 : width;
    dim3 block = nn_row_block(items);
    return nn_launch(four ? glu<4> : glu<1>, nn_row_grid(block, rows, items), block, 0, stream, activation, x, rows,
                     width, y);
}

template <int N>
static __global__ void __launch_bounds__(NN_THREADS)
    add_scaled(const float *x, const float *factors, int64_t rows, int64_t width, float *y)
{
    NN_UNROLL(1)
    for (int64_t row = nn_first_row(); row < rows; row += nn_row_step()) {
        NN_UNROLL(1)
        for (int64_t i = N * nn_first_item(); i < width; i += N * nn_item_step()) {
            float a[N], factor[N], sum[N];
            nn_load<N>(a, x + row * width + i);
            nn_load<N>(factor, factors + i);
            nn_load<N>(sum, y + row * width + i);
            for (int k = 0; k < N; k++)
                sum[k] += factor[k] * a[k];
            nn_store<N>(y + row * width + i, sum);
        }
    }
}

int nn_cuda_add_scaled(void *stream, const float *x, const float *scale, int64_t rows, int64_t width, float *y)
{
    bool four = nn_by_four(width, x, scale, y);
    int64_t items = four ? width / 4 : width;
    dim3 block = nn_row_block(items);
    return nn_launch(four ? add_scaled<4> : add_scaled<1>, nn_row_grid(block, rows, items), block, 0, stream, x, scale,
                     rows, width, y);
}
