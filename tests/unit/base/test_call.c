/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"
#include "plugin/call.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What the functions below were given: they write into the error's message, the one place that they can reach. */

/* 14 arguments, mixed: more integers, doubles and pointers than fit into the registers of any calling convention. */
static more_status fourteen(more_error *error, int64_t a, double b, const char *c, int64_t d, double e, const char *f,
                            int64_t g, double h, const char *i, int64_t j, double k, const char *l, int64_t m, double n)
{
    snprintf(error->message, sizeof error->message,
             "%lld %.17g %s %lld %.17g %s %lld %.17g %s %lld %.17g %s %lld %.17g", (long long)a, b, c, (long long)d, e,
             f, (long long)g, h, i, (long long)j, k, l, (long long)m, n);
    return 14;
}

static more_status flags(more_error *error, int32_t first, int64_t number, int32_t second)
{
    snprintf(error->message, sizeof error->message, "%d %lld %d", first, (long long)number, second);
    return MORE_OK;
}

static more_status resize(const more_image *in, more_image *out, more_error *error, int64_t width, int64_t height,
                          const char *filter)
{
    (void)error;
    *out = *in;
    out->width = width;
    out->height = height;
    out->channels = (int64_t)strlen(filter);
    return MORE_OK;
}

static more_status refuses(const more_image *in, more_image *out, more_error *error)
{
    (void)out;
    return more_fail(error, MORE_ERROR_ARGUMENT, "refuses() wants no image of width %lld", (long long)in->width);
}

static more_status scale(more_candidates *candidates, more_error *error, double by)
{
    (void)error;
    for (int64_t i = 0; i < candidates->count; i++)
        candidates->logits[i] *= (float)by;
    return MORE_OK;
}

static more_status many(more_error *error, int64_t a0, int64_t a1, int64_t a2, int64_t a3, int64_t a4, int64_t a5,
                        int64_t a6, int64_t a7, double b0, double b1, double b2, double b3, double b4, double b5,
                        double b6, double b7, int32_t c0, int32_t c1, int32_t c2, int32_t c3, int32_t c4, int32_t c5,
                        int32_t c6, int32_t c7, const char *d0, const char *d1, const char *d2, const char *d3,
                        const char *d4, const char *d5, const char *d6, const char *d7)
{
    double sum = (double)(a0 + 2 * a1 + 3 * a2 + 4 * a3 + 5 * a4 + 6 * a5 + 7 * a6 + 8 * a7) + b0 + 2 * b1 + 3 * b2 +
                 4 * b3 + 5 * b4 + 6 * b5 + 7 * b6 + 8 * b7;
    int32_t bits = c0 | c1 << 1 | c2 << 2 | c3 << 3 | c4 << 4 | c5 << 5 | c6 << 6 | c7 << 7;
    snprintf(error->message, sizeof error->message, "%g %d %s%s%s%s%s%s%s%s", sum, bits, d0, d1, d2, d3, d4, d5, d6,
             d7);
    return 32;
}

#define ADDRESS(function) ((void (*)(void))(function))

static const more_function rows[] = {
    {MORE_STAGE_PLAIN, "fourteen",
     "int64 a, double b, string c, int64 d, double e, string f, int64 g, double h = 1/255, string i = \"i, (x)\", "
     "int64 j = -0x10, double k = .5, string l = word, int64 m = 9223372036854775807, double n = -1e-3",
     "Prints its arguments.", ADDRESS(fourteen)},
    {MORE_STAGE_PLAIN, "flags", "bool first, int64 number = 3, bool second = yes", "Prints flags.", ADDRESS(flags)},
    {MORE_STAGE_PREPROCESS, "resize", "int64 width, int64 height, string filter = bicubic", "Resizes.",
     ADDRESS(resize)},
    {MORE_STAGE_PREPROCESS, "refuses", "", "Fails.", ADDRESS(refuses)},
    {MORE_STAGE_SAMPLER, "scale", "double by", "Scales.", ADDRESS(scale)},
    {MORE_STAGE_PLAIN, "many",
     "int64 a0, int64 a1, int64 a2, int64 a3, int64 a4, int64 a5, int64 a6, int64 a7, double b0, double b1, double b2, "
     "double b3, double b4, double b5, double b6, double b7, bool c0, bool c1, bool c2, bool c3, bool c4, bool c5, "
     "bool c6, bool c7, string d0, string d1, string d2, string d3, string d4, string d5, string d6, string d7",
     "Takes as many as there may be.", ADDRESS(many)},
};

static const more_functions_interface all = {.struct_size = MORE_STRUCT_SIZE(more_functions_interface, count),
                                             .functions = rows,
                                             .count = sizeof rows / sizeof *rows};

