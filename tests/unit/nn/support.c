/* SPDX-License-Identifier: Apache-2.0 */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu/kernels.h"
#include "half.h"

static uint64_t random_state = 1;

void seed_random(void)
{
    const char *text = getenv("NN_TEST_SEED");
    random_state = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);
    random_state |= 1;
    print_message("NN_TEST_SEED=%llu\n", (unsigned long long)random_state);
}

uint64_t random_bits(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 2685821657736338717u;
}

int64_t random_int(int64_t least, int64_t most)
{
    return least + (int64_t)((random_bits() >> 16) % (uint64_t)(most - least + 1));
}

float random_float(float magnitude)
{
    return ((float)(random_bits() >> 40) / 8388608.0f - 1.0f) * magnitude;
}

bench bench_open(const char *variant, int32_t threads)
{
    bench b = {.host = test_host_create(threads)};
    more_error error = {""};
    assert_non_null(b.host);
    setenv("LLAVAMORE_CPU", variant, 1);
    more_status status = nn_context_create(test_host_abi(b.host), &b.nn, &error);
    if (status)
        fail_msg("%s", error.message);
    assert_string_equal(nn_context_kernels(b.nn), variant);
    return b;
}

void bench_close(bench *b)
{
    nn_context_destroy(b->nn);
    assert_int_equal(test_host_live(b->host), 0);
    test_host_destroy(b->host);
}

void for_each_variant(void (*test)(bench *b))
{
    const nn_kernels *kernels;
    for (int32_t i = 0; (kernels = nn_kernels_at(i)) != NULL; i++) {
        if (!nn_kernels_runnable(kernels)) {
            print_message("skipped: %s, which this CPU lacks\n", kernels->name);
            continue;
        }
        for (int32_t threads = 1; threads <= 3; threads += 2) {
            bench b = bench_open(kernels->name, threads);
            test(&b);
            bench_close(&b);
        }
    }
}

enum { GUARD = 64 /* floats before and behind */ };

static const float guard_value = -12345.678f;

float *guarded(int64_t count)
{
    float *all = NULL;
    assert_int_equal(posix_memalign((void **)&all, MORE_ALIGNMENT, (size_t)(count + 2 * GUARD) * sizeof(float)), 0);
    for (int64_t i = 0; i < count + 2 * GUARD; i++)
        all[i] = guard_value;
    return all + GUARD;
}

float *guarded_random(int64_t count, float magnitude)
{
    float *values = guarded(count);
    for (int64_t i = 0; i < count; i++)
        values[i] = random_float(magnitude);
    return values;
}

void check_guards(float *values, int64_t count)
{
    for (int64_t i = 1; i <= GUARD; i++) {
        if (values[-i] != guard_value)
            fail_msg("written %lld floats before the buffer", (long long)i);
        if (values[count + i - 1] != guard_value)
            fail_msg("written %lld floats behind the buffer of %lld", (long long)i, (long long)count);
    }
    free(values - GUARD);
}

float as_stored(DLDataType dtype, float value)
{
    if (dtype.bits == 32)
        return value;
    return dtype.code == kDLBfloat ? nn_bf16_to_f32(nn_f32_to_bf16(value)) : nn_f16_to_f32(nn_f32_to_f16(value));
}

DLDataType dtype_at(int64_t index)
{
    return index == 0 ? more_f32() : index == 1 ? more_f16() : more_bf16();
}

double activation_of(nn_activation activation, double x)
{
    switch (activation) {
    case NN_GELU_ERF:
        return 0.5 * x * erfc(-x / sqrt(2.0));
    case NN_GELU_TANH:
        return x / (1.0 + exp(-2.0 * sqrt(2.0 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case NN_QUICK_GELU:
        return x / (1.0 + exp(-1.702 * x));
    case NN_SILU:
        return x / (1.0 + exp(-x));
    case NN_IDENTITY:
        break;
    }
    return x;
}

void check_close(const char *what, int64_t row, int64_t column, double got, double expected, double bound)
{
    if (!(fabs(got - expected) <= bound))
        fail_msg("%s at [%lld, %lld]: %.9g, expected %.9g, which is %.3g times the bound away", what, (long long)row,
                 (long long)column, got, expected, fabs(got - expected) / bound);
}
