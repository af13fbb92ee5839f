/* SPDX-License-Identifier: Apache-2.0
 *
 * The GGUF writer against the reader, and the expressions of gguf-write.json.
 */
#include "base/file.h"
#include "weights/checkpoint.h"
#include "weights/gguf/export_values.h"
#include "weights/gguf/write.h"

#include "../unit/weights/made.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <sys/stat.h>

typedef struct fixture {
    char *folder, *path;
    core_gguf_writer *writer;
    more_error error;
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->folder = made_folder();
    f->path = core_path_join(f->folder, "made.gguf");
    f->writer = core_gguf_writer_create(f->path);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    core_gguf_writer_free(f->writer);
    made_remove(f->folder);
    free(f->path);
    free(f);
    return 0;
}

static int files_in(const char *folder)
{
    int count = 0;
    DIR *list = opendir(folder);
    for (struct dirent *item; (item = readdir(list));)
        count += item->d_name[0] != '.';
    closedir(list);
    return count;
}

static const core_gguf_format *format(uint32_t number)
{
    return core_gguf_format_numbered(number);
}

static void add(fixture *f, const char *name, uint32_t number, int32_t rank, int64_t a, int64_t b)
{
    const int64_t shape[] = {a, b};
    if (core_gguf_add_tensor(f->writer, name, format(number), rank, shape, &f->error) != MORE_OK)
        fail_msg("%s", f->error.message);
}

/* ---- There and back ------------------------------------------------------------------------------------------------
 */

static void put_keys(core_gguf_writer *writer)
{
    core_gguf_put_text(writer, "a.text", "h\xC3\xA9llo");
    core_gguf_put_integer(writer, "a.u32", CORE_GGUF_U32, 4000000000);
    core_gguf_put_integer(writer, "a.i32", CORE_GGUF_I32, -5);
    core_gguf_put_integer(writer, "a.u8", CORE_GGUF_U8, 200);
    core_gguf_put_integer(writer, "a.yes", CORE_GGUF_BOOL, 1);
    core_gguf_put_real(writer, "a.real", 1.5f);
    core_gguf_put_array(writer, "a.texts", CORE_GGUF_STRING, 2);
    core_gguf_add_text(writer, "one", 3);
    core_gguf_add_text(writer, "", 0);
    core_gguf_put_array(writer, "a.numbers", CORE_GGUF_I32, 2);
    core_gguf_add_integer(writer, -1);
    core_gguf_add_integer(writer, 7);
    core_gguf_put_array(writer, "a.reals", CORE_GGUF_F32, 1);
    core_gguf_add_real(writer, -0.25f);
}

static void check_keys(const core_gguf *file)
{
    json_t *wanted = json_pack("{s:s, s:I, s:i, s:i, s:b, s:f, s:[s, s], s:[i, i], s:[f]}", "a.text", "h\xC3\xA9llo",
                               "a.u32", (json_int_t)4000000000, "a.i32", -5, "a.u8", 200, "a.yes", 1, "a.real", 1.5,
                               "a.texts", "one", "", "a.numbers", -1, 7, "a.reals", -0.25);
    assert_non_null(wanted);
    assert_true(json_equal(core_gguf_metadata(file), wanted));
    json_decref(wanted);
}

/* The bytes of all tensors in their order, given in pieces of `piece` bytes. */
static void write_file(fixture *f, const unsigned char *bytes, size_t size, size_t piece)
{
    assert_int_equal(core_gguf_writer_begin(f->writer, &f->error), MORE_OK);
    for (size_t at = 0; at < size; at += piece) {
        size_t some = size - at < piece ? size - at : piece;
        if (core_gguf_writer_data(f->writer, bytes + at, some, &f->error) != MORE_OK)
            fail_msg("%s", f->error.message);
    }
    assert_int_equal(core_gguf_writer_end(f->writer, &f->error), MORE_OK);
}

static void round_trip(void **state)
{
    fixture *f = *state;
    unsigned char bytes[12 + 2 * 68 + 6 + 4];
    core_gguf *file, *again;
    struct stat about;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(7 * i + 1);
    put_keys(f->writer);
    add(f, "vector", 0, 1, 3, 0);
    add(f, "blocks", 8, 2, 2, 64);
    add(f, "halves", 1, 2, 3, 1);
    add(f, "last", 0, 1, 1, 0);
    write_file(f, bytes, sizeof bytes, 5);
    int64_t promised = core_gguf_writer_bytes(f->writer);
    assert_int_equal(core_gguf_writer_done(f->writer), promised);
    assert_int_equal(core_gguf_open(core_gguf_writer_temporary(f->writer), &again, &f->error), MORE_OK);
    core_gguf_close(again);
    assert_int_equal(core_gguf_writer_commit(f->writer, &f->error), MORE_OK);
    assert_int_equal(stat(f->path, &about), 0);
    assert_int_equal(about.st_size, promised);
    assert_int_equal(files_in(f->folder), 1);
    if (core_gguf_open(f->path, &file, &f->error) != MORE_OK)
        fail_msg("%s", f->error.message);
    check_keys(file);
    const core_tensor_table *table = core_gguf_tensors(file);
    static const char *const names[] = {"vector", "blocks", "halves", "last"};
    static const char *const formats[] = {"f32", "gguf.q8_0", "f16", "f32"};
    size_t at = 0;
    assert_int_equal(table->count, 4);
    for (size_t i = 0; i < table->count; i++) {
        const core_tensor_entry *entry = &table->entries[i];
        assert_string_equal(entry->name, names[i]);
        assert_string_equal(entry->format, formats[i]);
        assert_memory_equal(entry->data, bytes + at, entry->bytes);
        at += entry->bytes;
    }
    assert_int_equal(at, sizeof bytes);
    assert_int_equal(table->entries[1].shape[0], 2);
    assert_int_equal(table->entries[1].shape[1], 64);
    core_gguf_close(file);
}

