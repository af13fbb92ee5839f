/* SPDX-License-Identifier: Apache-2.0
 *
 * The sampler's stages; sampler.h says what each does. All are [any-thread], refuse an argument out of its range with
 * MORE_ERROR_ARGUMENT, and keep the order of the candidates.
 */
#ifndef CORE_SAMPLER_STAGES_H
#define CORE_SAMPLER_STAGES_H

#include <llavamore/functions.h>

more_status core_stage_repetition_penalty(more_candidates *candidates, more_error *error, double penalty);
more_status core_stage_temperature(more_candidates *candidates, more_error *error, double temperature);
more_status core_stage_top_k(more_candidates *candidates, more_error *error, int64_t k);
more_status core_stage_top_p(more_candidates *candidates, more_error *error, double p);
more_status core_stage_min_p(more_candidates *candidates, more_error *error, double p);
more_status core_stage_greedy(more_candidates *candidates, more_error *error);
/* Index of the largest logit, of equal ones that with the lowest id; count must be at least 1. */
int64_t core_largest_candidate(const more_candidates *candidates);

#endif
