/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels of elements on a device against the host's operators: activations, sums and products, embedding lookup,
 * patches, and what goes around a product of 16-bit numbers.
 */
#include "floats.h"
#include "harness.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/kernels.h"
#include "half.h"

static bench host;
static const nn_cuda_kernels *table;

/* ---- Elements --------------------------------------------------------------------------------------------------- */

static const int64_t counts[] = {0, 1, 2, 3, 4, 5, 8, 1021, 1023, 1024, 1025, 4096, 20011, 20012};
enum { COUNTS = sizeof counts / sizeof *counts };

/* Two results, of which each may be off by the last places of exp's argument (which grows with x^2 or x^3) and by those
 * of x itself, whichever is less. */
static double activation_bound(nn_activation activation, double x, double expected)
{
    double power = x * x;
    if (activation == NN_GELU_TANH)
        power += 0.1 * fabs(x) * power;
    double by_argument = fabs(expected) * (x >= 0.0 ? 1e-6 : 1.6e-6 + 3e-7 * power);
    return fmin(by_argument, fabs(expected) * 1e-6 + fabs(x) * 1.2e-7) + 1e-36;
}

static void check_activate(nn_activation activation, int64_t count, int64_t skew, bool in_place)
{
    float *x = random_floats(count, 12.0f), *expected = copied(x, count);
    for (int64_t i = 0; i < count; i += 2)
        x[i] = random_float(1.0f) * (float)exp2((double)random_int(-40, 5));
    nn_activate(host.nn, activation, x, count, expected);
    float *dx = put(x, count, skew), *dy = in_place ? dx : room(count, skew);
    harness_check(table->activate(harness_stream(), activation, dx, count, dy));
    float *y = taken(dy, count, skew);
    for (int64_t i = 0; i < count; i++)
        check_close("activate", activation, i, (double)y[i], (double)expected[i],
                    activation_bound(activation, (double)x[i], (double)expected[i]));
    if (!in_place)
        harness_free(dx - skew);
    free(x);
    free(expected);
    free(y);
}

static void test_activate(void **state)
{
    (void)state;
    for (int a = NN_IDENTITY; a <= NN_SILU; a++)
        for (int i = 0; i < COUNTS; i++)
            check_activate((nn_activation)a, counts[i], i % (MOST_SKEW + 1), (a + i) % 2);
}

static void test_extreme_activations(void **state)
{
    (void)state;
    static const float x[] = {0.0f, 100.0f, -100.0f, 3e38f, -3e38f, INFINITY, NAN};
    enum { EXTREMES = sizeof x / sizeof *x };
    for (int a = NN_IDENTITY; a <= NN_SILU; a++) {
        float *device = put(x, EXTREMES, 0), expected[EXTREMES];
        nn_activate(host.nn, (nn_activation)a, x, EXTREMES, expected);
        harness_check(table->activate(harness_stream(), (nn_activation)a, device, EXTREMES, device));
        float *y = taken(device, EXTREMES, 0);
        for (int i = 0; i < EXTREMES; i++)
            if (isnan(x[i]))
                assert_true(isnan(y[i]));
            else if (!(fabsf(expected[i]) < 1e-30f && fabsf(y[i]) < 1e-30f))
                assert_true(y[i] == expected[i]);
        free(y);
    }
}

static void check_glu(nn_activation activation, int64_t rows, int64_t width, int64_t skew)
{
    float *x = random_floats(2 * rows * width, 4.0f), *expected = random_floats(rows * width, 0.0f);
    nn_glu(host.nn, activation, x, rows, width, expected);
    float *dx = put(x, 2 * rows * width, skew), *dy = room(rows * width, skew);
    harness_check(table->glu(harness_stream(), activation, dx, rows, width, dy));
    float *y = taken(dy, rows * width, skew);
    for (int64_t t = 0; t < rows; t++)
        for (int64_t i = 0; i < width; i++) {
            double up = fabs((double)x[(2 * t + 1) * width + i]), product = (double)expected[t * width + i];
            double bound = activation_bound(activation, (double)x[2 * t * width + i], product / fmax(up, 1e-30));
            check_close("glu", t, i, (double)y[t * width + i], product, up * bound + 2e-7 * fabs(product));
        }
    harness_free(dx - skew);
    free(x);
    free(expected);
    free(y);
}