static void copied_arrays(void **state)
{
    fixture *f = *state;
    core_gguf *file;
    core_gguf_array texts, reals;
    char *second = core_path_join(f->folder, "second.gguf");
    put_keys(f->writer);
    add(f, "t", 0, 1, 1, 0);
    write_file(f, (const unsigned char *)"1234", 4, 4);
    assert_int_equal(core_gguf_writer_commit(f->writer, &f->error), MORE_OK);
    assert_int_equal(core_gguf_open(f->path, &file, &f->error), MORE_OK);
    assert_true(core_gguf_find_array(file, "a.texts", &texts) && core_gguf_find_array(file, "a.reals", &reals));
    core_gguf_writer *writer = core_gguf_writer_create(second);
    core_gguf_copy_array(writer, "b.texts", &texts);
    core_gguf_copy_array(writer, "b.reals", &reals);
    assert_int_equal(core_gguf_writer_begin(writer, &f->error), MORE_OK);
    assert_int_equal(core_gguf_writer_end(writer, &f->error), MORE_OK);
    assert_int_equal(core_gguf_writer_commit(writer, &f->error), MORE_OK);
    core_gguf_writer_free(writer);
    core_gguf_close(file);
    assert_int_equal(core_gguf_open(second, &file, &f->error), MORE_OK);
    json_t *wanted = json_pack("{s:[s, s], s:[f]}", "b.texts", "one", "", "b.reals", -0.25);
    assert_true(json_equal(core_gguf_metadata(file), wanted));
    json_decref(wanted);
    core_gguf_close(file);
    free(second);
}

/* ---- What is left behind -------------------------------------------------------------------------------------------
 */

static void check_old(const fixture *f)
{
    core_buffer text = {0};
    assert_int_equal(core_file_read(f->path, 100, &text, NULL), MORE_OK);
    assert_string_equal(text.data, "old");
    assert_int_equal(files_in(f->folder), 1);
    core_buffer_free(&text);
}

static void no_half_file(void **state)
{
    fixture *f = *state;
    made_text(f->folder, "made.gguf", "old");
    add(f, "t", 0, 1, 100, 0);
    assert_int_equal(core_gguf_writer_begin(f->writer, &f->error), MORE_OK);
    assert_int_equal(core_gguf_writer_data(f->writer, "1234", 4, &f->error), MORE_OK);
    assert_int_equal(files_in(f->folder), 2);
    assert_int_equal(core_gguf_writer_end(f->writer, &f->error), MORE_ERROR_INTERNAL);
    core_gguf_writer_free(f->writer);
    f->writer = NULL;
    check_old(f);
}

static void no_folder(void **state)
{
    fixture *f = *state;
    char *path = core_path_join(f->folder, "absent/made.gguf");
    core_gguf_writer *writer = core_gguf_writer_create(path);
    assert_int_equal(core_gguf_writer_begin(writer, &f->error), MORE_ERROR_NOT_FOUND);
    assert_non_null(strstr(f->error.message, path));
    assert_null(core_gguf_writer_temporary(writer));
    core_gguf_writer_free(writer);
    free(path);
}

static void refused_tensors(void **state)
{
    fixture *f = *state;
    const int64_t odd[] = {2, 33}, good[] = {2, 64}, empty[] = {0, 64}, huge[] = {INT64_C(1) << 40, INT64_C(1) << 40};
    char name[80];
    memset(name, 'n', sizeof name);
    name[64] = '\0';
    add(f, "there", 0, 1, 1, 0);
    assert_int_equal(core_gguf_add_tensor(f->writer, "there", format(0), 2, good, &f->error), MORE_ERROR_ARGUMENT);
    assert_int_equal(core_gguf_add_tensor(f->writer, name, format(0), 2, good, &f->error), MORE_ERROR_ARGUMENT);
    assert_int_equal(core_gguf_add_tensor(f->writer, "", format(0), 2, good, &f->error), MORE_ERROR_ARGUMENT);
    assert_int_equal(core_gguf_add_tensor(f->writer, "t", format(8), 2, odd, &f->error), MORE_ERROR_ARGUMENT);
    assert_int_equal(core_gguf_add_tensor(f->writer, "t", format(0), 0, good, &f->error), MORE_ERROR_ARGUMENT);
    assert_int_equal(core_gguf_add_tensor(f->writer, "t", format(0), 5, good, &f->error), MORE_ERROR_ARGUMENT);
    assert_int_equal(core_gguf_add_tensor(f->writer, "t", format(0), 2, empty, &f->error), MORE_ERROR_ARGUMENT);
    assert_int_equal(core_gguf_add_tensor(f->writer, "t", format(0), 2, huge, &f->error), MORE_ERROR_ARGUMENT);
    name[63] = '\0';
    assert_int_equal(core_gguf_add_tensor(f->writer, name, format(0), 2, good, &f->error), MORE_OK);
    assert_int_equal(core_gguf_writer_begin(f->writer, &f->error), MORE_OK);
    unsigned char much[1024] = {0};
    assert_int_equal(core_gguf_writer_data(f->writer, much, sizeof much, &f->error), MORE_ERROR_INTERNAL);
}

