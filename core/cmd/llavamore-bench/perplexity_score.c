/* SPDX-License-Identifier: Apache-2.0 */
#include "perplexity.h"

#include <math.h>

/* ln sum exp(logits) in double; the index of the largest goes to *top. */
static double log_normaliser(const float *logits, int64_t count, int64_t *top)
{
    double sum = 0.0;
    *top = 0;
    for (int64_t i = 1; i < count; i++)
        if (logits[i] > logits[*top])
            *top = i;
    for (int64_t i = 0; i < count; i++)
        sum += exp((double)logits[i] - (double)logits[*top]);
    return (double)logits[*top] + log(sum);
}

bool token_score_make(const float *logits, const float *reference, int64_t vocabulary, int32_t token,
                      token_score *score)
{
    int64_t top, reference_top;
    double norm = log_normaliser(logits, vocabulary, &top);
    *score = (token_score){.surprise = norm - (double)logits[token]};
    if (!reference)
        return isfinite(norm) && isfinite(score->surprise);
    double reference_norm = log_normaliser(reference, vocabulary, &reference_top);
    for (int64_t i = 0; i < vocabulary; i++) {
        double wanted = (double)reference[i] - reference_norm, got = (double)logits[i] - norm;
        double p = exp(wanted);
        if (p > 0.0) /* where both are -inf, nothing is lost */
            score->divergence += p * (wanted - got);
    }
    score->reference_surprise = reference_norm - (double)reference[token];
    score->change = exp(-score->surprise) - exp(-score->reference_surprise);
    score->same_top = top == reference_top;
    return isfinite(norm) && isfinite(reference_norm) && isfinite(score->surprise) &&
           isfinite(score->reference_surprise) && isfinite(score->divergence);
}

/* Sums for a mean and its standard error. */
typedef struct moments {
    double sum, squares;
    size_t count;
} moments;

static void add(moments *m, double value)
{
    m->sum += value;
    m->squares += value * value;
    m->count++;
}

static estimate mean_of(const moments *m)
{
    double n = (double)m->count, mean = m->sum / n;
    double variance = m->squares / n - mean * mean;
    return (estimate){mean, m->count > 1 && variance > 0.0 ? sqrt(variance / (n - 1.0)) : 0.0};
}

/* exp of an estimate, its error carried along to first order. */
static estimate exponential(estimate of)
{
    return (estimate){exp(of.value), exp(of.value) * of.error};
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The value below which a share of the sorted values lies, between two of them in proportion. */
static double quantile(const double *sorted, size_t count, double share)
{
    double at = share * (double)(count - 1);
    size_t below = (size_t)at, above = below + 1 < count ? below + 1 : below;
    return sorted[below] + (at - (double)below) * (sorted[above] - sorted[below]);
}

more_status scores_summarise(const token_score *scores, size_t count, bool has_reference, summary *result,
                             more_error *error)
{
    moments surprise = {0}, reference = {0}, difference = {0}, divergence = {0}, top = {0}, change = {0};
    double *sorted = calloc(count, sizeof *sorted);
    *result = (summary){0};
    if (!sorted)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for %zu scores", count);
    for (size_t i = 0; i < count; i++) {
        add(&surprise, scores[i].surprise);
        add(&reference, scores[i].reference_surprise);
        add(&difference, scores[i].surprise - scores[i].reference_surprise);
        add(&divergence, scores[i].divergence);
        add(&top, scores[i].same_top ? 1.0 : 0.0);
        add(&change, scores[i].change);
        sorted[i] = scores[i].divergence;
    }
    result->perplexity = exponential(mean_of(&surprise));
    if (has_reference) {
        qsort(sorted, count, sizeof *sorted, compare);
        result->reference = exponential(mean_of(&reference));
        result->relative_change = exponential(mean_of(&difference));
        result->relative_change.value -= 1.0;
        result->divergence = mean_of(&divergence);
        result->divergence_median = quantile(sorted, count, 0.5);
        result->divergence_99 = quantile(sorted, count, 0.99);
        result->divergence_most = sorted[count - 1];
        result->same_top = mean_of(&top);
        result->probability_change = sqrt(change.squares / (double)count);
    }
    free(sorted);
    return MORE_OK;
}
