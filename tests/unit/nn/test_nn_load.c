/* SPDX-License-Identifier: Apache-2.0
 *
 * The context, its arenas, and reading config and weights from a checkpoint, well-formed and not.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/kernels.h"
#include "half.h"

/* ---- Context and arenas ----------------------------------------------------------------------------------------- */

static void test_missing_service_is_named(void **state)
{
    (void)state;
    static const char *const ids[] = {MORE_LOG_SERVICE, MORE_THREADS_SERVICE, MORE_PROGRESS_SERVICE,
                                      MORE_MEMORY_SERVICE};
    test_host *host = test_host_create(1);
    for (int i = 0; i < 4; i++) {
        nn_context *nn;
        more_error error;
        test_host_lack(host, ids[i]);
        assert_int_equal(nn_context_create(test_host_abi(host), &nn, &error), MORE_ERROR_UNSUPPORTED);
        assert_non_null(strstr(error.message, ids[i]));
        assert_null(nn);
    }
    test_host_destroy(host);
}

static void test_cpu_override(void **state)
{
    (void)state;
    test_host *host = test_host_create(1);
    nn_context *nn;
    more_error error;
    setenv("LLAVAMORE_CPU", "sse9", 1);
    assert_int_equal(nn_context_create(test_host_abi(host), &nn, &error), MORE_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "sse9"));
    setenv("LLAVAMORE_CPU", "baseline", 1);
    assert_int_equal(nn_context_create(test_host_abi(host), &nn, &error), MORE_OK);
    assert_string_equal(nn_context_kernels(nn), "baseline");
    nn_context_destroy(nn);
    setenv("LLAVAMORE_CPU", "", 1); /* empty counts as unset: the best that the CPU has */
    assert_int_equal(nn_context_create(test_host_abi(host), &nn, &error), MORE_OK);
    const char *reason;
    assert_string_equal(nn_context_kernels(nn), nn_kernels_select(NULL, &reason)->name);
    nn_context_destroy(nn);
    nn_context_destroy(NULL);
    test_host_destroy(host);
}

static void test_context_without_memory(void **state)
{
    (void)state;
    test_host *host = test_host_create(1);
    nn_context *nn;
    more_error error;
    test_host_memory_left(host, 0);
    assert_int_equal(nn_context_create(test_host_abi(host), &nn, &error), MORE_ERROR_MEMORY);
    assert_null(nn);
    assert_int_equal(test_host_live(host), 0);
    test_host_destroy(host);
}

static void test_services_pass_through(void **state)
{
    (void)state;
    bench b = bench_open("baseline", 1);
    nn_log(b.nn, MORE_LOG_INFO, "clip", "layer %d of %s", 3, "x");
    assert_string_equal(test_host_last_log(b.host), "clip: layer 3 of x");
    nn_progress(b.nn, "loading", 7, 9);
    assert_int_equal(test_host_last_progress(b.host), 7);
    assert_false(nn_cancelled(b.nn));
    test_host_cancel(b.host);
    assert_true(nn_cancelled(b.nn));
    assert_null(nn_alloc_f32(b.nn, -1));
    assert_null(nn_alloc_f32(b.nn, INT64_MAX / 2));
    float *values = nn_alloc_f32(b.nn, 1000);
    for (int i = 0; i < 1000; i++)
        assert_true(values[i] == 0.0f);
    nn_free(b.nn, values);
    nn_free(b.nn, NULL);
    bench_close(&b);
}

static void test_arenas(void **state)
{
    (void)state;
    bench b = bench_open("baseline", 1);
    int64_t steady = 0;
    for (int round = 0; round < 6; round++) {
        nn_arena *one = nn_arena_begin(b.nn), *two = nn_arena_begin(b.nn);
        float *parts[20];
        assert_ptr_not_equal(one, two);
        for (int i = 0; i < 20; i++) {
            int64_t count = 1 + 9973 * i;
            parts[i] = nn_arena_f32(i % 2 ? one : two, count);
            assert_int_equal((uintptr_t)parts[i] % MORE_ALIGNMENT, 0);
            for (int64_t k = 0; k < count; k++)
                parts[i][k] = (float)i;
        }
        for (int i = 0; i < 20; i++)
            for (int64_t k = 0; k < 1 + 9973 * i; k++)
                assert_true(parts[i][k] == (float)i); /* nobody else wrote here */
        assert_null(nn_arena_f32(one, -1));
        assert_null(nn_arena_f32(one, INT64_MAX / 4));
        nn_arena_end(b.nn, one);
        nn_arena_end(b.nn, two);
        if (round == 2)
            steady = test_host_live(b.host);
        if (round > 2)
            assert_int_equal(test_host_live(b.host), steady);
    }
    test_host_memory_left(b.host, 0);
    nn_arena *arena = nn_arena_begin(b.nn);
    assert_null(nn_arena_f32(arena, 100000000));
    nn_arena_end(b.nn, arena);
    nn_arena_end(b.nn, NULL);
    bench_close(&b);
}

