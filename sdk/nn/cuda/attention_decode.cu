/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention of few queries (flash decoding): the sequence is cut at multiples of a number of pages that follows from
 * the shape of a row alone, a block takes one part for all query heads of a key-value head, a page a warp, and the
 * parts are merged in their order. What a query saw nothing of weighs exactly 0, so that its result depends neither on
 * the device nor on how many parts and queries the call has.
 */
#include "attention_decode.cuh"
#include "attention_page.cuh"

enum { MERGE_THREADS = 128 };

/* Of all queries: parts [queries][count] as largest score and sum of exponentials, and [queries][count][dimension]. */
typedef struct part_table {
    float2 *running;
    float *weighted;
    int64_t first; /* number of the first part */
    int64_t count;
} part_table;

/* Pages of a part, and warps of its block: what fits into 70 KiB of shared memory. */
static int part_pages(const nn_attention_job *job)
{
    int bytes = job->dimension * (job->storage == NN_F32 ? 4 : 2);
    return bytes <= 256 ? 4 : bytes <= 512 ? 2 : 1;
}

static part_table find_parts(const nn_attention_job *job, void *workspace)
{
    int64_t positions = part_pages(job) * NN_PAGE, queries = job->rows * job->heads;
    part_table parts = {};
    if (job->window > 0 && job->length + 1 > job->window)
        parts.first = (job->length + 1 - job->window) / positions;
    parts.count = (job->length + job->rows + positions - 1) / positions - parts.first;
    parts.running = static_cast<float2 *>(workspace);
    parts.weighted = workspace ? reinterpret_cast<float *>(parts.running + queries * parts.count) : NULL;
    return parts;
}

size_t nn_cuda_decode_workspace(const nn_attention_job *job)
{
    size_t rows = static_cast<size_t>(job->rows * job->heads * find_parts(job, NULL).count);
    return rows * (sizeof(float2) + static_cast<size_t>(job->dimension) * sizeof(float));
}

/* ---- A part ----------------------------------------------------------------------------------------------------- */

/* Shared memory of a block: its queries, and for each warp weights and a page, in whose places the warp's results go
 * (NN_PAGE rows of keys hold those of 8 queries and more). */
template <typename T, int QUERIES> static size_t shared_bytes(int dimension, int warps)
{
    return QUERIES * nn_padded<T>(dimension) * sizeof(float) +
           warps * (NN_PAGE * QUERIES * sizeof(float) + nn_staged<T>(dimension) * sizeof(T));
}

/* The warp's page: its part of the queries' sums. */
template <typename T, int QUERIES, int PAIRS>
static __device__ void attend_page(const nn_attention_job &job, const nn_attention_share &share, int page, int rows,
                                   const float *queries, float *weights, T *keys, nn_page_state<QUERIES, PAIRS> *state)
{
    int lane = threadIdx.x % 32;
    bool beside = nn_side_by_side<T>(job.dimension);
    const T *from = nn_page_rows<T>(job, share, page, true);
    T *values = beside ? keys + NN_PAGE * nn_shared_stride<T>(job.dimension) : keys;
    if (beside)
        nn_stage_page(job, from, rows, lane, 32, values);
    nn_async_commit();
    nn_async_wait<1>();
    __syncwarp();
    nn_page_weights<T>(job, queries, keys, page * NN_PAGE + lane, lane, state, weights);
    if (!beside) {
        __syncwarp();
        nn_stage_page(job, from, rows, lane, 32, values);
        nn_async_commit();
    }
    nn_async_wait<0>();
    __syncwarp();
    nn_page_sum<T>(job, weights, values, rows, lane, state);
}

/* What `count` parts have of a query, `step` apart. */
typedef struct part_list {
    const float2 *running;
    const float *weighted;
    int64_t running_step, weighted_step, count;
} part_list;

/* By a warp, every lane of which gets it. */
static __device__ inline float largest_score(const part_list &parts)
{
    float largest = NN_LEAST;
    for (int64_t i = threadIdx.x % 32; i < parts.count; i += 32)
        largest = fmaxf(largest, parts.running[i * parts.running_step].x);
    return nn_warp_max(largest);
}

/* The sum of a channel's weighted values, and of the exponentials. */
static __device__ inline float merge(const part_list &parts, float largest, int channel, float *sum)
{
    float weighted = 0.0f;
    *sum = 0.0f;
    NN_UNROLL_8
    for (int64_t i = 0; i < parts.count; i++) {
        float2 running = parts.running[i * parts.running_step];
        float factor = expf(running.x - largest);
        *sum = fmaf(factor, running.y, *sum);
        weighted = fmaf(factor, parts.weighted[i * parts.weighted_step + channel], weighted);
    }
    return weighted;
}

/* The part of a query from those of the block's warps, to memory. */
static __device__ inline void merge_warps(const part_list &warps, int dimension, float2 *running, float *weighted)
{
    float largest = largest_score(warps), sum;
    for (int channel = threadIdx.x; channel < dimension; channel += blockDim.x) {
        weighted[channel] = merge(warps, largest, channel, &sum);
        if (channel == 0)
            *running = make_float2(largest, sum);
    }
}

