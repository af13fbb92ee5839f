/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading blocks of quantised numbers, and quantising while loading: which storage a matrix gets, and that its rows are
 * those that the format says.
 */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"
#include "internal.h"
#include "loader.h"
#include "options.h"
#include "quantise.h"

enum {
    ROWS = 37,
    COLUMNS = 96,     /* whole blocks, no whole step */
    ODD_COLUMNS = 45, /* no block divides it */
    COUNT = ROWS * COLUMNS,
    ODD_COUNT = ROWS * ODD_COLUMNS
};

/* The same random values in every format, at odd addresses. */
typedef struct stored {
    float f32[COUNT];
    unsigned char f16[2 * COUNT + 1], bf16[2 * COUNT + 1];
    unsigned char blocks[3][COUNT / 32 * 34 + 1]; /* by nn_blocks */
} stored;

static const char *const block_formats[] = {"gguf.q8_0", "gguf.q4_0", "gguf.q4_1"};
static const nn_storage block_storages[] = {NN_Q8, NN_Q4, NN_Q4_OFFSET}; /* by nn_blocks */

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
    for (int i = 0; i < 3; i++)
        nn_quantise((nn_blocks)i, s->f32, COUNT, s->blocks[i] + 1);
    return s;
}

static nn_source open_source(bench *b, const test_tensor *tensors, int64_t count, nn_storage quantise)
{
    more_open arguments = {.struct_size = sizeof arguments, .host = test_host_abi(b->host)};
    nn_source source;
    more_error error;
    arguments.checkpoint = test_host_checkpoint(b->host, tensors, count, NULL, 0);
    assert_int_equal(nn_source_open(b->nn, &arguments, &source, &error), MORE_OK);
    assert_int_equal(source.quantise, NN_F32);
    source.quantise = quantise;
    return source;
}

/* Loads one tensor, checks its storage and bytes, and gives its rows, which the caller frees. */
static float *load_rows(bench *b, const nn_source *source, const test_tensor *tensor, nn_storage expected)
{
    more_error error = {""};
    nn_matrix *matrix;
    nn_storage storage;
    int64_t rows = tensor->shape[0], columns = tensor->shape[1];
    int32_t ids[ROWS];
    float *values = guarded(rows * columns);

    assert_int_equal(nn_matrix_check(source, 1, &tensor->name, &rows, columns, &storage, &error), MORE_OK);
    assert_int_equal(storage, expected);
    if (nn_matrix_load(source, tensor->name, rows, columns, &matrix, &error))
        fail_msg("%s", error.message);
    assert_int_equal(matrix->storage, expected);
    for (int32_t i = 0; i < ROWS; i++)
        ids[i] = i;
    nn_matrix_rows(b->nn, matrix, ids, rows, values);
    nn_matrix_free(b->nn, matrix);
    return values;
}

static test_tensor tensor_of(const char *name, const char *format, int64_t columns, const void *data, int access)
{
    size_t bytes = (size_t)(ROWS * columns) * (strcmp(format, "f32") ? 2 : 4);
    for (int i = 0; i < 3; i++)
        if (!strcmp(format, block_formats[i]))
            bytes = (size_t)nn_blocks_bytes((nn_blocks)i, ROWS * columns);
    return (test_tensor){name, format, 2, {ROWS, columns}, data, bytes, access};
}

/* What quantising row by row leaves of `values` [ROWS, columns]. */
static void quantised_rows(nn_storage storage, const float *values, int64_t columns, float *rows)
{
    nn_blocks blocks = storage == NN_Q8 ? NN_BLOCKS_Q8_0 : storage == NN_Q4 ? NN_BLOCKS_Q4_0 : NN_BLOCKS_Q4_1;
    unsigned char quantised[COLUMNS / 32 * 34];
    for (int64_t r = 0; r < ROWS; r++) {
        nn_quantise(blocks, values + r * columns, columns, quantised);
        nn_dequantise(blocks, quantised, columns, rows + r * columns);
    }
}

static void assert_same(float *got, const float *expected, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!(got[i] == expected[i]))
            fail_msg("value %lld is %.9g, not %.9g", (long long)i, (double)got[i], (double)expected[i]);
    check_guards(got, count);
}

/* ---- Blocks as they are stored ---------------------------------------------------------------------------------- */