/* ---- Expressions ---------------------------------------------------------------------------------------------------
 */

static const char config_text[] = "{\"width\": 96, \"heads\": 4, \"yes\": true, \"none\": null, \"kind\": \"round\","
                                  "\"deep\": {\"list\": [1, 2, 3], \"factor\": 2.5}, \"inside\": {\"width\": 48}}";

static void open_made(const char *folder, more_checkpoint **checkpoint)
{
    const float data[6] = {0};
    more_error error;
    made_text(folder, "config.json", config_text);
    made_weights(folder, "model.safetensors",
                 "{\"m.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}", data, sizeof data);
    if (core_checkpoint_open(folder, checkpoint, &error) != MORE_OK)
        fail_msg("%s", error.message);
}

static void expressions(void **state)
{
    static const struct {
        const char *text;
        double value;
    } good[] = {{"1 + 2 * 3", 7},
                {"(1 + 2) * 3 - -4", 13},
                {"width / heads", 24},
                {"2 * deep.factor", 5},
                {"yes + has(none) + has(kind)", 2},
                {"length(deep.list)", 3},
                {"is(kind, 'round') * 10 + is(kind, 'square')", 10},
                {"is(yes, 'true')", 1},
                {"rows(m.weight) * 100 + columns(m.weight) * 10 + rank(m.weight)", 232},
                {"sqrt(16) + log(1) + floor(2.9) + pow(2, 10)", 1030},
                {"min(3, 4) * 10 + max(3, 4)", 34},
                {"equal(2, 4 / 2) - equal(2, 3)", 1},
                {"i * 2", 6},
                {"half", 48},
                {"either", 5},
                {"fact + deep.factor", 9.5},
                {"8.5 - 0.25", 8.25}};
    static const struct {
        const char *text;
        more_status status;
        const char *named;
    } bad[] = {{"width + absent", MORE_ERROR_NOT_FOUND, "absent"},
               {"none", MORE_ERROR_NOT_FOUND, "none"},
               {"rows(x.weight)", MORE_ERROR_NOT_FOUND, "x.weight"},
               {"kind + 1", MORE_ERROR_NOT_FOUND, "kind"},
               {"nothing", MORE_ERROR_NOT_FOUND, "nothing"},
               {"1 +", MORE_ERROR_CORRUPT, "1 +"},
               {"(1", MORE_ERROR_CORRUPT, "(1"},
               {"1 2", MORE_ERROR_CORRUPT, "1 2"},
               {"", MORE_ERROR_CORRUPT, "missing"},
               {"sine(1)", MORE_ERROR_CORRUPT, "sine"},
               {"1 / 0", MORE_ERROR_CORRUPT, "finite"},
               {"log(-1)", MORE_ERROR_CORRUPT, "finite"},
               {"endless", MORE_ERROR_CORRUPT, "deep"},
               {"is(kind)", MORE_ERROR_CORRUPT, "is("}};
    fixture *f = *state;
    more_checkpoint *checkpoint;
    json_t *facts = json_pack("{s:i}", "fact", 7);
    json_t *names = json_pack("{s:[s], s:[s, s], s:[s], s:[s]}", "half", "width / 2", "either", "absent", "5",
                              "nothing", "absent", "endless", "endless + 1");
    open_made(f->folder, &checkpoint);
    core_export_scope scope = {checkpoint, facts, names, NULL, "rules", 3};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        double value = -1;
        if (core_export_number(&scope, good[i].text, &value, &f->error) != MORE_OK)
            fail_msg("%s: %s", good[i].text, f->error.message);
        if (value != good[i].value)
            fail_msg("%s is %g, not %g", good[i].text, value, good[i].value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        double value;
        more_status status = core_export_number(&scope, bad[i].text, &value, &f->error);
        if (status != bad[i].status || !strstr(f->error.message, bad[i].named))
            fail_msg("%s: %d, %s", bad[i].text, (int)status, f->error.message);
    }
    double width;
    scope.inside = "inside";
    assert_int_equal(core_export_number(&scope, "width", &width, &f->error), MORE_OK);
    assert_true(width == 48);
    core_checkpoint_release(checkpoint);
    json_decref(facts);
    json_decref(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(copied_arrays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_half_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_tensors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(expressions, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("gguf_write", tests, NULL, NULL);
}
