/* SPDX-License-Identifier: Apache-2.0
 *
 * Resampling and steps on pictures small enough to work out by hand, and the texts made from preprocessor configs. The
 * numbers of real pictures are compared with Pillow and transformers in tests/parity/test_pixels.
 */
#include "base/json.h"
#include "image/preprocess.h"
#include "image/resize.h"
#include "image/steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int set_up(void **state)
{
    core_functions *functions = NULL;
    more_error error = {{0}};
    if (core_functions_create(&functions, &error) != MORE_OK ||
        core_functions_add(functions, core_image_steps(), "core", &error) != MORE_OK) {
        print_error("%s\n", error.message);
        return 1;
    }
    *state = functions;
    return 0;
}

static int tear_down(void **state)
{
    core_functions_destroy(*state);
    return 0;
}

static core_image picture(int64_t width, int64_t height, int64_t channels, const unsigned char *bytes)
{
    more_error error = {{0}};
    core_image image;
    core_image_init(&image, 0);
    assert_int_equal(image.abi.allocate(&image.abi, MORE_IMAGE_U8, width, height, channels, &error), MORE_OK);
    if (bytes)
        memcpy(image.abi.data, bytes, core_image_bytes(&image.abi));
    return image;
}

/* ---- Resampling ------------------------------------------------------------------------------------------------- */

static void resized_row(int64_t in, const unsigned char *from, int64_t out, const unsigned char *want,
                        core_filter filter)
{
    more_error error = {{0}};
    core_image wide = picture(in, 1, 1, from), tall = picture(1, in, 1, from), result;
    core_image_init(&result, 0);
    assert_int_equal(core_resize(&wide.abi, &result.abi, out, 1, filter, &error), MORE_OK);
    assert_memory_equal(result.abi.data, want, (size_t)out);
    assert_int_equal(core_resize(&tall.abi, &result.abi, 1, out, filter, &error), MORE_OK);
    assert_memory_equal(result.abi.data, want, (size_t)out);
    core_image_free(&wide);
    core_image_free(&tall);
    core_image_free(&result);
}

static void test_known_rows(void **state)
{
    (void)state;
    const unsigned char pair[2] = {0, 255}, four[4] = {10, 20, 30, 40};
    resized_row(2, pair, 1, (const unsigned char[]){128}, CORE_FILTER_BOX);
    resized_row(2, pair, 4, (const unsigned char[]){0, 64, 191, 255}, CORE_FILTER_BILINEAR);
    resized_row(2, pair, 4, (const unsigned char[]){0, 0, 255, 255}, CORE_FILTER_NEAREST);
    resized_row(4, four, 2, (const unsigned char[]){15, 35}, CORE_FILTER_BOX);
    resized_row(4, four, 2, (const unsigned char[]){20, 40}, CORE_FILTER_NEAREST);
    /* a = -0.5: weights 0.8671875 at distance 1/4 and 0.2265625 at 3/4, divided by their sum; at 5/4 negative */
    resized_row(2, pair, 4, (const unsigned char[]){0, 53, 202, 255}, CORE_FILTER_BICUBIC);
}

/* A picture of one colour keeps it under every filter and size. */
static void test_one_colour(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{1, 1}, {1000, 3}, {3, 1000}, {7, 5}, {64, 64}, {1, 300}};
    for (int64_t filter = 0; filter < 6; filter++)
        for (size_t i = 0; i < 6; i++)
            for (size_t k = 0; k < 6; k++)
                for (int64_t channels = 1; channels <= 4; channels++) {
                    more_error error = {{0}};
                    core_image from = picture(sizes[i][0], sizes[i][1], channels, NULL), to;
                    core_image_init(&to, 0);
                    memset(from.abi.data, 201, core_image_bytes(&from.abi));
                    assert_int_equal(
                        core_resize(&from.abi, &to.abi, sizes[k][0], sizes[k][1], (core_filter)filter, &error),
                        MORE_OK);
                    for (size_t at = 0; at < core_image_bytes(&to.abi); at++)
                        assert_int_equal(((unsigned char *)to.abi.data)[at], 201);
                    core_image_free(&from);
                    core_image_free(&to);
                }
}