static void test_glu(void **state)
{
    (void)state;
    for (int i = 0; i < WIDTHS; i++)
        for (int64_t skew = 0; skew <= 1; skew++)
            check_glu((nn_activation)random_int(NN_IDENTITY, NN_SILU), rows_for(widths[i]), widths[i], skew);
    check_glu(NN_SILU, 0, 64, 0);
    check_glu(NN_GELU_TANH, 8 * 4096 + 3, 1, 0);
}

/* y's kernel of `count` elements and an optional x, against the same on the host; exact. */
static void check_add(int64_t count, int64_t skew)
{
    float *x = random_floats(count, 4.0f), *y = random_floats(count, 4.0f);
    float *dx = put(x, count, skew), *dy = put(y, count, skew);
    nn_add(host.nn, x, count, y);
    harness_check(table->add(harness_stream(), dx, count, dy));
    float *got = taken(dy, count, skew);
    assert_memory_equal(got, y, (size_t)count * sizeof(float));
    harness_free(dx - skew);
    free(x);
    free(y);
    free(got);
}

static void check_scale(int64_t count, int64_t skew)
{
    float *y = random_floats(count, 4.0f), *dy = put(y, count, skew);
    nn_scale(host.nn, 1.7f, count, y);
    harness_check(table->scale(harness_stream(), 1.7f, count, dy));
    float *got = taken(dy, count, skew);
    assert_memory_equal(got, y, (size_t)count * sizeof(float));
    free(y);
    free(got);
}

static void check_softcap(float cap, int64_t count, int64_t skew)
{
    float *y = random_floats(count, 4.0f * cap), *dy = put(y, count, skew);
    nn_softcap(host.nn, cap, count, y);
    harness_check(table->softcap(harness_stream(), cap, count, dy));
    float *got = taken(dy, count, skew);
    for (int64_t i = 0; i < count; i++)
        check_close("softcap", 0, i, (double)got[i], (double)y[i], 1e-6 * fabs((double)y[i]) + 1e-12);
    free(y);
    free(got);
}

static void test_elements(void **state)
{
    (void)state;
    static const float caps[] = {0.3f, 30.0f, 50.0f};
    for (int i = 0; i < COUNTS; i++)
        for (int64_t skew = 0; skew <= MOST_SKEW; skew++) {
            check_add(counts[i], skew);
            check_scale(counts[i], skew);
            check_softcap(caps[i % 3], counts[i], skew);
        }
    /* More than a launch has at once, by fours and singly. */
    check_add(4096 * 256 * 4 + 8, 0);
    check_scale(4096 * 256 + 3, 0);
}

static void check_add_scaled(int64_t rows, int64_t width, int64_t skew)
{
    int64_t count = rows * width;
    float *x = random_floats(count, 4.0f), *scale = random_floats(width, 2.0f), *y = random_floats(count, 4.0f);
    float *dx = put(x, count, skew), *dscale = put(scale, width, skew), *dy = put(y, count, skew);
    nn_add_scaled(host.nn, x, scale, rows, width, y);
    harness_check(table->add_scaled(harness_stream(), dx, dscale, rows, width, dy));
    float *got = taken(dy, count, skew);
    for (int64_t i = 0; i < count; i++)
        check_close("add_scaled", i / width, i % width, (double)got[i], (double)y[i],
                    1.2e-7 * (fabs((double)y[i]) + fabs((double)scale[i % width] * (double)x[i])));
    harness_free(dx - skew);
    harness_free(dscale - skew);
    free(x);
    free(scale);
    free(y);
    free(got);
}

static void test_add_scaled(void **state)
{
    (void)state;
    for (int i = 0; i < WIDTHS; i++)
        for (int64_t skew = 0; skew <= 1; skew++)
            check_add_scaled(rows_for(widths[i]), widths[i], skew);
    check_add_scaled(0, 64, 0);
    check_add_scaled(8 * 4096 + 3, 2, 0);
}