static void blocks(bench *b)
{
    stored *s = random_stored();
    float *expected = malloc(COUNT * sizeof *expected);
    for (int i = 0; i < 3; i++) {
        nn_dequantise((nn_blocks)i, s->blocks[i] + 1, COUNT, expected);
        for (int access = TEST_MAPPED; access <= TEST_STORED; access++) {
            test_tensor tensor = tensor_of("w", block_formats[i], COLUMNS, s->blocks[i] + 1, access);
            nn_source source = open_source(b, &tensor, 1, NN_F32);
            assert_same(load_rows(b, &source, &tensor, block_storages[i]), expected, COUNT);
            assert_int_equal(test_host_drops(b->host), 1);
        }
    }
    free(expected);
    free(s);
}

static void test_blocks(void **state)
{
    (void)state;
    for_each_variant(blocks);
}

/* Blocks whose numbers come changed (an adapter) are in 8 bits, which are those of Q8_0 again. */
static void test_changed_blocks(void **state)
{
    (void)state;
    bench b = bench_open("baseline", 3);
    stored *s = random_stored();
    float *plain = malloc(COUNT * sizeof *plain), *expected = malloc(COUNT * sizeof *expected);
    for (int i = 0; i < 3; i++) {
        test_tensor tensor = tensor_of("w", block_formats[i], COLUMNS, s->blocks[i] + 1, TEST_CONVERTED);
        nn_dequantise((nn_blocks)i, s->blocks[i] + 1, COUNT, plain);
        for (int k = 0; k < 2; k++) { /* 4 bits only where they are asked for */
            nn_storage wanted = k ? NN_Q4 : NN_Q8;
            nn_source source = open_source(&b, &tensor, 1, k ? NN_Q4 : NN_F32);
            quantised_rows(wanted, plain, COLUMNS, expected);
            assert_same(load_rows(&b, &source, &tensor, wanted), expected, COUNT);
        }
    }
    free(plain);
    free(expected);
    free(s);
    bench_close(&b);
}

/* ---- Quantising while loading ----------------------------------------------------------------------------------- */

static void quantise_floats(bench *b)
{
    stored *s = random_stored();
    static const struct {
        const char *format;
        int access;
    } sources[] = {{"f32", TEST_MAPPED},
                   {"f16", TEST_MAPPED},
                   {"bf16", TEST_MAPPED},
                   {"f32", TEST_STORED},
                   {"f32", TEST_CONVERTED}};
    float *rounded = malloc(COUNT * sizeof *rounded), *expected = malloc(COUNT * sizeof *expected);
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        for (int kind = 0; kind < 3; kind++)
            for (int odd = 0; odd < 2; odd++) {
                const char *format = sources[i].format;
                bool wide = !strcmp(format, "f32"), brain = !strcmp(format, "bf16");
                int64_t columns = odd ? ODD_COLUMNS : COLUMNS;
                const void *data = wide ? (const void *)s->f32 : brain ? s->bf16 + 1 : s->f16 + 1;
                test_tensor tensor = tensor_of("w", format, columns, data, sources[i].access);
                nn_source source = open_source(b, &tensor, 1, block_storages[kind]);
                for (int k = 0; k < ROWS * columns; k++)
                    rounded[k] = as_stored(wide ? more_f32() : brain ? more_bf16() : more_f16(), s->f32[k]);
                quantised_rows(block_storages[kind], rounded, columns, expected);
                assert_same(load_rows(b, &source, &tensor, block_storages[kind]), expected, ROWS * columns);
            }
    free(rounded);
    free(expected);
    free(s);
}

static void test_quantise_floats(void **state)
{
    (void)state;
    for_each_variant(quantise_floats);
}

/* Only what takes more bits is made anew. */
static void test_quantise_blocks(void **state)
{
    (void)state;
    bench b = bench_open("baseline", 3);
    stored *s = random_stored();
    float *plain = malloc(COUNT * sizeof *plain), *expected = malloc(COUNT * sizeof *expected);
    for (int i = 0; i < 3; i++)
        for (int kind = 0; kind < 3; kind++) {
            bool anew = i == NN_BLOCKS_Q8_0 && block_storages[kind] != NN_Q8;
            test_tensor tensor = tensor_of("w", block_formats[i], COLUMNS, s->blocks[i] + 1, TEST_MAPPED);
            nn_source source = open_source(&b, &tensor, 1, block_storages[kind]);
            nn_dequantise((nn_blocks)i, s->blocks[i] + 1, COUNT, plain);
            if (anew)
                quantised_rows(block_storages[kind], plain, COLUMNS, expected);
            assert_same(load_rows(&b, &source, &tensor, anew ? block_storages[kind] : block_storages[i]),
                        anew ? expected : plain, COUNT);
        }
    free(plain);
    free(expected);
    free(s);
    bench_close(&b);
}

