/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention of many queries by tensor cores, after Dao, FlashAttention-2, 2023. A block has TILE_QUERIES queries, 16 a
 * warp, and goes through the keys a tile at a time: while scores are made the tile's values arrive, and while these are
 * summed the next tile's keys do. E, of 16 bits, is what is multiplied; scores and sums are f32. Scaled queries, dense
 * keys and values, and the weights (relative to the largest so far) are rounded to E.
 *
 * A lane has of scores and sums what nn_mma_16816 gives it: rows g and g + 8, columns 2p and 2p + 1 of every 8.
 */
#ifndef NN_CUDA_ATTENTION_TILE_CUH
#define NN_CUDA_ATTENTION_TILE_CUH

#include "attention.cuh"
#include "mma.cuh"

enum { TILE_QUERIES = 64, TILE_THREADS = TILE_QUERIES / 16 * 32 };

/* Shapes of a tile of `D` channels, a multiple of 16. */
template <int D> struct nn_tile_shape {
    static constexpr int keys = D > 128 ? 32 : 64;
    static constexpr int stride = D + 8;  /* of rows in shared memory: the same 16 bytes of 8 rows in different banks */
    static constexpr bool held = D < 128; /* queries stay in registers */
    static constexpr size_t bytes = (TILE_QUERIES + 2 * keys) * stride * 2;
};

/* ---- Rounding --------------------------------------------------------------------------------------------------- */

template <typename Pair> static __device__ __forceinline__ uint32_t nn_bits(Pair pair)
{
    uint32_t bits;
    memcpy(&bits, &pair, sizeof bits);
    return bits;
}

/* Two numbers in a register, the first in the lower half. */
template <typename E> static __device__ __forceinline__ uint32_t nn_round_pair(float first, float second);
template <> __device__ __forceinline__ uint32_t nn_round_pair<__half>(float first, float second)
{
    return nn_bits(__floats2half2_rn(first, second));
}
template <> __device__ __forceinline__ uint32_t nn_round_pair<__nv_bfloat16>(float first, float second)
{
    return nn_bits(__floats2bfloat162_rn(first, second));
}

/* The first `count` of 8 numbers, zeros for the rest. */
static __device__ __forceinline__ void nn_load_eight(const float *from, int count, bool aligned, float x[8])
{
    if (aligned && count >= 8) {
        reinterpret_cast<float4 *>(x)[0] = reinterpret_cast<const float4 *>(from)[0];
        reinterpret_cast<float4 *>(x)[1] = reinterpret_cast<const float4 *>(from)[1];
        return;
    }
    NN_UNROLL
    for (int i = 0; i < 8; i++)
        x[i] = i < count ? from[i] : 0.0f;
}

template <typename E> static __device__ __forceinline__ uint4 nn_round_eight(const float x[8], float factor)
{
    return make_uint4(nn_round_pair<E>(x[0] * factor, x[1] * factor), nn_round_pair<E>(x[2] * factor, x[3] * factor),
                      nn_round_pair<E>(x[4] * factor, x[5] * factor), nn_round_pair<E>(x[6] * factor, x[7] * factor));
}

