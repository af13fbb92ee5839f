/* SPDX-License-Identifier: Apache-2.0
 *
 * Norms, activations, softmax, element-wise operators, rotary embedding and patches against double precision, in every
 * kernel variant.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/kernels.h"
#include "half.h"

static int64_t random_width(void)
{
    static const int64_t widths[] = {1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 33, 48, 63, 64, 65, 100, 129, 1024, 1152, 4097};
    return widths[random_int(0, 19)];
}

/* ---- Activations ------------------------------------------------------------------------------------------------ */

static void activations(bench *b)
{
    enum { COUNT = 20011 };
    float *x = guarded(COUNT), *y = guarded(COUNT);
    for (int a = NN_IDENTITY; a <= NN_SILU; a++) {
        for (int i = 0; i < COUNT; i++)
            x[i] = i % 2 ? random_float(12.0f) : random_float(1.0f) * (float)exp2((double)random_int(-40, 5));
        nn_activate(b->nn, (nn_activation)a, x, COUNT, y);
        for (int i = 0; i < COUNT; i++) {
            double expected = activation_of((nn_activation)a, (double)x[i]);
            /* Left of 0 exp's argument, which grows with x^2 or x^3, carries half a unit in its last place, and what is
             * near 1/2 is taken from 1/2; measured against x itself that is nothing. */
            double size = fabs(expected), power = (double)x[i] * (double)x[i];
            if (a == NN_GELU_TANH)
                power += 0.1 * fabs((double)x[i]) * power;
            double relative = x[i] >= 0.0f ? 4e-7 : 8e-7 + 1.5e-7 * power;
            check_close("activation", a, i, (double)y[i], expected, size * relative + 1e-36);
            check_close("activation", a, i, (double)y[i], expected, size * 4e-7 + fabs((double)x[i]) * 6e-8 + 1e-36);
        }
        nn_activate(b->nn, (nn_activation)a, x, COUNT, x);
        assert_memory_equal(x, y, COUNT * sizeof(float));
    }
    check_guards(x, COUNT);
    check_guards(y, COUNT);
}

static void test_activations(void **state)
{
    (void)state;
    for_each_variant(activations);
}

static void extreme_activations(bench *b)
{
    for (int a = NN_GELU_ERF; a <= NN_SILU; a++) {
        float x[5] = {0.0f, 100.0f, -100.0f, 3e38f, NAN}, y[5];
        nn_activate(b->nn, (nn_activation)a, x, 5, y);
        assert_true(y[0] == 0.0f);
        assert_true(y[1] == 100.0f);
        assert_true(fabsf(y[2]) < 1e-30f);
        assert_true(y[3] == 3e38f);
        assert_true(isnan(y[4]));
    }
}

static void test_extreme_activations(void **state)
{
    (void)state;
    for_each_variant(extreme_activations);
}

static void glus(bench *b)
{
    for (int i = 0; i < 8; i++) {
        int64_t rows = random_int(0, 9), width = random_width();
        nn_activation a = (nn_activation)random_int(NN_IDENTITY, NN_SILU);
        float *x = guarded_random(2 * rows * width, 4.0f), *y = guarded(rows * width);
        nn_glu(b->nn, a, x, rows, width, y);
        for (int64_t t = 0; t < rows; t++)
            for (int64_t k = 0; k < width; k++) {
                double gate = activation_of(a, (double)x[2 * t * width + k]), up = (double)x[(2 * t + 1) * width + k];
                check_close("glu", t, k, (double)y[t * width + k], gate * up, fabs(gate * up) * 2e-6 + 1e-30);
            }
        check_guards(x, 2 * rows * width);
        check_guards(y, rows * width);
    }
}

static void test_glu(void **state)
{
    (void)state;
    for_each_variant(glus);
}

static void add_and_scale(bench *b)
{
    for (int i = 0; i < 8; i++) {
        int64_t count = i ? random_width() * random_int(1, 30) : 0;
        float *x = guarded_random(count, 4.0f), *y = guarded_random(count, 4.0f), *before = guarded(count);
        memcpy(before, y, (size_t)count * sizeof(float));
        nn_add(b->nn, x, count, y);
        for (int64_t k = 0; k < count; k++)
            assert_true(y[k] == before[k] + x[k]);
        memcpy(before, y, (size_t)count * sizeof(float));
        nn_scale(b->nn, 1.7f, count, y);
        for (int64_t k = 0; k < count; k++)
            assert_true(y[k] == before[k] * 1.7f);
        check_guards(x, count);
        check_guards(y, count);
        check_guards(before, count);
    }
}

