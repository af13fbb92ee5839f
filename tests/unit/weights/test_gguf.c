/* SPDX-License-Identifier: Apache-2.0
 *
 * GGUF files made by hand: what is read of them, and how lies are refused.
 */
#include "weights/gguf/gguf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct made_file {
    unsigned char bytes[4096];
    size_t size;
} made_file;

static void put(made_file *file, size_t width, uint64_t number)
{
    assert_true(file->size + width <= sizeof file->bytes);
    for (size_t i = 0; i < width; i++)
        file->bytes[file->size++] = (unsigned char)(number >> 8 * i);
}

static void put_text(made_file *file, const char *text)
{
    put(file, 8, strlen(text));
    memcpy(file->bytes + file->size, text, strlen(text));
    file->size += strlen(text);
}

static made_file begin(uint64_t version, uint64_t tensors, uint64_t pairs)
{
    made_file file = {.bytes = "GGUF", .size = 4};
    put(&file, 4, version);
    put(&file, 8, tensors);
    put(&file, 8, pairs);
    return file;
}

static void put_number(made_file *file, const char *key, core_gguf_type type, size_t width, uint64_t number)
{
    put_text(file, key);
    put(file, 4, type);
    put(file, width, number);
}

static void put_tensor(made_file *file, const char *name, uint64_t inner, uint64_t outer, uint64_t format,
                       uint64_t offset)
{
    put_text(file, name);
    put(file, 4, 2);
    put(file, 8, inner);
    put(file, 8, outer);
    put(file, 4, format);
    put(file, 8, offset);
}

static void pad(made_file *file, size_t data)
{
    while (file->size % 32)
        put(file, 1, 0);
    for (size_t i = 0; i < data; i++)
        put(file, 1, i);
}

static core_gguf *parse(const made_file *file)
{
    core_gguf *gguf;
    more_error error = {""};
    if (core_gguf_parse(file->bytes, file->size, "made.gguf", &gguf, &error))
        fail_msg("%s", error.message);
    return gguf;
}

/* Refused with all of the words in one line. */
static void refuse(const made_file *file, more_status wanted, const char *word, const char *other)
{
    core_gguf *gguf;
    more_error error = {""};
    unsigned char *copy = malloc(file->size); /* its end is where a sanitizer looks */
    memcpy(copy, file->bytes, file->size);
    more_status status = core_gguf_parse(copy, file->size, "made.gguf", &gguf, &error);
    free(copy);
    assert_null(gguf);
    if (status != wanted || !strstr(error.message, "made.gguf") || !strstr(error.message, word) ||
        !strstr(error.message, other) || strchr(error.message, '\n'))
        fail_msg("status %d, '%s', wanted %d with '%s' and '%s'", (int)status, error.message, (int)wanted, word, other);
}

static void values(void **state)
{
    made_file file = begin(3, 0, 12);
    (void)state;
    put_number(&file, "u8", CORE_GGUF_U8, 1, 200);
    put_number(&file, "i8", CORE_GGUF_I8, 1, (uint64_t)-3);
    put_number(&file, "u16", CORE_GGUF_U16, 2, 60000);
    put_number(&file, "i16", CORE_GGUF_I16, 2, (uint64_t)-300);
    put_number(&file, "u32", CORE_GGUF_U32, 4, 4000000000);
    put_number(&file, "i32", CORE_GGUF_I32, 4, (uint64_t)-70000);
    put_number(&file, "f32", CORE_GGUF_F32, 4, 0x3FC00000);
    put_number(&file, "bool", CORE_GGUF_BOOL, 1, 1);
    put_number(&file, "i64", CORE_GGUF_I64, 8, (uint64_t)-5000000000);
    put_number(&file, "f64", CORE_GGUF_F64, 8, 0x3FF8000000000000);
    put_text(&file, "texts");
    put(&file, 4, CORE_GGUF_ARRAY);
    put(&file, 4, CORE_GGUF_STRING);
    put(&file, 8, 2);
    put_text(&file, "a");
    put_text(&file, "");
    put_text(&file, "nested");
    put(&file, 4, CORE_GGUF_ARRAY);
    put(&file, 4, CORE_GGUF_ARRAY);
    put(&file, 8, 1);
    put(&file, 4, CORE_GGUF_U8);
    put(&file, 8, 2);
    put(&file, 2, 0x0201);
    core_gguf *gguf = parse(&file);
    char *text = json_dumps(core_gguf_metadata(gguf), JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, "{\"bool\":true,\"f32\":1.5,\"f64\":1.5,\"i16\":-300,\"i32\":-70000,\"i64\":-5000000000,"
                              "\"i8\":-3,\"texts\":[\"a\",\"\"],\"u16\":60000,\"u32\":4000000000,\"u8\":200}");
    core_gguf_array array;
    assert_true(core_gguf_find_array(gguf, "texts", &array));
    assert_int_equal(array.count, 2);
    assert_false(core_gguf_find_array(gguf, "nested", &array));
    assert_false(core_gguf_find_array(gguf, "u8", &array));
    free(text);
    core_gguf_close(gguf);
    for (size_t size = file.size - 1; size > 0; size--) { /* cut anywhere */
        file.size = size;
        refuse(&file, MORE_ERROR_CORRUPT, "made.gguf", "");
    }
}

