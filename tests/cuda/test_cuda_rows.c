/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of whole rows on a device against the host's operators: norms, softmax, rotary embedding.
 */
#include "floats.h"
#include "harness.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/kernels.h"

static bench host;
static const nn_cuda_kernels *table;

/* The host adds a row up in few sums, whose error grows with their length: relative, a number. */
#define ADDEND 1e-10

/* ---- Norms and softmax ------------------------------------------------------------------------------------------ */

typedef struct norm {
    int64_t rows, width, skew;
    float center, offset;
    bool vectors; /* layer_norm's weight and bias are given */
    bool in_place;
} norm;

static float *norm_input(const norm *n)
{
    float *x = random_floats(n->rows * n->width, 4.0f);
    for (int64_t i = 0; i < n->rows * n->width; i++)
        x[i] += n->center;
    return x;
}

static void check_layer_norm(const norm *n)
{
    int64_t count = n->rows * n->width;
    float *x = norm_input(n), *expected = copied(x, count);
    float *weight = random_floats(n->width, 2.0f), *bias = random_floats(n->width, 2.0f);
    nn_layer_norm(host.nn, x, n->rows, n->width, n->vectors ? weight : NULL, n->vectors ? bias : NULL, 1e-5f, expected);

    float *dx = put(x, count, n->skew), *dy = n->in_place ? dx : room(count, n->skew);
    float *dweight = n->vectors ? put(weight, n->width, n->skew) : NULL;
    float *dbias = n->vectors ? put(bias, n->width, n->skew) : NULL;
    harness_check(table->layer_norm(harness_stream(), dx, n->rows, n->width, dweight, dbias, 1e-5f, dy));
    float *y = taken(dy, count, n->skew);
    /* The mean's last place, as large as the center, moves all numbers alike. */
    check_rows("layer_norm", y, expected, n->rows, n->width,
               1e-6 + ADDEND * (double)n->width + 4e-7 * fabs((double)n->center));
    if (!n->in_place)
        harness_free(dx - n->skew);
    if (n->vectors) {
        harness_free(dweight - n->skew);
        harness_free(dbias - n->skew);
    }
    free(x);
    free(expected);
    free(weight);
    free(bias);
    free(y);
}

static void check_rms_norm(const norm *n)
{
    int64_t count = n->rows * n->width;
    float *x = norm_input(n), *expected = copied(x, count), *weight = random_floats(n->width, 2.0f);
    nn_rms_norm(host.nn, x, n->rows, n->width, weight, n->offset, 1e-6f, expected);

    float *dx = put(x, count, n->skew), *dy = n->in_place ? dx : room(count, n->skew);
    float *dweight = put(weight, n->width, n->skew);
    harness_check(table->rms_norm(harness_stream(), dx, n->rows, n->width, dweight, n->offset, 1e-6f, dy));
    float *y = taken(dy, count, n->skew);
    check_rows("rms_norm", y, expected, n->rows, n->width, 1e-6 + ADDEND * (double)n->width);
    if (!n->in_place)
        harness_free(dx - n->skew);
    harness_free(dweight - n->skew);
    free(x);
    free(expected);
    free(weight);
    free(y);
}

static void check_softmax(int64_t rows, int64_t width, int64_t skew, float center)
{
    int64_t count = rows * width;
    float *x = random_floats(count, 20.0f);
    for (int64_t i = 0; i < count; i++)
        x[i] = i % 11 == 10 ? -INFINITY : x[i] + center; /* never a whole row */
    float *dx = put(x, count, skew);
    nn_softmax(host.nn, x, rows, width);
    harness_check(table->softmax(harness_stream(), dx, rows, width));
    float *y = taken(dx, count, skew);
    check_rows("softmax", y, x, rows, width, 2e-6 + ADDEND * (double)width);
    free(x);
    free(y);
}

static void test_norms(void **state)
{
    (void)state;
    for (int i = 0; i < WIDTHS; i++)
        for (int64_t skew = 0; skew <= MOST_SKEW; skew++) {
            norm n = {.rows = rows_for(widths[i]), .width = widths[i], .skew = skew, .in_place = skew == 1};
            n.offset = (float)random_int(0, 1);
            n.vectors = skew != 2 || i % 2;
            check_layer_norm(&n);
            check_rms_norm(&n);
        }
    norm none = {.width = 64, .vectors = true};
    check_layer_norm(&none);
    check_rms_norm(&none);
    /* More rows than a launch has at once, by blocks and by warps. */
    norm blocks = {.rows = 4096 + 3, .width = 260, .vectors = true}, warps = {.rows = 8 * 4096 + 3, .width = 3};
    check_layer_norm(&blocks);
    check_rms_norm(&warps);
}

