/* SPDX-License-Identifier: Apache-2.0
 *
 * The layout of one layer and key-value head in a page of the cache, which attention reads as it reads a packed matrix:
 * the keys as NN_PAGE / NN_PANEL panels of [head_dimension][NN_PANEL positions], so that queries times keys is a matrix
 * product over the head dimension; and the values as panels of [NN_PAGE positions][NN_PANEL channels], so that weights
 * times values is one over positions.
 *
 * NN_Q8: the numbers are signed bytes. Before those of a panel of keys stand its scales, f16 [blocks of NN_BLOCK
 * channels][NN_PANEL positions]; before those of all values, theirs, f16 [blocks][NN_PAGE positions].
 */
#ifndef NN_CPU_PAGE_H
#define NN_CPU_PAGE_H

#include "../nn.h"

#define NN_CACHE_STORAGES 4 /* the floats and NN_Q8 */

static inline int64_t nn_padded_dimension(int64_t head_dimension)
{
    return (head_dimension + NN_PANEL - 1) / NN_PANEL * NN_PANEL;
}

/* Numbers of one head's keys or values in a page. */
static inline int64_t nn_page_keys(int64_t head_dimension)
{
    return NN_PAGE * head_dimension;
}

static inline int64_t nn_page_values(int64_t head_dimension)
{
    return NN_PAGE * nn_padded_dimension(head_dimension);
}

/* Bytes of `count` numbers, scales not counted. */
static inline int64_t nn_cached_bytes(nn_storage storage, int64_t count)
{
    return count * (storage == NN_F32 ? 4 : storage == NN_Q8 ? 1 : 2);
}

/* Bytes of the scales of `positions` keys or values. */
static inline int64_t nn_scales_bytes(nn_storage storage, int64_t head_dimension, int64_t positions)
{
    return storage == NN_Q8 ? (head_dimension + NN_BLOCK - 1) / NN_BLOCK * positions * 2 : 0;
}

static inline int64_t nn_key_panel_bytes(nn_storage storage, int64_t head_dimension)
{
    return nn_scales_bytes(storage, head_dimension, NN_PANEL) + nn_cached_bytes(storage, head_dimension * NN_PANEL);
}

/* Bytes from a head's keys to its values, and from head to head. */
static inline int64_t nn_values_at(nn_storage storage, int64_t head_dimension)
{
    return NN_PAGE / NN_PANEL * nn_key_panel_bytes(storage, head_dimension);
}

static inline int64_t nn_page_head_bytes(nn_storage storage, int64_t head_dimension)
{
    return nn_values_at(storage, head_dimension) + nn_scales_bytes(storage, head_dimension, NN_PAGE) +
           nn_cached_bytes(storage, nn_page_values(head_dimension));
}

#endif