/* ---- Config ----------------------------------------------------------------------------------------------------- */

static nn_source open_source(bench *b, const test_tensor *tensors, int64_t tensor_count, const test_key *keys,
                             int64_t key_count, more_open_flags flags)
{
    more_open arguments = {.struct_size = sizeof arguments, .host = test_host_abi(b->host), .flags = flags};
    nn_source source;
    more_error error;
    arguments.checkpoint = test_host_checkpoint(b->host, tensors, tensor_count, keys, key_count);
    assert_int_equal(nn_source_open(b->nn, &arguments, &source, &error), MORE_OK);
    return source;
}

static void test_config(void **state)
{
    (void)state;
    bench b = bench_open("baseline", 1);
    static const test_key keys[] = {{"hidden_size", 'i', 64, 0.0, NULL},
                                    {"rope_theta", 'd', 0, 5e5, NULL},
                                    {"tied", 'b', 1, 0.0, NULL},
                                    {"hidden_act", 's', 0, 0.0, "silu"}};
    nn_source source = open_source(&b, NULL, 0, keys, 4, MORE_OPEN_DEFAULT);
    more_error error;
    int64_t i = -5;
    double d = 1.0;
    bool t = false;
    const char *s = "default";
    assert_int_equal(nn_config_int64(&source, "hidden_size", 1, 100, &i, &error), MORE_OK);
    assert_int_equal(i, 64);
    assert_int_equal(nn_config_int64(&source, "hidden_size", 65, 100, &i, &error), MORE_ERROR_CORRUPT);
    assert_non_null(strstr(error.message, "memory: config key 'hidden_size' is 64, but must be from 65 to 100"));
    assert_int_equal(nn_config_int64_or(&source, "hidden_size", 1, 63, &i, &error), MORE_ERROR_CORRUPT);
    assert_int_equal(nn_config_int64(&source, "absent", 1, 100, &i, &error), MORE_ERROR_NOT_FOUND);
    assert_int_equal(nn_config_int64_or(&source, "absent", 1, 100, &i, &error), MORE_OK);
    assert_int_equal(i, 64);
    assert_int_equal(nn_config_int64_or(&source, "hidden_act", 1, 100, &i, &error), MORE_ERROR_CORRUPT);
    assert_int_equal(nn_config_double_or(&source, "rope_theta", &d, &error), MORE_OK);
    assert_true(d == 5e5);
    assert_int_equal(nn_config_double_or(&source, "hidden_size", &d, &error), MORE_OK);
    assert_true(d == 64.0);
    assert_int_equal(nn_config_double_or(&source, "tied", &d, &error), MORE_ERROR_CORRUPT);
    assert_int_equal(nn_config_bool_or(&source, "tied", &t, &error), MORE_OK);
    assert_true(t);
    assert_int_equal(nn_config_bool_or(&source, "absent", &t, &error), MORE_OK);
    assert_int_equal(nn_config_string_or(&source, "absent", &s, &error), MORE_OK);
    assert_string_equal(s, "default");
    assert_int_equal(nn_config_string_or(&source, "hidden_act", &s, &error), MORE_OK);
    assert_string_equal(s, "silu");

    more_open none = {.struct_size = sizeof none, .host = test_host_abi(b.host)};
    assert_int_equal(nn_source_open(b.nn, &none, &source, &error), MORE_ERROR_ARGUMENT);
    test_host_lack(b.host, MORE_WEIGHTS_SERVICE);
    assert_int_equal(nn_source_open(b.nn, &none, &source, &error), MORE_ERROR_UNSUPPORTED);
    bench_close(&b);
}

/* ---- Weights ---------------------------------------------------------------------------------------------------- */

enum { ROWS = 37, COLUMNS = 45, COUNT = ROWS * COLUMNS };

/* One set of values as f32, f16 and bf16; the 16-bit ones at an odd address, as a file may hold them. */
typedef struct stored {
    float f32[COUNT];
    unsigned char f16[2 * COUNT + 1], bf16[2 * COUNT + 1];
} stored;

