/* SPDX-License-Identifier: Apache-2.0
 *
 * NaFlex's patches: the only encoder here whose rows of pixels run (row, column, channel), for its patches are read by
 * a linear layer.
 */
#include "cuda/device.cuh"
#include "siglip2_cuda.h"

/* One number of a patch a thread: its neighbours in a warp write side by side. */
static __global__ void cut_patches(const float *__restrict__ pixels, int64_t grid_width, int64_t patch, int64_t plane,
                                   int64_t count, float *__restrict__ patches)
{
    int64_t size = 3 * patch * patch, step = static_cast<int64_t>(gridDim.x) * blockDim.x;

    for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
        int64_t token = i / size, in = i % size;
        int64_t y = token / grid_width * patch + in / (3 * patch), x = token % grid_width * patch + in / 3 % patch;
        patches[i] = pixels[in % 3 * plane + y * grid_width * patch + x];
    }
}

int siglip2_cuda_patches(void *stream, const float *pixels, int64_t grid_width, int64_t grid_height, int64_t patch,
                         float *patches)
{
    const int64_t most = 4096;
    int64_t plane = grid_width * grid_height * patch * patch, blocks = nn_blocks(3 * plane, 256);

    return nn_launch(cut_patches, dim3(static_cast<unsigned>(blocks < most ? blocks : most)), dim3(256), 0, stream,
                     pixels, grid_width, patch, plane, 3 * plane, patches);
}