static void test_resize_refusals(void **state)
{
    (void)state;
    more_error error = {{0}};
    core_filter filter;
    core_image from = picture(1, 1, 3, (const unsigned char *)"abc"), to;
    core_image_init(&to, 0);
    assert_int_equal(core_resize(&from.abi, &to.abi, 0, 5, CORE_FILTER_BICUBIC, &error), MORE_ERROR_ARGUMENT);
    assert_int_equal(core_resize(&from.abi, &to.abi, -3, 5, CORE_FILTER_BICUBIC, &error), MORE_ERROR_ARGUMENT);
    assert_int_equal(core_resize(&from.abi, &to.abi, INT64_MAX, INT64_MAX, CORE_FILTER_BOX, &error), MORE_ERROR_MEMORY);
    assert_int_equal(core_resize(&from.abi, &to.abi, 1 << 20, 1 << 20, CORE_FILTER_BOX, &error), MORE_ERROR_MEMORY);
    assert_non_null(strstr(error.message, "cap"));
    assert_int_equal(core_filter_from_name("cubic", &filter, &error), MORE_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "lanczos"));
    assert_string_equal(core_filter_name(3), "bicubic");
    assert_null(core_filter_name(6));
    assert_null(core_filter_name(-1));
    core_image_free(&from);
    core_image_free(&to);
}

/* ---- Steps ------------------------------------------------------------------------------------------------------ */

static more_status run(core_functions *functions, const char *steps, const core_image *in, core_image *out,
                       more_error *error)
{
    core_pipeline *pipeline = NULL;
    *error = (more_error){{0}};
    core_image_init(out, 0);
    more_status status = core_pipeline_create(functions, steps, "steps", 0, &pipeline, error);
    if (status == MORE_OK)
        status = core_pipeline_run(pipeline, &in->abi, out, error);
    core_pipeline_free(pipeline);
    return status;
}

/* Runs the steps and rescale(1), and compares the red plane. */
static void red_is(core_functions *functions, const char *steps, const core_image *in, int64_t width, int64_t height,
                   const float *want)
{
    core_buffer text = {0};
    more_error error;
    core_image out;
    core_buffer_format(&text, "%s, rescale(1)", steps);
    if (run(functions, text.data, in, &out, &error) != MORE_OK)
        fail_msg("%s", error.message);
    assert_int_equal(out.abi.width, width);
    assert_int_equal(out.abi.height, height);
    assert_memory_equal(out.abi.data, want, (size_t)(width * height) * sizeof *want);
    core_image_free(&out);
    core_buffer_free(&text);
}

static void test_padding_and_crop(void **state)
{
    core_image grey = picture(4, 1, 1, (const unsigned char[]){1, 2, 3, 4});
    core_image tall = picture(1, 4, 2, (const unsigned char[]){1, 9, 2, 9, 3, 9, 4, 9});
    red_is(*state, "convert_rgb(), pad_square(7, 0, 0)", &grey, 4, 4,
           (const float[]){7, 7, 7, 7, 1, 2, 3, 4, 7, 7, 7, 7, 7, 7, 7, 7});
    red_is(*state, "convert_rgb(), pad_square(7, 0, 0)", &tall, 4, 4,
           (const float[]){7, 1, 7, 7, 7, 2, 7, 7, 7, 3, 7, 7, 7, 4, 7, 7});
    red_is(*state, "convert_rgb(), center_crop(2, 1)", &grey, 2, 1, (const float[]){2, 3});
    red_is(*state, "convert_rgb(), center_crop(1, 1)", &grey, 1, 1, (const float[]){2});
    red_is(*state, "convert_rgb(), center_crop(3, 2)", &grey, 3, 2, (const float[]){0, 0, 0, 1, 2, 3});
    red_is(*state, "convert_rgb(), center_crop(7, 1)", &grey, 7, 1, (const float[]){0, 0, 1, 2, 3, 4, 0});
    red_is(*state, "convert_rgb(), rescale(2), center_crop(2, 3)", &grey, 2, 3, (const float[]){0, 0, 4, 6, 0, 0});
    core_image_free(&grey);
    core_image_free(&tall);
}

