/* SPDX-License-Identifier: Apache-2.0
 *
 * What the kernels of attention share. Keys lie in the pages of a cache (causal) or dense beside the queries (full); a
 * kernel sees pages of NN_PAGE positions either way. The queries of a key-value head are numbered row by row, those of
 * its group of query heads side by side: query i is head i % group of the group, of row i / group.
 */
#ifndef NN_CUDA_ATTENTION_CUH
#define NN_CUDA_ATTENTION_CUH

#include "device.cuh"

/* Before a loop whose bounds are constants: arrays that it indexes stay in registers. */
#ifdef LLAVAMORE_CUDA_EMULATED
#define NN_UNROLL
#define NN_UNROLL_8
#else
#define NN_UNROLL _Pragma("unroll")
#define NN_UNROLL_8 _Pragma("unroll 8")
#endif

#define NN_LEAST (-1e30f) /* below every score; finite, so that a query which saw no key gives no NaN */

typedef struct nn_attention_job {
    const float *query; /* [batch * rows, heads, dimension], row stride `stride` */
    float *y;           /* [batch * rows, heads * dimension] */
    int64_t batch, rows, stride, heads;
    int key_value_heads, group, dimension;
    int queries; /* rows * group, of a key-value head */
    float scale, softcap;
    int window;
    bool aligned; /* rows of keys and values are whole pieces of 16 bytes, in dense ones of 32, that lie aligned */
    bool aligned_query; /* 16 bytes of it may be loaded at once */
    nn_storage storage; /* of pages, or what dense keys are rounded to */
    /* Pages, as nn_cuda_cache has them; NULL = dense: */
    void *const *pages;
    int64_t first_page, page_offset, length;
    const float *key, *value; /* as query */
    const int64_t *counts;    /* [batch], or NULL */
} nn_attention_job;

/* f32 throughout; a dense job's keys are f32 whatever its storage. attention_exact.cu */
int nn_cuda_attention_exact(void *stream, const nn_attention_job *job);

/* ---- On the host ------------------------------------------------------------------------------------------------ */

static inline bool nn_aligned_rows(const float *rows, int64_t stride)
{
    return reinterpret_cast<uintptr_t>(rows) % 16 == 0 && stride % 4 == 0;
}

static inline unsigned nn_job_blocks(const nn_attention_job *job, int queries)
{
    return static_cast<unsigned>(job->batch * job->key_value_heads) * nn_blocks(job->queries, queries);
}

/* ---- On the device ---------------------------------------------------------------------------------------------- */

/* A block's share: queries from `first` on of a key-value head of an image. */
typedef struct nn_attention_share {
    int64_t image;
    int head, first;
} nn_attention_share;

/* Of a causal job those with most keys come first; of a full one those that read the same keys follow each other. */
static __device__ inline nn_attention_share nn_share_at(const nn_attention_job &job, int64_t block, int queries)
{
    int64_t tiles = (job.queries + queries - 1) / queries, heads = job.batch * job.key_value_heads;
    int64_t tile = job.pages ? tiles - 1 - block / heads : block % tiles;
    int64_t head = job.pages ? block % heads : block / tiles;
    return {head / job.key_value_heads, static_cast<int>(head % job.key_value_heads), static_cast<int>(tile * queries)};
}

static __device__ inline bool nn_query_exists(const nn_attention_job &job, int i)
{
    return i < job.queries;
}

static __device__ inline const float *nn_query_at(const nn_attention_job &job, const nn_attention_share &share, int i)
{
    return job.query + (share.image * job.rows + i / job.group) * job.stride +
           (share.head * job.group + i % job.group) * job.dimension;
}

/* Its number among the rows of the result, [dimension] each. */
static __device__ inline int64_t nn_result_row(const nn_attention_job &job, const nn_attention_share &share, int i)
{
    return (share.image * job.rows + i / job.group) * job.heads + share.head * job.group + i % job.group;
}

/* The position behind the last that query i sees; 0 for a query that is not there. */
static __device__ inline int nn_last_seen(const nn_attention_job &job, const nn_attention_share &share, int i)
{
    if (!nn_query_exists(job, i))
        return 0;
    if (job.pages)
        return static_cast<int>(job.length + i / job.group + 1);
    int64_t count = job.counts ? job.counts[share.image] : job.rows;
    return static_cast<int>(count < 0 ? 0 : count < job.rows ? count : job.rows);
}

/* The first position that a query sees whose last is `last`. */
static __device__ inline int nn_first_seen(const nn_attention_job &job, int last)
{
    return job.window > 0 ? max(last - job.window, 0) : 0;
}

/* Positions [begin, end) are those that some of the share's `queries` see. */
static __device__ inline void nn_positions_seen(const nn_attention_job &job, const nn_attention_share &share,
                                                int queries, int *begin, int *end)
{
    int last = min(share.first + queries, job.queries) - 1;
    *begin = nn_first_seen(job, nn_last_seen(job, share, share.first));
    *end = nn_last_seen(job, share, last);
}

/* Where the rows of a page begin, which must be there; they are nn_row_stride elements apart. */
template <typename T>
static __device__ inline const T *nn_page_rows(const nn_attention_job &job, const nn_attention_share &share, int page,
                                               bool values)
{
    if (job.pages) {
        const char *at = static_cast<const char *>(job.pages[page - job.first_page]) + job.page_offset;
        return reinterpret_cast<const T *>(at) + (2 * share.head + (values ? 1 : 0)) * NN_PAGE * job.dimension;
    }
    int64_t row = share.image * job.rows + static_cast<int64_t>(page) * NN_PAGE;
    const float *at = (values ? job.value : job.key) + row * job.stride + share.head * job.dimension;
    return reinterpret_cast<const T *>(at);
}

static __device__ inline int64_t nn_row_stride(const nn_attention_job &job)
{
    return job.pages ? job.dimension : job.stride;
}

/* A score as it enters the softmax. */
static __device__ inline float nn_capped(const nn_attention_job &job, float score)
{
    return job.softcap > 0.0f ? job.softcap * tanhf(score / job.softcap) : score;
}

#endif