/* ---- Embedding and patches -------------------------------------------------------------------------------------- */

/* Rounded to 16 bits as on the host; saturated where the format ends. */
static uint16_t narrowed(nn_storage storage, float value)
{
    float most = storage == NN_F16 ? 65504.0f : nn_bf16_to_f32(0x7f7f);
    float finite = value > most ? most : value < -most ? -most : value;
    return storage == NN_F16 ? nn_f32_to_f16(finite) : nn_f32_to_bf16(finite);
}

/* The matrix's elements with rows `stride` apart, on the device. */
static void *stored(const float *values, int64_t rows, int64_t columns, int64_t stride, nn_storage storage)
{
    size_t size = storage == NN_F32 ? sizeof(float) : sizeof(uint16_t);
    char *all = calloc((size_t)(rows * stride) + 1, size);
    for (int64_t t = 0; t < rows; t++)
        for (int64_t i = 0; i < columns; i++) {
            uint16_t half = narrowed(storage, values[t * columns + i]);
            memcpy(all + (size_t)(t * stride + i) * size,
                   storage == NN_F32 ? (const void *)&values[t * columns + i] : &half, size);
        }
    void *device = harness_upload(all, (size_t)(rows * stride) * size);
    free(all);
    return device;
}

static void check_embed(nn_storage storage, int64_t rows, int64_t columns, int64_t count)
{
    more_error error = {""};
    nn_matrix *matrix;
    float *values = random_floats(rows * columns, 4.0f), *expected = random_floats(count * columns, 0.0f);
    int32_t *ids = calloc((size_t)count + 1, sizeof *ids);
    for (int64_t i = 0; i < count; i++)
        ids[i] = (int32_t)(i ? random_int(0, rows - 1) : rows - 1);
    assert_int_equal(nn_matrix_pack(host.nn, values, rows, columns, storage, &matrix, &error), 0);
    nn_matrix_rows(host.nn, matrix, ids, count, expected);
    nn_matrix_free(host.nn, matrix);

    int64_t stride = (columns + 7) / 8 * 8;
    void *device = stored(values, rows, columns, stride, storage);
    nn_cuda_matrix on_device = {device, storage, rows, columns, stride};
    int32_t *dids = harness_upload(ids, (size_t)count * sizeof *ids);
    float *drows = room(count * columns, 0);
    harness_check(table->embed(harness_stream(), &on_device, dids, count, drows));
    float *got = taken(drows, count * columns, 0);
    assert_memory_equal(got, expected, (size_t)(count * columns) * sizeof(float));
    harness_free(device);
    harness_free(dids);
    free(values);
    free(expected);
    free(ids);
    free(got);
}

static void test_embed(void **state)
{
    (void)state;
    for (int storage = NN_F32; storage < NN_FLOATS; storage++)
        for (int i = 0; i < WIDTHS; i++)
            check_embed((nn_storage)storage, widths[i] > 1200 ? 3 : 41, widths[i], i % 4 ? random_int(1, 9) : 0);
    check_embed(NN_BF16, 17, 5, 8 * 4096 + 3);
}

static void check_patches(int64_t height, int64_t width, int64_t patch)
{
    int64_t count = (height / patch) * (width / patch) * 3 * patch * patch;
    float *pixels = random_floats(3 * height * width, 1.0f), *expected = random_floats(count, 0.0f);
    nn_patches(host.nn, pixels, height, width, patch, expected);
    float *dpixels = put(pixels, 3 * height * width, 0), *dpatches = room(count, 0);
    harness_check(table->patches(harness_stream(), dpixels, height, width, patch, dpatches));
    float *got = taken(dpatches, count, 0);
    assert_memory_equal(got, expected, (size_t)count * sizeof(float));
    harness_free(dpixels);
    free(pixels);
    free(expected);
    free(got);
}

