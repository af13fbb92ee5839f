/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/options.h"
#include "plugin/value.h"
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const more_option table[] = {
    {"size", MORE_INT64, "16", 1, 4096, NULL, "A size."},
    {"ratio", MORE_DOUBLE, "1/4", 0, 1, NULL, "A ratio."},
    {"exact", MORE_BOOL, "no", 0, 0, NULL, "Exactly so."},
    {"dtype", MORE_STRING, "auto", 0, 0, "auto|f32|f16", "A type."},
    {"label", MORE_STRING, "", 0, 0, NULL, "Any words."},
    {"seed", MORE_INT64, "-1", 0, 0, NULL, "Unbounded."},
};
#define ROWS ((int32_t)(sizeof table / sizeof *table))

static void values_are_parsed(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int64_t value;
    } good[] = {{"0", 0},
                {"-7", -7},
                {"+7", 7},
                {"010", 10},
                {"0x1F", 31},
                {"-0x10", -16},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775808", INT64_MIN}};
    more_value value;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(core_value_parse(MORE_INT64, good[i].text, &value, NULL), MORE_OK);
        assert_true(value.as.i == good[i].value);
    }
    const char *const bad[] = {"",
                               "-",
                               "0x",
                               "1.0",
                               "1e3",
                               " 1",
                               "1 ",
                               "3x6",
                               "0xG",
                               "9223372036854775808",
                               "--1",
                               "-9223372036854775809",
                               "99999999999999999999999999"};
    more_error error;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(core_value_parse(MORE_INT64, bad[i], &value, &error), MORE_ERROR_ARGUMENT);
    assert_int_equal(core_value_parse(MORE_INT64, "3x6", &value, &error), MORE_ERROR_ARGUMENT);
    assert_string_equal(error.message, "must be a whole number (int64), not '3x6'");
    assert_int_equal(core_value_parse(MORE_BOOL, "on", &value, NULL), MORE_OK);
    assert_int_equal(value.as.i, 1);
    assert_int_equal(core_value_parse(MORE_BOOL, "False", &value, NULL), MORE_ERROR_ARGUMENT);
}

static void doubles_are_parsed(void **state)
{
    (void)state;
    const struct {
        const char *text;
        double value;
    } good[] = {{"1/255", 1.0 / 255}, {"-2.5", -2.5}, {".5", 0.5}, {"1e-5", 1e-5}, {"+3", 3},
                {"1/-2", -0.5},       {"0.1", 0.1}};
    const char *const bad[] = {"", "nan", "inf", "1/0", "1/", "/2", "1/2/3", "1e999", "1.5x", "1,5", "- 1", " 1"};
    more_value value;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
            assert_int_equal(core_value_parse(MORE_DOUBLE, good[i].text, &value, NULL), MORE_OK);
            assert_true(value.as.f == good[i].value);
            core_buffer text = {0};
            core_value_write(&text, &value);
            assert_int_equal(core_value_parse(MORE_DOUBLE, text.data, &value, NULL), MORE_OK);
            assert_true(value.as.f == good[i].value);
            core_buffer_free(&text);
        }
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
            assert_int_equal(core_value_parse(MORE_DOUBLE, bad[i], &value, NULL), MORE_ERROR_ARGUMENT);
        /* the second round under a decimal comma, where the machine has such a locale */
        if (!setlocale(LC_NUMERIC, "de_DE.UTF-8") && !setlocale(LC_NUMERIC, "fr_FR.UTF-8"))
            break;
    }
    setlocale(LC_NUMERIC, "C");
}

static void quotes_come_off_and_on(void **state)
{
    (void)state;
    char *plain = NULL;
    size_t used = 0;
    more_error error;
    assert_int_equal(core_unquote("\"a \\\"b\\\" \\\\ \\n\\t\" rest", &plain, &used, &error), MORE_OK);
    assert_string_equal(plain, "a \"b\" \\ \n\t");
    assert_int_equal(used, 17);
    core_buffer text = {0};
    core_quote(&text, plain);
    assert_string_equal(text.data, "\"a \\\"b\\\" \\\\ \\n\\t\"");
    core_buffer_free(&text);
    free(plain);
    assert_int_equal(core_unquote("\"abc", &plain, &used, &error), MORE_ERROR_ARGUMENT);
    assert_null(plain);
    assert_int_equal(core_unquote("\"a\\x\"", &plain, &used, &error), MORE_ERROR_ARGUMENT);
    assert_int_equal(core_unquote("\"a\\", &plain, &used, &error), MORE_ERROR_ARGUMENT);
}