template <typename T, int QUERIES, int PAIRS>
static __global__ void __launch_bounds__(128, 4) attend(nn_attention_job job, part_table parts)
{
    int warp = threadIdx.x / 32, warps = blockDim.x / 32, lane = threadIdx.x % 32, begin, end;
    int padded = nn_padded<T>(job.dimension), staged = nn_staged<T>(job.dimension);
    int64_t part = blockIdx.x % parts.count;
    int page = static_cast<int>((parts.first + part) * warps + warp);
    nn_attention_share share = nn_share_at(job, blockIdx.x / parts.count, QUERIES);
    float *queries = nn_shared<float>(), *all_weights = queries + QUERIES * padded;
    float *weights = all_weights + warp * QUERIES * NN_PAGE;
    T *all_keys = reinterpret_cast<T *>(all_weights + warps * QUERIES * NN_PAGE), *keys = all_keys + warp * staged;
    nn_page_state<QUERIES, PAIRS> state;

    nn_positions_seen(job, share, QUERIES, &begin, &end);
    int rows = (page + 1) * NN_PAGE > begin ? min(end - page * NN_PAGE, NN_PAGE) : 0;
    if (rows > 0)
        nn_stage_page(job, nn_page_rows<T>(job, share, page, false), rows, lane, 32, keys);
    nn_async_commit();
    for (int q = warp; q < QUERIES; q += warps)
        nn_stage_query<T>(job, share, share.first + q, lane, queries + q * padded);
    nn_page_begin(job, share, share.first, &state);
    __syncthreads();
    if (rows > 0)
        attend_page(job, share, page, rows, queries, weights, keys, &state);
    __syncwarp();
    for (int q = 0; q < QUERIES; q++) {
        float sum = nn_warp_sum(state.sum[q]);
        if (lane == 0)
            reinterpret_cast<float2 *>(weights)[q] = make_float2(state.maximum[q], sum);
        nn_page_store(job, state, q, 1.0f, lane, reinterpret_cast<float *>(keys) + q * job.dimension);
    }
    __syncthreads();
    for (int q = 0; q < QUERIES && nn_query_exists(job, share.first + q); q++) {
        int64_t at = nn_result_row(job, share, share.first + q) * parts.count + part;
        part_list of_warps = {reinterpret_cast<float2 *>(all_weights) + q,
                              reinterpret_cast<float *>(all_keys) + q * job.dimension, QUERIES * NN_PAGE / 2,
                              staged * static_cast<int>(sizeof(T)) / 4, warps};
        merge_warps(of_warps, job.dimension, parts.running + at, parts.weighted + at * job.dimension);
    }
}

/* ---- All of them ------------------------------------------------------------------------------------------------ */

static __global__ void __launch_bounds__(MERGE_THREADS) merge_parts(nn_attention_job job, part_table parts)
{
    int64_t row = blockIdx.x, at = row * parts.count;
    part_list of_row = {parts.running + at, parts.weighted + at * job.dimension, 1, job.dimension, parts.count};
    float largest = largest_score(of_row), sum;
    for (int channel = threadIdx.x; channel < job.dimension; channel += MERGE_THREADS) {
        float weighted = merge(of_row, largest, channel, &sum);
        job.y[row * job.dimension + channel] = sum > 0.0f ? weighted * (1.0f / sum) : 0.0f;
    }
}

template <typename T, int QUERIES, int PAIRS>
static int launch(void *stream, const nn_attention_job *job, const part_table *parts)
{
    int warps = part_pages(job);
    unsigned blocks = nn_job_blocks(job, QUERIES) * static_cast<unsigned>(parts->count);
    int error = nn_launch(attend<T, QUERIES, PAIRS>, dim3(blocks), dim3(static_cast<unsigned>(32 * warps)),
                          shared_bytes<T, QUERIES>(job->dimension, warps), stream, *job, *parts);
    return error ? error
                 : nn_launch(merge_parts, dim3(nn_blocks(job->rows * job->heads, 1)), dim3(MERGE_THREADS), 0, stream,
                             *job, *parts);
}

template <typename T, int PAIRS>
static int launch_queries(void *stream, const nn_attention_job *job, const part_table *parts)
{
    constexpr int most = PAIRS == 8 ? 4 : 8; /* that registers hold */
    if (job->queries == 1)
        return launch<T, 1, PAIRS>(stream, job, parts);
    return job->queries <= 4 ? launch<T, 4, PAIRS>(stream, job, parts) : launch<T, most, PAIRS>(stream, job, parts);
}

template <typename T> static int launch_dimension(void *stream, const nn_attention_job *job, const part_table *parts)
{
    if (job->dimension <= 64)
        return launch_queries<T, 1>(stream, job, parts);
    if (job->dimension <= 128)
        return launch_queries<T, 2>(stream, job, parts);
    return job->dimension <= 256 ? launch_queries<T, 4>(stream, job, parts) : launch_queries<T, 8>(stream, job, parts);
}

int nn_cuda_attention_decode(void *stream, const nn_attention_job *job, void *workspace)
{
    part_table parts = find_parts(job, workspace);
    if (job->storage == NN_F32)
        return launch_dimension<float>(stream, job, &parts);
    return job->storage == NN_F16 ? launch_dimension<__half>(stream, job, &parts)
                                  : launch_dimension<__nv_bfloat16>(stream, job, &parts);
}
