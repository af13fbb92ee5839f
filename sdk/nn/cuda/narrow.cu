/* SPDX-License-Identifier: Apache-2.0
 *
 * Before and behind a product of 16-bit numbers: rounding what goes in, finishing what comes out.
 */
#include <string.h>

#include "activation.cuh"
#include "launchers.h"
#include "pieces.cuh"

enum { WIDE = 8 /* 16-bit numbers that a thread stores at once, 16 bytes */ };

template <typename T> static __device__ inline float largest_finite();
template <> __device__ inline float largest_finite<__half>()
{
    return 65504.0f;
}
template <> __device__ inline float largest_finite<__nv_bfloat16>()
{
    return 3.38953139e38f;
}

/* NaN stays NaN. */
template <typename T> static __device__ inline T saturated(float value)
{
    const float most = largest_finite<T>();
    return nn_narrow<T>(value > most ? most : value < -most ? -most : value);
}

/* N as for nn_load; `left` numbers exist, the rest are 0. */
template <int N> static __device__ inline void load_wide(float values[WIDE], const float *from, int64_t left)
{
    for (int k = 0; k < WIDE; k += N)
        if (k < left)
            nn_load<N>(values + k, from + k);
        else
            for (int j = 0; j < N; j++)
                values[k + j] = 0.0f;
}

template <typename T, int N>
static __global__ void __launch_bounds__(NN_THREADS)
    narrow(const float *x, int64_t rows, int64_t columns, int64_t x_stride, T *y, int64_t y_stride)
{
    NN_UNROLL(1)
    for (int64_t row = nn_first_row(); row < rows; row += nn_row_step()) {
        NN_UNROLL(1)
        for (int64_t i = WIDE * nn_first_item(); i < y_stride; i += WIDE * nn_item_step()) {
            float values[WIDE];
            T rounded[WIDE];
            uint4 packed;
            load_wide<N>(values, x + row * x_stride + i, columns - i);
            for (int k = 0; k < WIDE; k++)
                rounded[k] = saturated<T>(values[k]);
            memcpy(&packed, rounded, sizeof packed);
            *reinterpret_cast<uint4 *>(y + row * y_stride + i) = packed;
        }
    }
}

template <typename T>
static int narrow_to(void *stream, const float *x, int64_t rows, int64_t columns, int64_t x_stride, T *y,
                     int64_t y_stride)
{
    int64_t items = y_stride / WIDE;
    dim3 block = nn_row_block(items);
    return nn_launch(nn_by_four(columns | x_stride, x) ? narrow<T, 4> : narrow<T, 1>, nn_row_grid(block, rows, items),
                     block, 0, stream, x, rows, columns, x_stride, y, y_stride);
}

int nn_cuda_narrow(void *stream, const float *x, int64_t rows, int64_t columns, int64_t x_stride, nn_storage storage,
                   void *y, int64_t y_stride)
{
    int64_t stride = x_stride ? x_stride : columns;
    if (storage == NN_F16)
        return narrow_to(stream, x, rows, columns, stride, static_cast<__half *>(y), y_stride);
    return narrow_to(stream, x, rows, columns, stride, static_cast<__nv_bfloat16 *>(y), y_stride);
}

typedef struct finish_shape {
    int64_t rows, columns, x_stride, y_stride;
} finish_shape;

template <int N>
static __global__ void __launch_bounds__(NN_THREADS) finish(const float *x, finish_shape shape, const float *bias,
                                                            nn_activation activation, const float *residual, float *y)
{
    NN_UNROLL(1)
    for (int64_t row = nn_first_row(); row < shape.rows; row += nn_row_step()) {
        NN_UNROLL(1)
        for (int64_t i = N * nn_first_item(); i < shape.columns; i += N * nn_item_step()) {
            float a[N], shift[N] = {}, rest[N] = {};
            nn_load<N>(a, x + row * shape.x_stride + i);
            if (bias)
                nn_load<N>(shift, bias + i);
            if (residual)
                nn_load<N>(rest, residual + row * shape.y_stride + i);
            for (int k = 0; k < N; k++)
                a[k] = nn_activated(activation, a[k] + shift[k]) + rest[k];
            nn_store<N>(y + row * shape.y_stride + i, a);
        }
    }
}

int nn_cuda_finish(void *stream, const float *x, int64_t rows, int64_t columns, int64_t x_stride, const float *bias,
                   nn_activation activation, const float *residual, float *y, int64_t y_stride)
{
    finish_shape shape = {rows, columns, x_stride ? x_stride : columns, y_stride ? y_stride : columns};
    bool four = nn_by_four(columns | shape.x_stride | shape.y_stride, x, bias, residual, y);
    int64_t items = four ? columns / 4 : columns;
    dim3 block = nn_row_block(items);
    return nn_launch(four ? finish<4> : finish<1>, nn_row_grid(block, rows, items), block, 0, stream, x, shape, bias,
                     activation, residual, y);
}