static void messages_show_what_can_be_printed(void **state)
{
    (void)state;
    char out[16];
    assert_string_equal(core_printable("plain", out, sizeof out), "plain");
    assert_string_equal(core_printable("a\nb\x01", out, sizeof out), "a\\nb\\x01");
    assert_string_equal(core_printable("0123456789abcdefgh", out, sizeof out), "0123456789ab...");
    /* no half character in front of the dots */
    assert_string_equal(core_printable("0123456789\xe2\x82\xac\xe2\x82\xac", out, sizeof out), "0123456789...");
}

static void lists_of_numbers(void **state)
{
    (void)state;
    int32_t numbers[3], count = 0;
    assert_int_equal(core_int32_list("-2", numbers, 3, &count, NULL), MORE_OK);
    assert_int_equal(count, 1);
    assert_int_equal(core_int32_list(" -2, 5,7 ", numbers, 3, &count, NULL), MORE_OK);
    assert_int_equal(count, 3);
    assert_int_equal(numbers[0], -2);
    assert_int_equal(numbers[2], 7);
    assert_int_equal(core_int32_list("1 2 3 4", numbers, 3, &count, NULL), MORE_ERROR_ARGUMENT);
    assert_int_equal(core_int32_list("1 x", numbers, 3, &count, NULL), MORE_ERROR_ARGUMENT);
    assert_int_equal(core_int32_list("2147483648", numbers, 3, &count, NULL), MORE_ERROR_ARGUMENT);
    assert_int_equal(core_int32_list(" , ", numbers, 3, &count, NULL), MORE_ERROR_ARGUMENT);
}

static void a_section_is_parsed(void **state)
{
    (void)state;
    const core_option_text texts[] = {
        {"label", "\"two words\\n\"", "run.ini:4"}, {"size", "0x20", "run.ini:5"}, {"exact", "yes", "--set"}};
    core_options options = {0};
    more_error error;
    assert_int_equal(core_options_parse("vision", table, ROWS, texts, 3, NULL, 0, &options, &error), MORE_OK);
    assert_int_equal(options.count, ROWS);
    assert_int_equal(options.values[0].as.i, 32);
    assert_true(options.values[1].as.f == 0.25);
    assert_int_equal(options.values[2].as.i, 1);
    assert_string_equal(options.values[3].as.s, "auto");
    assert_string_equal(options.values[4].as.s, "two words\n");
    assert_int_equal(options.values[5].as.i, -1);
    for (int i = 0; i < ROWS; i++)
        assert_int_equal(options.values[i].type, table[i].type);
    core_options_free(&options);
    const core_option_text bounds[] = {{"size", "4096", "x"}, {"ratio", "0", "x"}};
    assert_int_equal(core_options_parse("vision", table, ROWS, bounds, 2, NULL, 0, &options, &error), MORE_OK);
    assert_int_equal(options.values[0].as.i, 4096);
    core_options_free(&options);
    assert_int_equal(core_options_parse("vision", NULL, 0, NULL, 0, NULL, 0, &options, &error), MORE_OK);
    core_options_free(&options);
}

static void refuse(const char *key, const char *text, more_status status, const char *message)
{
    const more_option also[] = {{"layer", MORE_STRING, "", 0, 0, NULL, ""}};
    const core_option_text texts[] = {{"label", "x", "a.ini:1"}, {key, text, "a.ini:2"}};
    core_options options = {0};
    more_error error = {{0}};
    assert_int_equal(core_options_parse("vision", table, ROWS, texts, 2, also, 1, &options, &error), status);
    assert_string_equal(error.message, message);
    assert_null(options.values);
}

