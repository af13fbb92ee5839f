/* SPDX-License-Identifier: Apache-2.0
 *
 * The key-value cache from inside. The layers fall into two groups, those that see everything and those of a sliding
 * window, each with a table of pages of its own. A page holds NN_PAGE positions of all layers of its group: for each
 * layer and key-value head, keys and values in the layout of cpu/page.h.
 */
#ifndef NN_CACHE_H
#define NN_CACHE_H

#include <stdatomic.h>

#include "internal.h"

typedef struct nn_page nn_page; /* a reference count and, MORE_ALIGNMENT bytes in, the values */

enum { NN_WHOLE, NN_WINDOWED, NN_CACHE_GROUPS };

/* The pages of one group: page i holds positions [i * NN_PAGE, (i + 1) * NN_PAGE) and stands at pages[i - first]. */
typedef struct nn_page_table {
    nn_page **pages;
    int64_t first; /* pages before it were let go */
    int64_t count, capacity;
    int64_t page_bytes; /* 0 where the group has no layer: there are no pages then */
} nn_page_table;

struct nn_cache {
    nn_context *context;
    nn_cache_config config;
    int64_t length; /* committed rows */
    nn_page_table tables[NN_CACHE_GROUPS];
    int32_t slots[]; /* [layers]: number of the layer in its group */
};

static inline int nn_cache_group(const nn_cache_config *config, int64_t layer)
{
    return config->window > 0 && (!config->windowed || config->windowed[layer]) ? NN_WINDOWED : NN_WHOLE;
}

/* The keys (values behind them) of a layer and head in page `page`, which must be there. */
static inline char *nn_page_at(const nn_cache *cache, int64_t page, int64_t layer, int64_t head)
{
    const nn_page_table *table = &cache->tables[nn_cache_group(&cache->config, layer)];
    int64_t d = cache->config.head_dimension;
    int64_t head_index = cache->slots[layer] * cache->config.key_value_heads + head;
    return (char *)table->pages[page - table->first] + MORE_ALIGNMENT +
           head_index * nn_page_head_bytes(cache->config.storage, d);
}

#endif