static void softcap(bench *b)
{
    static const float caps[] = {0.3f, 30.0f, 50.0f};
    for (int i = 0; i < 9; i++) {
        int64_t count = i < 6 ? random_int(0, 70) : random_int(5000, 20000);
        float cap = caps[i % 3], *y = guarded_random(count, 4.0f * cap), *x = guarded(count);
        memcpy(x, y, (size_t)count * sizeof *x);
        nn_softcap(b->nn, cap, count, y);
        for (int64_t k = 0; k < count; k++) {
            double expected = (double)cap * tanh((double)x[k] / (double)cap);
            check_close("softcap", 0, k, (double)y[k], expected, 4e-7 * fabs(expected) + 1e-12);
        }
        check_guards(x, count);
        check_guards(y, count);
    }
}

static void test_softcap(void **state)
{
    (void)state;
    for_each_variant(softcap);
}

static void test_add_and_scale(void **state)
{
    (void)state;
    for_each_variant(add_and_scale);
}

/* ---- Norms and softmax ------------------------------------------------------------------------------------------ */

/* Moments of a row in double: mean, and mean square around `center`. */
static double mean_of(const float *x, int64_t width)
{
    double sum = 0.0;
    for (int64_t k = 0; k < width; k++)
        sum += (double)x[k];
    return sum / (double)width;
}

static double square_of(const float *x, int64_t width, double center)
{
    double sum = 0.0;
    for (int64_t k = 0; k < width; k++)
        sum += ((double)x[k] - center) * ((double)x[k] - center);
    return sum / (double)width;
}

static void norms(bench *b)
{
    for (int i = 0; i < 16; i++) {
        int64_t rows = random_int(0, 9), width = random_width();
        float *x = guarded_random(rows * width, 4.0f), *y = guarded(rows * width), *z = guarded(rows * width);
        float *weight = guarded_random(width, 2.0f), *bias = guarded_random(width, 2.0f);
        float offset = (float)random_int(0, 1);
        nn_layer_norm(b->nn, x, rows, width, weight, bias, 1e-5f, y);
        nn_rms_norm(b->nn, x, rows, width, weight, offset, 1e-6f, z);
        for (int64_t t = 0; t < rows; t++) {
            const float *row = x + t * width;
            double mean = mean_of(row, width), layer = 1.0 / sqrt(square_of(row, width, mean) + 1e-5);
            double rms = 1.0 / sqrt(square_of(row, width, 0.0) + 1e-6);
            for (int64_t k = 0; k < width; k++) {
                double normed = ((double)row[k] - mean) * layer * (double)weight[k] + (double)bias[k];
                check_close("layer_norm", t, k, (double)y[t * width + k], normed,
                            1e-6 * (fabs(normed) + 4.0 * layer + fabs((double)bias[k])));
                double scaled = (double)row[k] * rms * ((double)offset + (double)weight[k]);
                check_close("rms_norm", t, k, (double)z[t * width + k], scaled, 1e-6 * fabs(scaled) + 1e-7 * rms);
            }
        }
        nn_layer_norm(b->nn, x, rows, width, weight, bias, 1e-5f, x);
        assert_memory_equal(x, y, (size_t)(rows * width) * sizeof(float));
        check_guards(x, rows * width);
        check_guards(y, rows * width);
        check_guards(z, rows * width);
        check_guards(weight, width);
        check_guards(bias, width);
    }
}

static void test_norms(void **state)
{
    (void)state;
    for_each_variant(norms);
}

static void softmaxes(bench *b)
{
    for (int i = 0; i < 12; i++) {
        int64_t rows = random_int(0, 9), width = random_width();
        float *x = guarded_random(rows * width, i % 2 ? 3.0f : 60.0f), *y = guarded(rows * width);
        memcpy(y, x, (size_t)(rows * width) * sizeof(float));
        nn_softmax(b->nn, y, rows, width);
        for (int64_t t = 0; t < rows; t++) {
            double largest = -1e30, sum = 0.0;
            for (int64_t k = 0; k < width; k++)
                largest = fmax(largest, (double)x[t * width + k]);
            for (int64_t k = 0; k < width; k++)
                sum += exp((double)x[t * width + k] - largest);
            for (int64_t k = 0; k < width; k++) {
                double expected = exp((double)x[t * width + k] - largest) / sum;
                check_close("softmax", t, k, (double)y[t * width + k], expected, 8e-6 * expected + 1e-36);
            }
        }
        check_guards(x, rows * width);
        check_guards(y, rows * width);
    }
}