static void wrong_keys_and_values_are_refused(void **state)
{
    (void)state;
    refuse("siez", "1", MORE_ERROR_NOT_FOUND,
           "a.ini:2: [vision] has no key 'siez' (did you mean 'size'?); its plugin's keys are: size, ratio, exact, "
           "dtype, label, seed");
    refuse("layers", "1", MORE_ERROR_NOT_FOUND,
           "a.ini:2: [vision] has no key 'layers' (did you mean 'layer'?); its plugin's keys are: size, ratio, exact, "
           "dtype, label, seed");
    refuse("size", "4097", MORE_ERROR_ARGUMENT, "a.ini:2: [vision] size must be 1 to 4096, not 4097");
    refuse("size", "0", MORE_ERROR_ARGUMENT, "a.ini:2: [vision] size must be 1 to 4096, not 0");
    refuse("ratio", "1.5", MORE_ERROR_ARGUMENT, "a.ini:2: [vision] ratio must be 0 to 1, not 1.5");
    refuse("exact", "maybe", MORE_ERROR_ARGUMENT, "a.ini:2: [vision] exact must be true or false, not 'maybe'");
    refuse("dtype", "f3", MORE_ERROR_ARGUMENT, "a.ini:2: [vision] dtype must be one of auto|f32|f16, not 'f3'");
    refuse("dtype", "f32|f16", MORE_ERROR_ARGUMENT,
           "a.ini:2: [vision] dtype must be one of auto|f32|f16, not 'f32|f16'");
    refuse("label", "x", MORE_ERROR_ARGUMENT, "a.ini:2: [vision] label is given twice");
    refuse("dtype", "\"f32\" x", MORE_ERROR_ARGUMENT,
           "a.ini:2: [vision] dtype has text behind the closing double quote: ' x'");
}

static void tables_are_checked(void **state)
{
    (void)state;
    more_error error = {{0}};
    assert_int_equal(core_options_check(table, ROWS, &error), MORE_OK);
    assert_int_equal(core_options_check(NULL, 0, &error), MORE_OK);
    assert_int_equal(core_options_check(NULL, 1, &error), MORE_ERROR_CORRUPT);
    assert_int_equal(core_options_check(table, -1, &error), MORE_ERROR_CORRUPT);
    const more_option bad[][2] = {
        {{NULL, MORE_BOOL, "no", 0, 0, NULL, ""}},  {{"Size", MORE_BOOL, "no", 0, 0, NULL, ""}},
        {{"a", 9, "no", 0, 0, NULL, ""}},           {{"a", MORE_BOOL, NULL, 0, 0, NULL, ""}},
        {{"a", MORE_BOOL, "no", 0, 0, NULL, NULL}}, {{"a", MORE_INT64, "x", 0, 0, NULL, ""}},
        {{"a", MORE_INT64, "9", 0, 8, NULL, ""}},   {{"a", MORE_INT64, "5", 8, 2, NULL, ""}},
        {{"a", MORE_BOOL, "no", 0, 1, NULL, ""}},   {{"a", MORE_INT64, "1", 0, 0, "1|2", ""}},
        {{"a", MORE_STRING, "x", 0, 0, "y|z", ""}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(core_options_check(bad[i], 1, &error), MORE_ERROR_CORRUPT);
    const more_option twice[] = {{"a", MORE_BOOL, "no", 0, 0, NULL, ""}, {"a", MORE_BOOL, "no", 0, 0, NULL, ""}};
    assert_int_equal(core_options_check(twice, 2, &error), MORE_ERROR_CORRUPT);
    assert_string_equal(error.message, "option 'a' is in the table twice");
}

static void rows_are_described(void **state)
{
    (void)state;
    core_buffer text = {0};
    core_option_describe(&table[0], &text);
    core_buffer_text(&text, "; ");
    core_option_describe(&table[3], &text);
    core_buffer_text(&text, "; ");
    core_option_describe(&table[4], &text);
    assert_string_equal(text.data, "int64, 1 to 4096, default 16; auto|f32|f16, default auto; string");
    core_buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_parsed),
        cmocka_unit_test(doubles_are_parsed),
        cmocka_unit_test(quotes_come_off_and_on),
        cmocka_unit_test(messages_show_what_can_be_printed),
        cmocka_unit_test(lists_of_numbers),
        cmocka_unit_test(a_section_is_parsed),
        cmocka_unit_test(wrong_keys_and_values_are_refused),
        cmocka_unit_test(tables_are_checked),
        cmocka_unit_test(rows_are_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
