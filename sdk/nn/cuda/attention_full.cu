/* SPDX-License-Identifier: Apache-2.0
 *
 * Bidirectional attention of vision encoders.
 */
#include "attention_tile.cuh"
#include "launchers.h"

static nn_attention_job make_job(const nn_cuda_full *args)
{
    nn_attention_job job = {};
    job.query = args->query;
    job.y = args->y;
    job.batch = args->batch;
    job.rows = args->rows;
    job.stride = args->stride ? args->stride : args->heads * args->head_dimension;
    job.heads = args->heads;
    job.key_value_heads = static_cast<int>(args->heads);
    job.group = 1;
    job.queries = static_cast<int>(args->rows);
    job.dimension = static_cast<int>(args->head_dimension);
    job.scale = args->scale;
    job.storage = args->storage;
    job.aligned =
        job.dimension % 8 == 0 && nn_aligned_rows(args->key, job.stride) && nn_aligned_rows(args->value, job.stride);
    job.aligned_query = job.dimension % 8 == 0 && nn_aligned_rows(args->query, job.stride);
    job.key = args->key;
    job.value = args->value;
    job.counts = args->counts;
    return job;
}

template <typename E> static int launch_tiles(void *stream, const nn_attention_job *job)
{
    if (job->dimension <= 64)
        return nn_tile_launch<float, E, 64>(stream, job);
    return job->dimension <= 80 ? nn_tile_launch<float, E, 80>(stream, job)
                                : nn_tile_launch<float, E, 128>(stream, job);
}

int nn_cuda_attention_full(void *stream, const nn_cuda_full *args)
{
    nn_attention_job job = make_job(args);
    if (args->batch <= 0 || args->rows <= 0)
        return 0;
    if (args->exact || job.dimension > 128)
        return nn_cuda_attention_exact(stream, &job);
    return job.storage == NN_F16 ? launch_tiles<__half>(stream, &job) : launch_tiles<__nv_bfloat16>(stream, &job);
}
