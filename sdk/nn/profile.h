/* SPDX-License-Identifier: Apache-2.0
 *
 * What the operators of sdk/nn tell a host that has llavamore.profile/1. Without one, each costs a comparison.
 *
 *     double begin = nn_profile_begin(context);
 *     ...
 *     nn_profile_end(context, begin, "rms_norm", rows);
 */
#ifndef NN_PROFILE_H
#define NN_PROFILE_H

#include <llavamore/profile.h>

#include "internal.h"

static inline bool nn_profiled(const nn_context *context)
{
    return __builtin_expect(context->profile != NULL, 0);
}

/* The functions behind those below: an event on its way to the host. */
void nn_profile_add(const nn_context *context, double begin, more_profile_event event);
void nn_profile_add_linear(const nn_context *context, double begin, const nn_matrix *weight, int64_t rows);
void nn_profile_add_causal(const nn_context *context, double begin, const nn_attention_args *args);

/* When an operator begins; 0 where nobody wants to know. */
static inline double nn_profile_begin(const nn_context *context)
{
    return nn_profiled(context) ? nn_probe_clock() : 0.0;
}
/* An operator over `rows` rows, or elements, without products. */
static inline void nn_profile_end(const nn_context *context, double begin, const char *operation, int64_t rows)
{
    if (nn_profiled(context))
        nn_profile_add(context, begin, (more_profile_event){.operation = operation, .rows = rows});
}
static inline void nn_profile_end_linear(const nn_context *context, double begin, const nn_matrix *weight, int64_t rows)
{
    if (nn_profiled(context))
        nn_profile_add_linear(context, begin, weight, rows);
}
/* Reading `rows` rows of a matrix. */
static inline void nn_profile_end_rows(const nn_context *context, double begin, const nn_matrix *matrix, int64_t rows)
{
    if (nn_profiled(context))
        nn_profile_add(context, begin,
                       (more_profile_event){.operation = "embedding",
                                            .format = nn_storage_name(matrix->storage),
                                            .rows = rows,
                                            .bytes = (double)rows / NN_PANEL *
                                                     (double)nn_panel_bytes(matrix->storage, matrix->columns)});
}
/* Attention without a cache: every one of `rows` rows with every one of its image's. */
static inline void nn_profile_end_full(const nn_context *context, double begin, int64_t images, int64_t rows,
                                       int64_t width)
{
    if (nn_profiled(context))
        nn_profile_add(
            context, begin,
            (more_profile_event){.operation = "attention",
                                 .rows = images * rows,
                                 .operations = 4.0 * (double)images * (double)rows * (double)rows * (double)width});
}
static inline void nn_profile_end_causal(const nn_context *context, double begin, const nn_attention_args *args)
{
    if (nn_profiled(context))
        nn_profile_add_causal(context, begin, args);
}

#endif
