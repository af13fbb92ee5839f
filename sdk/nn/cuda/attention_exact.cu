/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention of many queries in f32: a block goes through the pages that its queries see, each warp with queries of its
 * own (Dao et al., FlashAttention, 2022).
 */
#include "attention_page.cuh"

enum { WARPS = 4 };

template <typename T, int QUERIES> static size_t shared_bytes(int dimension)
{
    return WARPS * QUERIES * (nn_padded<T>(dimension) + NN_PAGE) * sizeof(float) + nn_staged<T>(dimension) * sizeof(T);
}

template <typename T, int QUERIES, int PAIRS>
static __global__ void __launch_bounds__(32 * WARPS, 2) attend(nn_attention_job job)
{
    int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32, begin, end;
    int padded = nn_padded<T>(job.dimension);
    bool beside = nn_side_by_side<T>(job.dimension);
    nn_attention_share share = nn_share_at(job, blockIdx.x, WARPS * QUERIES);
    int first = share.first + warp * QUERIES;
    float *all = nn_shared<float>(), *queries = all + warp * QUERIES * padded;
    float *weights = all + WARPS * QUERIES * padded + warp * QUERIES * NN_PAGE;
    T *keys = reinterpret_cast<T *>(all + WARPS * QUERIES * (padded + NN_PAGE));
    T *values = beside ? keys + NN_PAGE * nn_shared_stride<T>(job.dimension) : keys;
    nn_page_state<QUERIES, PAIRS> state;

    for (int q = 0; q < QUERIES; q++)
        nn_stage_query<T>(job, share, first + q, lane, queries + q * padded);
    nn_page_begin(job, share, first, &state);
    nn_positions_seen(job, share, WARPS * QUERIES, &begin, &end);
    for (int page = begin / NN_PAGE; page * NN_PAGE < end; page++) {
        int rows = min(end - page * NN_PAGE, NN_PAGE);
        nn_stage_page(job, nn_page_rows<T>(job, share, page, false), rows, thread, 32 * WARPS, keys);
        if (beside)
            nn_stage_page(job, nn_page_rows<T>(job, share, page, true), rows, thread, 32 * WARPS, values);
        nn_async_commit();
        nn_async_wait<0>();
        __syncthreads();
        nn_page_weights<T>(job, queries, keys, page * NN_PAGE + lane, lane, &state, weights);
        if (!beside) {
            __syncthreads();
            nn_stage_page(job, nn_page_rows<T>(job, share, page, true), rows, thread, 32 * WARPS, values);
            nn_async_commit();
            nn_async_wait<0>();
            __syncthreads();
        }
        __syncwarp();
        nn_page_sum<T>(job, weights, values, rows, lane, &state);
        __syncthreads();
    }
    for (int q = 0; q < QUERIES; q++) {
        float sum = nn_warp_sum(state.sum[q]);
        if (nn_query_exists(job, first + q))
            nn_page_store(job, state, q, sum > 0.0f ? 1.0f / sum : 0.0f, lane,
                          job.y + nn_result_row(job, share, first + q) * job.dimension);
    }
}

template <typename T, int QUERIES, int PAIRS> static int launch(void *stream, const nn_attention_job *job)
{
    return nn_launch(attend<T, QUERIES, PAIRS>, dim3(nn_job_blocks(job, WARPS * QUERIES)), dim3(32 * WARPS),
                     shared_bytes<T, QUERIES>(job->dimension), stream, *job);
}

template <typename T> static int launch_dimension(void *stream, const nn_attention_job *job)
{
    if (job->dimension <= 64)
        return launch<T, 8, 1>(stream, job);
    if (job->dimension <= 128)
        return launch<T, 8, 2>(stream, job);
    return job->dimension <= 256 ? launch<T, 8, 4>(stream, job) : launch<T, 4, 8>(stream, job);
}

int nn_cuda_attention_exact(void *stream, const nn_attention_job *job)
{
    if (!job->pages || job->storage == NN_F32)
        return launch_dimension<float>(stream, job);
    return job->storage == NN_F16 ? launch_dimension<__half>(stream, job)
                                  : launch_dimension<__nv_bfloat16>(stream, job);
}
