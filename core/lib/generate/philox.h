/* SPDX-License-Identifier: Apache-2.0
 *
 * Philox 4x32-10, the counter-based random generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as
 * easy as 1, 2, 3" (SC 2011). The same counter and key give the same number on every machine and device.
 */
#ifndef CORE_PHILOX_H
#define CORE_PHILOX_H

#include <stdint.h>

/* Ten rounds over `counter` with `key`, into `out`. [any-thread] */
void core_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* The uniform number in [0, 1) that draws token `index` of an answer under `seed`: key = {low, high} of seed, counter =
 * {low, high of index, 0, 0}; u = ((out[0] >> 5) * 2^26 + (out[1] >> 6)) / 2^53. [any-thread] */
double core_philox_uniform(uint64_t seed, uint64_t index);

#endif