/* 2^x, 0 for -infinity. */
static __device__ __forceinline__ float nn_exp2(float x)
{
#ifdef LLAVAMORE_CUDA_EMULATED
    return exp2f(x);
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

/* ---- Into shared memory ----------------------------------------------------------------------------------------- */

/* 16 bytes of a row in shared memory. */
template <typename E> static __device__ __forceinline__ uint4 *nn_piece(E *row, int channel)
{
    return reinterpret_cast<uint4 *>(row + channel);
}

template <typename E, int D>
static __device__ void nn_tile_queries(const nn_attention_job &job, const nn_attention_share &share, E *to)
{
    for (int i = threadIdx.x; i < TILE_QUERIES * D / 8; i += TILE_THREADS) {
        int row = i / (D / 8), channel = i % (D / 8) * 8;
        bool exists = nn_query_exists(job, share.first + row);
        const float *from = nn_query_at(job, share, exists ? share.first + row : share.first) + channel;
        alignas(16) float x[8];
        nn_load_eight(from, exists ? job.dimension - channel : 0, job.aligned_query, x);
        *nn_piece(to + row * nn_tile_shape<D>::stride, channel) = nn_round_eight<E>(x, job.scale);
    }
}

/* Keys or values from `position` on, zeros from `end` on and in pages before the one of `begin`. Of a cache they come
 * asynchronously. */
template <typename E, int D>
static __device__ void nn_tile_keys(const nn_attention_job &job, const nn_attention_share &share, int position,
                                    int begin, int end, bool values, const E *, E *to)
{
    constexpr int keys = nn_tile_shape<D>::keys, pages = keys / NN_PAGE;
    const E *rows[pages];
    NN_UNROLL
    for (int i = 0; i < pages; i++) {
        int page = position / NN_PAGE + i;
        bool there = page >= begin / NN_PAGE && page * NN_PAGE < end;
        rows[i] = there ? nn_page_rows<E>(job, share, page, values) : NULL;
    }
    NN_UNROLL
    for (int i = threadIdx.x; i < keys * D / 8; i += TILE_THREADS) {
        int row = i / (D / 8), channel = i % (D / 8) * 8;
        const E *page = row < NN_PAGE ? rows[0] : rows[pages - 1];
        uint4 *at = nn_piece(to + row * nn_tile_shape<D>::stride, channel);
        if (page && position + row < end && channel < job.dimension)
            nn_async_copy_16(at, page + row % NN_PAGE * job.dimension + channel, 16);
        else
            *at = make_uint4(0, 0, 0, 0);
    }
    nn_async_commit();
}

/* Any alignment, one piece after the other. */
template <typename E, int D>
static __device__ void nn_tile_odd_keys(const nn_attention_job &job, const float *rows, int count, E *to)
{
    for (int i = threadIdx.x; i < nn_tile_shape<D>::keys * D / 8; i += TILE_THREADS) {
        int row = i / (D / 8), channel = i % (D / 8) * 8;
        const float *from = rows + (row < count ? row * job.stride + channel : 0);
        alignas(16) float x[8];
        nn_load_eight(from, row < count ? job.dimension - channel : 0, false, x);
        *nn_piece(to + row * nn_tile_shape<D>::stride, channel) = nn_round_eight<E>(x, 1.0f);
    }
}

/* Dense keys, a few pieces asked for at once. Those that are not there are others: their weights, or the channels of
 * the queries, are 0. */
template <typename E, int D>
static __device__ void nn_tile_keys(const nn_attention_job &job, const nn_attention_share &share, int position, int,
                                    int end, bool values, const float *, E *to)
{
    constexpr int pieces = nn_tile_shape<D>::keys * D / 8 / TILE_THREADS, few = D > 64 ? 3 : 4;
    const float *rows = nn_page_rows<float>(job, share, position / NN_PAGE, values);
    if (!job.aligned) {
        nn_tile_odd_keys<E, D>(job, rows, end - position, to);
        return;
    }
    NN_UNROLL
    for (int first = 0; first < pieces; first += few) {
        alignas(16) float x[few][8];
        NN_UNROLL
        for (int i = first; i < min(first + few, pieces); i++) {
            int piece = threadIdx.x + i * TILE_THREADS, row = piece / (D / 8), channel = piece % (D / 8) * 8;
            const float *from = rows + min(row, end - position - 1) * job.stride + min(channel, job.dimension - 8);
            reinterpret_cast<float4 *>(x[i - first])[0] = reinterpret_cast<const float4 *>(from)[0];
            reinterpret_cast<float4 *>(x[i - first])[1] = reinterpret_cast<const float4 *>(from)[1];
        }
        NN_UNROLL
        for (int i = first; i < min(first + few, pieces); i++) {
            int piece = threadIdx.x + i * TILE_THREADS, row = piece / (D / 8), channel = piece % (D / 8) * 8;
            *nn_piece(to + row * nn_tile_shape<D>::stride, channel) = nn_round_eight<E>(x[i - first], 1.0f);
        }
    }
}

/* ---- A warp's 16 queries over a tile ---------------------------------------------------------------------------- */

/* Two rows of a lane; index 0 is row g, 1 row g + 8. */
template <int D> struct nn_tile_state {
    int last[2];
    float maximum[2]; /* the same in the lanes of a row */
    float sum[2];     /* of this lane's exponentials */
    float weighted[D / 8][4];
};

template <typename E, int D>
static __device__ __forceinline__ void nn_tile_query(const E *queries, int step, uint32_t a[4])
{
    int lane = threadIdx.x % 32;
    nn_ldmatrix_x4(a, queries + lane % 16 * nn_tile_shape<D>::stride + step * 16 + lane / 16 * 8);
}

/* scores[n]: keys 8n to 8n + 7. `held` are the queries' registers where they are held. */
template <typename E, int D, int KEYS>
static __device__ __forceinline__ void nn_tile_scores(const uint32_t (*held)[4], const E *queries, const E *keys,
                                                      float scores[KEYS / 8][4])
{
    int lane = threadIdx.x % 32;
    keys += (lane % 8 + lane / 16 * 8) * nn_tile_shape<D>::stride + lane / 8 % 2 * 8;
    NN_UNROLL
    for (int n = 0; n < KEYS / 8; n++)
        scores[n][0] = scores[n][1] = scores[n][2] = scores[n][3] = 0.0f;
    NN_UNROLL
    for (int step = 0; step < D / 16; step++) {
        uint32_t a[4];
        if (!nn_tile_shape<D>::held)
            nn_tile_query<E, D>(queries, step, a);
        NN_UNROLL
        for (int n = 0; n < KEYS / 8; n += 2) {
            uint32_t b[4];
            nn_ldmatrix_x4(b, keys + n * 8 * nn_tile_shape<D>::stride + step * 16);
            nn_mma_16816<E>(scores[n], nn_tile_shape<D>::held ? held[step] : a, b, scores[n]);
            nn_mma_16816<E>(scores[n + 1], nn_tile_shape<D>::held ? held[step] : a, b + 2, scores[n + 1]);
        }
    }
}

/* Caps scores, and makes those of keys at `position` on that a row does not see -infinity. */
template <int D, int KEYS>
static __device__ __forceinline__ void nn_tile_mask(const nn_attention_job &job, const nn_tile_state<D> &state,
                                                    int position, bool all_seen, float scores[KEYS / 8][4])
{
    if (job.softcap > 0.0f) {
        NN_UNROLL
        for (int n = 0; n < KEYS / 8; n++)
            for (int i = 0; i < 4; i++)
                scores[n][i] = nn_capped(job, scores[n][i]);
    }
    if (all_seen)
        return;
    int first[2] = {nn_first_seen(job, state.last[0]), nn_first_seen(job, state.last[1])};
    position += threadIdx.x % 4 * 2;
    NN_UNROLL
    for (int n = 0; n < KEYS / 8; n++)
        NN_UNROLL
    for (int i = 0; i < 4; i++) {
        int at = position + n * 8 + i % 2;
        if (at < first[i / 2] || at >= state.last[i / 2])
            scores[n][i] = -INFINITY;
    }
}

/* Scores become weights relative to the new largest score, as does what was summed before. */
template <int D, int KEYS>
static __device__ __forceinline__ void nn_tile_weights(nn_tile_state<D> *state, float scores[KEYS / 8][4])
{
    const float log2_e = 1.44269504f;
    NN_UNROLL
    for (int r = 0; r < 2; r++) {
        float maximum = state->maximum[r];
        NN_UNROLL
        for (int n = 0; n < KEYS / 8; n++)
            maximum = fmaxf(maximum, fmaxf(scores[n][2 * r], scores[n][2 * r + 1]));
        maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 1));
        maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 2));
        float before = nn_exp2((state->maximum[r] - maximum) * log2_e), offset = -maximum * log2_e;
        state->maximum[r] = maximum;
        state->sum[r] *= before;
        NN_UNROLL
        for (int n = 0; n < KEYS / 8; n++) {
            scores[n][2 * r] = nn_exp2(fmaf(scores[n][2 * r], log2_e, offset));
            scores[n][2 * r + 1] = nn_exp2(fmaf(scores[n][2 * r + 1], log2_e, offset));
            state->sum[r] += scores[n][2 * r] + scores[n][2 * r + 1];
        }
        NN_UNROLL
        for (int n = 0; n < D / 8; n++) {
            state->weighted[n][2 * r] *= before;
            state->weighted[n][2 * r + 1] *= before;
        }
    }
}