static void test_shortest(void **state)
{
    static const struct {
        int64_t in[2], size, out[2];
    } cases[] = {{{640, 480}, 336, {448, 336}}, {{480, 641}, 336, {336, 448}}, {{3, 900}, 28, {28, 8400}},
                 {{100, 100}, 31, {31, 31}},    {{1, 7}, 1, {1, 7}},           {{500, 333}, 224, {336, 224}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        core_buffer text = {0};
        core_image in = picture(cases[i].in[0], cases[i].in[1], 3, NULL), out;
        more_error error;
        memset(in.abi.data, 0, core_image_bytes(&in.abi));
        core_buffer_format(&text, "resize_shortest(%d, nearest), rescale()", (int)cases[i].size);
        assert_int_equal(run(*state, text.data, &in, &out, &error), MORE_OK);
        assert_int_equal(out.abi.width, cases[i].out[0]);
        assert_int_equal(out.abi.height, cases[i].out[1]);
        core_image_free(&in);
        core_image_free(&out);
        core_buffer_free(&text);
    }
}

static void test_numbers(void **state)
{
    core_image in = picture(2, 1, 3, (const unsigned char[]){0, 100, 255, 51, 0, 1}), out;
    more_error error;
    assert_int_equal(run(*state, "rescale(1/255), normalize(0.5, 0.25, 0, 0.5, 2, 0.1)", &in, &out, &error), MORE_OK);
    const float *value = out.abi.data;
    assert_true(value[0] == -1.0f);
    assert_true(value[1] == ((float)(51 * (1.0 / 255)) - 0.5f) / 0.5f);
    assert_true(value[2] == ((float)(100 * (1.0 / 255)) - 0.25f) / 2.0f);
    assert_true(value[4] == 1.0f / 0.1f);
    core_image_free(&out);
    assert_int_equal(run(*state, "normalize(1, 1, 1, 2, 2, 2)", &in, &out, &error), MORE_OK);
    assert_true(((const float *)out.abi.data)[3] == -0.5f);
    core_image_free(&out);
    core_image_free(&in);
}

/* Every step sees the plan that the decoded picture came with. */
static void test_plan(void **state)
{
    more_error error;
    core_image in = picture(2, 1, 1, (const unsigned char[]){10, 20}), out;
    in.abi.plan_width = 4;
    in.abi.plan_height = 2;
    red_is(*state, "convert_rgb(), resize_to_plan(nearest)", &in, 4, 2,
           (const float[]){10, 10, 20, 20, 10, 10, 20, 20});
    red_is(*state, "convert_rgb(), center_crop(1, 1), resize(1, 1), resize_to_plan()", &in, 4, 2,
           (const float[]){10, 10, 10, 10, 10, 10, 10, 10});
    assert_int_equal(run(*state, "rescale(1), resize_to_plan()", &in, &out, &error), MORE_ERROR_ARGUMENT);
    core_image_free(&out);
    core_image_free(&in);
}

static void test_step_refusals(void **state)
{
    static const struct {
        const char *steps, *word;
    } cases[] = {
        {"convert_rgb()", "floats"},
        {"", "floats"},
        {"rescale()", "3 of floats"},
        {"normalize(0, 0, 0, 1, 1, 1)", "3 channels"},
        {"convert_rgb(), normalize(0, 0, 0, 1, 0, 1)", "deviation of 0"},
        {"pad_square(1, 2, 3)", "RGB"},
        {"convert_rgb(), pad_square(1, 256, 3)", "256"},
        {"rescale(), resize(2, 2)", "step resize: works on 8-bit"},
        {"rescale(), pad_square(1, 2, 3)", "8-bit"},
        {"rescale(), convert_rgb()", "8-bit"},
        {"resize(2, 2, cubic)", "step resize: filter 'cubic'"},
        {"resize(0, 2)", "step resize"},
        {"resize_to_plan(bilinear)", "step resize_to_plan: this encoder picks no size"},
        {"center_crop(-1, 2)", "step center_crop"},
        {"resize_shortest(0)", "step resize_shortest"},
        {"resize_shortest(9223372036854775807)", "step resize_shortest"},
        {"resize(100000, 100000)", "cap"},
        {"resize(2)", "height"},
        {"blur(2)", "blur"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        core_image in = picture(4, 1, 1, (const unsigned char[]){1, 2, 3, 4}), out;
        more_error error;
        assert_true(run(*state, cases[i].steps, &in, &out, &error) < 0);
        if (!strstr(error.message, cases[i].word))
            fail_msg("%s: '%s' lacks '%s'", cases[i].steps, error.message, cases[i].word);
        assert_null(out.abi.data);
        core_image_free(&in);
    }
}

/* ---- Configs ---------------------------------------------------------------------------------------------------- */

static more_status steps_of(const char *config, core_pad pad, char **steps, more_error *error)
{
    json_t *json = NULL;
    *error = (more_error){{0}};
    assert_int_equal(core_json_parse(config, strlen(config), "p.json", &json, error), MORE_OK);
    more_status status = core_preprocess_steps(json, "p.json", pad, steps, error);
    json_decref(json);
    return status;
}

#define NUMBERS "\"image_mean\":[0.5,0.25,0.125],\"image_std\":[0.5,0.5,0.5]"
#define NORMALIZE "normalize(0.5, 0.25, 0.125, 0.5, 0.5, 0.5)"

static void test_configs(void **state)
{
    (void)state;
    static const struct {
        const char *config;
        core_pad pad;
        const char *steps;
    } cases[] = {
        {"{\"crop_size\":336,\"do_center_crop\":true,\"do_normalize\":true,\"do_resize\":true,\"resample\":3,"
         "\"feature_extractor_type\":\"X\",\"size\":336," NUMBERS "}",
         CORE_PAD_SQUARE,
         "convert_rgb(), pad_square(127, 63, 31), resize_shortest(336, bicubic), center_crop(336, 336), "
         "rescale(1/255), " NORMALIZE},
        {"{\"crop_size\":{\"height\":224,\"width\":200},\"do_center_crop\":true,\"do_convert_rgb\":true,"
         "\"do_normalize\":true,\"do_rescale\":true,\"do_resize\":true,\"resample\":3,\"rescale_factor\":0.5,"
         "\"size\":{\"shortest_edge\":256}," NUMBERS "}",
         CORE_PAD_NONE,
         "convert_rgb(), resize_shortest(256, bicubic), center_crop(200, 224), rescale(0.5), " NORMALIZE},
        {"{\"resample\":2,\"size\":{\"height\":30,\"width\":26},\"do_pad\":false,\"do_flip\":null," NUMBERS "}",
         CORE_PAD_NONE, "convert_rgb(), resize(26, 30, bilinear), rescale(1/255), " NORMALIZE},
        {"{\"resample\":2,\"max_num_patches\":256,\"patch_size\":16," NUMBERS "}", CORE_PAD_NONE,
         "convert_rgb(), resize_to_plan(bilinear), rescale(1/255), " NORMALIZE},
        {"{\"do_resize\":false,\"do_rescale\":false,\"do_normalize\":false}", CORE_PAD_NONE,
         "convert_rgb(), rescale(1)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *steps = NULL;
        more_error error;
        if (steps_of(cases[i].config, cases[i].pad, &steps, &error) != MORE_OK)
            fail_msg("%s", error.message);
        assert_string_equal(steps, cases[i].steps);
        free(steps);
    }
}

static void test_config_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *config, *word;
    } cases[] = {
        {"[]", "object"},
        {"{\"do_resize\":false}", "image_mean = (missing)"},
        {"{\"do_resize\":false,\"do_normalize\":false,\"do_pad\":true}", "do_pad = true"},
        {"{\"do_resize\":false,\"do_normalize\":false,\"crop_pct\":0.9}", "crop_pct = 0.9"},
        {"{\"do_resize\":1," NUMBERS "}", "do_resize = 1"},
        {"{\"size\":{\"height\":3,\"width\":3}}", "resample = (missing)"},
        {"{\"size\":{\"height\":3,\"width\":3},\"resample\":6}", "resample = 6"},
        {"{\"size\":336,\"resample\":3}", "size = 336 may mean"},
        {"{\"size\":{\"height\":3},\"resample\":3}", "size = "},
        {"{\"size\":{\"shortest_edge\":3,\"longest_edge\":9},\"resample\":3}", "longest_edge"},
        {"{\"size\":{\"shortest_edge\":-3},\"resample\":3}", "size = "},
        {"{\"size\":{\"shortest_edge\":3},\"resample\":3,\"crop_size\":\"x\"}", "crop_size = "},
        {"{\"do_resize\":false,\"rescale_factor\":\"x\"}", "rescale_factor"},
        {"{\"do_resize\":false,\"image_mean\":[1,2],\"image_std\":[1,1,1]}", "image_mean"},
        {"{\"do_resize\":false,\"image_mean\":[1,2,3],\"image_std\":[1,1,\"x\"]}", "image_std"},
        {"{\"do_resize\":false,\"image_mean\":[1,2,3],\"image_std\":[1,1,1]}", "no colour to pad with"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *steps = NULL;
        more_error error;
        core_pad pad = strstr(cases[i].word, "pad with") ? CORE_PAD_SQUARE : CORE_PAD_NONE;
        assert_true(steps_of(cases[i].config, pad, &steps, &error) < 0);
        assert_null(steps);
        if (!strstr(error.message, cases[i].word) || strncmp(error.message, "p.json: ", 8))
            fail_msg("%s: '%s' lacks '%s'", cases[i].config, error.message, cases[i].word);
    }
    char *steps = NULL;
    more_error error = {{0}};
    assert_int_equal(core_preprocess_steps_from_config("/nowhere", CORE_PAD_NONE, &steps, &error),
                     MORE_ERROR_NOT_FOUND);
}

static void test_add_padding(void **state)
{
    (void)state;
    static const struct {
        const char *steps;
        core_pad pad;
        const char *want;
    } cases[] = {
        {"convert_rgb(), resize(3, 3), normalize(0.5, 0.25, 0.125, 1, 1, 1)", CORE_PAD_SQUARE,
         "convert_rgb(), pad_square(127, 63, 31), resize(3, 3), normalize(0.5, 0.25, 0.125, 1, 1, 1)"},
        {"normalize( mean_red = 1/2 , mean_green=0.25,mean_blue=0.125, 1, 1, 1)", CORE_PAD_SQUARE,
         "convert_rgb(), pad_square(127, 63, 31), normalize( mean_red = 1/2 , mean_green=0.25,mean_blue=0.125, 1, 1, "
         "1)"},
        {"pad_square(1, 2, 3), rescale()", CORE_PAD_SQUARE, "pad_square(1, 2, 3), rescale()"},
        {"rescale()", CORE_PAD_NONE, "rescale()"},
        {"rescale()", CORE_PAD_SQUARE, NULL},
        {"normalize(1, 2", CORE_PAD_SQUARE, NULL},
        {"normalize", CORE_PAD_SQUARE, NULL},
        {"normalize(-1, 0, 0, 1, 1, 1)", CORE_PAD_SQUARE, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *padded = NULL;
        more_error error = {{0}};
        more_status status = core_preprocess_add_padding(cases[i].steps, cases[i].pad, &padded, &error);
        if (cases[i].want) {
            assert_int_equal(status, MORE_OK);
            assert_string_equal(padded, cases[i].want);
        } else {
            assert_int_equal(status, MORE_ERROR_ARGUMENT);
            assert_non_null(strstr(error.message, "pad_square"));
        }
        free(padded);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_rows),
        cmocka_unit_test(test_one_colour),
        cmocka_unit_test(test_resize_refusals),
        cmocka_unit_test(test_padding_and_crop),
        cmocka_unit_test(test_shortest),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_plan),
        cmocka_unit_test(test_step_refusals),
        cmocka_unit_test(test_configs),
        cmocka_unit_test(test_config_refusals),
        cmocka_unit_test(test_add_padding),
    };
    return cmocka_run_group_tests_name("steps", tests, set_up, tear_down);
}
