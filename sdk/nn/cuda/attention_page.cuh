/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention in f32 by a warp: QUERIES of them over a page of keys in shared memory. For the scores a lane has a key and
 * all its channels; for the weighted sum of values it has PAIRS pairs of channels, 64 apart, and goes through all keys.
 */
#ifndef NN_CUDA_ATTENTION_PAGE_CUH
#define NN_CUDA_ATTENTION_PAGE_CUH

#include "attention.cuh"
#include "mma.cuh"

template <typename T> struct alignas(2 * sizeof(T)) nn_pair {
    T first, second;
};

/* What a lane knows of its queries. */
template <int QUERIES, int PAIRS> struct nn_page_state {
    int last[QUERIES];                  /* position behind the last seen */
    float maximum[QUERIES];             /* of the scores so far, the same in all lanes */
    float sum[QUERIES];                 /* of the exponentials of this lane's keys */
    float weighted[QUERIES][2 * PAIRS]; /* values of this lane's channels */
};

/* ---- Layout of shared memory ------------------------------------------------------------------------------------ */

/* Channels of a row in whole pieces of 16 bytes. */
template <typename T> static __host__ __device__ inline int nn_padded(int dimension)
{
    constexpr int piece = 16 / sizeof(T);
    return (dimension + piece - 1) / piece * piece;
}

/* Elements between rows: an odd number of pieces, so that the rows' same pieces lie in different banks. */
template <typename T> static __host__ __device__ inline int nn_shared_stride(int dimension)
{
    constexpr int piece = 16 / sizeof(T);
    return (nn_padded<T>(dimension) / piece | 1) * piece;
}

/* Whether there is room for keys beside values, else they follow each other in the same place. */
template <typename T> static __host__ __device__ inline bool nn_side_by_side(int dimension)
{
    return dimension * sizeof(T) <= 1024;
}

/* Elements of the page of values and of keys. */
template <typename T> static __host__ __device__ inline int nn_staged(int dimension)
{
    return (nn_side_by_side<T>(dimension) ? 2 : 1) * NN_PAGE * nn_shared_stride<T>(dimension);
}

/* ---- Into shared memory ----------------------------------------------------------------------------------------- */

/* A page's first `rows` rows by `threads` threads, of which this is number `thread`; padding is zero. Asynchronous. */
template <typename T>
static __device__ inline void nn_stage_page(const nn_attention_job &job, const T *from, int rows, int thread,
                                            int threads, T *to)
{
    constexpr int piece = 16 / sizeof(T);
    int padded = nn_padded<T>(job.dimension), stride = nn_shared_stride<T>(job.dimension), pieces = padded / piece;
    int64_t row_stride = nn_row_stride(job);
    if (!job.aligned) {
        for (int i = thread; i < rows * padded; i += threads) {
            int row = i / padded, channel = i % padded;
            to[row * stride + channel] =
                channel < job.dimension ? from[row * row_stride + channel] : nn_narrow<T>(0.0f);
        }
        return;
    }
    int row = thread / pieces, at = thread % pieces, rows_on = threads / pieces, pieces_on = threads % pieces;
    while (row < rows) {
        nn_async_copy_16(to + row * stride + at * piece, from + row * row_stride + at * piece, 16);
        row += rows_on;
        at += pieces_on;
        if (at >= pieces) {
            at -= pieces;
            row++;
        }
    }
}

/* Query i as f32 [padded] by a warp; zeros when it is not there. */
template <typename T>
static __device__ inline void nn_stage_query(const nn_attention_job &job, const nn_attention_share &share, int i,
                                             int lane, float *to)
{
    bool exists = nn_query_exists(job, i);
    const float *from = exists ? nn_query_at(job, share, i) : NULL;
    for (int channel = lane; channel < nn_padded<T>(job.dimension); channel += 32)
        to[channel] = exists && channel < job.dimension ? from[channel] : 0.0f;
}

/* ---- Scores and sums -------------------------------------------------------------------------------------------- */

/* Both sides aligned to 16 bytes where COUNT is a multiple of 4. */
template <int COUNT> static __device__ inline void nn_copy_floats(const float *from, float to[COUNT])
{
    if (COUNT % 4 == 0) {
        NN_UNROLL
        for (int i = 0; i < COUNT / 4; i++)
            reinterpret_cast<float4 *>(to)[i] = reinterpret_cast<const float4 *>(from)[i];
    } else {
        NN_UNROLL
        for (int i = 0; i < COUNT; i++)
            to[i] = from[i];
    }
}

