/* SPDX-License-Identifier: Apache-2.0
 *
 * What this machine gives at best, measured with the same instructions and threads that the kernels use; for
 * llavamore-bench, which says what share of it the kernels reach.
 */
#ifndef NN_PROBE_H
#define NN_PROBE_H

#include "nn.h"

/* Floating point operations a second (a multiply-add is two) of all workers together, when nothing leaves the
 * registers; measured over about `seconds`. */
double nn_probe_flops(nn_context *context, double seconds);
/* Bytes a second that all workers together read from `count` floats of memory, each worker in pieces of its own: one
 * pass for each of several access patterns, the best of them. */
double nn_probe_read(nn_context *context, const float *memory, int64_t count);
/* Seconds on a clock that only goes forward. */
double nn_probe_clock(void);

#endif
