/* SPDX-License-Identifier: Apache-2.0
 *
 * The product of many rows on tensor cores: what runs where cuBLAS is not found. A block computes a tile of y; tiles of
 * x and W, K_TILE columns deep, come through a ring of STAGES in shared memory by asynchronous copies, STAGES - 1 of
 * them under way while one is multiplied. Both tile sizes add a sum's terms in the same order.
 */
#include "linear.cuh"
#include "mma.cuh"

#include "launchers.h"

static constexpr int K_TILE = 32, STAGES = 4;
static constexpr int BAND = 8; /* rows of tiles that run together and share the columns of W in the L2 cache */

/* Where 16 bytes (`part` of 4) of a row of a tile lie: moved about so that the eight rows of one matrix of ldmatrix,
 * and the eight parts that follow each other in a copy, meet no bank twice. */
static __device__ __forceinline__ int tile_place(int row, int part)
{
    return row * K_TILE + (part ^ (row / 2 % 4)) * 8;
}

/* What a thread copies of every tile of HEIGHT rows from `first` on: part threadIdx.x % 4 of each of these rows. Rows
 * that are not there are the last one again: their sums are nobody's. */
template <typename T, int COPIES>
static __device__ __forceinline__ void find_rows(const T *matrix, int64_t first, int64_t rows, int64_t stride,
                                                 const T *sources[COPIES])
{
#pragma unroll
    for (int i = 0; i < COPIES; i++) {
        const int64_t row = first + (i * blockDim.x + threadIdx.x) / 4;
        sources[i] = matrix + (row < rows ? row : rows - 1) * stride + threadIdx.x % 4 * 8;
    }
}

template <typename T, int COPIES, int THREADS>
static __device__ __forceinline__ void copy_tile(T *tile, const T *const sources[COPIES], int64_t column, int bytes)
{
    T *to = tile + tile_place(threadIdx.x / 4, threadIdx.x % 4);
#pragma unroll
    for (int i = 0; i < COPIES; i++)
        nn_async_copy_16(to + i * (THREADS / 4) * K_TILE, sources[i] + column, bytes);
}

/* Multiplies a warp's DOWN x ACROSS blocks of 16 x 8 by one tile of x and one of W, both at the warp's first row. */
template <typename T, int DOWN, int ACROSS>
static __device__ __forceinline__ void multiply_tile(const T *x, const T *w, float sums[DOWN][ACROSS][4])
{
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < K_TILE / 16; k++) {
        uint32_t a[DOWN][4], b[ACROSS / 2][4];
#pragma unroll
        for (int i = 0; i < DOWN; i++)
            nn_ldmatrix_x4(a[i], x + tile_place(i * 16 + lane % 16, k * 2 + lane / 16));
#pragma unroll
        for (int j = 0; j < ACROSS / 2; j++)
            nn_ldmatrix_x4(b[j], w + tile_place(j * 16 + lane / 16 * 8 + lane % 8, k * 2 + lane / 8 % 2));
#pragma unroll
        for (int i = 0; i < DOWN; i++)
#pragma unroll
            for (int j = 0; j < ACROSS; j++)
                nn_mma_16816<T>(sums[i][j], a[i], b[j / 2] + j % 2 * 2, sums[i][j]);
    }
}

/* A warp's sums into the block's tile of them. */
template <int DOWN, int ACROSS, int WIDTH>
static __device__ __forceinline__ void spread_sums(float *tile, int row, int column, const float sums[DOWN][ACROSS][4])
{
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < DOWN * ACROSS * 2; i++) {
        const int down = i / 2 / ACROSS, across = i / 2 % ACROSS, half = i % 2;
        const float *pair = sums[down][across] + half * 2;
        const int place =
            nn_sum_place(row + down * 16 + half * 8 + lane / 4, column + across * 8 + lane % 4 * 2, WIDTH);
        *reinterpret_cast<float2 *>(tile + place) = make_float2(pair[0], pair[1]);
    }
}

/* Tile `index` of y in the order of running: down a band, then to the next column of it. */
template <int HEIGHT, int WIDTH>
static __device__ __forceinline__ void find_tile(const nn_cuda_linear &a, unsigned index, int64_t *row, int64_t *output)
{
    const unsigned tiles_down = static_cast<unsigned>((a.rows + HEIGHT - 1) / HEIGHT);
    const unsigned tiles_across = static_cast<unsigned>((a.weight.rows + WIDTH - 1) / WIDTH);
    const unsigned band = index / (BAND * tiles_across) * BAND, inside = index % (BAND * tiles_across);
    const unsigned height = tiles_down - band < BAND ? tiles_down - band : BAND;
    *row = static_cast<int64_t>(band + inside % height) * HEIGHT;
    *output = static_cast<int64_t>(inside / height) * WIDTH;
}

