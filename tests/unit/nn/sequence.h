/* SPDX-License-Identifier: Apache-2.0
 *
 * A random sequence for the tests of the cache and of causal attention: its rows go into a cache, come out as
 * attention, and are compared with double precision.
 */
#ifndef TEST_NN_SEQUENCE_H
#define TEST_NN_SEQUENCE_H

#include "support.h"

/* Keys and values of one head, as the reference walks them. */
typedef struct head_view {
    const float *key, *value;
    int64_t stride, dimension;
} head_view;

/* Softmax of one query over keys [first, last) in double; also the largest magnitude of what was summed. */
double attend_reference(const head_view *h, const float *query, int64_t first, int64_t last, double scale,
                        double softcap, double *result);
/* A head dimension of those that kernels treat differently. */
int64_t random_dimension(void);

/* A sequence of `total` rows; keys and values hold what the cache's storage keeps. */
typedef struct sequence {
    nn_cache_config config;
    bool windowed[8]; /* where config points to */
    int64_t heads, total;
    float *query, *key, *value, *y;
    float scale, softcap;
} sequence;

/* Without windows. */
nn_cache_config sequence_config(int64_t layers, int64_t key_value_heads, int64_t head_dimension, nn_storage storage);
/* Fills in the values; config, heads and total are set. */
void sequence_make(sequence *s);
/* Of up to `most` rows, every other one with windows on random layers. */
void sequence_random(sequence *s, int64_t most);
void sequence_free(sequence *s);
/* Appends rows [first, first + rows) to every layer, not committed. */
void append(const sequence *s, nn_cache *cache, int64_t first, int64_t rows);
/* Attention of rows [first, first + rows), which were just appended. */
void attend(bench *b, const sequence *s, const nn_cache *cache, int64_t layer, int64_t first, int64_t rows, float *y);
/* Compares s->y, attention of the whole sequence in `layer`, with double precision. */
void check_sequence(const sequence *s, int64_t layer);

#endif
