/* SPDX-License-Identifier: Apache-2.0 */
#include "sequence.h"

#include <math.h>

enum { MOST_KEYS = 700 };

double attend_reference(const head_view *h, const float *query, int64_t first, int64_t last, double scale,
                        double softcap, double *result)
{
    double weights[MOST_KEYS], largest = -INFINITY, sum = 0.0, size = 0.0;
    for (int64_t k = first; k < last; k++) {
        double score = 0.0;
        for (int64_t i = 0; i < h->dimension; i++)
            score += (double)query[i] * (double)h->key[k * h->stride + i];
        score *= scale;
        if (softcap > 0.0)
            score = softcap * tanh(score / softcap);
        weights[k - first] = score;
        largest = fmax(largest, score);
    }
    for (int64_t k = first; k < last; k++)
        sum += weights[k - first] = exp(weights[k - first] - largest);
    for (int64_t i = 0; i < h->dimension; i++) {
        result[i] = 0.0;
        for (int64_t k = first; k < last; k++) {
            result[i] += weights[k - first] / sum * (double)h->value[k * h->stride + i];
            size = fmax(size, fabs((double)h->value[k * h->stride + i]));
        }
    }
    return size;
}

int64_t random_dimension(void)
{
    static const int64_t dimensions[] = {1, 5, 12, 16, 20, 32, 64, 72, 80, 128, 256, 257, 512};
    return dimensions[random_int(0, 12)];
}

nn_cache_config sequence_config(int64_t layers, int64_t key_value_heads, int64_t head_dimension, nn_storage storage)
{
    return (nn_cache_config){
        .layers = layers, .key_value_heads = key_value_heads, .head_dimension = head_dimension, .storage = storage};
}

/* A head's row as it comes back from a cache. */
static void round_head(nn_storage storage, float *row, int64_t dimension)
{
    for (int64_t i = 0; i < dimension && storage != NN_Q8; i++)
        row[i] = as_stored(dtype_at(storage), row[i]);
    for (int64_t first = 0; first < dimension && storage == NN_Q8; first += NN_BLOCK) {
        int64_t last = first + NN_BLOCK < dimension ? first + NN_BLOCK : dimension;
        float largest = 0.0f;
        for (int64_t i = first; i < last; i++)
            largest = fmaxf(largest, fabsf(row[i]));
        float scale = as_stored(more_f16(), largest / 127.0f), inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
        for (int64_t i = first; i < last; i++)
            row[i] = scale * fminf(fmaxf(rintf(row[i] * inverse), -127.0f), 127.0f);
    }
}

void sequence_make(sequence *s)
{
    int64_t width = s->config.key_value_heads * s->config.head_dimension;
    s->query = guarded_random(s->total * s->heads * s->config.head_dimension, 2.0f);
    s->key = guarded_random(s->total * width, 2.0f);
    s->value = guarded_random(s->total * width, 2.0f);
    for (int64_t i = 0; i < s->total * width; i += s->config.head_dimension) {
        round_head(s->config.storage, s->key + i, s->config.head_dimension);
        round_head(s->config.storage, s->value + i, s->config.head_dimension);
    }
    s->y = guarded(s->total * s->heads * s->config.head_dimension);
}

void sequence_free(sequence *s)
{
    int64_t width = s->config.key_value_heads * s->config.head_dimension;
    check_guards(s->query, s->total * s->heads * s->config.head_dimension);
    check_guards(s->key, s->total * width);
    check_guards(s->value, s->total * width);
    check_guards(s->y, s->total * s->heads * s->config.head_dimension);
}

void append(const sequence *s, nn_cache *cache, int64_t first, int64_t rows)
{
    more_error error;
    int64_t width = s->config.key_value_heads * s->config.head_dimension;
    assert_int_equal(nn_cache_reserve(cache, rows, &error), MORE_OK);
    for (int64_t layer = 0; layer < s->config.layers; layer++)
        nn_cache_write(cache, layer, rows, s->key + first * width, s->value + first * width, layer % 2 ? width : 0);
}

void attend(bench *b, const sequence *s, const nn_cache *cache, int64_t layer, int64_t first, int64_t rows, float *y)
{
    int64_t width = s->heads * s->config.head_dimension;
    nn_attention_args args = {.cache = cache, .layer = layer, .query = s->query + first * width, .rows = rows};
    args.heads = s->heads;
    args.scale = s->scale;
    args.softcap = s->softcap;
    args.y = y;
    nn_attention_causal(b->nn, &args);
}

void check_sequence(const sequence *s, int64_t layer)
{
    int64_t window = s->config.window > 0 && s->windowed[layer] ? s->config.window : 0;
    int64_t d = s->config.head_dimension, group = s->heads / s->config.key_value_heads;
    for (int64_t i = 0; i < s->total * s->heads; i++) {
        int64_t row = i / s->heads, head = i % s->heads;
        int64_t first = window > 0 && row + 1 > window ? row + 1 - window : 0;
        head_view h = {s->key + head / group * d, s->value + head / group * d, s->config.key_value_heads * d, d};
        double expected[512];
        double size =
            attend_reference(&h, s->query + i * d, first, row + 1, (double)s->scale, (double)s->softcap, expected);
        for (int64_t c = 0; c < d; c++)
            check_close("attention_causal", row, head * d + c, (double)s->y[i * d + c], expected[c],
                        3e-6 * size + 1e-30);
    }
}

void sequence_random(sequence *s, int64_t most)
{
    *s = (sequence){.config = sequence_config(random_int(1, 3), random_int(1, 3), random_dimension(),
                                              (nn_storage)random_int(NN_F32, NN_Q8))};
    s->config.window = random_int(0, 1) ? random_int(1, most) : 0;
    s->config.windowed = s->windowed;
    for (int64_t i = 0; i < s->config.layers; i++)
        s->windowed[i] = random_int(0, 1);
    s->heads = s->config.key_value_heads * random_int(1, 5);
    s->total = random_int(1, most);
    s->scale = 1.0f / sqrtf((float)s->config.head_dimension);
    s->softcap = random_int(0, 1) ? 5.0f : 0.0f;
    sequence_make(s);
}
