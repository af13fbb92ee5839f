/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/sampler.h"

#include "generate/philox.h"
#include "generate/sampler_stages.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct core_sampler {
    int64_t vocabulary;
    core_sampler_options options;
    core_sampler_stage *stages; /* NULL with a count of 0: those of the options */
    size_t stage_count;
    int32_t *ids;
    float *logits;
};

#define STAGE(name, parameters, doc, function)                                                                         \
    {                                                                                                                  \
        MORE_STAGE_SAMPLER, name, parameters, doc, (void (*)(void))function                                            \
    }

static const more_function functions[] = {
    STAGE("repetition_penalty", "double penalty",
          "Makes ids of the prompt and the answer so far less likely: their logits are divided by penalty (> 1) when "
          "they "
          "are positive and multiplied when negative.",
          core_stage_repetition_penalty),
    STAGE("temperature", "double temperature", "Divides the logits: below 1 sharpens the choice, above 1 flattens it.",
          core_stage_temperature),
    STAGE("top_k", "int64 k", "Keeps the k most likely candidates, and those equal to the last of them.",
          core_stage_top_k),
    STAGE("top_p", "double p", "Keeps the fewest most likely candidates whose probability together reaches p.",
          core_stage_top_p),
    STAGE("min_p", "double p", "Keeps the candidates whose probability is at least p times the largest.",
          core_stage_min_p),
    STAGE("greedy", "", "Keeps the most likely candidate only.", core_stage_greedy),
};

const more_functions_interface *core_sampler_functions(void)
{
    static const more_functions_interface interface = {MORE_STRUCT_SIZE(more_functions_interface, count), functions,
                                                       (int32_t)(sizeof functions / sizeof *functions)};
    return &interface;
}

static more_status check_options(const core_sampler_options *o, more_error *error)
{
    if (!(o->temperature >= 0 && o->temperature < INFINITY))
        return more_fail(error, MORE_ERROR_ARGUMENT, "temperature: %g must be a number from 0; 0 is greedy",
                         o->temperature);
    if (o->top_k < 0)
        return more_fail(error, MORE_ERROR_ARGUMENT, "top_k: %lld must be at least 0; 0 keeps all",
                         (long long)o->top_k);
    if (!(o->top_p > 0 && o->top_p <= 1))
        return more_fail(error, MORE_ERROR_ARGUMENT, "top_p: %g must be above 0 and at most 1; 1 keeps all", o->top_p);
    if (!(o->min_p >= 0 && o->min_p <= 1))
        return more_fail(error, MORE_ERROR_ARGUMENT, "min_p: %g must be from 0 to 1; 0 keeps all", o->min_p);
    if (!(o->repetition_penalty > 0 && o->repetition_penalty < INFINITY))
        return more_fail(error, MORE_ERROR_ARGUMENT, "repetition_penalty: %g must be above 0; 1 changes nothing",
                         o->repetition_penalty);
    return MORE_OK;
}

more_status core_sampler_create(int64_t vocabulary, const core_sampler_options *options,
                                const core_sampler_stage *stages, size_t stage_count, core_sampler **sampler,
                                more_error *error)
{
    *sampler = NULL;
    if (vocabulary < 1 || vocabulary > INT32_MAX)
        return more_fail(error, MORE_ERROR_ARGUMENT, "sampler: a vocabulary of %lld tokens", (long long)vocabulary);
    more_status status = check_options(options, error);
    if (status != MORE_OK)
        return status;
    core_sampler *s = calloc(1, sizeof *s);
    if (s) {
        s->vocabulary = vocabulary;
        s->options = *options;
        s->stage_count = stage_count;
        s->ids = malloc((size_t)vocabulary * sizeof *s->ids);
        s->logits = malloc((size_t)vocabulary * sizeof *s->logits);
        s->stages = stage_count ? malloc(stage_count * sizeof *s->stages) : NULL;
    }
    if (!s || !s->ids || !s->logits || (stage_count && !s->stages)) {
        core_sampler_destroy(s);
        return more_fail(error, MORE_ERROR_MEMORY, "sampler: out of memory for %lld tokens", (long long)vocabulary);
    }
    if (stage_count)
        memcpy(s->stages, stages, stage_count * sizeof *stages);
    *sampler = s;
    return MORE_OK;
}

void core_sampler_destroy(core_sampler *sampler)
{
    if (!sampler)
        return;
    free(sampler->ids);
    free(sampler->logits);
    free(sampler->stages);
    free(sampler);
}