/* What a lane has of two results of a product is what it needs as the left factor of the next. */
template <typename E, int D, int KEYS>
static __device__ __forceinline__ void nn_tile_sum(const float weights[KEYS / 8][4], const E *values,
                                                   nn_tile_state<D> *state)
{
    int lane = threadIdx.x % 32;
    values += lane % 16 * nn_tile_shape<D>::stride + lane / 16 * 8;
    NN_UNROLL
    for (int step = 0; step < KEYS / 16; step++) {
        const float(*w)[4] = weights + 2 * step;
        uint32_t a[4] = {nn_round_pair<E>(w[0][0], w[0][1]), nn_round_pair<E>(w[0][2], w[0][3]),
                         nn_round_pair<E>(w[1][0], w[1][1]), nn_round_pair<E>(w[1][2], w[1][3])};
        NN_UNROLL
        for (int n = 0; n < D / 8; n += 2) {
            uint32_t b[4];
            nn_ldmatrix_x4_trans(b, values + step * 16 * nn_tile_shape<D>::stride + n * 8);
            nn_mma_16816<E>(state->weighted[n], a, b, state->weighted[n]);
            nn_mma_16816<E>(state->weighted[n + 1], a, b + 2, state->weighted[n + 1]);
        }
    }
}

/* Row r of the lane, query i, divided by its sum; zeros when it saw no key. */
template <int D>
static __device__ __forceinline__ void nn_tile_store(const nn_attention_job &job, const nn_attention_share &share,
                                                     int i, int r, const nn_tile_state<D> &state)
{
    float sum = state.sum[r];
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    if (!nn_query_exists(job, i))
        return;
    float factor = sum > 0.0f ? 1.0f / sum : 0.0f, *y = job.y + nn_result_row(job, share, i) * job.dimension;
    NN_UNROLL
    for (int n = 0; n < D / 8; n++)
        for (int e = 0; e < 2; e++) {
            int channel = n * 8 + threadIdx.x % 4 * 2 + e;
            if (channel < job.dimension)
                y[channel] = state.weighted[n][2 * r + e] * factor;
        }
}

