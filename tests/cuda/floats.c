/* SPDX-License-Identifier: Apache-2.0 */
#include "floats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

int64_t rows_for(int64_t width)
{
    return width > 1200 ? random_int(1, 3) : random_int(1, 20);
}

float *random_floats(int64_t count, float magnitude)
{
    float *values = malloc((size_t)(count + 1) * sizeof(float));
    assert_non_null(values);
    for (int64_t i = 0; i < count; i++)
        values[i] = random_float(magnitude);
    return values;
}

float *copied(const float *values, int64_t count)
{
    float *copy = malloc((size_t)(count + 1) * sizeof(float));
    assert_non_null(copy);
    memcpy(copy, values, (size_t)count * sizeof(float));
    return copy;
}

float *put(const float *values, int64_t count, int64_t skew)
{
    float *all = malloc((size_t)(count + skew + 1) * sizeof(float));
    assert_non_null(all);
    memset(all, 0xff, (size_t)skew * sizeof(float));
    memcpy(all + skew, values, (size_t)count * sizeof(float));
    float *device = harness_upload(all, (size_t)(count + skew) * sizeof(float));
    free(all);
    return device + skew;
}

float *room(int64_t count, int64_t skew)
{
    return (float *)harness_alloc((size_t)(count + skew) * sizeof(float)) + skew;
}

float *taken(float *device, int64_t count, int64_t skew)
{
    float *values = malloc((size_t)(count + 1) * sizeof(float));
    assert_non_null(values);
    harness_download(values, device, (size_t)count * sizeof(float));
    harness_free(device - skew);
    return values;
}

void check_rows(const char *what, const float *got, const float *expected, int64_t rows, int64_t width, double relative)
{
    for (int64_t t = 0; t < rows; t++) {
        double largest = 0.0;
        for (int64_t i = 0; i < width; i++)
            largest = fmax(largest, fabs((double)expected[t * width + i]));
        for (int64_t i = 0; i < width; i++)
            check_close(what, t, i, (double)got[t * width + i], (double)expected[t * width + i],
                        relative * largest + 1e-36);
    }
}