/* ---- Stacks ----------------------------------------------------------------------------------------------------- */

typedef struct stack {
    const char *first, *second;
    nn_storage quantise, storage;
} stack;

/* Every row within what its storage adds to what its own part would be alone. */
static void check_stack(bench *b, const nn_source *source, const stack *row, const stored *s)
{
    const char *names[] = {row->first, row->second};
    const int64_t rows[] = {ROWS, ROWS};
    more_error error = {""};
    nn_storage storage;
    nn_matrix *matrix;
    int32_t ids[2 * ROWS];
    float *values = guarded(2 * COUNT);
    double bound; /* of the largest number, 2: bf16 rounds to 8 bits, q8 to half of 1/127, q4 to a
                         little more than a whole step of 1/8 where the least squared error cuts the largest */

    assert_int_equal(nn_matrix_check(source, 2, names, rows, COLUMNS, &storage, &error), MORE_OK);
    if (storage != row->storage)
        fail_msg("%s and %s meet in %s", row->first, row->second, nn_storage_name(storage));
    assert_int_equal(nn_matrix_load_stacked(source, 2, names, rows, COLUMNS, &matrix, &error), MORE_OK);
    assert_int_equal(matrix->storage, storage);
    for (int32_t i = 0; i < 2 * ROWS; i++)
        ids[i] = i;
    nn_matrix_rows(b->nn, matrix, ids, 2 * ROWS, values);
    for (int32_t i = 0; i < 2; i++) {
        bool coarse = strstr(names[i], "q4") || row->quantise == NN_Q4 || row->quantise == NN_Q4_OFFSET;
        bound = coarse ? 2.0 / 6 : 2.0 / 64;
        for (int64_t k = 0; k < COUNT; k++)
            check_close(names[i], k / COLUMNS, k % COLUMNS, (double)values[i * COUNT + k], (double)s->f32[k], bound);
    }
    check_guards(values, 2 * COUNT);
    nn_matrix_free(b->nn, matrix);
}

static void test_stacks(void **state)
{
    static const stack stacks[] = {
        {"f16", "f16", NN_F32, NN_F16},        {"f16", "bf16", NN_F32, NN_F32},       {"f16", "bf16", NN_Q8, NN_Q8},
        {"f32", "f16", NN_Q4, NN_Q4},          {"q8_0", "q8_0", NN_F32, NN_Q8},       {"q8_0", "q4_0", NN_F32, NN_Q8},
        {"q4_1", "q8_0", NN_F32, NN_Q8},       {"q4_0", "q4_1", NN_F32, NN_Q8},       {"q4_0", "q4_1", NN_Q4, NN_Q8},
        {"q4_1", "q8_0", NN_Q4, NN_Q4_OFFSET}, /* the 8-bit part is made anew and fits either */
        {"q4_0", "q8_0", NN_Q4, NN_Q4},        {"q4_0", "q8_0", NN_Q4_OFFSET, NN_Q8}, /* Q4_0's numbers are no whole
                                                                                         steps of Q4_1's search */
        {"q8_0", "f16", NN_F32, NN_F16},       {"q8_0", "f16", NN_Q8, NN_Q8},         {"q4_0", "bf16", NN_F32, NN_F32},
        {"q4_0", "f32", NN_F32, NN_F32},
    };
    (void)state;
    bench b = bench_open("baseline", 3);
    stored *s = random_stored();
    const test_tensor tensors[] = {
        tensor_of("f32", "f32", COLUMNS, s->f32, TEST_MAPPED),
        tensor_of("f16", "f16", COLUMNS, s->f16 + 1, TEST_MAPPED),
        tensor_of("bf16", "bf16", COLUMNS, s->bf16 + 1, TEST_MAPPED),
        tensor_of("q8_0", "gguf.q8_0", COLUMNS, s->blocks[NN_BLOCKS_Q8_0] + 1, TEST_STORED),
        tensor_of("q4_0", "gguf.q4_0", COLUMNS, s->blocks[NN_BLOCKS_Q4_0] + 1, TEST_MAPPED),
        tensor_of("q4_1", "gguf.q4_1", COLUMNS, s->blocks[NN_BLOCKS_Q4_1] + 1, TEST_MAPPED),
    };
    for (size_t i = 0; i < sizeof stacks / sizeof *stacks; i++) {
        nn_source source = open_source(&b, tensors, 6, stacks[i].quantise);
        check_stack(&b, &source, &stacks[i], s);
    }
    free(s);
    bench_close(&b);
}

