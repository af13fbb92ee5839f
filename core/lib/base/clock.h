/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

/* Milliseconds of the monotonic clock. */
double core_now_ms(void);

#endif
