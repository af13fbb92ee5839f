/* SPDX-License-Identifier: Apache-2.0 */
#include "profile.h"

#include "cache.h"
#include "probe.h"

void nn_profile_add(const nn_context *context, double begin, more_profile_event event)
{
    event.struct_size = MORE_STRUCT_SIZE(more_profile_event, bytes);
    event.seconds = nn_probe_clock() - begin;
    context->profile->add(context->host, &event);
}

void nn_profile_add_linear(const nn_context *context, double begin, const nn_matrix *weight, int64_t rows)
{
    nn_profile_add(
        context, begin,
        (more_profile_event){.operation = "linear",
                             .format = nn_storage_name(weight->storage),
                             .outputs = weight->rows,
                             .inputs = weight->columns,
                             .rows = rows,
                             .operations = 2.0 * (double)rows * (double)weight->rows * (double)weight->columns,
                             .bytes = (double)nn_matrix_bytes(weight->rows, weight->columns, weight->storage)});
}

/* Bytes of one position's keys and values in this layer. */
static double row_bytes(const nn_cache *cache, int64_t layer)
{
    int group = nn_cache_group(&cache->config, layer);
    int64_t layers = 0;
    for (int64_t i = 0; i < cache->config.layers; i++)
        layers += nn_cache_group(&cache->config, i) == group;
    return (double)cache->tables[group].page_bytes / (double)(layers * NN_PAGE);
}

void nn_profile_add_causal(const nn_context *context, double begin, const nn_attention_args *args)
{
    const nn_cache *cache = args->cache;
    bool windowed = nn_is_windowed(&cache->config, args->layer);
    double pairs = 0.0;
    int64_t first = windowed ? nn_max(cache->length + 1 - cache->config.window, 0) : 0;
    for (int64_t row = 0; row < args->rows; row++) {
        int64_t sees = cache->length + row + 1;
        pairs += (double)(windowed ? nn_min(sees, cache->config.window) : sees);
    }
    nn_profile_add(
        context, begin,
        (more_profile_event){.operation = "attention",
                             .rows = args->rows,
                             .operations = 4.0 * pairs * (double)args->heads * (double)cache->config.head_dimension,
                             .bytes = (double)(cache->length + args->rows - first) * row_bytes(cache, args->layer)});
}