static void test_patches(void **state)
{
    (void)state;
    check_patches(56, 42, 14);
    check_patches(31, 45, 7);
    check_patches(48, 64, 16);
    check_patches(13, 40, 14);
    check_patches(65, 67, 1);
}

/* ---- Around 16-bit products ------------------------------------------------------------------------------------- */

typedef struct narrowing {
    int64_t rows, columns, x_stride, y_stride, skew;
} narrowing;

static float *floats_of_all_kinds(int64_t count)
{
    static const float edges[] = {65504.0f,   65519.99f, 65520.0f,  -65520.0f,    1e6f,          INFINITY,
                                  -INFINITY,  NAN,       -NAN,      0.0f,         -0.0f,         0x1p-24f,
                                  0x1p-25f,   -0x1p-25f, 0x1p-26f,  0x1.8p-24f,   0x1.002p-14f,  0x1.ffcp-15f,
                                  0x1.ffep0f, FLT_MAX,   -FLT_MAX,  0x1.fep127f,  0x1.feffp127f, 0x1.ffp127f,
                                  0x1p-133f,  0x1p-134f, 0x1p-149f, -0x1.8p-133f, 0x1.01p0f,     0x1.03p0f};
    float *values = random_floats(count, 1.0f);
    for (int64_t i = 0; i < count; i++) {
        if (i % 3 == 0)
            values[i] = nn_f32_from_bits((uint32_t)(random_bits() >> 32));
        else if (i % 3 == 1)
            values[i] = edges[random_int(0, (int64_t)(sizeof edges / sizeof *edges) - 1)];
        else
            values[i] *= (float)exp2((double)random_int(-26, 17));
    }
    return values;
}

static bool half_is_nan(nn_storage storage, uint16_t half)
{
    return isnan(storage == NN_F16 ? nn_f16_to_f32(half) : nn_bf16_to_f32(half));
}

static void check_narrow(const narrowing *n, nn_storage storage)
{
    int64_t stride = n->x_stride ? n->x_stride : n->columns;
    int64_t count = n->rows ? (n->rows - 1) * stride + n->columns : 0;
    float *x = floats_of_all_kinds(count), *dx = put(x, count, n->skew);
    size_t bytes = (size_t)(n->rows * n->y_stride) * sizeof(uint16_t);
    uint16_t *y = malloc(bytes + 1);
    void *dy = harness_alloc(bytes);
    harness_check(table->narrow(harness_stream(), dx, n->rows, n->columns, n->x_stride, storage, dy, n->y_stride));
    harness_download(y, dy, bytes);
    for (int64_t t = 0; t < n->rows; t++)
        for (int64_t i = 0; i < n->y_stride; i++) {
            float value = i < n->columns ? x[t * stride + i] : 0.0f;
            uint16_t got = y[t * n->y_stride + i], expected = narrowed(storage, value);
            if (isnan(value) ? !half_is_nan(storage, got) : got != expected)
                fail_msg("%a at [%lld, %lld] became 0x%04x, not 0x%04x", (double)value, (long long)t, (long long)i, got,
                         expected);
        }
    harness_free(dx - n->skew);
    harness_free(dy);
    free(x);
    free(y);
}

static void test_narrow(void **state)
{
    (void)state;
    for (int i = 0; i < WIDTHS; i++)
        for (int way = 0; way < 4; way++) {
            int64_t columns = widths[i], y_stride = (columns + 7) / 8 * 8;
            narrowing n = {rows_for(columns), columns, 0, y_stride, 0};
            n.x_stride = way == 1 ? columns + 1 : way == 2 ? (columns + 7) / 4 * 4 : 0;
            n.y_stride += way == 2 ? 8 : 0;
            n.skew = way == 3;
            check_narrow(&n, NN_F16);
            check_narrow(&n, NN_BF16);
        }
    narrowing none = {0, 64, 0, 64, 0}, many = {8 * 4096 + 3, 4, 0, 8, 0};
    check_narrow(&none, NN_F16);
    check_narrow(&many, NN_BF16);
}

enum { NO_RESIDUAL, OWN_RESIDUAL, Y_AS_RESIDUAL, RESIDUALS };

