/* SPDX-License-Identifier: Apache-2.0
 *
 * The emulator's driver and cuBLAS: the order of what is queued, copies of each kind, two devices, running out of
 * memory, products.
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
#include "wrong.h"

enum { COUNT = 100, BYTES = COUNT * sizeof(float), MEMORY = 1 << 20, NOT_READY = 600 };

static void check_all(const float *values, float expected)
{
    for (int i = 0; i < COUNT; i++)
        if (!(values[i] == expected || (isnan(values[i]) && isnan(expected))))
            fail_msg("[%d] is %g, expected %g", i, (double)values[i], (double)expected);
}

static void fill(float *values, float value)
{
    for (int i = 0; i < COUNT; i++)
        values[i] = value;
}

static float *put_all(void *stream, float value)
{
    float values[COUNT];
    fill(values, value);
    return device_put(stream, values, BYTES);
}

static float *pinned(void)
{
    void *memory;
    assert_int_equal(cuMemHostAlloc(&memory, BYTES, 0), 0);
    return memory;
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static void test_devices(void **state)
{
    (void)state;
    int count, device, value;
    size_t bytes;
    char name[64];
    assert_int_equal(cuDeviceGetCount(&count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(cuDeviceGet(&device, 1), 0);
    assert_int_equal(cuDeviceGet(&device, 2), 101);
    assert_int_equal(cuDeviceGetName(name, sizeof name, 1), 0);
    assert_string_equal(name, "CUDA emulator");
    assert_int_equal(cuDeviceTotalMem_v2(&bytes, 0), 0);
    assert_int_equal(bytes, MEMORY);
    static const int attributes[][2] = {{16, 4}, {75, 9}, {76, 0}, {97, 232448}, {10, 32}};
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
        assert_int_equal(cuDeviceGetAttribute(&value, attributes[i][0], 0), 0);
        assert_int_equal(value, attributes[i][1]);
    }
    assert_int_equal(cuDeviceGetAttribute(&value, 12345, 0), 1);
    assert_int_equal(cuDriverGetVersion(&value), 0);
}

static void test_errors(void **state)
{
    const char *text, *name;
    (void)state;
    assert_int_equal(cuGetErrorName(2, &name), 0);
    assert_string_equal(name, "CUDA_ERROR_OUT_OF_MEMORY");
    assert_int_equal(cuGetErrorString(2, &text), 0);
    assert_string_equal(text, "out of memory");
    assert_int_equal(cuGetErrorName(9, &name), 1); /* the runtime's alone */
    assert_null(name);
    assert_string_equal(cublasGetStatusString(0), "success");
}

static void test_allocations(void **state)
{
    cudaemu_address all[8], none;
    size_t available, total, before;
    (void)state;
    assert_int_equal(cuMemGetInfo_v2(&before, &total), 0);
    assert_int_equal(total, MEMORY);
    for (int i = 0; i < 8; i++) {
        size_t bytes = (size_t)1 << i * 2;
        assert_int_equal(cuMemAlloc_v2(&all[i], bytes), 0);
        assert_int_equal(all[i] % (bytes % 256 ? 16 : 256), 0);
    }
    assert_int_equal(cuMemGetInfo_v2(&available, &total), 0);
    assert_int_equal(before - available, 21845);
    assert_int_equal(cuMemAlloc_v2(&none, 0), 1);
    assert_int_equal(cuMemAlloc_v2(&none, available + 1), 2);
    assert_int_equal(cuMemAlloc_v2(&none, SIZE_MAX), 2);
    for (int i = 0; i < 8; i++)
        assert_int_equal(cuMemFree_v2(all[i]), 0);
    assert_int_equal(cuMemFree_v2(0), 0);
}

static void test_failing_allocation(void **state)
{
    cudaemu_address first, second;
    (void)state;
    cudaemu_fail_allocation(cudaemu_allocations() + 2);
    assert_int_equal(cuMemAlloc_v2(&first, 16), 0);
    assert_int_equal(cuMemAlloc_v2(&second, 16), 2);
    assert_int_equal(cuMemAlloc_v2(&second, 16), 0);
    cudaemu_fail_allocation(0);
    assert_int_equal(cudaemu_leaks(), 1 + 2); /* and the stream of the tests */
    assert_int_equal(cuMemFree_v2(first), 0);
    assert_int_equal(cuMemFree_v2(second), 0);
}