static void tensors(void **state)
{
    made_file file = begin(2, 2, 0);
    (void)state;
    put_tensor(&file, "second", 3, 2, 0, 64); /* f32 */
    put_tensor(&file, "first", 32, 1, 8, 0);  /* Q8_0: 34 bytes */
    pad(&file, 64 + 24);
    core_gguf *gguf = parse(&file);
    const core_tensor_entry *first = &core_gguf_tensors(gguf)->entries[0],
                            *second = core_tensor_table_find(core_gguf_tensors(gguf), "second");
    assert_int_equal(core_gguf_tensors(gguf)->count, 2);
    assert_string_equal(first->name, "first");
    assert_string_equal(first->format, "gguf.q8_0");
    assert_int_equal(first->bytes, 34);
    assert_string_equal(second->format, "f32");
    assert_int_equal(second->shape[0], 2);
    assert_int_equal(second->shape[1], 3);
    assert_int_equal(second->data[0], 64);
    assert_null(core_tensor_table_find(core_gguf_tensors(gguf), "third"));
    core_gguf_close(gguf);
    file.size--;
    refuse(&file, MORE_ERROR_CORRUPT, "tensor 'second'", "24 bytes from offset 64");
}

static void one_tensor(const char *word, const char *other, more_status status, uint64_t inner, uint64_t outer,
                       uint64_t format, uint64_t offset)
{
    made_file file = begin(3, 1, 0);
    put_tensor(&file, "t", inner, outer, format, offset);
    pad(&file, 128);
    refuse(&file, status, word, other);
}

static void bad_tensors(void **state)
{
    (void)state;
    one_tensor("tensor 't'", "overflow", MORE_ERROR_CORRUPT, (uint64_t)1 << 40, (uint64_t)1 << 40, 0, 0);
    one_tensor("tensor 't'", "overflow", MORE_ERROR_CORRUPT, (uint64_t)1 << 61, 2, 0, 0);
    one_tensor("tensor 't'", "overflow", MORE_ERROR_CORRUPT, UINT64_MAX, 1, 0, 0);
    one_tensor("tensor 't'", "do not lie", MORE_ERROR_CORRUPT, 4, 4, 0, UINT64_MAX - 31);
    one_tensor("tensor 't'", "alignment 32", MORE_ERROR_CORRUPT, 4, 1, 0, 16);
    one_tensor("tensor 't'", "whole blocks of Q4_K", MORE_ERROR_CORRUPT, 32, 1, 12, 0);
    one_tensor("tensor 't'", "IQ4_XS", MORE_ERROR_UNSUPPORTED, 256, 1, 23, 0);
    one_tensor("tensor 't'", "999", MORE_ERROR_UNSUPPORTED, 256, 1, 999, 0);

    made_file file = begin(3, 2, 0);
    put_tensor(&file, "a", 4, 2, 0, 0); /* 32 bytes */
    put_tensor(&file, "b", 5, 2, 0, 0);
    pad(&file, 128);
    refuse(&file, MORE_ERROR_CORRUPT, "tensor 'b'", "overlaps the bytes of 'a'");
    file = begin(3, 2, 0);
    put_tensor(&file, "a", 4, 2, 0, 0);
    put_tensor(&file, "a", 4, 2, 0, 32);
    pad(&file, 128);
    refuse(&file, MORE_ERROR_CORRUPT, "tensor 'a'", "twice");
    file = begin(3, 1, 0);
    put_text(&file, "deep");
    put(&file, 4, 5);
    pad(&file, 128);
    refuse(&file, MORE_ERROR_CORRUPT, "tensor 'deep'", "5 dimensions");
    file = begin(3, 1, 0);
    put_tensor(&file, "a\n", 4, 2, 0, 0);
    pad(&file, 128);
    refuse(&file, MORE_ERROR_CORRUPT, "a tensor", "no printable");
}

