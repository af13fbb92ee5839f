/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of the kernels of elements and rows share: numbers on the host and on the device, widths to try.
 */
#ifndef TEST_CUDA_FLOATS_H
#define TEST_CUDA_FLOATS_H

#include "support.h"

/* Widths around those where a kernel turns from one way to another: 4 numbers at once or 1, a warp or more. */
static const int64_t widths[] = {1,   2,   3,   4,   5,    7,    31,   32,   33,   64,   97,
                                 128, 251, 256, 260, 1021, 1024, 1152, 2053, 4096, 4099, 14336};
enum { WIDTHS = sizeof widths / sizeof *widths, MOST_SKEW = 2 };

/* Few where a row is wide. */
int64_t rows_for(int64_t width);

/* To be freed by free(). */
float *random_floats(int64_t count, float magnitude);
float *copied(const float *values, int64_t count);

/* Device memory whose numbers begin `skew` floats behind an aligned address; room's are NaN. */
float *put(const float *values, int64_t count, int64_t skew);
float *room(int64_t count, int64_t skew);
/* What put or room gave, on the host; the device's memory is freed. */
float *taken(float *device, int64_t count, int64_t skew);

/* Each number within `relative` of its row's largest. */
void check_rows(const char *what, const float *got, const float *expected, int64_t rows, int64_t width,
                double relative);

#endif