static void test_pointers(void **state)
{
    int kind = 0, host = 0;
    float *device = put_all(*state, 1.0f), *memory = pinned();
    assert_int_equal(cuPointerGetAttribute(&kind, 2, device_address(device + 50)), 0);
    assert_int_equal(kind, 2);
    assert_int_equal(cuPointerGetAttribute(&kind, 2, device_address(memory + 50)), 0);
    assert_int_equal(kind, 1);
    assert_int_equal(cuPointerGetAttribute(&kind, 2, device_address(&host)), 1);
    device_free(device);
    assert_int_equal(cuPointerGetAttribute(&kind, 2, device_address(device)), 1);
    assert_int_equal(cuMemFreeHost(memory), 0);
}

/* ---- Copies ------------------------------------------------------------------------------------------------------ */

static void test_new_memory_is_poisoned(void **state)
{
    float values[COUNT];
    device_take(*state, device_room(BYTES), values, BYTES);
    check_all(values, NAN);
}

/* Of pageable memory the bytes are taken at once, of pinned memory when the copy runs. */
static void test_when_a_copy_reads(void **state)
{
    float pageable[COUNT], result[COUNT], *memory = pinned();
    fill(pageable, 1.0f);
    fill(memory, 1.0f);
    float *first = device_put(*state, pageable, BYTES), *second = device_put(*state, memory, BYTES);
    fill(pageable, 2.0f);
    fill(memory, 2.0f);
    device_take(*state, first, result, BYTES);
    check_all(result, 1.0f);
    device_take(*state, second, result, BYTES);
    check_all(result, 2.0f);
    assert_int_equal(cuMemFreeHost(memory), 0);
}

static void test_when_a_copy_writes(void **state)
{
    float *memory = pinned(), *device = put_all(*state, 1.0f);
    fill(memory, 0.0f);
    assert_int_equal(cuMemcpyDtoHAsync_v2(memory, device_address(device), BYTES, *state), 0);
    check_all(memory, 0.0f);
    assert_int_equal(cuStreamSynchronize(*state), 0);
    check_all(memory, 1.0f);
    device_free(device);
    assert_int_equal(cuMemFreeHost(memory), 0);
}

static void test_copies_of_either_side(void **state)
{
    float values[COUNT];
    float *first = device_room(BYTES), *second = device_room(BYTES);
    fill(values, 3.0f);
    assert_int_equal(cuMemcpyAsync(device_address(first), device_address(values), BYTES, *state), 0);
    assert_int_equal(cuMemcpyAsync(device_address(second), device_address(first), BYTES, *state), 0);
    assert_int_equal(cuMemsetD8Async(device_address(second), 0, BYTES / 2, *state), 0);
    assert_int_equal(cuMemcpyAsync(device_address(values), device_address(second), BYTES, *state), 0);
    for (int i = 0; i < COUNT; i++)
        assert_true(values[i] == (i < COUNT / 2 ? 0.0f : 3.0f));
    assert_int_equal(cuMemcpyAsync(0, 0, 0, *state), 0);
    device_free(first);
    device_free(second);
}

/* ---- Streams and events ------------------------------------------------------------------------------------------ */

static void test_streams_are_lazy(void **state)
{
    float *memory = pinned(), *device = put_all(*state, 1.0f);
    fill(memory, 0.0f);
    for (int i = 0; i < 3; i++)
        assert_int_equal(cuMemcpyDtoHAsync_v2(memory + i, device_address(device), sizeof(float), *state), 0);
    assert_int_equal(cuStreamQuery(*state), NOT_READY); /* each question runs one piece, the first the upload */
    assert_true(memory[0] == 0.0f);
    assert_int_equal(cuStreamQuery(*state), NOT_READY);
    assert_true(memory[0] == 1.0f && memory[1] == 0.0f);
    assert_int_equal(cuCtxSynchronize(), 0);
    assert_int_equal(cuStreamQuery(*state), 0);
    assert_true(memory[2] == 1.0f);
    device_free(device);
    assert_int_equal(cuMemFreeHost(memory), 0);
}

/* Three streams in a row by events, of which only the last is waited for. */
static void test_events_order_streams(void **state)
{
    void *second, *third, *first_done, *second_done;
    float values[COUNT], *x = put_all(*state, 1.0f), *y = device_room(BYTES), *z = device_room(BYTES);
    assert_int_equal(cuStreamCreate(&second, 1), 0);
    assert_int_equal(cuStreamCreate(&third, 1), 0);
    assert_int_equal(cuEventCreate(&first_done, 2), 0);
    assert_int_equal(cuEventCreate(&second_done, 2), 0);
    assert_int_equal(cuEventRecord(first_done, *state), 0);
    assert_int_equal(cuStreamWaitEvent(second, first_done, 0), 0);
    assert_int_equal(wrong_double(second, x, COUNT, y), 0);
    assert_int_equal(cuEventRecord(second_done, second), 0);
    assert_int_equal(cuStreamWaitEvent(third, second_done, 0), 0);
    assert_int_equal(cuEventDestroy_v2(second_done), 0); /* those who wait for it still do */
    assert_int_equal(wrong_double(third, y, COUNT, z), 0);
    device_take(third, z, values, BYTES);
    check_all(values, 4.0f);
    assert_int_equal(cuEventQuery(first_done), 0);
    assert_int_equal(cuEventDestroy_v2(first_done), 0);
    assert_int_equal(cuStreamDestroy_v2(second), 0);
    assert_int_equal(cuStreamDestroy_v2(third), 0);
    device_free(x);
    device_free(y);
}