/* ---- The loader ------------------------------------------------------------------------------------------------- */

/* Bytes of what is loaded are those of the chosen storages, also when nothing is; convolutions stay as they are. */
static void test_loader(void **state)
{
    (void)state;
    bench b = bench_open("baseline", 1);
    stored *s = random_stored();
    const test_tensor tensors[] = {tensor_of("layers.7.a", "f16", COLUMNS, s->f16 + 1, TEST_MAPPED),
                                   tensor_of("layers.7.b", "gguf.q8_0", COLUMNS, s->blocks[0] + 1, TEST_MAPPED),
                                   tensor_of("convolution", "f16", COLUMNS, s->f16 + 1, TEST_MAPPED)};
    const nn_part parts[] = {{"layers.*.a", ROWS}, {"layers.*.b", ROWS}};
    for (int k = 0; k < 2; k++) {
        more_error error = {""};
        nn_source source = open_source(&b, tensors, 3, NN_Q4);
        nn_loader loader = {.source = &source, .error = &error};
        nn_matrix *stacked, *single, *kept;
        source.metadata_only = k == 1;
        nn_load_stacked(&loader, parts, 2, 7, COLUMNS, &stacked);
        nn_load_matrix(&loader, "layers.*.b", 7, ROWS, COLUMNS, &single);
        nn_load_convolution(&loader, "convolution", ROWS, COLUMNS, &kept);
        assert_int_equal(loader.status, MORE_OK);
        assert_ptr_equal(loader.source, &source);
        assert_int_equal(loader.bytes, nn_matrix_bytes(2 * ROWS, COLUMNS, NN_Q4) +
                                           nn_matrix_bytes(ROWS, COLUMNS, NN_Q4) +
                                           nn_matrix_bytes(ROWS, COLUMNS, NN_F16));
        if (k)
            assert_true(!stacked && !single && !kept);
        else
            assert_int_equal(kept->storage, NN_F16);
        nn_matrix_free(b.nn, stacked);
        nn_matrix_free(b.nn, single);
        nn_matrix_free(b.nn, kept);
    }
    free(s);
    bench_close(&b);
}

/* ---- Refused ---------------------------------------------------------------------------------------------------- */

static void test_refusals(void **state)
{
    static const struct {
        const char *name, *format;
        int64_t columns;
        int64_t bytes; /* more than there should be */
        int access;
        more_status status;
        const char *said;
    } cases[] = {
        {"odd", "gguf.q8_0", ODD_COLUMNS, 0, TEST_MAPPED, MORE_ERROR_CORRUPT, "shape [37, 45] and format gguf.q8_0"},
        {"half a block", "gguf.q4_K", COLUMNS, 0, TEST_MAPPED, MORE_ERROR_CORRUPT, "[37, 96]"},
        {"half a block", "gguf.q6_K", COLUMNS, 0, TEST_CONVERTED, MORE_ERROR_CORRUPT, "[37, 96]"},
        {"short", "gguf.q4_0", COLUMNS, -1, TEST_MAPPED, MORE_ERROR_CORRUPT, "1997 bytes"},
        {"long", "gguf.q4_1", COLUMNS, 1, TEST_MAPPED, MORE_ERROR_CORRUPT, "2221 bytes"},
        {"none", "gguf.q8_0", COLUMNS, -3774, TEST_MAPPED, MORE_ERROR_CORRUPT, " 0 bytes"},
        {"unreadable", "gguf.q8_0", COLUMNS, 0, TEST_STORED, MORE_ERROR_IO, "unreadable"},
        {"unreadable", "gguf.q8_0", COLUMNS, 0, TEST_CONVERTED, MORE_ERROR_IO, "unreadable"},
        {"other", "gguf.q2_K", COLUMNS, 0, TEST_MAPPED, MORE_ERROR_UNSUPPORTED, "stored as gguf.q2_K, but only f32"},
    };
    (void)state;
    bench b = bench_open("baseline", 3);
    stored *s = random_stored();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        more_error error = {""};
        nn_matrix *matrix;
        test_tensor tensor =
            tensor_of(cases[i].name, cases[i].format, cases[i].columns, s->blocks[0] + 1, cases[i].access);
        tensor.bytes = (size_t)((int64_t)tensor.bytes + cases[i].bytes);
        nn_source source = open_source(&b, &tensor, 1, NN_F32);
        assert_int_equal(nn_matrix_load(&source, tensor.name, ROWS, tensor.shape[1], &matrix, &error), cases[i].status);
        assert_null(matrix);
        if (!strstr(error.message, cases[i].said))
            fail_msg("'%s' does not say '%s'", error.message, cases[i].said);
    }
    test_tensor good = tensor_of("good", "gguf.q8_0", COLUMNS, s->blocks[0] + 1, TEST_STORED);
    for (int64_t left = 0; left < 2; left++) { /* for the matrix; for the rows */
        more_error error = {""};
        nn_matrix *matrix;
        nn_source source = open_source(&b, &good, 1, NN_F32);
        test_host_memory_left(b.host, left);
        assert_int_equal(nn_matrix_load(&source, "good", ROWS, COLUMNS, &matrix, &error), MORE_ERROR_MEMORY);
        assert_null(matrix);
    }
    test_host_memory_left(b.host, -1);
    free(s);
    bench_close(&b);
}

