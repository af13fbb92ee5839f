/* SPDX-License-Identifier: Apache-2.0
 *
 * The product of few rows. Roofline: an H100 brings 3.35 TB/s, 15 bytes (7.5 weights of 16 bits) a clock to each of 132
 * processors, and has 128 fused multiply-adds and 128 bytes of shared memory a clock there: up to 8 rows every weight
 * is worth at most 60 of the former, and x, shared by the OUTPUTS rows of W that a warp takes, 60 of the latter; memory
 * is the bound. Its latency (0.8 us) wants 20 KiB on their way to a processor: a block of eight warps always has 24 or
 * 32 KiB, and 4096 rows of W make two blocks a processor where one row is wanted. Weights come by asynchronous copies
 * into a ring in shared memory, where each thread reads what it asked for itself: in registers, the compiler
 * would have the next loads wait for the last ones.
 *
 * A lane sums columns 8l..8l+7 of every 256 (of f32: 4l.. and 128+4l..), eight at a time, and a warp adds its lanes as
 * a tree: one order for every ROWS, so that a row's bits do not depend on its neighbours.
 */
#include "linear.cuh"
#include "mma.cuh"

#include "launchers.h"

static constexpr int WARPS = 8, THREADS = 32 * WARPS;
static constexpr int GROUP = 256;    /* columns that a warp takes at once, 8 a lane */
static constexpr int X_QUADS = 1024; /* of four floats: half of x's part in shared memory */

/* Lane l's eight columns of a group are quads l and 32 + l there; this is where quad `place` of 64 begins in x. */
template <typename T> static __device__ __forceinline__ int quad_column(int place)
{
    return sizeof(T) == 2 ? place % 32 * 8 + place / 32 * 4 : place * 4;
}

/* What a block of ROWS rows of x does: PARTS times 16 bytes are eight weights, a warp takes OUTPUTS rows of W, and a
 * chunk of x is brought while the one before it is multiplied. */
template <typename T, int ROWS> struct shape {
    static constexpr int PARTS = sizeof(T) / 2, OUTPUTS = ROWS > 2 && PARTS == 1 ? 4 : 2;
    static constexpr int PITCH = X_QUADS / ROWS, CHUNK = PITCH / 64; /* quads in a row of a chunk, groups in it */
    static constexpr int PACKS = OUTPUTS * PARTS, STAGES = PACKS == 2 ? 4 : 3;
    static constexpr int BYTES = 16 * (2 * X_QUADS + STAGES * PACKS * THREADS);
    static_assert(CHUNK >= STAGES - 1, "a chunk of x comes with weights of the chunk before it");
};

/* Begins to bring a chunk of every row of x, columns from `first` on, zeros where x has no more. */
template <typename T, int ROWS>
static __device__ __forceinline__ void stage_x(const nn_cuda_linear &a, int first, bool aligned, float4 *staged)
{
    const float *x = static_cast<const float *>(a.x);
    for (int at = threadIdx.x; at < X_QUADS; at += THREADS) {
        const int64_t row = at / (X_QUADS / ROWS);
        const int place = at % (X_QUADS / ROWS);
        const int column = first + place / 64 * GROUP + quad_column<T>(place % 64);
        const int left = row < a.rows ? min(max(static_cast<int>(a.weight.columns) - column, 0), 4) : 0;
        const float *from = left ? x + row * a.x_stride + column : x;
        if (aligned)
            nn_async_copy_16(staged + at, from, left * 4);
        else
            staged[at] = make_float4(left > 0 ? from[0] : 0.0f, left > 1 ? from[1] : 0.0f, left > 2 ? from[2] : 0.0f,
                                     left > 3 ? from[3] : 0.0f);
    }
}

/* Begins to bring a lane's columns of a group in OUTPUTS rows of W; `left` from its first column to the end of a row.
 */
template <typename T, int OUTPUTS, int PARTS>
static __device__ __forceinline__ void stage_w(const T *const w[OUTPUTS], int column, int left, nn_pack<T> *slot)
{
    constexpr int EACH = 16 / sizeof(T);
#pragma unroll
    for (int i = 0; i < OUTPUTS * PARTS; i++) {
        const int part = i % PARTS * (GROUP / PARTS), there = min(max(left - part, 0), EACH);
        nn_async_copy_16(slot + i * THREADS, there ? w[i / PARTS] + column + part : w[i / PARTS],
                         there * static_cast<int>(sizeof(T)));
    }
}

template <typename T>
static __device__ __forceinline__ float dot_8(const nn_pack<T> *w, const float4 &low, const float4 &high)
{
    constexpr int EACH = 16 / sizeof(T);
    float sum = nn_widen(w[0].element[0]) * low.x;
    sum = fmaf(nn_widen(w[0].element[1]), low.y, sum);
    sum = fmaf(nn_widen(w[0].element[2]), low.z, sum);
    sum = fmaf(nn_widen(w[0].element[3]), low.w, sum);
    sum = fmaf(nn_widen(w[4 / EACH].element[4 % EACH]), high.x, sum);
    sum = fmaf(nn_widen(w[4 / EACH].element[5 % EACH]), high.y, sum);
    sum = fmaf(nn_widen(w[4 / EACH].element[6 % EACH]), high.z, sum);
    return fmaf(nn_widen(w[4 / EACH].element[7 % EACH]), high.w, sum);
}