static void test_events_are_recorded_again(void **state)
{
    void *second, *event;
    float values[COUNT], *x = put_all(*state, 1.0f), *y = device_room(BYTES);
    assert_int_equal(cuStreamSynchronize(*state), 0);
    assert_int_equal(cuStreamCreate(&second, 1), 0);
    assert_int_equal(cuEventCreate(&event, 2), 0);
    assert_int_equal(cuEventQuery(event), 0); /* never recorded: nothing to wait for */
    assert_int_equal(cuStreamWaitEvent(second, event, 0), 0);
    assert_int_equal(cuEventRecord(event, *state), 0);
    assert_int_equal(cuStreamWaitEvent(second, event, 0), 0); /* of this record, not of the next */
    assert_int_equal(wrong_double(*state, x, COUNT, y), 0);
    assert_int_equal(cuEventRecord(event, *state), 0);
    assert_int_equal(cuMemcpyDtoHAsync_v2(values, device_address(y), BYTES, second), 0);
    check_all(values, NAN);
    assert_int_equal(cuEventQuery(event), NOT_READY);
    assert_int_equal(cuEventSynchronize(event), 0);
    assert_int_equal(cuEventQuery(event), 0);
    device_take(second, y, values, BYTES);
    check_all(values, 2.0f);
    assert_int_equal(cuEventDestroy_v2(event), 0);
    assert_int_equal(cuStreamDestroy_v2(second), 0);
    device_free(x);
}

static void test_dead_handles(void **state)
{
    void *stream, *event;
    (void)state;
    assert_int_equal(cuStreamCreate(&stream, 1), 0);
    assert_int_equal(cuEventCreate(&event, 2), 0);
    assert_int_equal(cuStreamDestroy_v2(stream), 0);
    assert_int_equal(cuEventDestroy_v2(event), 0);
    assert_int_equal(cuStreamSynchronize(stream), 400);
    assert_int_equal(cuEventRecord(event, NULL), 400);
    assert_int_equal(cuEventDestroy_v2(event), 400);
    assert_int_equal(cuStreamDestroy_v2(stream), 400);
}

/* ---- Two devices ------------------------------------------------------------------------------------------------- */

static void test_two_devices(void **state)
{
    void *first, *other, *stream, *event;
    float values[COUNT], *x = put_all(*state, 1.0f);
    assert_int_equal(cuCtxGetCurrent(&first), 0);
    assert_int_equal(cuEventCreate(&event, 2), 0);
    assert_int_equal(cuEventRecord(event, *state), 0);
    assert_int_equal(cuDevicePrimaryCtxRetain(&other, 1), 0);
    assert_int_equal(cuCtxSetCurrent(other), 0);
    assert_int_equal(cuStreamCreate(&stream, 1), 0);
    float *there = device_room(BYTES), *y = device_room(BYTES);
    assert_int_equal(cuStreamWaitEvent(stream, event, 0), 0);
    assert_int_equal(cuMemcpyDtoDAsync_v2(device_address(there), device_address(x), BYTES, stream), 0);
    assert_int_equal(wrong_double(stream, there, COUNT, y), 0);
    assert_int_equal(wrong_double(*state, there, COUNT, y), 400); /* the first device's stream */
    device_take(stream, y, values, BYTES);
    check_all(values, 2.0f);
    device_free(there);
    assert_int_equal(cuStreamDestroy_v2(stream), 0);
    assert_int_equal(cuCtxSetCurrent(first), 0);
    assert_int_equal(cuDevicePrimaryCtxRelease_v2(1), 0);
    assert_int_equal(cuCtxSetCurrent(other), 201);
    assert_int_equal(cuEventDestroy_v2(event), 0);
    device_free(x);
}

/* ---- cuBLAS ------------------------------------------------------------------------------------------------------ */

enum { R_32F = 0, R_16F = 2, R_16BF = 14, COMPUTE_32F = 68 };

static float small(int i)
{
    return (float)(i * 29 % 37 - 18) / 4.0f;
}