static more_status run_options(const core_sampler_options *o, more_candidates *c, more_error *error)
{
    more_status status = core_stage_repetition_penalty(c, error, o->repetition_penalty);
    if (status != MORE_OK || o->temperature == 0)
        return status;
    if (o->temperature != 1)
        status = core_stage_temperature(c, error, o->temperature);
    if (status == MORE_OK && o->top_k)
        status = core_stage_top_k(c, error, o->top_k);
    if (status == MORE_OK)
        status = core_stage_top_p(c, error, o->top_p);
    if (status == MORE_OK)
        status = core_stage_min_p(c, error, o->min_p);
    return status;
}

static more_status run_stages(const core_sampler *s, more_candidates *c, more_error *error)
{
    if (!s->stage_count)
        return run_options(&s->options, c, error);
    for (size_t i = 0; i < s->stage_count; i++) {
        more_status status = s->stages[i].run(s->stages[i].context, c, error);
        if (status != MORE_OK)
            return status;
        if (c->count < 1 || c->count > s->vocabulary)
            return more_fail(error, MORE_ERROR_INTERNAL, "sampler: stage %zu left %lld candidates; it must keep one", i,
                             (long long)c->count);
    }
    return MORE_OK;
}

typedef struct candidate {
    int32_t id;
    float logit;
} candidate;

static int compare_ids(const void *a, const void *b)
{
    int32_t x = ((const candidate *)a)->id, y = ((const candidate *)b)->id;
    return (x > y) - (x < y);
}

/* Puts the candidates in order of ids again, where a stage has reordered them. */
static more_status sort_by_id(more_candidates *c, more_error *error)
{
    int64_t i = 1;
    while (i < c->count && c->ids[i - 1] < c->ids[i])
        i++;
    if (i >= c->count)
        return MORE_OK;
    candidate *pairs = malloc((size_t)c->count * sizeof *pairs);
    if (!pairs)
        return more_fail(error, MORE_ERROR_MEMORY, "sampler: out of memory");
    for (i = 0; i < c->count; i++)
        pairs[i] = (candidate){c->ids[i], c->logits[i]};
    qsort(pairs, (size_t)c->count, sizeof *pairs, compare_ids);
    for (i = 0; i < c->count; i++) {
        c->ids[i] = pairs[i].id;
        c->logits[i] = pairs[i].logit;
    }
    free(pairs);
    return MORE_OK;
}

/* Inverse of the cumulative distribution at u; sampler.h fixes the arithmetic. */
static int64_t draw(const more_candidates *c, float largest, double u)
{
    double total = 0, sum = 0;
    int64_t last = 0;
    for (int64_t i = 0; i < c->count; i++)
        total += (double)expf(c->logits[i] - largest);
    for (int64_t i = 0; i < c->count; i++) {
        double weight = (double)expf(c->logits[i] - largest);
        sum += weight;
        if (sum > u * total)
            return i;
        if (weight > 0)
            last = i;
    }
    return last;
}

static more_status check_logits(const more_candidates *c, more_error *error)
{
    bool any = false;
    for (int64_t i = 0; i < c->count; i++) {
        if (isnan(c->logits[i]) || c->logits[i] == INFINITY)
            return more_fail(error, MORE_ERROR_INTERNAL,
                             "sampler: the logit of id %d is %f; the model's numbers overflowed", c->ids[i],
                             (double)c->logits[i]);
        any = any || c->logits[i] > -INFINITY;
    }
    return any ? MORE_OK
               : more_fail(error, MORE_ERROR_INTERNAL, "sampler: none of %lld candidates has a finite logit",
                           (long long)c->count);
}

more_status core_sampler_next(core_sampler *s, const float *logits, const int32_t *history, int64_t history_count,
                              uint64_t index, int32_t *id, more_error *error)
{
    more_candidates c = {
        MORE_STRUCT_SIZE(more_candidates, history_count), s->ids, s->logits, s->vocabulary, history, history_count};
    for (int64_t i = 0; i < c.count; i++)
        c.ids[i] = (int32_t)i;
    memcpy(c.logits, logits, (size_t)c.count * sizeof *logits);
    more_status status = check_logits(&c, error);
    if (status == MORE_OK)
        status = run_stages(s, &c, error);
    if (status == MORE_OK)
        status = check_logits(&c, error);
    if (status != MORE_OK)
        return status;
    int64_t chosen = core_largest_candidate(&c);
    if (s->stage_count || s->options.temperature != 0) {
        float largest = c.logits[chosen];
        status = sort_by_id(&c, error);
        if (status != MORE_OK)
            return status;
        chosen = draw(&c, largest, core_philox_uniform(s->options.seed, index));
    }
    *id = c.ids[chosen];
    return MORE_OK;
}