typedef struct finishing {
    int64_t rows, columns, x_stride, y_stride, skew;
    nn_activation activation;
    bool bias, in_place;
    int residual; /* above */
} finishing;

/* The formula on the host, over y as it was before. */
static void finish_on_host(const finishing *f, const float *x, const float *bias, const float *residual, float *y)
{
    float *row = random_floats(f->columns, 0.0f);
    for (int64_t t = 0; t < f->rows; t++) {
        for (int64_t i = 0; i < f->columns; i++)
            row[i] = x[t * f->x_stride + i] + (f->bias ? bias[i] : 0.0f);
        nn_activate(host.nn, f->activation, row, f->columns, row);
        for (int64_t i = 0; i < f->columns; i++)
            y[t * f->y_stride + i] = row[i] + (f->residual ? residual[t * f->y_stride + i] : 0.0f);
    }
    free(row);
}

static void check_finish(const finishing *f)
{
    int64_t x_count = f->rows * f->x_stride, y_count = f->rows * f->y_stride;
    float *x = random_floats(x_count, 4.0f), *bias = random_floats(f->columns, 1.0f);
    float *before = f->in_place ? copied(x, x_count) : random_floats(y_count, 4.0f);
    float *other = f->residual == OWN_RESIDUAL ? random_floats(y_count, 4.0f) : copied(before, y_count);
    float *expected = copied(before, y_count);
    finish_on_host(f, x, bias, other, expected);

    float *dx = put(x, x_count, f->skew), *dy = f->in_place ? dx : put(before, y_count, f->skew);
    float *dbias = put(bias, f->columns, f->skew), *dother = put(other, y_count, f->skew);
    const float *residuals[RESIDUALS] = {NULL, dother, dy};
    harness_check(table->finish(harness_stream(), dx, f->rows, f->columns, f->x_stride, f->bias ? dbias : NULL,
                                f->activation, residuals[f->residual], dy, f->y_stride));
    float *y = taken(dy, y_count, f->skew);
    for (int64_t i = 0; i < y_count; i++)
        check_close("finish", i / f->y_stride, i % f->y_stride, (double)y[i], (double)expected[i],
                    i % f->y_stride < f->columns ? 2e-6 + 1e-6 * fabs((double)expected[i]) : 0.0);
    if (!f->in_place)
        harness_free(dx - f->skew);
    harness_free(dbias - f->skew);
    harness_free(dother - f->skew);
    free(x);
    free(bias);
    free(before);
    free(other);
    free(expected);
    free(y);
}

static void test_finish(void **state)
{
    (void)state;
    for (int i = 0; i < WIDTHS; i++)
        for (int way = 0; way < 2 * RESIDUALS; way++) {
            int64_t columns = widths[i];
            finishing f = {rows_for(columns), columns, columns, columns, 0, NN_IDENTITY, false, false, way % RESIDUALS};
            f.activation = (nn_activation)random_int(NN_IDENTITY, NN_SILU);
            f.x_stride += random_int(0, 1) * 4 + (way == 4);
            f.y_stride += random_int(0, 1) * 8;
            f.skew = way == 5;
            f.bias = random_int(0, 1);
            f.in_place = random_int(0, 1);
            if (f.in_place)
                f.y_stride = f.x_stride;
            check_finish(&f);
        }
    finishing none = {0, 64, 64, 64, 0, NN_SILU, true, false, OWN_RESIDUAL}, many = none;
    many.rows = 8 * 4096 + 3;
    many.columns = many.x_stride = many.y_stride = 4;
    check_finish(&none);
    check_finish(&many);
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
        cmocka_unit_test(test_activate),   cmocka_unit_test(test_extreme_activations),
        cmocka_unit_test(test_glu),        cmocka_unit_test(test_elements),
        cmocka_unit_test(test_add_scaled), cmocka_unit_test(test_embed),
        cmocka_unit_test(test_patches),    cmocka_unit_test(test_narrow),
        cmocka_unit_test(test_finish),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
