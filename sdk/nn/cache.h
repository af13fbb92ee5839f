/* SPDX-License-Identifier: Apache-2.0
 *
 * The key-value cache from inside. The layers fall into groups, in each place those that see everything and those of a
 * sliding window, each with a table of pages of its own. A page holds NN_PAGE positions of all layers of its group: for
 * each layer and key-value head, keys and values in the layout of cpu/page.h, or of nn_cuda_cache on a device.
 */
#ifndef NN_CACHE_H
#define NN_CACHE_H

#include <stdatomic.h>

#include "internal.h"

typedef struct nn_page {
    _Atomic int32_t references;
    char *values; /* where operators work */
} nn_page;

enum { NN_WHOLE, NN_WINDOWED, NN_CACHE_KINDS, NN_CACHE_GROUPS = NN_PLACES * NN_CACHE_KINDS };

/* The pages of one group: page i holds positions [i * NN_PAGE, (i + 1) * NN_PAGE) and stands at pages[i - first]. */
typedef struct nn_page_table {
    nn_context *context; /* whose memory they lie in */
    nn_page **pages;
    int64_t first; /* pages before it were let go */
    int64_t count, capacity;
    int64_t page_bytes; /* of values; 0 where the group has no layer: there are no pages then */
    void **placed;      /* on a device: the values of each page, in its memory, as of the last reserve */
    int64_t placed_capacity;
    bool stale; /* pages are not what `placed` says */
} nn_page_table;

struct nn_cache {
    nn_cache_config config;
    int64_t length; /* committed rows */
    nn_page_table tables[NN_CACHE_GROUPS];
    int32_t slots[]; /* [layers]: number of the layer in its group */
};

static inline bool nn_is_windowed(const nn_cache_config *config, int64_t layer)
{
    return config->window > 0 && (!config->windowed || config->windowed[layer]);
}

static inline int nn_cache_group(const nn_cache_config *config, int64_t layer)
{
    int place = config->layer_places ? (int)config->layer_places[layer] : 0;
    return place * NN_CACHE_KINDS + (nn_is_windowed(config, layer) ? NN_WINDOWED : NN_WHOLE);
}

static inline const nn_page_table *nn_cache_table(const nn_cache *cache, int64_t layer)
{
    return &cache->tables[nn_cache_group(&cache->config, layer)];
}

/* Bytes of one head of one layer in a page on the host, or on a device. */
static inline int64_t nn_cache_head_bytes(const nn_cache_config *config, bool on_host)
{
    return on_host ? nn_page_head_bytes(config->storage, config->head_dimension)
                   : 2 * nn_cached_bytes(config->storage, nn_page_keys(config->head_dimension));
}

/* The keys (values behind them) of a layer and head in page `page`, which must be there, on the host. */
static inline char *nn_page_at(const nn_cache *cache, int64_t page, int64_t layer, int64_t head)
{
    const nn_page_table *table = nn_cache_table(cache, layer);
    int64_t head_index = cache->slots[layer] * cache->config.key_value_heads + head;
    return table->pages[page - table->first]->values + head_index * nn_cache_head_bytes(&cache->config, true);
}

#endif
