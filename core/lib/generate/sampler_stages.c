/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/sampler_stages.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static more_status out_of_memory(more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "sampler: out of memory");
}

static float largest_logit(const more_candidates *c)
{
    float largest = -INFINITY;
    for (int64_t i = 0; i < c->count; i++)
        largest = c->logits[i] > largest ? c->logits[i] : largest;
    return largest;
}

/* Softmax of `count` logits, each probability rounded to float as torch has it. */
static void softmax(const float *logits, int64_t count, float largest, float *probabilities)
{
    double total = 0;
    for (int64_t i = 0; i < count; i++) {
        probabilities[i] = expf(logits[i] - largest);
        total += (double)probabilities[i];
    }
    for (int64_t i = 0; i < count; i++)
        probabilities[i] = (float)((double)probabilities[i] / total);
}

/* Keeps candidates with a logit of at least `least`. */
static void keep_from(more_candidates *c, float least)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < c->count; i++) {
        if (!(c->logits[i] >= least))
            continue;
        c->ids[kept] = c->ids[i];
        c->logits[kept++] = c->logits[i];
    }
    c->count = kept;
}

static int by_id(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

more_status core_stage_repetition_penalty(more_candidates *c, more_error *error, double penalty)
{
    if (!(penalty > 0))
        return more_fail(error, MORE_ERROR_ARGUMENT, "repetition_penalty: %g must be above 0; 1 changes nothing",
                         penalty);
    if (penalty == 1 || c->history_count <= 0)
        return MORE_OK;
    size_t count = (size_t)c->history_count;
    int32_t *seen = malloc(count * sizeof *seen);
    if (!seen)
        return out_of_memory(error);
    memcpy(seen, c->history, count * sizeof *seen);
    qsort(seen, count, sizeof *seen, by_id);
    for (int64_t i = 0; i < c->count; i++) {
        if (!bsearch(&c->ids[i], seen, count, sizeof *seen, by_id))
            continue;
        c->logits[i] = c->logits[i] < 0 ? c->logits[i] * (float)penalty : c->logits[i] / (float)penalty;
    }
    free(seen);
    return MORE_OK;
}

more_status core_stage_temperature(more_candidates *c, more_error *error, double temperature)
{
    if (!(temperature > 0))
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "temperature: %g must be above 0; for greedy answers set "
                         "[generate] temperature = 0 and leave the stage out",
                         temperature);
    for (int64_t i = 0; i < c->count; i++)
        c->logits[i] /= (float)temperature;
    return MORE_OK;
}

/* Smallest of the `k` largest values, with a heap of these, least first. */
static float kth_largest(const float *values, int64_t count, int64_t k, float *heap)
{
    int64_t size = 0;
    for (int64_t i = 0; i < count; i++) {
        float value = values[i];
        int64_t at, child;
        if (size < k) {
            for (at = size++; at && heap[(at - 1) / 2] > value; at = (at - 1) / 2)
                heap[at] = heap[(at - 1) / 2];
            heap[at] = value;
            continue;
        }
        if (!(value > heap[0]))
            continue;
        for (at = 0; (child = 2 * at + 1) < k; at = child) {
            child += child + 1 < k && heap[child + 1] < heap[child];
            if (heap[child] >= value)
                break;
            heap[at] = heap[child];
        }
        heap[at] = value;
    }
    return heap[0];
}

more_status core_stage_top_k(more_candidates *c, more_error *error, int64_t k)
{
    if (k < 1)
        return more_fail(error, MORE_ERROR_ARGUMENT, "top_k: %lld must be at least 1; leave the stage out to keep all",
                         (long long)k);
    if (k >= c->count)
        return MORE_OK;
    float *heap = malloc((size_t)k * sizeof *heap);
    if (!heap)
        return out_of_memory(error);
    keep_from(c, kth_largest(c->logits, c->count, k, heap));
    free(heap);
    return MORE_OK;
}

/* The logits in ascending order give the least one that stays. Equal logits at the border all stay, where torch keeps
 * those that its unstable sort puts last. */
static float least_of_nucleus(float *sorted, float *probabilities, int64_t count, double p)
{
    float border = (float)(1 - p);
    double sum = 0;
    qsort(sorted, (size_t)count, sizeof *sorted, ascending);
    softmax(sorted, count, sorted[count - 1], probabilities);
    for (int64_t i = 0; i < count - 1; i++) {
        sum += (double)probabilities[i];
        if (!((float)sum <= border))
            return sorted[i];
    }
    return sorted[count - 1];
}

more_status core_stage_top_p(more_candidates *c, more_error *error, double p)
{
    if (!(p > 0 && p <= 1))
        return more_fail(error, MORE_ERROR_ARGUMENT, "top_p: %g must be above 0 and at most 1; 1 keeps all", p);
    if (p == 1 || c->count < 2)
        return MORE_OK;
    float *sorted = malloc((size_t)c->count * 2 * sizeof *sorted);
    if (!sorted)
        return out_of_memory(error);
    memcpy(sorted, c->logits, (size_t)c->count * sizeof *sorted);
    keep_from(c, least_of_nucleus(sorted, sorted + c->count, c->count, p));
    free(sorted);
    return MORE_OK;
}

more_status core_stage_min_p(more_candidates *c, more_error *error, double p)
{
    if (!(p >= 0 && p <= 1))
        return more_fail(error, MORE_ERROR_ARGUMENT, "min_p: %g must be from 0 to 1; 0 keeps all", p);
    if (p == 0 || c->count < 2)
        return MORE_OK;
    float largest = largest_logit(c), *probabilities = malloc((size_t)c->count * sizeof *probabilities);
    if (!probabilities)
        return out_of_memory(error);
    softmax(c->logits, c->count, largest, probabilities);
    float most = 0;
    for (int64_t i = 0; i < c->count; i++)
        most = probabilities[i] > most ? probabilities[i] : most;
    int64_t kept = 0;
    for (int64_t i = 0; i < c->count; i++) {
        if (probabilities[i] < (float)p * most)
            continue;
        c->ids[kept] = c->ids[i];
        c->logits[kept++] = c->logits[i];
    }
    c->count = kept;
    free(probabilities);
    return MORE_OK;
}

int64_t core_largest_candidate(const more_candidates *c)
{
    int64_t best = 0;
    for (int64_t i = 1; i < c->count; i++)
        if (c->logits[i] > c->logits[best] || (c->logits[i] == c->logits[best] && c->ids[i] < c->ids[best]))
            best = i;
    return best;
}

more_status core_stage_greedy(more_candidates *c, more_error *error)
{
    (void)error;
    int64_t best = core_largest_candidate(c);
    c->ids[0] = c->ids[best];
    c->logits[0] = c->logits[best];
    c->count = 1;
    return MORE_OK;
}