static void test_softmax(void **state)
{
    (void)state;
    for_each_variant(softmaxes);
}

/* ---- Rotary ----------------------------------------------------------------------------------------------------- */

static void rotations(bench *b)
{
    static const int64_t dimensions[] = {2, 12, 20, 64, 72, 96, 128, 256};
    for (int i = 0; i < 10; i++) {
        int64_t rows = random_int(0, 9), heads = random_int(1, 5), d = dimensions[random_int(0, 7)];
        int64_t rotated = i % 2 ? d : d / 4 / 2 * 2 + 2 * (d < 8), stride = heads * d + 5 * (i % 3);
        float frequencies[128], factor = i % 3 ? 1.0f : 1.19024f;
        int64_t positions[9];
        float *x = guarded_random(rows * stride, 2.0f), *y = guarded(rows * stride);
        memcpy(y, x, (size_t)(rows * stride) * sizeof(float));
        nn_rotary_frequencies(i % 2 ? 10000.0 : 500000.0, rotated, frequencies);
        for (int64_t t = 0; t < rows; t++)
            positions[t] = random_int(0, 9000);
        nn_rotary(b->nn, y, rows, i % 3 ? stride : 0, heads, d, rotated, frequencies, positions, factor);
        for (int64_t j = 0; j < rows * stride; j++) {
            int64_t row = j / stride, column = j % stride, pair = column % d;
            if (column >= heads * d || pair >= rotated) {
                assert_true(y[j] == x[j]);
                continue;
            }
            float angle = (float)positions[row] * frequencies[pair % (rotated / 2)]; /* in f32, as the reference */
            double c = cos((double)angle) * (double)factor, s = sin((double)angle) * (double)factor;
            bool second = pair >= rotated / 2;
            double other = (double)x[second ? j - rotated / 2 : j + rotated / 2];
            check_close("rotary", row, column, (double)y[j], (double)x[j] * c + (second ? other : -other) * s, 1.2e-6);
        }
        check_guards(x, rows * stride);
        check_guards(y, rows * stride);
    }
}

static void test_rotary(void **state)
{
    (void)state;
    for_each_variant(rotations);
}

/* The bands of LLaMA-3.1's rule (LLAVA_MORE.md, 7), with its numbers. */
static void test_rotary_llama3(void **state)
{
    (void)state;
    float plain[64], scaled[64];
    int kept = 0, divided = 0, blended = 0;
    nn_rotary_frequencies(500000.0, 128, plain);
    memcpy(scaled, plain, sizeof plain);
    nn_rotary_scale_llama3(scaled, 64, 8.0, 1.0, 4.0, 8192.0);
    for (int i = 0; i < 64; i++) {
        double frequency = pow(500000.0, -2.0 * i / 128.0), wavelength = 2.0 * 3.14159265358979323846 / frequency;
        check_close("frequency", 0, i, (double)plain[i], frequency, 2e-7 * frequency);
        double s = (8192.0 / wavelength - 1.0) / 3.0, expected = (1.0 - s) * frequency / 8.0 + s * frequency;
        if (wavelength < 2048.0) {
            kept += scaled[i] == plain[i];
            expected = frequency;
        } else if (wavelength > 8192.0) {
            divided += scaled[i] == plain[i] / 8.0f;
            expected = frequency / 8.0;
        } else {
            blended++;
        }
        check_close("llama3", 0, i, (double)scaled[i], expected, 2e-6 * expected);
    }
    assert_true(kept > 20 && divided > 20 && blended > 3);
    assert_int_equal(kept + divided + blended, 64);
}

/* LongRoPE's rule with Phi-4-mini's numbers: 96 of 128 channels turn, trained at 4,096 rows, stretched to 131,072. */
static void test_rotary_long(void **state)
{
    (void)state;
    float factors[48], frequencies[48], plain[48];
    for (int i = 0; i < 48; i++)
        factors[i] = 1.0f + 0.75f * (float)i;
    nn_rotary_frequencies_long(10000.0, 96, factors, frequencies);
    for (int i = 0; i < 48; i++) {
        double expected = pow(10000.0, -2.0 * i / 96.0) / (1.0 + 0.75 * i);
        check_close("longrope", 0, i, (double)frequencies[i], expected, 3e-7 * expected);
        factors[i] = 1.0f;
    }
    nn_rotary_frequencies_long(10000.0, 96, factors, frequencies);
    nn_rotary_frequencies(10000.0, 96, plain);
    assert_memory_equal(frequencies, plain, sizeof plain);
    check_close("attention factor", 0, 0, nn_rotary_attention_factor(131072.0, 4096.0), 1.1902380714238083, 1e-12);
    assert_true(nn_rotary_attention_factor(4096.0, 4096.0) == 1.0);
}