/* Vectors of blocks come back as the numbers that they stand for. */
static void test_vectors(void **state)
{
    (void)state;
    bench b = bench_open("baseline", 1);
    stored *s = random_stored();
    float *expected = malloc(COUNT * sizeof *expected), *vector;
    for (int i = 0; i < 3; i++) {
        more_error error = {""};
        test_tensor tensor = tensor_of("v", block_formats[i], COLUMNS, s->blocks[i] + 1, TEST_MAPPED);
        nn_source source = open_source(&b, &tensor, 1, NN_Q4);
        nn_dequantise((nn_blocks)i, s->blocks[i] + 1, COUNT, expected);
        assert_int_equal(nn_vector_load(&source, "v", COUNT, &vector, &error), MORE_OK);
        assert_memory_equal(vector, expected, COUNT * sizeof *expected);
        nn_free(b.nn, vector);
    }
    free(expected);
    free(s);
    bench_close(&b);
}

/* ---- Options ---------------------------------------------------------------------------------------------------- */

static more_status open_with(bench *b, int32_t count, const char *quantize, const char *arithmetic, nn_source *source,
                             nn_context **context, more_error *error)
{
    const more_value values[] = {{.type = MORE_STRING, .as.s = quantize}, {.type = MORE_STRING, .as.s = arithmetic}};
    const DLDevice cpu = {kDLCPU, 0};
    more_open arguments = {.struct_size = sizeof arguments,
                           .host = test_host_abi(b->host),
                           .options = values,
                           .option_count = count,
                           .devices = &cpu,
                           .device_count = 1};
    arguments.checkpoint = test_host_checkpoint(b->host, NULL, 0, NULL, 0);
    return nn_open(&arguments, "tested", context, source, error);
}

static void test_options(void **state)
{
    static const struct {
        int32_t count;
        const char *quantize, *arithmetic;
        nn_storage quantise;
        nn_arithmetic kind;
    } cases[] = {{0, NULL, NULL, NN_F32, NN_ARITHMETIC_AUTO},
                 {1, "q8", NULL, NN_Q8, NN_ARITHMETIC_AUTO},
                 {2, "none", "exact", NN_F32, NN_ARITHMETIC_EXACT},
                 {2, "q4", "fast", NN_Q4, NN_ARITHMETIC_FAST},
                 {2, "q4_1", "auto", NN_Q4_OFFSET, NN_ARITHMETIC_AUTO}};
    (void)state;
    bench b = bench_open("baseline", 1);
    nn_source source;
    nn_context *context;
    more_error error = {""};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(
            open_with(&b, cases[i].count, cases[i].quantize, cases[i].arithmetic, &source, &context, &error), MORE_OK);
        assert_int_equal(source.quantise, cases[i].quantise);
        assert_int_equal(context->arithmetic, cases[i].kind);
        nn_context_destroy(context);
    }
    const char *const bad[][2] = {{"f16", "auto"}, {"q5", "auto"}, {"q8", "quick"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(open_with(&b, 2, bad[i][0], bad[i][1], &source, &context, &error), MORE_ERROR_ARGUMENT);
        assert_non_null(strstr(error.message, bad[i][i == 2]));
        nn_context_destroy(context);
    }
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),          cmocka_unit_test(test_changed_blocks),
        cmocka_unit_test(test_quantise_floats), cmocka_unit_test(test_quantise_blocks),
        cmocka_unit_test(test_stacks),          cmocka_unit_test(test_loader),
        cmocka_unit_test(test_refusals),        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_options),
    };
    seed_random();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