static stored *random_stored(void)
{
    stored *s = malloc(sizeof *s);
    assert_non_null(s);
    for (int i = 0; i < COUNT; i++) {
        s->f32[i] = random_float(2.0f);
        uint16_t half = nn_f32_to_f16(s->f32[i]), brain = nn_f32_to_bf16(s->f32[i]);
        memcpy(s->f16 + 1 + 2 * i, &half, 2);
        memcpy(s->bf16 + 1 + 2 * i, &brain, 2);
    }
    return s;
}

static void check_rows(bench *b, const nn_matrix *matrix, const stored *s, const DLDataType *dtypes, int64_t parts)
{
    int32_t ids[4 * ROWS];
    float *rows = guarded(parts * COUNT);
    for (int32_t i = 0; i < parts * ROWS; i++)
        ids[i] = i;
    nn_matrix_rows(b->nn, matrix, ids, parts * ROWS, rows);
    for (int64_t i = 0; i < parts * COUNT; i++)
        assert_true(rows[i] == as_stored(dtypes[i / COUNT], s->f32[i % COUNT]));
    check_guards(rows, parts * COUNT);
}

static more_status check_matrix(const nn_source *source, const char *name, nn_storage *storage, more_error *error)
{
    const int64_t rows = ROWS;
    return nn_matrix_check(source, 1, &name, &rows, COLUMNS, storage, error);
}

static void load(bench *b)
{
    more_error error;
    stored *s = random_stored();
    static uint16_t aligned[COUNT];
    memcpy(aligned, s->bf16 + 1, sizeof aligned);
    test_tensor tensors[] = {
        {"f32", "f32", 2, {ROWS, COLUMNS}, s->f32, sizeof s->f32, true},
        {"f16", "f16", 4, {ROWS, 3, 5, 3}, s->f16 + 1, 2 * COUNT, true},
        {"bf16", "bf16", 2, {ROWS, COLUMNS}, s->bf16 + 1, 2 * COUNT, true},
        {"read f32", "f32", 2, {ROWS, COLUMNS}, s->f32, sizeof s->f32, false},
        {"read bf16", "bf16", 2, {ROWS, COLUMNS}, aligned, sizeof aligned, false},
    };
    nn_source source = open_source(b, tensors, 5, NULL, 0, MORE_OPEN_DEFAULT);
    DLDataType dtypes[] = {more_f32(), more_f16(), more_bf16(), more_f32(), more_bf16()};
    nn_matrix *matrix;
    for (int i = 0; i < 5; i++) {
        nn_storage storage;
        assert_int_equal(nn_matrix_load(&source, tensors[i].name, ROWS, COLUMNS, &matrix, &error), MORE_OK);
        check_rows(b, matrix, s, &dtypes[i], 1);
        nn_matrix_free(b->nn, matrix);
        assert_int_equal(test_host_drops(b->host), i + 1);
        assert_int_equal(check_matrix(&source, tensors[i].name, &storage, &error), MORE_OK);
        assert_true(more_dtype_equal(dtype_at(storage), dtypes[i]));

        float *vector;
        assert_int_equal(nn_vector_load(&source, tensors[i].name, COUNT, &vector, &error), MORE_OK);
        for (int k = 0; k < COUNT; k++)
            assert_true(vector[k] == as_stored(dtypes[i], s->f32[k]));
        nn_free(b->nn, vector);
    }
    const char *names[] = {"bf16", "read bf16", "bf16", "f16"};
    DLDataType stacked[] = {more_bf16(), more_bf16(), more_bf16(), more_f16()};
    int64_t rows[] = {ROWS, ROWS, ROWS, ROWS};
    for (int32_t count = 3; count <= 4; count++) { /* of one stored type; of two, which become f32 */
        assert_int_equal(nn_matrix_load_stacked(&source, count, names, rows, COLUMNS, &matrix, &error), MORE_OK);
        check_rows(b, matrix, s, stacked, count);
        nn_matrix_free(b->nn, matrix);
    }
    free(s);
}

static void test_load(void **state)
{
    (void)state;
    for_each_variant(load);
}

static void refuse_matrix(const nn_source *source, const char *name, more_status expected, const char *part)
{
    more_error error = {""};
    nn_matrix *matrix;
    nn_storage storage;
    assert_int_equal(nn_matrix_load(source, name, ROWS, COLUMNS, &matrix, &error), expected);
    assert_null(matrix);
    if (!strstr(error.message, part))
        fail_msg("'%s' does not say '%s'", error.message, part);
    if (expected != MORE_ERROR_IO && expected != MORE_ERROR_MEMORY)
        assert_int_equal(check_matrix(source, name, &storage, &error), expected);
}

