/* SPDX-License-Identifier: Apache-2.0
 *
 * What kernels may use of CUDA's language, against what its manuals say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "device.h"
#include "language.h"

/* ---- Threads ----------------------------------------------------------------------------------------------------- */

static void check_indices(void *stream, language_shape grid, language_shape block)
{
    size_t count = (size_t)grid.x * grid.y * grid.z * block.x * block.y * block.z;
    uint32_t *ids = malloc(count * sizeof *ids), *device = device_room(count * sizeof *ids);
    assert_non_null(ids);
    assert_int_equal(language_indices(stream, grid, block, 0, device), 0);
    device_take(stream, device, ids, count * sizeof *ids);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(ids[i], i + 1);
    free(ids);
}

static void test_indices(void **state)
{
    static const language_shape shapes[][2] = {{{1, 1, 1}, {1, 1, 1}},    {{3, 2, 5}, {7, 3, 2}},
                                               {{1, 1, 1}, {1024, 1, 1}}, {{2, 1, 1}, {1, 1024, 1}},
                                               {{1, 7, 1}, {4, 4, 64}},   {{4000, 1, 1}, {33, 1, 1}}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_indices(*state, shapes[i][0], shapes[i][1]);
}

static void test_impossible_launches(void **state)
{
    static const struct {
        language_shape grid, block;
        size_t shared;
        int error;
    } launches[] = {
        {{0, 1, 1}, {1, 1, 1}, 0, 9},           {{1, 65536, 1}, {1, 1, 1}, 0, 9}, {{1, 1, 65536}, {1, 1, 1}, 0, 9},
        {{0x80000000u, 1, 1}, {1, 1, 1}, 0, 9}, {{1, 1, 1}, {0, 1, 1}, 0, 9},     {{1, 1, 1}, {1025, 1, 1}, 0, 9},
        {{1, 1, 1}, {1, 1, 65}, 0, 9},          {{1, 1, 1}, {32, 33, 1}, 0, 9},   {{1, 1, 1}, {65536, 65536, 1}, 0, 9},
        {{1, 1, 1}, {1, 1, 1}, 232449, 1},      {{1, 1, 1}, {1, 1, 1}, 232448, 0}};
    uint32_t *ids = device_room(4);
    for (size_t i = 0; i < sizeof launches / sizeof *launches; i++)
        assert_int_equal(language_indices(*state, launches[i].grid, launches[i].block, launches[i].shared, ids),
                         launches[i].error);
    assert_int_equal(language_indices(ids, launches[10].grid, launches[10].block, 0, ids), 400); /* no stream */
    device_free(ids);
}

static void test_shared(void **state)
{
    float x[1024], y[1024];
    static const unsigned sizes[] = {2, 31, 32, 33, 64, 1000, 1024};
    for (int i = 0; i < 1024; i++)
        x[i] = (float)i;
    for (size_t k = 0; k < 2 * sizeof sizes / sizeof *sizes; k++) {
        unsigned threads = sizes[k / 2];
        size_t bytes = threads * sizeof *x;
        float *from = device_put(*state, x, bytes), *to = device_room(bytes);
        assert_int_equal(language_rotate(*state, k % 2 != 0, from, threads, to), 0);
        device_take(*state, to, y, bytes);
        device_free(from);
        for (unsigned i = 0; i < threads; i++)
            assert_true(y[i] == x[(i + 2) % threads]);
    }
}

/* ---- Warps ------------------------------------------------------------------------------------------------------- */

/* PTX's shfl.sync in its own terms: c is made of width as CUDA's headers do. */
static int shuffled_from(int kind, int lane, int b, int width)
{
    int mask = 32 - width, clamp = kind == 1 ? 0 : 31;
    int last = (lane & mask) | (clamp & ~mask), first = lane & mask, source = 0;
    int inside = 0;
    b &= 31;
    switch (kind) {
    case 0:
        source = first | (b & ~mask);
        inside = source <= last;
        break;
    case 1:
        source = lane - b;
        inside = source >= last;
        break;
    case 2:
        source = lane + b;
        inside = source <= last;
        break;
    default:
        source = lane ^ b;
        inside = source <= last;
    }
    return inside ? source : lane;
}

static void test_shuffles(void **state)
{
    int out[32];
    for (int kind = 0; kind < 4; kind++)
        for (int width = 1; width <= 32; width *= 2)
            for (int argument = 0; argument < 32; argument++) {
                int *device = device_room(sizeof out);
                assert_int_equal(language_shuffle(*state, kind, argument, width, device), 0);
                device_take(*state, device, out, sizeof out);
                for (int lane = 0; lane < 32; lane++)
                    assert_int_equal(out[lane] - 100, shuffled_from(kind, lane, argument, width));
            }
}

static void test_halves(void **state)
{
    float out[32], *device = device_room(sizeof out);
    assert_int_equal(language_halves(*state, device), 0);
    device_take(*state, device, out, sizeof out);
    for (int lane = 0; lane < 32; lane++)
        assert_true(out[lane] == (lane < 16 ? 120.0f : 376.0f));
}

static void test_votes(void **state)
{
    static const unsigned masks[] = {0xffffffffu, 0xffffu, 0x80000001u, 0x10u};
    static const unsigned predicates[] = {0, 0xffffffffu, 0x8001u, 0xfffffffeu, 0x10u};
    unsigned out[3][32];
    for (size_t m = 0; m < sizeof masks / sizeof *masks; m++)
        for (size_t p = 0; p < sizeof predicates / sizeof *predicates; p++) {
            unsigned *device = device_room(sizeof out), ballot = masks[m] & predicates[p];
            assert_int_equal(language_vote(*state, masks[m], predicates[p], device), 0);
            device_take(*state, device, out, sizeof out);
            for (int lane = 0; lane < 32; lane++)
                if (masks[m] >> lane & 1u) {
                    assert_int_equal(out[0][lane], ballot);
                    assert_int_equal(out[1][lane] != 0, ballot != 0);
                    assert_int_equal(out[2][lane] != 0, ballot == masks[m]);
                }
        }
}

static void test_atomics(void **state)
{
    enum { THREADS = 5 * 64 };
    uint32_t out[7] = {0, 0, (uint32_t)-1000000, 1000000, 0, 0xffffffffu, 0};
    float sum = 0.0f;
    uint32_t *numbers = device_put(*state, out, sizeof out);
    float *total = device_put(*state, &sum, sizeof sum);
    assert_int_equal(language_atomics(*state, 5, numbers, total), 0);
    device_take(*state, numbers, out, sizeof out);
    device_take(*state, total, &sum, sizeof sum);
    assert_int_equal((int)out[0], THREADS * (THREADS - 1) / 2 - 100 * THREADS);
    assert_int_equal(out[1], THREADS * (THREADS - 1) / 2);
    assert_int_equal((int)out[2], THREADS - 1 - 100);
    assert_int_equal((int)out[3], -100);
    assert_int_equal(out[4], THREADS + 6);
    assert_int_equal(out[5], 7);
    assert_int_equal(out[6], THREADS * (THREADS - 1) / 2);
    assert_true(sum == THREADS * (THREADS - 1) / 4.0f);
}

/* ---- Tensor cores and copies ------------------------------------------------------------------------------------- */

static void check_mma(void *stream, int bfloat16)
{
    uint16_t a[16][16], b[16][8];
    float c[16][8], d[16][8];
    for (int i = 0; i < 16 * 16; i++) {
        float value = (float)(i * 37 % 101 - 50) / 16.0f;
        a[i / 16][i % 16] = bfloat16 ? language_float_to_bfloat16(value) : language_float_to_half(value);
    }
    for (int i = 0; i < 16 * 8; i++) {
        float value = (float)(i * 53 % 97 - 48) / 32.0f;
        b[i / 8][i % 8] = bfloat16 ? language_float_to_bfloat16(value) : language_float_to_half(value);
        c[i / 8][i % 8] = (float)i - 40.0f;
    }
    void *on_a = device_put(stream, a, sizeof a), *on_b = device_put(stream, b, sizeof b);
    void *on_c = device_put(stream, c, sizeof c), *on_d = device_room(sizeof d);
    assert_int_equal(language_mma(stream, bfloat16, on_a, on_b, on_c, on_d), 0);
    device_take(stream, on_a, a, sizeof a);
    device_take(stream, on_b, b, sizeof b);
    device_take(stream, on_c, c, sizeof c);
    device_take(stream, on_d, d, sizeof d);
    for (int row = 0; row < 16; row++)
        for (int column = 0; column < 8; column++) {
            double sum = (double)c[row][column];
            for (int k = 0; k < 16; k++)
                sum += bfloat16
                           ? (double)language_bfloat16_to_float(a[row][k]) *
                                 (double)language_bfloat16_to_float(b[k][column])
                           : (double)language_half_to_float(a[row][k]) * (double)language_half_to_float(b[k][column]);
            assert_true((double)d[row][column] == sum); /* all of these sums are exact in f32 */
        }
}

static void test_mma(void **state)
{
    check_mma(*state, 0);
    check_mma(*state, 1);
}

static void test_ldmatrix(void **state)
{
    uint16_t matrices[4][8][8];
    uint32_t registers[32][4];
    for (int i = 0; i < 4 * 8 * 8; i++)
        matrices[i / 64][i / 8 % 8][i % 8] = (uint16_t)(1000 + i);
    for (int transposed = 0; transposed < 2; transposed++) {
        void *from = device_put(*state, matrices, sizeof matrices), *to = device_room(sizeof registers);
        assert_int_equal(language_ldmatrix(*state, transposed, from, to), 0);
        device_take(*state, to, registers, sizeof registers);
        device_free(from);
        for (int lane = 0; lane < 32; lane++)
            for (int i = 0; i < 8; i++) {
                int row = lane / 4, column = lane % 4 * 2 + i % 2;
                uint16_t got = (uint16_t)(registers[lane][i / 2] >> i % 2 * 16);
                assert_int_equal(got, transposed ? matrices[i / 2][column][row] : matrices[i / 2][row][column]);
            }
    }
}

static void test_ring(void **state)
{
    enum { THREADS = 40, PIECES = 9 };
    float x[PIECES][THREADS][4], y[PIECES][THREADS][4];
    for (int i = 0; i < PIECES * THREADS * 4; i++)
        x[i / 4 / THREADS][i / 4 % THREADS][i % 4] = (float)(i + 1);
    for (int rest = 0; rest <= 4; rest++) {
        void *from = device_put(*state, x, sizeof x), *to = device_room(sizeof y);
        assert_int_equal(language_ring(*state, THREADS, PIECES, rest, from, to), 0);
        device_take(*state, to, y, sizeof y);
        device_free(from);
        for (int piece = 0; piece < PIECES; piece++)
            for (int i = 0; i < THREADS * 4; i++)
                assert_true(y[piece][i / 4][i % 4] ==
                            (piece == PIECES - 1 && i % 4 >= rest ? 0.0f : x[piece][i / 4][i % 4]));
    }
}

/* ---- Numbers ----------------------------------------------------------------------------------------------------- */

/* Of a 16-bit number, from its fields. */
static double value_of(uint16_t bits, int exponent_bits)
{
    int mantissa_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = bits >> mantissa_bits & ((1 << exponent_bits) - 1), mantissa = bits & ((1 << mantissa_bits) - 1);
    double magnitude = exponent ? ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits)
                                : ldexp(mantissa, 1 - bias - mantissa_bits);
    if (exponent == (1 << exponent_bits) - 1)
        magnitude = mantissa ? (double)NAN : (double)INFINITY;
    return bits >> 15 ? -magnitude : magnitude;
}

