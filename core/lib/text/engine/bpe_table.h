/* SPDX-License-Identifier: Apache-2.0
 *
 * The two hash tables that building and using a BPE model share.
 */
#ifndef CORE_BPE_TABLE_H
#define CORE_BPE_TABLE_H

#include "text/engine/bpe.h"

#define CORE_NO_PAIR UINT64_MAX
#define CORE_JOINT_BITS 22 /* 512 KiB: a million joints leave three of four unseen neighbours recognisable */

static inline uint64_t core_merge_hash(uint64_t pair)
{
    pair *= UINT64_C(0x9E3779B97F4A7C15);
    return pair ^ pair >> 32;
}

static inline const core_merge *core_merge_find(const core_bpe *bpe, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    if (!bpe->merges)
        return NULL;
    for (uint64_t at = core_merge_hash(pair) & bpe->merge_mask;; at = (at + 1) & bpe->merge_mask) {
        if (bpe->merges[at].pair == pair)
            return &bpe->merges[at];
        if (bpe->merges[at].pair == CORE_NO_PAIR)
            return NULL;
    }
}

static inline uint64_t core_joint_hash(uint32_t last, uint32_t first)
{
    return ((uint64_t)last << 32 | first) * UINT64_C(0x9E3779B97F4A7C15) >> (64 - CORE_JOINT_BITS);
}

static inline void core_joint_add(uint64_t *joints, uint32_t last, uint32_t first)
{
    uint64_t bit = core_joint_hash(last, first);
    joints[bit >> 6] |= UINT64_C(1) << (bit & 63);
}

/* False: no merge ever joins a token that ends in `last` to one that begins with `first`. */
static inline bool core_joint_may(const uint64_t *joints, uint32_t last, uint32_t first)
{
    uint64_t bit = core_joint_hash(last, first);
    return joints[bit >> 6] >> (bit & 63) & 1;
}

#endif