static int make_registry(void **state)
{
    core_functions *functions = NULL;
    if (core_functions_create(&functions, NULL) != MORE_OK ||
        core_functions_add(functions, &all, "test", NULL) != MORE_OK)
        return 1;
    *state = functions;
    return 0;
}

static int drop_registry(void **state)
{
    core_functions_destroy(*state);
    return 0;
}

/* Parses, writes, parses the written text, and invokes both: they must agree. */
static void plain(void **state, const char *text, more_status status, const char *message)
{
    core_call *call = NULL, *again = NULL;
    more_error error = {{0}};
    core_buffer written = {0};
    if (core_call_parse(*state, MORE_STAGE_PLAIN, text, "test", &call, &error) != MORE_OK)
        fail_msg("%s", error.message);
    assert_int_equal(core_call_invoke(call, NULL, &error), status);
    assert_string_equal(error.message, message);
    core_call_write(call, &written);
    assert_int_equal(core_call_parse(*state, MORE_STAGE_PLAIN, written.data, "test", &again, &error), MORE_OK);
    assert_int_equal(core_call_invoke(again, NULL, &error), status);
    assert_string_equal(error.message, message);
    core_buffer_free(&written);
    core_call_destroy(call);
    core_call_destroy(again);
}

static void fourteen_mixed_arguments_from_ini_text(void **state)
{
    const char ini[] = "[preprocess]\nsteps = fourteen(-1, 2.5, \"three; \\\"3\\\"\", 0x4, 1/2, six, 7,\n"
                       "    n = 14.25,   i=\"nine\\n\", l = zwölf)  ; the rest by default\n";
    core_config *config = NULL;
    more_error error = {{0}};
    assert_int_equal(core_config_create(&config, &error), MORE_OK);
    assert_int_equal(core_config_parse(config, ini, strlen(ini), "run.ini", NULL, &error), MORE_OK);
    plain(state, core_config_string(config, "preprocess", "steps"), 14,
          "-1 2.5 three; \"3\" 4 0.5 six 7 0.0039215686274509803 nine\n -16 0.5 zwölf 9223372036854775807 14.25");
    core_config_destroy(config);
    plain(state, "fourteen(1,2,3,4,5,6,7)", 14,
          "1 2 3 4 5 6 7 0.0039215686274509803 i, (x) -16 0.5 word 9223372036854775807 -0.001");
}

static void thirty_two_arguments(void **state)
{
    plain(state,
          "many(1,2,3,4,5,6,7,8, .1,.2,.3,.4,.5,.6,.7,.8, true,false,true,false,false,true,true,true, a,b,c,d,e,f,g,h)",
          32, "224.4 229 abcdefgh");
}

static void bools_and_names(void **state)
{
    plain(state, "flags(true)", MORE_OK, "1 3 1");
    plain(state, " flags ( number = 5 , second=off, first=no ) ", MORE_OK, "0 5 0");
}

static void stages_get_their_leading_pointers(void **state)
{
    core_calls calls = {0};
    more_error error = {{0}};
    more_image in = {.width = 5}, out = {0};
    void *const images[] = {&in, &out};
    const char text[] = "resize(336, height=224),\n  resize(1, 2, \"\"), refuses(),";
    assert_int_equal(core_calls_parse(*state, MORE_STAGE_PREPROCESS, text, "test", &calls, &error), MORE_OK);
    assert_int_equal(calls.count, 3);
    assert_int_equal(core_call_invoke(calls.items[0], images, &error), MORE_OK);
    assert_int_equal(out.width, 336);
    assert_int_equal(out.height, 224);
    assert_int_equal(out.channels, 7);
    assert_int_equal(core_call_invoke(calls.items[1], images, NULL), MORE_OK);
    assert_int_equal(out.channels, 0);
    assert_int_equal(core_call_invoke(calls.items[2], images, &error), MORE_ERROR_ARGUMENT);
    assert_string_equal(error.message, "refuses() wants no image of width 5");
    core_calls_free(&calls);

    core_call *call = NULL;
    float logits[] = {1, -2};
    more_candidates candidates = {.logits = logits, .count = 2};
    void *const leading[] = {&candidates};
    more_value value;
    assert_int_equal(core_call_parse(*state, MORE_STAGE_SAMPLER, "scale(-1/2)", "test", &call, &error), MORE_OK);
    assert_int_equal(core_call_invoke(call, leading, &error), MORE_OK);
    assert_true(logits[0] == -0.5f && logits[1] == 1.0f);
    assert_int_equal(core_call_argument(call, "by", &value, &error), MORE_OK);
    assert_true(value.as.f == -0.5);
    assert_int_equal(core_call_argument(call, "x", &value, &error), MORE_ERROR_NOT_FOUND);
    assert_string_equal(core_call_function(call)->name, "scale");
    core_call_destroy(call);
}