/* There and back, and at the middle between two neighbours and one f32 to either side of it. */
static void check_conversions(int exponent_bits, float (*widen)(uint16_t), uint16_t (*narrow)(float))
{
    int infinity = ((1 << exponent_bits) - 1) << (15 - exponent_bits);
    for (int bits = 0; bits < 65536; bits++) {
        float wide = widen((uint16_t)bits);
        if ((bits & 0x7fff) > infinity) {
            assert_true(isnan(wide));
            assert_int_equal(narrow(wide), 0x7fff);
            continue;
        }
        assert_true((double)wide == value_of((uint16_t)bits, exponent_bits));
        assert_int_equal(narrow(wide), bits);
        if ((bits & 0x7fff) >= infinity)
            continue;
        /* Behind the largest finite number, infinity stands where the next one would. */
        double next = value_of((uint16_t)(bits + 1), exponent_bits), here = (double)wide;
        if (isinf(next))
            next = here + (here - value_of((uint16_t)(bits - 1), exponent_bits));
        float middle = (float)((here + next) / 2.0), further = (float)next;
        assert_int_equal(narrow(middle), bits + (bits & 1));
        assert_int_equal(narrow(nextafterf(middle, wide)), bits);
        assert_int_equal(narrow(nextafterf(middle, isinf(further) ? copysignf(INFINITY, wide) : further)), bits + 1);
    }
}