/* A variance that the mean's square hides from anything but two passes. */
static void test_norm_far_from_zero(void **state)
{
    (void)state;
    for (int i = 3; i < WIDTHS && widths[i] <= 1152; i++) {
        norm n = {.rows = 2, .width = widths[i], .center = 3000.0f, .vectors = true};
        check_layer_norm(&n);
    }
}

static void test_softmax(void **state)
{
    (void)state;
    for (int i = 0; i < WIDTHS; i++)
        for (int64_t skew = 0; skew <= MOST_SKEW; skew++)
            check_softmax(widths[i] > 1 ? rows_for(widths[i]) : 3, widths[i], skew, skew ? 0.0f : 300.0f);
    check_softmax(0, 64, 0, 0.0f);
    check_softmax(4096 + 3, 260, 0, 0.0f);
    check_softmax(2, 128257, 0, 0.0f);
}

/* ---- Rotary ----------------------------------------------------------------------------------------------------- */

typedef struct rotation {
    int64_t rows, stride, heads, head_dimension, dimensions;
    double theta;
    float factor;
} rotation;

static void check_rotary(const rotation *r)
{
    int64_t stride = r->stride ? r->stride : r->heads * r->head_dimension, count = r->rows * stride;
    float *x = random_floats(count, 4.0f), *frequencies = random_floats(r->dimensions / 2, 0.0f);
    int64_t *positions = calloc((size_t)r->rows + 1, sizeof *positions);
    nn_rotary_frequencies(r->theta, r->dimensions, frequencies);
    for (int64_t t = 0; t < r->rows; t++)
        positions[t] = t == 0 ? 131071 : random_int(0, t % 2 ? 131071 : 100);

    float *dx = put(x, count, 0), *dfrequencies = put(frequencies, r->dimensions / 2, 0);
    int64_t *dpositions = harness_upload(positions, (size_t)r->rows * sizeof *positions);
    nn_rotary(host.nn, x, r->rows, r->stride, r->heads, r->head_dimension, r->dimensions, frequencies, positions,
              r->factor);
    harness_check(table->rotary(harness_stream(), dx, r->rows, r->stride, r->heads, r->head_dimension, r->dimensions,
                                dfrequencies, dpositions, r->factor));
    float *y = taken(dx, count, 0);
    check_rows("rotary", y, x, r->rows, stride, 1e-6);
    for (int64_t t = 0; t < r->rows; t++)
        for (int64_t i = 0; i < stride; i++)
            if (i >= r->heads * r->head_dimension || i % r->head_dimension >= r->dimensions)
                assert_true(y[t * stride + i] == x[t * stride + i]);
    harness_free(dfrequencies);
    harness_free(dpositions);
    free(x);
    free(frequencies);
    free(positions);
    free(y);
}

static void test_rotary(void **state)
{
    (void)state;
    static const rotation rotations[] = {
        {5, 0, 32, 128, 128, 500000.0, 1.0f},   {7, 48 * 128, 8, 128, 128, 10000.0, 1.0f},
        {3, 1000, 7, 96, 96, 10000.0, 1.1903f}, {11, 301, 3, 80, 32, 10000.0, 1.0f},
        {2, 0, 1, 2, 2, 10000.0, 1.0f},         {1, 0, 5, 1022, 1022, 10000.0, 1.0f},
        {0, 0, 4, 64, 64, 10000.0, 1.0f},       {4096 + 3, 0, 1, 8, 4, 10000.0, 1.0f},
        {2, 0, 301, 6, 6, 10000.0, 0.5f},
    };
    for (size_t i = 0; i < sizeof rotations / sizeof *rotations; i++)
        check_rotary(&rotations[i]);
}

/* ----------------------------------------------------------------------------------------------------------------- */

static int open_all(void **state)
{
    (void)state;
    seed_random();
    harness_open();
    table = nn_cuda_table();
    host = bench_open("baseline", 1);
    return table ? 0 : -1;
}

static int close_all(void **state)
{
    (void)state;
    bench_close(&host);
    harness_close();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norms),
        cmocka_unit_test(test_norm_far_from_zero),
        cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_rotary),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