static void no_calls_is_fine(void **state)
{
    core_calls calls = {0};
    assert_int_equal(core_calls_parse(*state, MORE_STAGE_PREPROCESS, " \n ", "test", &calls, NULL), MORE_OK);
    assert_int_equal(calls.count, 0);
}

static void refuse(void **state, const char *text, more_status status, const char *message)
{
    core_calls calls = {0};
    more_error error = {{0}};
    assert_int_equal(core_calls_parse(*state, MORE_STAGE_PREPROCESS, text, "run.ini:3: steps", &calls, &error), status);
    assert_string_equal(error.message, message);
    assert_int_equal(calls.count, 0);
}

#define SIGNATURE "; it is resize(int64 width, int64 height, string filter = bicubic)"

static void wrong_calls_are_refused(void **state)
{
    refuse(
        state, "resize(1, 3x6)", MORE_ERROR_ARGUMENT,
        "run.ini:3: steps: column 11: argument 'height' of resize must be a whole number (int64), not '3x6'" SIGNATURE);
    refuse(state, "resize(1, \"2\")", MORE_ERROR_ARGUMENT,
           "run.ini:3: steps: column 11: argument 'height' of resize must be a int64, not a text in quotes" SIGNATURE);
    refuse(state, "resize(1)", MORE_ERROR_ARGUMENT,
           "run.ini:3: steps: column 9: resize lacks its argument 'height'" SIGNATURE);
    refuse(state, "resize(1,2,a,4)", MORE_ERROR_ARGUMENT,
           "run.ini:3: steps: column 14: resize takes 3 arguments, not more" SIGNATURE);
    refuse(state, "resize(1, width=2)", MORE_ERROR_ARGUMENT,
           "run.ini:3: steps: column 11: argument 'width' is given twice" SIGNATURE);
    refuse(state, "resize(width=1, 2)", MORE_ERROR_ARGUMENT,
           "run.ini:3: steps: column 17: an argument without a name stands behind one with a name" SIGNATURE);
    refuse(state, "resize(1, heigth=2)", MORE_ERROR_NOT_FOUND,
           "run.ini:3: steps: column 11: resize has no parameter 'heigth' (did you mean 'height'?)" SIGNATURE);
    refuse(state, "refuses(),\n  résize(1)", MORE_ERROR_NOT_FOUND,
           "run.ini:3: steps: line 2, column 3: no preprocess function 'r'; there are: resize, refuses");
    refuse(state, "refuses(),\n  resise(1)", MORE_ERROR_NOT_FOUND,
           "run.ini:3: steps: line 2, column 3: no preprocess function 'resise' (did you mean 'resize'?); there are: "
           "resize, refuses");
    refuse(state, "scale(1)", MORE_ERROR_NOT_FOUND,
           "run.ini:3: steps: column 1: no preprocess function 'scale'; there are: resize, refuses");
    refuse(state, "resize", MORE_ERROR_ARGUMENT, "run.ini:3: steps: column 7: expected '(' behind resize" SIGNATURE);
    refuse(state, "resize(1,2", MORE_ERROR_ARGUMENT,
           "run.ini:3: steps: column 11: expected ',' or ')' at the end" SIGNATURE);
    refuse(state, "resize(", MORE_ERROR_ARGUMENT, "run.ini:3: steps: column 8: expected ')' at the end" SIGNATURE);
    refuse(state, "resize(1 2)", MORE_ERROR_ARGUMENT,
           "run.ini:3: steps: column 10: expected ',' or ')' before '2)'" SIGNATURE);
    refuse(state, "resize(1,,2)", MORE_ERROR_ARGUMENT,
           "run.ini:3: steps: column 10: argument 'height' of resize lacks its value" SIGNATURE);
    refuse(state, "resize(1,2,\"x)", MORE_ERROR_ARGUMENT,
           "run.ini:3: steps: column 12: argument 'filter' of resize lacks its closing double quote" SIGNATURE);
    refuse(state, "refuses() refuses()", MORE_ERROR_ARGUMENT,
           "run.ini:3: steps: column 11: expected ',' between calls before 'refuses()'");
    refuse(state, ", refuses()", MORE_ERROR_ARGUMENT,
           "run.ini:3: steps: column 1: expected a function's name before ', refuses()'");
    core_call *call = NULL;
    more_error error;
    assert_int_equal(core_call_parse(*state, MORE_STAGE_PREPROCESS, "refuses(), refuses()", "x", &call, &error),
                     MORE_ERROR_ARGUMENT);
    assert_null(call);
    assert_int_equal(core_call_parse(*state, MORE_STAGE_PREPROCESS, "", "x", &call, &error), MORE_ERROR_ARGUMENT);
}

