/* SPDX-License-Identifier: Apache-2.0
 *
 * Number formats: every f16 and bf16 value, and rounding against a search for the nearest.
 */
#include "weights/convert.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static double value_of(uint16_t bits, bool bf16)
{
    int exponent_bits = bf16 ? 8 : 5, fraction_bits = bf16 ? 7 : 10;
    int bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1), fraction = bits & ((1 << fraction_bits) - 1);
    double sign = bits & 0x8000 ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1)
        return fraction ? NAN : sign * INFINITY;
    if (!exponent)
        return sign * ldexp(fraction, 1 - bias - fraction_bits);
    return sign * ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
}

/* All 65,536 values of both formats survive the way through f32. */
static void test_all_halves(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            uint16_t bits = (uint16_t)i;
            double want = value_of(bits, bf16);
            float got = bf16 ? core_bf16_to_f32(bits) : core_f16_to_f32(bits);
            uint16_t back = bf16 ? core_f32_to_bf16(got) : core_f32_to_f16(got);
            if (isnan(want)) {
                assert_true(isnan(got));
                assert_true(isnan(value_of(back, bf16)));
            } else {
                assert_true((double)got == want && !signbit(got) == !(bits & 0x8000));
                assert_int_equal(back, bits);
            }
        }
}

/* The bits nearest to a positive number, ties to even, from the ordered list of all. */
static uint16_t nearest(double number, bool bf16)
{
    uint16_t low = 0, high = bf16 ? 0x7f80 : 0x7c00;
    while (high - low > 1) {
        uint16_t middle = (uint16_t)((low + high) / 2);
        if (value_of(middle, bf16) <= number)
            low = middle;
        else
            high = middle;
    }
    bool top = isinf(value_of(high, bf16)); /* infinity counts as the next number would */
    double above = top ? 2 * value_of(low, bf16) - value_of((uint16_t)(low - 1), bf16) : value_of(high, bf16);
    double down = number - value_of(low, bf16), up = above - number;
    return down < up || (down == up && !(low & 1)) ? low : high;
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 11;
}

static void check(double number)
{
    double sides[2] = {number, -number};
    for (int side = 0; side < 2; side++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            uint16_t want = (uint16_t)(nearest(number, bf16) | (side ? 0x8000 : 0)), got = 0;
            float narrow = (float)sides[side];
            assert_true(
                core_convert("f64", (const unsigned char *)&sides[side], 1, 1, bf16 ? more_bf16() : more_f16(), &got));
            assert_int_equal(got, want);
            want = (uint16_t)(nearest(fabs((double)narrow), bf16) | (side ? 0x8000 : 0));
            assert_true(
                core_convert("f32", (const unsigned char *)&narrow, 1, 1, bf16 ? more_bf16() : more_f16(), &got));
            assert_int_equal(got, want);
        }
}

static void test_rounding(void **state)
{
    (void)state;
    uint64_t random = 1;
    for (uint32_t i = 0; i < 0x7bff; i += 3) { /* ties, and a hair beside them that one rounding to f32 would lose */
        double tie = (value_of((uint16_t)i, false) + value_of((uint16_t)(i + 1), false)) / 2;
        check(tie);
        check(tie * (1 + 0x1p-45));
        check(tie * (1 - 0x1p-45));
    }
    for (int i = 0; i < 20000; i++)
        check(ldexp((double)next_random(&random) * 0x1p-53 + 1, (int)(next_random(&random) % 60) - 40));
    check(65519.999);
    check(65520.0);
    check(1e30);
    check(3.4e38);
    check(0.0);
    check(0x1p-25);
    check(0x1p-149);
}

static void test_strides_and_alignment(void **state)
{
    (void)state;
    const unsigned char bytes[] = {0xaa, 0x00, 0x3c, 0x00, 0x40, 0x00, 0x42, 0x00, 0x44}; /* 1 2 3 4 at an odd place */
    float out[4] = {0};
    uint16_t half[2] = {0};
    assert_true(core_convert("f16", bytes + 1, 1, 4, more_f32(), out));
    assert_true(out[0] == 1 && out[1] == 2 && out[2] == 3 && out[3] == 4);
    assert_true(core_convert("f16", bytes + 1, 2, 2, more_f32(), out));
    assert_true(out[0] == 1 && out[1] == 3);
    assert_true(core_convert("f16", bytes + 3, 2, 2, more_f16(), half));
    assert_true(half[0] == 0x4000 && half[1] == 0x4400);
    assert_true(core_convert("f16", bytes + 1, 3, 2, more_bf16(), half));
    assert_true(half[0] == 0x3f80 && half[1] == 0x4080);
    assert_false(core_convert("i64", bytes, 1, 1, more_f32(), out));
    assert_false(core_convert("f16", bytes, 1, 1, more_i32(), out));
}

static void test_formats(void **state)
{
    (void)state;
    assert_int_equal(core_format_width("f64"), 8);
    assert_int_equal(core_format_width("bf16"), 2);
    assert_int_equal(core_format_width("bool"), 1);
    assert_int_equal(core_format_width("f8"), 0);
    assert_true(core_format_is_float("bf16"));
    assert_false(core_format_is_float("i32"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_halves),
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_strides_and_alignment),
        cmocka_unit_test(test_formats),
    };
    return cmocka_run_group_tests_name("convert", tests, NULL, NULL);
}