static void test_conversions(void **state)
{
    (void)state;
    check_conversions(5, language_half_to_float, language_float_to_half);
    check_conversions(8, language_bfloat16_to_float, language_float_to_bfloat16);
}

static void test_functions(void **state)
{
    const float x = 0.75f, y = -1.5f;
    const double expected[] = {exp(0.75),  exp2(0.75), tanh(0.75), erf(0.75), 1.0 / sqrt(0.75),
                               sqrt(0.75), sin(0.75),  cos(0.75),  sin(0.75), cos(0.75),
                               0.75,       -0.125,     -0.5,       0.75,      -1.5,
                               -1.5,       0.75,       -1.5,       0.75,      2.0,
                               7.0};
    float out[sizeof expected / sizeof *expected] = {7.0f};
    float *device = device_put(*state, out, sizeof out);
    assert_int_equal(language_functions(*state, x, y, device), 0);
    device_take(*state, device, out, sizeof out);
    for (size_t i = 0; i < sizeof out / sizeof *out; i++)
        assert_true(fabs((double)out[i] - expected[i]) < 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_indices),     cmocka_unit_test(test_impossible_launches),
        cmocka_unit_test(test_shared),      cmocka_unit_test(test_shuffles),
        cmocka_unit_test(test_halves),      cmocka_unit_test(test_votes),
        cmocka_unit_test(test_atomics),     cmocka_unit_test(test_mma),
        cmocka_unit_test(test_ldmatrix),    cmocka_unit_test(test_ring),
        cmocka_unit_test(test_conversions), cmocka_unit_test(test_functions),
    };
    return cmocka_run_group_tests(tests, device_open, device_close);
}
