/* SPDX-License-Identifier: Apache-2.0
 *
 * The sampler: stages that change or drop candidates, then one draw.
 *
 * The stages have the semantics of transformers' logits processors of the same names:
 *   repetition_penalty(penalty): logits of ids in the history, >= 0 divided by it, < 0 multiplied by it
 *   temperature(temperature):    logits divided by it
 *   top_k(k):                    those that are at least the k-th largest logit stay (ties with it too)
 *   top_p(p):                    in ascending order of logits, those whose cumulative probability is <= 1 - p go; the
 *                                largest stays
 *   min_p(p):                    those with probability < p * the largest probability go
 *   greedy():                    the largest logit stays, of equal ones the lowest id
 * The draw: with temperature 0 and no stages of its own, the largest logit, ties to the lowest id. Else, over the
 * candidates in ascending order of ids, w_i = (double)expf(logit_i - max), and the first id at which the running sum of
 * w, in double and in that order, is above u * (its total); u = core_philox_uniform(seed, index). A device kernel that
 * does the same draws the same id.
 */
#ifndef CORE_SAMPLER_H
#define CORE_SAMPLER_H

#include <llavamore/functions.h>
#include <stdbool.h>

/* The stages above as typed functions of MORE_STAGE_SAMPLER. [any-thread] */
const more_functions_interface *core_sampler_functions(void);

/* A bound stage: `run` with its context, e.g. one call from an INI file behind libffi. */
typedef struct core_sampler_stage {
    more_status (*run)(const void *context, more_candidates *candidates, more_error *error);
    const void *context; /* owned by the caller, outlives the sampler */
} core_sampler_stage;

/* The values of [generate], used when it lists no stages of its own. A neutral value leaves its stage out. */
typedef struct core_sampler_options {
    double temperature;        /* 0 = greedy: no draw, and no stage but the repetition penalty; 1 is neutral */
    int64_t top_k;             /* 0 is neutral */
    double top_p;              /* (0, 1]; 1 is neutral */
    double min_p;              /* [0, 1]; 0 is neutral */
    double repetition_penalty; /* > 0; 1 is neutral */
    uint64_t seed;
} core_sampler_options;

typedef struct core_sampler core_sampler;

/* A sampler over `vocabulary` candidates that runs `stages` in order (copied), or, when stage_count is 0, the stages of
 * `options` in transformers' order: repetition_penalty, temperature, top_k, top_p, min_p. Temperature 0 then means
 * the largest logit; listed stages always end in a draw (of one candidate, after greedy()). The caller owns *sampler.
 * Errors: MORE_ERROR_ARGUMENT naming the value. [any-thread] */
more_status core_sampler_create(int64_t vocabulary, const core_sampler_options *options,
                                const core_sampler_stage *stages, size_t stage_count, core_sampler **sampler,
                                more_error *error);
/* NULL is allowed. */
void core_sampler_destroy(core_sampler *sampler);

/* Chooses token `index` of the answer (0 = the first) from `logits` [vocabulary], which are left as they are.
 * `history`: ids of the prompt and the answer so far; negative ids (images) are left out by the caller. A logit of -inf
 * never wins; NaN, or no candidate above -inf, is MORE_ERROR_INTERNAL with the id. [one-thread-per-instance] */
more_status core_sampler_next(core_sampler *sampler, const float *logits, const int32_t *history, int64_t history_count,
                              uint64_t index, int32_t *id, more_error *error);

#endif
