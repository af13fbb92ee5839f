/* SPDX-License-Identifier: Apache-2.0
 *
 * Weights that stand in no file: seeded random numbers of the shapes that a folder's shapes.json lists, for runs at
 * full size without a download. {"model.norm.weight": ["f16", [4096]], ...}
 */
#ifndef CORE_WEIGHTS_SYNTHETIC_H
#define CORE_WEIGHTS_SYNTHETIC_H

#include "weights/safetensors.h"

/* Reads shapes.json into an array of entries without data, each name allocated; *path in them is the caller's `path`.
 * core_synthetic_free frees it. */
more_status core_synthetic_read(const char *path, core_tensor_entry **entries, int64_t *count, more_error *error);
void core_synthetic_free(core_tensor_entry *entries, int64_t count);

/* Elements first, first + stride, ... of the tensor, rounded to its format and then to `dtype`: a function of seed,
 * name and index alone. Spread 0.02 around 0, around 1 for the weights of norms (rank 1, "norm" in the name). False for
 * formats that are no floats. [any-thread] */
bool core_synthetic_fill(const core_tensor_entry *entry, uint64_t seed, int64_t first, int64_t stride, int64_t count,
                         DLDataType dtype, void *to);

#endif
