/* SPDX-License-Identifier: Apache-2.0
 *
 * Causal attention over a cache.
 */
#include "attention_decode.cuh"
#include "attention_tile.cuh"
#include "launchers.h"

enum { DECODE_QUERIES = 32 }; /* of a key-value head, that blocks sharing the sequence take better */

static nn_attention_job make_job(const nn_cuda_causal *args)
{
    const nn_cuda_cache *cache = &args->cache;
    nn_attention_job job = {};
    job.query = args->query;
    job.y = args->y;
    job.batch = 1;
    job.rows = args->rows;
    job.stride = args->stride ? args->stride : args->heads * cache->head_dimension;
    job.heads = args->heads;
    job.key_value_heads = static_cast<int>(cache->key_value_heads);
    job.group = static_cast<int>(args->heads / cache->key_value_heads);
    job.queries = static_cast<int>(args->rows * job.group);
    job.dimension = static_cast<int>(cache->head_dimension);
    job.scale = args->scale;
    job.softcap = args->softcap;
    job.window = args->window < cache->length + args->rows ? static_cast<int>(args->window) : 0;
    job.storage = cache->storage;
    job.aligned = job.dimension % (cache->storage == NN_F32 ? 4 : 8) == 0;
    job.aligned_query = job.dimension % 8 == 0 && nn_aligned_rows(args->query, job.stride);
    job.pages = cache->pages;
    job.first_page = cache->first_page;
    job.page_offset = cache->page_offset;
    job.length = cache->length;
    return job;
}

static bool few_queries(const nn_attention_job *job)
{
    return job->rows == 1 || job->queries <= DECODE_QUERIES;
}

template <typename E> static int launch_tiles(void *stream, const nn_attention_job *job)
{
    if (job->dimension <= 64)
        return nn_tile_launch<E, E, 64>(stream, job);
    if (job->dimension <= 80)
        return nn_tile_launch<E, E, 80>(stream, job);
    if (job->dimension <= 96)
        return nn_tile_launch<E, E, 96>(stream, job);
    return job->dimension <= 128 ? nn_tile_launch<E, E, 128>(stream, job) : nn_tile_launch<E, E, 256>(stream, job);
}

size_t nn_cuda_causal_workspace(const nn_cuda_causal *args)
{
    nn_attention_job job = make_job(args);
    return few_queries(&job) ? nn_cuda_decode_workspace(&job) : 0;
}

int nn_cuda_attention_causal(void *stream, const nn_cuda_causal *args)
{
    nn_attention_job job = make_job(args);
    if (args->rows <= 0)
        return 0;
    if (few_queries(&job))
        return nn_cuda_attention_decode(stream, &job, args->workspace);
    if (args->exact || job.storage == NN_F32 || !job.aligned || job.dimension > 256)
        return nn_cuda_attention_exact(stream, &job);
    return job.storage == NN_F16 ? launch_tiles<__half>(stream, &job) : launch_tiles<__nv_bfloat16>(stream, &job);
}