/* The queries' products with one key. */
template <typename T, int QUERIES>
static __device__ inline void nn_score(const float *queries, const T *key, int padded, float scores[QUERIES])
{
    constexpr int piece = 16 / sizeof(T);
    for (int q = 0; q < QUERIES; q++)
        scores[q] = 0.0f;
    for (int i = 0; i < padded; i += piece) {
        T k[piece];
        uint4 loaded = *reinterpret_cast<const uint4 *>(key + i);
        memcpy(k, &loaded, sizeof loaded);
        NN_UNROLL
        for (int q = 0; q < QUERIES; q++) {
            alignas(16) float x[piece];
            nn_copy_floats<piece>(queries + q * padded + i, x);
            NN_UNROLL
            for (int e = 0; e < piece; e++)
                scores[q] = fmaf(x[e], nn_widen(k[e]), scores[q]);
        }
    }
}

template <int QUERIES, int PAIRS>
static __device__ inline void nn_page_begin(const nn_attention_job &job, const nn_attention_share &share, int first,
                                            nn_page_state<QUERIES, PAIRS> *state)
{
    NN_UNROLL
    for (int q = 0; q < QUERIES; q++) {
        state->last[q] = nn_last_seen(job, share, first + q);
        state->maximum[q] = NN_LEAST;
        state->sum[q] = 0.0f;
        NN_UNROLL
        for (int i = 0; i < 2 * PAIRS; i++)
            state->weighted[q][i] = 0.0f;
    }
}

/* The weights of the page's keys relative to the new largest scores, as weights[key][query]; what was summed before is
 * made relative to these too. The lane's key is at `position`. */
template <typename T, int QUERIES, int PAIRS>
static __device__ inline void nn_page_weights(const nn_attention_job &job, const float *queries, const T *keys,
                                              int position, int lane, nn_page_state<QUERIES, PAIRS> *state,
                                              float *weights)
{
    alignas(16) float scores[QUERIES];
    nn_score<T, QUERIES>(queries, keys + lane * nn_shared_stride<T>(job.dimension), nn_padded<T>(job.dimension),
                         scores);
    NN_UNROLL
    for (int q = 0; q < QUERIES; q++) {
        bool seen = position < state->last[q] && position >= nn_first_seen(job, state->last[q]);
        float score = nn_capped(job, scores[q] * job.scale);
        float maximum = fmaxf(state->maximum[q], nn_warp_max(seen ? score : NN_LEAST));
        float weight = seen ? expf(score - maximum) : 0.0f, before = expf(state->maximum[q] - maximum);
        scores[q] = weight;
        state->maximum[q] = maximum;
        state->sum[q] = state->sum[q] * before + weight;
        NN_UNROLL
        for (int i = 0; i < 2 * PAIRS; i++)
            state->weighted[q][i] *= before;
    }
    nn_copy_floats<QUERIES>(scores, weights + lane * QUERIES);
}

/* Adds the weighted values of the page's first `rows` rows. */
template <typename T, int QUERIES, int PAIRS>
static __device__ inline void nn_page_sum(const nn_attention_job &job, const float *weights, const T *values, int rows,
                                          int lane, nn_page_state<QUERIES, PAIRS> *state)
{
    int stride = nn_shared_stride<T>(job.dimension);
    const T *at[PAIRS]; /* channels that are not there read others in place of them */
    NN_UNROLL
    for (int i = 0; i < PAIRS; i++)
        at[i] = values + min(2 * lane + 64 * i, nn_padded<T>(job.dimension) - 2);
    for (int row = 0; row < rows; row++) {
        alignas(16) float weight[QUERIES];
        nn_copy_floats<QUERIES>(weights + row * QUERIES, weight);
        NN_UNROLL
        for (int i = 0; i < PAIRS; i++) {
            nn_pair<T> value = *reinterpret_cast<const nn_pair<T> *>(at[i] + row * stride);
            float first = nn_widen(value.first), second = nn_widen(value.second);
            NN_UNROLL
            for (int q = 0; q < QUERIES; q++) {
                state->weighted[q][2 * i] = fmaf(weight[q], first, state->weighted[q][2 * i]);
                state->weighted[q][2 * i + 1] = fmaf(weight[q], second, state->weighted[q][2 * i + 1]);
            }
        }
    }
}

/* Writes the lane's channels of query q, times `factor`. */
template <int QUERIES, int PAIRS>
static __device__ inline void nn_page_store(const nn_attention_job &job, const nn_page_state<QUERIES, PAIRS> &state,
                                            int q, float factor, int lane, float *to)
{
    NN_UNROLL
    for (int i = 0; i < 2 * PAIRS; i++) {
        int channel = 2 * lane + 64 * (i / 2) + i % 2;
        if (channel < job.dimension)
            to[channel] = state.weighted[q][i] * factor;
    }
}

#endif
