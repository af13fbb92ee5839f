/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing keys and values into the pages of a cache.
 */
#include "device.cuh"
#include "launchers.h"

template <typename T, int COUNT> struct alignas(COUNT * sizeof(T)) nn_few {
    T values[COUNT];
};

/* COUNT neighbours, both sides aligned to so many. */
template <typename T, int COUNT> static __device__ inline void store(const float *from, T *to)
{
    nn_few<float, COUNT> wide = *reinterpret_cast<const nn_few<float, COUNT> *>(from);
    nn_few<T, COUNT> narrow;
    for (int i = 0; i < COUNT; i++)
        narrow.values[i] = nn_narrow<T>(wide.values[i]);
    *reinterpret_cast<nn_few<T, COUNT> *>(to) = narrow;
}

/* A block has a head of a row. */
template <typename T, int COUNT>
static __global__ void __launch_bounds__(128)
    write(nn_cuda_cache cache, const float *key, const float *value, int64_t stride)
{
    int64_t row = blockIdx.x / cache.key_value_heads, head = blockIdx.x % cache.key_value_heads;
    int64_t d = cache.head_dimension, position = cache.length + row, from = row * stride + head * d;
    char *page = static_cast<char *>(cache.pages[position / NN_PAGE - cache.first_page]) + cache.page_offset;
    T *keys = reinterpret_cast<T *>(page) + head * 2 * NN_PAGE * d + position % NN_PAGE * d;
    for (int64_t i = threadIdx.x * COUNT; i < d; i += blockDim.x * COUNT) {
        store<T, COUNT>(key + from + i, keys + i);
        store<T, COUNT>(value + from + i, keys + NN_PAGE * d + i);
    }
}

template <typename T>
static int launch(void *stream, const nn_cuda_cache *cache, int64_t rows, const float *key, const float *value,
                  int64_t stride)
{
    bool aligned = cache->head_dimension % 4 == 0 && stride % 4 == 0 && reinterpret_cast<uintptr_t>(key) % 16 == 0 &&
                   reinterpret_cast<uintptr_t>(value) % 16 == 0;
    int64_t count = aligned ? 4 : 1;
    unsigned threads = 32 * nn_blocks(cache->head_dimension, 32 * count);
    dim3 grid(nn_blocks(rows * cache->key_value_heads, 1)), block(threads < 128 ? threads : 128);
    return aligned ? nn_launch(write<T, 4>, grid, block, 0, stream, *cache, key, value, stride)
                   : nn_launch(write<T, 1>, grid, block, 0, stream, *cache, key, value, stride);
}

int nn_cuda_cache_write(void *stream, const nn_cuda_cache *cache, int64_t rows, const float *key, const float *value,
                        int64_t stride)
{
    stride = stride ? stride : cache->key_value_heads * cache->head_dimension;
    if (cache->storage == NN_F32)
        return launch<float>(stream, cache, rows, key, value, stride);
    return cache->storage == NN_F16 ? launch<__half>(stream, cache, rows, key, value, stride)
                                    : launch<__nv_bfloat16>(stream, cache, rows, key, value, stride);
}
