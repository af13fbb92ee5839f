/* SPDX-License-Identifier: Apache-2.0
 *
 * Rotary position embedding. Angles are formed in f32 as on the host, and reach so far that only sincosf, which reduces
 * them fully, tells their sines.
 */
#include "launchers.h"
#include "pieces.cuh"

/* One layout of threads for every row: pairs along x, heads along y. */
typedef struct rotary_shape {
    int64_t rows, stride, heads, head_dimension, pairs;
} rotary_shape;

static __global__ void __launch_bounds__(NN_THREADS)
    rotary(float *x, rotary_shape shape, const float *frequencies, const int64_t *positions, float attention_factor)
{
    NN_UNROLL(1)
    for (int64_t row = blockIdx.x; row < shape.rows; row += gridDim.x) {
        NN_UNROLL(1)
        for (int64_t i = threadIdx.x; i < shape.pairs; i += blockDim.x) {
            float sine, cosine;
            sincosf(static_cast<float>(positions[row]) * frequencies[i], &sine, &cosine);
            sine *= attention_factor;
            cosine *= attention_factor;
            int64_t head = static_cast<int64_t>(blockIdx.y) * blockDim.y + threadIdx.y;
            for (; head < shape.heads; head += static_cast<int64_t>(gridDim.y) * blockDim.y) {
                float *at = x + row * shape.stride + head * shape.head_dimension + i;
                float first = at[0], second = at[shape.pairs];
                at[0] = fmaf(first, cosine, -(second * sine));
                at[shape.pairs] = fmaf(second, cosine, first * sine);
            }
        }
    }
}

int nn_cuda_rotary(void *stream, float *x, int64_t rows, int64_t x_stride, int64_t heads, int64_t head_dimension,
                   int64_t dimensions, const float *frequencies, const int64_t *positions, float attention_factor)
{
    rotary_shape shape = {rows, x_stride ? x_stride : heads * head_dimension, heads, head_dimension, dimensions / 2};
    dim3 block = nn_row_block(shape.pairs);
    dim3 grid(nn_striding_blocks(rows, 1), nn_striding_blocks(heads, block.y));
    return nn_launch(rotary, grid, block, 0, stream, x, shape, frequencies, positions, attention_factor);
}
