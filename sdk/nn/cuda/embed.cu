/* SPDX-License-Identifier: Apache-2.0
 *
 * What the first layer reads: rows of an embedding matrix, patches of a picture.
 */
#include "launchers.h"
#include "pieces.cuh"

template <typename T>
static __global__ void __launch_bounds__(NN_THREADS)
    embed(const T *matrix, int64_t columns, int64_t stride, const int32_t *ids, int64_t count, float *rows)
{
    NN_UNROLL(1)
    for (int64_t row = nn_first_row(); row < count; row += nn_row_step()) {
        const T *from = matrix + ids[row] * stride;
        NN_UNROLL(1)
        for (int64_t i = nn_first_item(); i < columns; i += nn_item_step())
            rows[row * columns + i] = nn_widen(from[i]);
    }
}

template <typename T>
static int embed_as(void *stream, const nn_cuda_matrix *matrix, const int32_t *ids, int64_t count, float *rows)
{
    dim3 block = nn_row_block(matrix->columns);
    return nn_launch(embed<T>, nn_row_grid(block, count, matrix->columns), block, 0, stream,
                     static_cast<const T *>(matrix->data), matrix->columns, matrix->stride, ids, count, rows);
}

int nn_cuda_embed(void *stream, const nn_cuda_matrix *matrix, const int32_t *ids, int64_t count, float *rows)
{
    if (matrix->storage == NN_F16)
        return embed_as<__half>(stream, matrix, ids, count, rows);
    if (matrix->storage == NN_BF16)
        return embed_as<__nv_bfloat16>(stream, matrix, ids, count, rows);
    return embed_as<float>(stream, matrix, ids, count, rows);
}

/* A block a patch; i counts its numbers in the order they are written. */
static __global__ void __launch_bounds__(NN_THREADS)
    cut_patches(const float *pixels, int64_t height, int64_t width, int patch, float *patches)
{
    const int64_t across = width / patch, count = height / patch * across;
    const int size = 3 * patch * patch;
    NN_UNROLL(1)
    for (int64_t n = blockIdx.x; n < count; n += gridDim.x) {
        int64_t top = n / across * patch, left = n % across * patch;
        for (int i = threadIdx.x; i < size; i += NN_THREADS) {
            int line = i / patch, channel = line / patch;
            patches[n * size + i] = pixels[(channel * height + top + line % patch) * width + left + i % patch];
        }
    }
}

int nn_cuda_patches(void *stream, const float *pixels, int64_t height, int64_t width, int64_t patch, float *patches)
{
    return nn_launch(cut_patches, nn_striding_blocks(height / patch * (width / patch), 1), NN_THREADS, 0, stream,
                     pixels, height, width, static_cast<int>(patch), patches);
}