static void test_refusals(void **state)
{
    (void)state;
    bench b = bench_open("baseline", 3);
    stored *s = random_stored();
    test_tensor tensors[] = {
        {"turned", "f32", 2, {COLUMNS, ROWS}, s->f32, sizeof s->f32, true},
        {"flat", "f32", 1, {COUNT}, s->f32, sizeof s->f32, true},
        {"q4", "blocks.q4", 2, {ROWS, COLUMNS}, s->f32, sizeof s->f32, true},
        {"short", "f32", 2, {ROWS, COLUMNS}, s->f32, sizeof s->f32 - 4, true},
        {"huge", "f32", 2, {INT64_MAX / 2, COLUMNS}, s->f32, sizeof s->f32, true},
        {"deep", "f32", 9, {ROWS, COLUMNS}, s->f32, sizeof s->f32, true},
        {"unreadable", "f32", 2, {ROWS, COLUMNS}, s->f32, sizeof s->f32, false},
        {"good", "f32", 2, {ROWS, COLUMNS}, s->f32, sizeof s->f32, false},
    };
    nn_source source = open_source(&b, tensors, 8, NULL, 0, MORE_OPEN_DEFAULT);
    refuse_matrix(&source, "absent", MORE_ERROR_NOT_FOUND, "absent");
    refuse_matrix(&source, "turned", MORE_ERROR_CORRUPT,
                  "memory: tensor 'turned' has shape [45, 37], but the config "
                  "asks for [37, 45]");
    refuse_matrix(&source, "flat", MORE_ERROR_CORRUPT, "[1665]");
    refuse_matrix(&source, "q4", MORE_ERROR_UNSUPPORTED, "stored as blocks.q4, but only f32 f16 bf16 gguf.q8_0");
    refuse_matrix(&source, "short", MORE_ERROR_CORRUPT, "has 6656 bytes");
    refuse_matrix(&source, "huge", MORE_ERROR_CORRUPT, "'huge'");
    refuse_matrix(&source, "deep", MORE_ERROR_CORRUPT, "9 dimensions");
    refuse_matrix(&source, "unreadable", MORE_ERROR_IO, "unreadable");
    for (int64_t left = 0; left < 2; left++) {
        test_host_memory_left(b.host, left);
        refuse_matrix(&source, "good", MORE_ERROR_MEMORY, "no memory");
    }
    test_host_memory_left(b.host, -1);

    more_error error;
    float *vector;
    assert_int_equal(nn_vector_load(&source, "good", COUNT - 1, &vector, &error), MORE_ERROR_CORRUPT);
    assert_int_equal(nn_vector_load(&source, "unreadable", COUNT, &vector, &error), MORE_ERROR_IO);
    assert_int_equal(nn_vector_load(&source, "absent", COUNT, &vector, &error), MORE_ERROR_NOT_FOUND);
    assert_int_equal(nn_vector_load_optional(&source, "absent", COUNT, &vector, &error), MORE_OK);
    assert_null(vector);
    assert_int_equal(nn_vector_load_optional(&source, "q4", COUNT, &vector, &error), MORE_ERROR_UNSUPPORTED);
    nn_matrix *matrix;
    assert_int_equal(nn_matrix_load_stacked(&source, 0, NULL, NULL, COLUMNS, &matrix, &error), MORE_ERROR_ARGUMENT);
    free(s);
    bench_close(&b);
}

/* Checks everything, reads nothing. */
static void test_metadata_only(void **state)
{
    (void)state;
    bench b = bench_open("baseline", 1);
    test_tensor tensors[] = {{"unreadable", "f16", 2, {ROWS, COLUMNS}, NULL, 0, false}};
    nn_source source = open_source(&b, tensors, 1, NULL, 0, MORE_OPEN_METADATA_ONLY);
    more_error error;
    nn_matrix *matrix;
    float *vector;
    int64_t live = test_host_live(b.host);
    assert_int_equal(nn_matrix_load(&source, "unreadable", ROWS, COLUMNS, &matrix, &error), MORE_OK);
    assert_null(matrix);
    assert_int_equal(nn_vector_load(&source, "unreadable", COUNT, &vector, &error), MORE_OK);
    assert_null(vector);
    assert_int_equal(nn_matrix_load(&source, "unreadable", ROWS, COLUMNS + 1, &matrix, &error), MORE_ERROR_CORRUPT);
    assert_int_equal(test_host_live(b.host), live);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing_service_is_named),
        cmocka_unit_test(test_cpu_override),
        cmocka_unit_test(test_context_without_memory),
        cmocka_unit_test(test_services_pass_through),
        cmocka_unit_test(test_arenas),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_metadata_only),
    };
    seed_random();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