/* ---- The kernel ------------------------------------------------------------------------------------------------- */

/* In = E: keys of a cache; In = float: dense ones. */
template <typename In, typename E, int D>
static __global__ void __launch_bounds__(TILE_THREADS, D <= 128 ? 3 : 1) nn_tile_attend(nn_attention_job job)
{
    constexpr int KEYS = nn_tile_shape<D>::keys, stride = nn_tile_shape<D>::stride;
    constexpr bool held = nn_tile_shape<D>::held;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, begin, end;
    E *queries = nn_shared<E>(), *keys = queries + TILE_QUERIES * stride, *values = keys + KEYS * stride;
    nn_attention_share share = nn_share_at(job, blockIdx.x, TILE_QUERIES);
    int row = share.first + warp * 16 + lane / 4;
    nn_tile_state<D> state = {
        {nn_last_seen(job, share, row), nn_last_seen(job, share, row + 8)}, {NN_LEAST, NN_LEAST}, {}, {}};
    uint32_t held_queries[held ? D / 16 : 1][4];
    const In *kind = NULL;

    nn_positions_seen(job, share, TILE_QUERIES, &begin, &end);
    int last_begin = nn_first_seen(job, end), first_end = nn_last_seen(job, share, share.first);
    int position = begin / KEYS * KEYS;
    if (position < end)
        nn_tile_keys<E, D>(job, share, position, begin, end, false, kind, keys);
    nn_tile_queries<E, D>(job, share, queries);
    queries += warp * 16 * stride;
    if (held) {
        __syncthreads();
        NN_UNROLL
        for (int step = 0; step < D / 16; step++)
            nn_tile_query<E, D>(queries, step, held_queries[step]);
    }
    for (; position < end; position += KEYS) {
        float scores[KEYS / 8][4];
        nn_async_wait<0>();
        __syncthreads();
        nn_tile_keys<E, D>(job, share, position, begin, end, true, kind, values);
        nn_tile_scores<E, D, KEYS>(held_queries, queries, keys, scores);
        nn_tile_mask<D, KEYS>(job, state, position, position >= last_begin && position + KEYS <= first_end, scores);
        nn_tile_weights<D, KEYS>(&state, scores);
        nn_async_wait<0>();
        __syncthreads();
        if (position + KEYS < end)
            nn_tile_keys<E, D>(job, share, position + KEYS, begin, end, false, kind, keys);
        nn_tile_sum<E, D, KEYS>(scores, values, &state);
    }
    nn_tile_store(job, share, row, 0, state);
    nn_tile_store(job, share, row + 8, 1, state);
}

template <typename In, typename E, int D> static int nn_tile_launch(void *stream, const nn_attention_job *job)
{
    return nn_launch(nn_tile_attend<In, E, D>, dim3(nn_job_blocks(job, TILE_QUERIES)), dim3(TILE_THREADS),
                     nn_tile_shape<D>::bytes, stream, *job);
}

#endif