static void more_calls_than_allowed_are_refused(void **state)
{
    core_buffer text = {0};
    core_calls calls = {0};
    more_error error;
    for (int i = 0; i < 300; i++)
        core_buffer_text(&text, "refuses(),");
    assert_int_equal(core_calls_parse(*state, MORE_STAGE_PREPROCESS, text.data, "x", &calls, &error),
                     MORE_ERROR_MEMORY);
    core_buffer_free(&text);
}

static void declare(const char *parameters, more_status status, const char *part)
{
    const more_function row = {MORE_STAGE_PLAIN, "f", parameters, "", ADDRESS(flags)};
    more_functions_interface table = all;
    more_error error = {{0}};
    table.functions = &row;
    table.count = 1;
    assert_int_equal(core_functions_check(&table, &error), status);
    if (!strstr(error.message, part))
        fail_msg("'%s' is not in '%s'", part, error.message);
}

static void declarations_are_checked(void **state)
{
    (void)state;
    declare("  int64   a ,double b=1/3 , string c = \"\" ", MORE_OK, "");
    declare("int a", MORE_ERROR_CORRUPT, "column 1: expected a type");
    declare("int64", MORE_ERROR_CORRUPT, "column 6: expected a parameter's name");
    declare("int64 A", MORE_ERROR_CORRUPT, "expected a parameter's name");
    declare("int64 a = x", MORE_ERROR_CORRUPT, "the default of 'a' must be a whole number");
    declare("int64 a, bool a", MORE_ERROR_CORRUPT, "a second parameter 'a'");
    declare("int64 a,", MORE_ERROR_CORRUPT, "column 9: expected a parameter behind the last ','");
    declare("int64 a bool b", MORE_ERROR_CORRUPT, "column 9: expected ',' behind 'a'");
    declare("string s = \"x", MORE_ERROR_CORRUPT, "lacks its closing double quote");
    core_buffer text = {0};
    for (int i = 0; i < 33; i++)
        core_buffer_format(&text, "%sint64 a%d", i ? ", " : "", i);
    declare(text.data, MORE_ERROR_CORRUPT, "more than 32 parameters");
    core_buffer_free(&text);
}

static void tables_are_checked(void **state)
{
    more_error error = {{0}};
    const more_function bad[] = {{MORE_STAGE_PLAIN, "F", "", "", ADDRESS(flags)},
                                 {MORE_STAGE_PLAIN, NULL, "", "", ADDRESS(flags)},
                                 {"metric", "f", "", "", ADDRESS(flags)},
                                 {NULL, "f", "", "", ADDRESS(flags)},
                                 {MORE_STAGE_PLAIN, "f", NULL, "", ADDRESS(flags)},
                                 {MORE_STAGE_PLAIN, "f", "", NULL, ADDRESS(flags)},
                                 {MORE_STAGE_PLAIN, "f", "", "", NULL}};
    more_functions_interface table = all;
    table.count = 1;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        table.functions = &bad[i];
        assert_int_equal(core_functions_check(&table, &error), MORE_ERROR_CORRUPT);
    }
    table = all;
    table.struct_size = sizeof(size_t);
    assert_int_equal(core_functions_check(&table, &error), MORE_ERROR_CORRUPT);
    /* a second table of the same names leaves the registry as it was */
    assert_int_equal(core_functions_add(*state, &all, "/plugins/steps.so", &error), MORE_ERROR_ARGUMENT);
    assert_string_equal(error.message, "/plugins/steps.so: the plain function 'fourteen' is there already, from test");
    const char *origin = NULL;
    assert_string_equal(core_functions_at(*state, 2, &origin)->name, "resize");
    assert_string_equal(origin, "test");
    assert_null(core_functions_at(*state, 6, NULL));
    assert_null(core_functions_find(*state, MORE_STAGE_SAMPLER, "resize"));
    core_buffer text = {0};
    core_call_describe(core_functions_find(*state, MORE_STAGE_PREPROCESS, "resize"), &text);
    assert_string_equal(text.data, "resize(int64 width, int64 height, string filter = bicubic)");
    core_buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fourteen_mixed_arguments_from_ini_text),
        cmocka_unit_test(thirty_two_arguments),
        cmocka_unit_test(bools_and_names),
        cmocka_unit_test(stages_get_their_leading_pointers),
        cmocka_unit_test(no_calls_is_fine),
        cmocka_unit_test(wrong_calls_are_refused),
        cmocka_unit_test(more_calls_than_allowed_are_refused),
        cmocka_unit_test(declarations_are_checked),
        cmocka_unit_test(tables_are_checked),
    };
    return cmocka_run_group_tests(tests, make_registry, drop_registry);
}