/* A lane's part of one group. */
template <typename T, int ROWS, int OUTPUTS, int PARTS>
static __device__ __forceinline__ void multiply(const nn_pack<T> *slot, const float4 *x, float sums[OUTPUTS * ROWS])
{
    nn_pack<T> w[OUTPUTS][PARTS];
#pragma unroll
    for (int i = 0; i < OUTPUTS * PARTS; i++)
        w[i / PARTS][i % PARTS].bits = slot[i * THREADS].bits;
#pragma unroll
    for (int row = 0; row < ROWS; row++) {
        const float4 low = x[row * (X_QUADS / ROWS)], high = x[row * (X_QUADS / ROWS) + 32];
#pragma unroll
        for (int o = 0; o < OUTPUTS; o++)
            sums[o * ROWS + row] += dot_8<T>(w[o], low, high);
    }
}

/* The sum over the warp of sums[lane]. */
template <int COUNT> static __device__ __forceinline__ float add_lanes(const float sums[COUNT])
{
    const int lane = threadIdx.x % 32;
    float mine = 0.0f;
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        const float sum = nn_warp_sum(sums[i]);
        mine = lane == i ? sum : mine;
    }
    return mine;
}

template <typename T, int ROWS> static __global__ void __launch_bounds__(THREADS, 2) few_rows(nn_cuda_linear a)
{
    using of = shape<T, ROWS>;
    constexpr int OUTPUTS = of::OUTPUTS, PARTS = of::PARTS, STAGES = of::STAGES, EACH = 16 / sizeof(T);
    float4 *staged = nn_shared<float4>();
    nn_pack<T> *ring = reinterpret_cast<nn_pack<T> *>(staged + 2 * X_QUADS) + threadIdx.x;
    const int lane = threadIdx.x % 32, columns = static_cast<int>(a.weight.columns);
    const int groups = (columns + GROUP - 1) / GROUP;
    const int64_t first = (static_cast<int64_t>(blockIdx.x) * WARPS + threadIdx.x / 32) * OUTPUTS;
    const bool aligned = (reinterpret_cast<uintptr_t>(a.x) | static_cast<uintptr_t>(a.x_stride * 4)) % 16 == 0;
    const T *w[OUTPUTS];
#pragma unroll
    for (int o = 0; o < OUTPUTS; o++) {
        const int64_t output = first + o < a.weight.rows ? first + o : a.weight.rows - 1;
        w[o] = static_cast<const T *>(a.weight.data) + output * a.weight.stride + lane * EACH;
    }
    const auto fetch = [&](int group) {
        stage_w<T, OUTPUTS, PARTS>(w, group * GROUP, columns - group * GROUP - lane * EACH,
                                   ring + group % STAGES * (OUTPUTS * PARTS * THREADS));
        nn_async_commit();
    };
    stage_x<T, ROWS>(a, 0, aligned, staged);
    for (int group = 0; group < STAGES - 1; group++)
        fetch(group);
    /* The sum that this lane finishes. */
    const int64_t row = lane % ROWS, output = first + lane / ROWS;
    const bool mine = lane < OUTPUTS * ROWS && row < a.rows && output < a.weight.rows;
    const float bias = mine ? nn_bias(a, output) : 0.0f, residual = mine ? nn_residual(a, row, output) : 0.0f;

    float sums[OUTPUTS * ROWS] = {};
    for (int group = 0; group < groups; group++) {
        const int chunk = group / of::CHUNK, inside = group % of::CHUNK;
        nn_async_wait<STAGES - 2>();
        if (inside == 0) { /* weights are each thread's own, x is everybody's */
            __syncthreads();
            if (group + of::CHUNK < groups)
                stage_x<T, ROWS>(a, (group + of::CHUNK) * GROUP, aligned, staged + (chunk + 1) % 2 * X_QUADS);
        }
        fetch(group + STAGES - 1);
        multiply<T, ROWS, OUTPUTS, PARTS>(ring + group % STAGES * (OUTPUTS * PARTS * THREADS),
                                          staged + chunk % 2 * X_QUADS + inside * 64 + lane, sums);
    }
    nn_async_wait<0>();
    const float sum = add_lanes<OUTPUTS * ROWS>(sums);
    if (mine)
        nn_finish(a, row, output, sum, bias, residual);
}

template <typename T, int ROWS> static int launch_rows(void *stream, const nn_cuda_linear *a)
{
    const unsigned blocks = nn_blocks(a->weight.rows, WARPS * shape<T, ROWS>::OUTPUTS);
    return nn_launch(few_rows<T, ROWS>, dim3(blocks), dim3(THREADS), shape<T, ROWS>::BYTES, stream, *a);
}

template <typename T> static int launch(void *stream, const nn_cuda_linear *a)
{
    if (a->rows <= 1)
        return launch_rows<T, 1>(stream, a);
    if (a->rows <= 2)
        return launch_rows<T, 2>(stream, a);
    if (a->rows <= 4)
        return launch_rows<T, 4>(stream, a);
    return launch_rows<T, 8>(stream, a);
}

int nn_cuda_linear_few_rows(void *stream, const nn_cuda_linear *args)
{
    if (args->rows <= 0 || args->rows > NN_CUDA_FEW_ROWS)
        return args->rows == 0 ? 0 : NN_CUDA_BAD_VALUE;
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