/* ---- Patches and halves ----------------------------------------------------------------------------------------- */

static void patches(bench *b)
{
    for (int i = 0; i < 6; i++) {
        int64_t patch = random_int(1, 9), height = random_int(patch, 40), width = random_int(patch, 40);
        int64_t down = height / patch, across = width / patch, size = 3 * patch * patch;
        float *pixels = guarded_random(3 * height * width, 1.0f), *cut = guarded(down * across * size);
        nn_patches(b->nn, pixels, height, width, patch, cut);
        for (int64_t j = 0; j < down * across * size; j++) {
            int64_t at = j % size, y = j / size / across * patch + at / patch % patch;
            int64_t x = j / size % across * patch + at % patch, channel = at / (patch * patch);
            assert_true(cut[j] == pixels[(channel * height + y) * width + x]);
        }
        check_guards(pixels, 3 * height * width);
        check_guards(cut, down * across * size);
    }
}

static void test_patches(void **state)
{
    (void)state;
    for_each_variant(patches);
}

/* Every 16-bit pattern survives f32, and what lies between two goes to the nearer, at equal distance to the even. */
static void test_halves(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        uint16_t half = (uint16_t)bits;
        float f = nn_f16_to_f32(half), g = nn_bf16_to_f32(half);
        if (isnan(f))
            assert_true(isnan(nn_f16_to_f32(nn_f32_to_f16(f))));
        else
            assert_int_equal(nn_f32_to_f16(f), half);
        if (isnan(g))
            assert_true(isnan(nn_bf16_to_f32(nn_f32_to_bf16(g))));
        else
            assert_int_equal(nn_f32_to_bf16(g), half);
        if ((bits & 0x7fffu) < 0x7bffu) {
            float above = nn_f16_to_f32((uint16_t)(half + 1)), middle = (f + above) / 2.0f;
            assert_int_equal(nn_f32_to_f16(middle), bits % 2 ? half + 1 : half);
            assert_int_equal(nn_f32_to_f16(nextafterf(middle, f)), half);
            assert_int_equal(nn_f32_to_f16(nextafterf(middle, above)), half + 1);
        }
    }
    assert_int_equal(nn_f32_to_f16(65519.0f), 0x7bff);
    assert_int_equal(nn_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(nn_f32_to_f16(1e-30f), 0);
}

/* Every 16-bit pattern through the vector conversions of every variant. */
static void widened(bench *b)
{
    const char *reason;
    const nn_kernels *kernels = nn_kernels_select(nn_context_kernels(b->nn), &reason);
    uint16_t *halves = malloc(65536 * sizeof *halves);
    float *values = guarded(65536);
    assert_non_null(halves);
    for (int i = 0; i < 65536; i++)
        halves[i] = (uint16_t)i;
    for (int kind = NN_F16; kind <= NN_BF16; kind++) {
        kernels->widen[kind](halves, 65536, values);
        for (int i = 0; i < 65536; i++) {
            float expected = kind == NN_F16 ? nn_f16_to_f32(halves[i]) : nn_bf16_to_f32(halves[i]);
            if (isnan(expected))
                assert_true(isnan(values[i]));
            else
                assert_int_equal(nn_f32_bits(values[i]), nn_f32_bits(expected));
        }
    }
    check_guards(values, 65536);
    free(halves);
}

static void test_widen(void **state)
{
    (void)state;
    for_each_variant(widened);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_activations),   cmocka_unit_test(test_extreme_activations),
        cmocka_unit_test(test_glu),           cmocka_unit_test(test_add_and_scale),
        cmocka_unit_test(test_softcap),       cmocka_unit_test(test_norms),
        cmocka_unit_test(test_softmax),       cmocka_unit_test(test_rotary),
        cmocka_unit_test(test_rotary_llama3), cmocka_unit_test(test_rotary_long),
        cmocka_unit_test(test_patches),       cmocka_unit_test(test_halves),
        cmocka_unit_test(test_widen),
    };
    seed_random();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