/* A tile of HEIGHT x WIDTH by warps of 16 DOWN x 8 ACROSS. */
template <typename T, int HEIGHT, int WIDTH, int DOWN, int ACROSS>
static __global__ void __launch_bounds__(HEIGHT *WIDTH / (DOWN * ACROSS * 4), 2) many_rows(nn_cuda_linear a)
{
    constexpr int WARPS_ACROSS = WIDTH / (8 * ACROSS), THREADS = HEIGHT * WIDTH / (DOWN * ACROSS * 4);
    constexpr int X_TILE = HEIGHT * K_TILE, STAGE = X_TILE + WIDTH * K_TILE;
    constexpr int X_COPIES = HEIGHT * 4 / THREADS, W_COPIES = WIDTH * 4 / THREADS;
    static_assert(STAGES * STAGE * sizeof(T) >= HEIGHT * WIDTH * sizeof(float), "sums take the place of the ring");
    const int warp = threadIdx.x / 32, row = warp / WARPS_ACROSS * 16 * DOWN, column = warp % WARPS_ACROSS * 8 * ACROSS;
    const int columns = static_cast<int>(a.weight.columns), tiles = (columns + K_TILE - 1) / K_TILE;
    int64_t first_row, first_output;
    find_tile<HEIGHT, WIDTH>(a, blockIdx.x, &first_row, &first_output);
    const T *x[X_COPIES], *w[W_COPIES];
    find_rows<T, X_COPIES>(static_cast<const T *>(a.x), first_row, a.rows, a.x_stride, x);
    find_rows<T, W_COPIES>(static_cast<const T *>(a.weight.data), first_output, a.weight.rows, a.weight.stride, w);
    T *ring = nn_shared<T>();
    const auto fetch = [&](int tile) {
        T *stage = ring + tile % STAGES * STAGE;
        const int from = tile * K_TILE,
                  bytes = min(max(columns - from - static_cast<int>(threadIdx.x % 4) * 8, 0), 8) * 2;
        copy_tile<T, X_COPIES, THREADS>(stage, x, bytes ? from : 0, bytes);
        copy_tile<T, W_COPIES, THREADS>(stage + X_TILE, w, bytes ? from : 0, bytes);
        nn_async_commit();
    };

    float sums[DOWN][ACROSS][4] = {};
    for (int tile = 0; tile < STAGES - 1; tile++)
        fetch(tile);
    for (int tile = 0; tile < tiles; tile++) {
        nn_async_wait<STAGES - 2>();
        __syncthreads();
        fetch(tile + STAGES - 1);
        const T *stage = ring + tile % STAGES * STAGE;
        multiply_tile<T, DOWN, ACROSS>(stage + row * K_TILE, stage + X_TILE + column * K_TILE, sums);
    }
    nn_async_wait<0>();
    __syncthreads();
    float *tile = nn_shared<float>();
    spread_sums<DOWN, ACROSS, WIDTH>(tile, row, column, sums);
    __syncthreads();
    nn_finish_tile<HEIGHT, WIDTH, THREADS>(a, first_row, first_output, tile);
}

template <typename T, int HEIGHT, int WIDTH, int DOWN, int ACROSS>
static int launch_tiles(void *stream, const nn_cuda_linear *a)
{
    const unsigned tiles = nn_blocks(a->rows, HEIGHT) * nn_blocks(a->weight.rows, WIDTH);
    return nn_launch(many_rows<T, HEIGHT, WIDTH, DOWN, ACROSS>, dim3(tiles), dim3(HEIGHT * WIDTH / (DOWN * ACROSS * 4)),
                     STAGES * (HEIGHT + WIDTH) * K_TILE * sizeof(T), stream, *a);
}

/* Small tiles do more reading for their arithmetic: only where large ones leave processors idle. */
template <typename T> static int launch(void *stream, const nn_cuda_linear *a)
{
    const unsigned large = nn_blocks(a->rows, 128) * nn_blocks(a->weight.rows, 128);
    return large >= NN_CUDA_PROCESSORS * 3 / 2 ? launch_tiles<T, 128, 128, 4, 4>(stream, a)
                                               : launch_tiles<T, 64, 64, 2, 4>(stream, a);
}

int nn_cuda_linear_many_rows(void *stream, const nn_cuda_linear *args)
{
    switch (args->weight.storage) {
    case NN_F16:
        return launch<__half>(stream, args);
    case NN_BF16:
        return launch<__nv_bfloat16>(stream, args);
    default:
        return NN_CUDA_BAD_VALUE;
    }
}