static double stored(int type, int i)
{
    return type == R_32F   ? (double)small(i)
           : type == R_16F ? (double)language_half_to_float(language_float_to_half(small(i)))
                           : (double)language_bfloat16_to_float(language_float_to_bfloat16(small(i)));
}

static void *put_matrix(void *stream, int type, int count)
{
    float wide[1024];
    uint16_t narrow[1024];
    for (int i = 0; i < count; i++) {
        wide[i] = small(i);
        narrow[i] = type == R_16F ? language_float_to_half(small(i)) : language_float_to_bfloat16(small(i));
    }
    return device_put(stream, type == R_32F ? (void *)wide : narrow, (size_t)count * (type == R_32F ? 4 : 2));
}

static void check_product(void *stream, void *handle, int type, int transposed_a, int transposed_b, float beta)
{
    enum { M = 7, N = 5, K = 11, LDC = 9 };
    int lda = (transposed_a ? K : M) + 2, ldb = (transposed_b ? N : K) + 3;
    const float alpha = 2.0f;
    float c[N * LDC];
    for (int i = 0; i < N * LDC; i++)
        c[i] = beta != 0.0f ? (float)i : NAN;
    void *a = put_matrix(stream, type, lda * (transposed_a ? M : K));
    void *b = put_matrix(stream, type, ldb * (transposed_b ? K : N)), *on_c = device_put(stream, c, sizeof c);
    assert_int_equal(cublasGemmEx(handle, transposed_a, transposed_b, M, N, K, &alpha, a, type, lda, b, type, ldb,
                                  &beta, on_c, R_32F, LDC, COMPUTE_32F, -1),
                     0);
    device_take(stream, on_c, c, sizeof c);
    device_free(a);
    device_free(b);
    for (int j = 0; j < N; j++)
        for (int i = 0; i < M; i++) {
            double sum = 0.0;
            for (int k = 0; k < K; k++)
                sum += stored(type, transposed_a ? i * lda + k : k * lda + i) *
                       stored(type, transposed_b ? k * ldb + j : j * ldb + k);
            sum = 2.0 * sum + (beta != 0.0f ? (double)beta * (j * LDC + i) : 0.0);
            assert_true((double)c[j * LDC + i] == sum); /* exact in f32 */
        }
    assert_true(beta != 0.0f ? c[M] == (float)M : isnan(c[M]));
}

static void test_products(void **state)
{
    static const int types[] = {R_32F, R_16F, R_16BF};
    void *handle;
    assert_int_equal(cublasCreate_v2(&handle), 0);
    assert_int_equal(cublasSetStream_v2(handle, *state), 0);
    for (int type = 0; type < 3; type++)
        for (int i = 0; i < 8; i++)
            check_product(*state, handle, types[type], i & 1, i >> 1 & 1, i & 4 ? 0.5f : 0.0f);
    const float one = 1.0f;
    assert_int_equal(cublasGemmEx(handle, 0, 0, 2, 2, 2, &one, NULL, R_32F, 1, NULL, R_32F, 2, &one, NULL, R_32F, 2,
                                  COMPUTE_32F, -1),
                     7); /* lda < m */
    assert_int_equal(cublasGemmEx(handle, 0, 0, 2, 2, 2, &one, NULL, R_32F, 2, NULL, R_16F, 2, &one, NULL, R_32F, 2,
                                  COMPUTE_32F, -1),
                     15); /* two types */
    assert_int_equal(cublasGemmEx(handle, 0, 0, 0, 2, 2, &one, NULL, R_32F, 1, NULL, R_32F, 2, &one, NULL, R_32F, 1,
                                  COMPUTE_32F, -1),
                     0); /* nothing to do */
    assert_int_equal(cublasDestroy_v2(handle), 0);
    assert_int_equal(cublasDestroy_v2(handle), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_allocations),
        cmocka_unit_test(test_failing_allocation),
        cmocka_unit_test(test_pointers),
        cmocka_unit_test(test_new_memory_is_poisoned),
        cmocka_unit_test(test_when_a_copy_reads),
        cmocka_unit_test(test_when_a_copy_writes),
        cmocka_unit_test(test_copies_of_either_side),
        cmocka_unit_test(test_streams_are_lazy),
        cmocka_unit_test(test_events_order_streams),
        cmocka_unit_test(test_events_are_recorded_again),
        cmocka_unit_test(test_dead_handles),
        cmocka_unit_test(test_two_devices),
        cmocka_unit_test(test_products),
    };
    setenv("CUDAEMU_DEVICES", "2", 1);
    setenv("CUDAEMU_MEMORY", "1048576", 1);
    return cmocka_run_group_tests(tests, device_open, device_close);
}