static void bad_values(void **state)
{
    made_file file = begin(3, 2, 0);
    (void)state;
    file = begin(1, 0, 0);
    refuse(&file, MORE_ERROR_UNSUPPORTED, "version 1", "2 and 3");
    file = begin(0x03000000, 0, 0);
    refuse(&file, MORE_ERROR_UNSUPPORTED, "version 3, big-endian", "");
    file = begin(3, UINT64_MAX, 0);
    refuse(&file, MORE_ERROR_CORRUPT, "18446744073709551615 tensors", "");
    file = begin(3, 0, UINT64_MAX);
    refuse(&file, MORE_ERROR_CORRUPT, "18446744073709551615 keys", "");
    file = begin(3, 0, 2);
    put_number(&file, "k", CORE_GGUF_U8, 1, 1);
    put_number(&file, "k", CORE_GGUF_U16, 2, 1);
    refuse(&file, MORE_ERROR_CORRUPT, "key 'k'", "twice");
    file = begin(3, 0, 1);
    put_number(&file, "k", (core_gguf_type)13, 4, 1);
    refuse(&file, MORE_ERROR_CORRUPT, "key 'k'", "type 13");
    file = begin(3, 0, 1);
    put_number(&file, "k", CORE_GGUF_STRING, 8, (uint64_t)1 << 62);
    refuse(&file, MORE_ERROR_CORRUPT, "k: a text of 4611686018427387904 bytes", "");
    file = begin(3, 0, 1);
    put_number(&file, "k", CORE_GGUF_BOOL, 1, 2);
    refuse(&file, MORE_ERROR_CORRUPT, "key 'k'", "true or false");
    file = begin(3, 0, 1);
    put_number(&file, "k", CORE_GGUF_F32, 4, 0x7FC00000);
    refuse(&file, MORE_ERROR_CORRUPT, "key 'k'", "finite");
    file = begin(3, 0, 1);
    put_number(&file, "k", CORE_GGUF_ARRAY, 4, CORE_GGUF_U64);
    put(&file, 8, (uint64_t)1 << 61);
    refuse(&file, MORE_ERROR_CORRUPT, "key 'k'", "2305843009213693952 elements");
    file = begin(3, 0, 1);
    put_number(&file, "general.alignment", CORE_GGUF_U32, 4, 48);
    refuse(&file, MORE_ERROR_CORRUPT, "general.alignment", "48");
    file = begin(3, 0, 1);
    put_number(&file, "split.count", CORE_GGUF_U16, 2, 3);
    refuse(&file, MORE_ERROR_UNSUPPORTED, "one of 3 files", "");
    file = begin(3, 0, 1);
    put_text(&file, "k");
    put(&file, 4, CORE_GGUF_ARRAY);
    for (int i = 0; i < 6; i++) {
        put(&file, 4, CORE_GGUF_ARRAY);
        put(&file, 8, 1);
    }
    refuse(&file, MORE_ERROR_CORRUPT, "key 'k'", "deeper");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(values), cmocka_unit_test(tensors),
                                       cmocka_unit_test(bad_tensors), cmocka_unit_test(bad_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
