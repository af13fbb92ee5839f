/* SPDX-License-Identifier: Apache-2.0
 *
 * The projector plugins: names that checkpoints use, recognising, plans, and one clear line for what does not fit.
 * Their numbers are compared in tests/parity.
 */
#include "../../parity/parity.h"
#include "folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WIDTH_IN 6
#define WIDTH_OUT 16

static const char *const plugins[] = {"projector/identity", "projector/mlp", "projector/pixel_shuffle"};
enum { IDENTITY, MLP, SHUFFLE };

/* A folder: its config as JSON text, and the shapes of its tensors. */
typedef struct sample {
    const char *config;
    const char *tensors[5][2];
} sample;

#define LLAVA "{\"mm_projector_type\": \"mlp2x_gelu\"}"

static const sample llava = {
    LLAVA, {{"0.weight", "[16, 6]"}, {"0.bias", "[16]"}, {"2.weight", "[16, 16]"}, {"2.bias", "[16]"}}};
static const sample linear = {"{\"mm_projector_type\": \"linear\"}", {{"weight", "[16, 6]"}, {"bias", "[16]"}}};
static const sample llava_hf = {"{\"projector_hidden_act\": \"gelu\"}",
                                {{"linear_1.weight", "[16, 6]"},
                                 {"linear_1.bias", "[16]"},
                                 {"linear_2.weight", "[16, 16]"},
                                 {"linear_2.bias", "[16]"}}};
static const sample llava_hf_bare = {"{\"projector_hidden_act\": \"gelu\", \"multimodal_projector_bias\": false}",
                                     {{"linear_1.weight", "[16, 6]"}, {"linear_2.weight", "[16, 16]"}}};
static const sample untyped = {"{}", {{"0.weight", "[16, 6]"}, {"0.bias", "[16]"}}};
static const sample idefics3 = {"{\"scale_factor\": 3}", {{"modality_projection.proj.weight", "[16, 54]"}}};
static const sample internvl = {"{\"downsample_ratio\": 0.5}",
                                {{"layer_norm.weight", "[24]"},
                                 {"layer_norm.bias", "[24]"},
                                 {"linear_1.weight", "[16, 24]"},
                                 {"linear_1.bias", "[16]"}}};
static const sample renamed = {
    "{\"downsample_ratio\": 0.5}", /* as a layout for llava-hf folders shows it */
    {{"layer_norm.weight", "[24]"}, {"layer_norm.bias", "[24]"}, {"0.weight", "[16, 24]"}, {"0.bias", "[16]"}}};
static const sample mlp1 = {"{}",
                            {{"0.weight", "[24]"}, {"0.bias", "[24]"}, {"1.weight", "[16, 24]"}, {"1.bias", "[16]"}}};
static const sample sequential = {
    "{\"mm_projector_type\": \"pixel_shuffle\"}",
    {{"0.weight", "[8, 24]"}, {"0.bias", "[8]"}, {"2.weight", "[16, 8]"}, {"2.bias", "[16]"}}};
static const sample nothing = {"{\"mm_projector_type\": \"identity\"}", {{"other", "[1]"}}};

static test_folder make_folder(const sample *s)
{
    test_folder folder = {.config = json_loads(s->config, 0, NULL), .shapes = json_object()};

    assert_non_null(folder.config);
    for (int i = 0; i < 5 && s->tensors[i][0]; i++)
        folder_shape(&folder, s->tensors[i][0], s->tensors[i][1]);
    return folder;
}

typedef struct opened {
    test_folder folder;
    parity_checkpoint checkpoint;
    const more_projector_interface *projector;
    more_projector *instance;
    more_status status;
    more_error error;
} opened;

/* Writes the folder and opens a plugin on it; `scale` as the option of pixel_shuffle, NULL = none. */
static opened open_folder(int plugin, test_folder folder, int64_t width_in, int64_t width_out, more_open_flags flags,
                          const char *scale)
{
    const more_plugin *loaded = parity_plugin(plugins[plugin]);
    opened o = {.folder = folder, .projector = loaded->get_interface(MORE_PROJECTOR_INTERFACE)};

    folder_write(&o.folder);
    o.checkpoint = parity_checkpoint_open(o.folder.source, NULL, o.projector->tensor_map());
    o.status = o.projector->open(
        parity_arguments(loaded, parity_host(2), o.checkpoint.view, flags, scale ? "scale" : NULL, scale), width_in,
        width_out, &o.instance, &o.error);
    return o;
}

static void close_opened(opened *o)
{
    o->projector->close(o->instance);
    parity_checkpoint_close(&o->checkpoint);
    assert_int_equal(parity_host_bytes(), 0);
    parity_host_close();
    folder_free(&o->folder);
}

/* ---- Names ------------------------------------------------------------------------------------------------------ */

static void opens_every_form(void **state)
{
    static const struct {
        int plugin;
        const sample *sample;
        int64_t tokens; /* of a grid of 6 x 6 */
    } forms[] = {{IDENTITY, &nothing, 36},  {MLP, &llava, 36},   {MLP, &linear, 36},       {MLP, &llava_hf, 36},
                 {MLP, &llava_hf_bare, 36}, {MLP, &untyped, 36}, {SHUFFLE, &idefics3, 4},  {SHUFFLE, &internvl, 9},
                 {SHUFFLE, &renamed, 9},    {SHUFFLE, &mlp1, 9}, {SHUFFLE, &sequential, 9}};
    const more_grid grid = {6, 6, 0};

    (void)state;
    for (size_t i = 0; i < 2 * sizeof forms / sizeof *forms; i++) {
        int plugin = forms[i / 2].plugin;
        int64_t width_in = plugin == IDENTITY ? WIDTH_OUT : WIDTH_IN, tokens = 0;
        more_memory memory;
        opened o = open_folder(plugin, make_folder(forms[i / 2].sample), width_in, WIDTH_OUT,
                               i % 2 ? MORE_OPEN_METADATA_ONLY : MORE_OPEN_DEFAULT, NULL);
        if (o.status)
            fail_msg("%s: %s", plugins[plugin], o.error.message);
        size_t held = parity_host_bytes();
        assert_int_equal(o.projector->plan(o.instance, &grid, &tokens, &o.error), MORE_OK);
        assert_int_equal(tokens, forms[i / 2].tokens);
        assert_int_equal(o.projector->estimate(o.instance, 36, &memory, &o.error), MORE_OK);
        assert_true(i % 2 || memory.weight_bytes <= (int64_t)held);
        assert_int_equal(o.projector->estimate(o.instance, -1, &memory, &o.error), MORE_ERROR_ARGUMENT);
        if (i % 2) {
            const more_projection projection = {.grid = grid};
            assert_int_equal(o.projector->project(o.instance, &projection, &o.error), MORE_ERROR_ARGUMENT);
            assert_names(o.error.message, "metadata only");
        }
        close_opened(&o);
    }
}

/* 17 layers, of which 16 would make another network. */
static void too_many_layers(void **state)
{
    (void)state;
    for (int layers = 16; layers <= 17; layers++) {
        test_folder folder = {.config = json_object(), .shapes = json_object()};
        for (int i = 0; i < layers; i++) {
            char name[32];
            snprintf(name, sizeof name, "%d.weight", 2 * i);
            folder_shape(&folder, name, i ? "[16, 16]" : "[16, 6]");
            snprintf(name, sizeof name, "%d.bias", 2 * i);
            folder_shape(&folder, name, "[16]");
        }
        opened o = open_folder(MLP, folder, WIDTH_IN, WIDTH_OUT, MORE_OPEN_DEFAULT, NULL);
        assert_int_equal(o.status, layers > 16 ? MORE_ERROR_UNSUPPORTED : MORE_OK);
        if (layers > 16)
            assert_names(o.error.message, "32.weight|at most 16");
        close_opened(&o);
    }
}

static void recognise(void **state)
{
    static const struct {
        const sample *sample;
        int32_t scores[3]; /* of the plugins in their order */
    } cases[] = {{&llava, {0, 100, 0}},      {&linear, {0, 100, 0}},   {&llava_hf, {0, 100, 0}}, {&untyped, {0, 50, 0}},
                 {&idefics3, {0, 0, 100}},   {&internvl, {0, 0, 100}}, {&renamed, {0, 0, 100}},  {&mlp1, {0, 0, 50}},
                 {&sequential, {0, 0, 100}}, {&nothing, {100, 0, 0}}};

    (void)state;
    for (size_t i = 0; i < 3 * sizeof cases / sizeof *cases; i++) {
        const more_projector_interface *projector =
            parity_plugin(plugins[i % 3])->get_interface(MORE_PROJECTOR_INTERFACE);
        more_recognition recognition = {.struct_size = MORE_STRUCT_SIZE(more_recognition, settings)};
        test_folder folder = make_folder(cases[i / 3].sample);
        folder_write(&folder);
        parity_checkpoint checkpoint = parity_checkpoint_open(folder.source, NULL, NULL);
        projector->recognise(parity_host(1), checkpoint.view, &recognition);
        if (recognition.score != cases[i / 3].scores[i % 3])
            fail_msg("%s gives %s the score %d: %s", plugins[i % 3], cases[i / 3].sample->tensors[0][0],
                     (int)recognition.score, recognition.reason);
        assert_true(strlen(recognition.reason) > 0);
        parity_checkpoint_close(&checkpoint);
        parity_host_close();
        folder_free(&folder);
    }
}

/* ---- What does not fit ------------------------------------------------------------------------------------------ */

typedef struct bad_case {
    int plugin;
    const sample *sample;
    const char *key, *value;    /* change of the config; or */
    const char *tensor, *shape; /* of a tensor; NULL shape removes it */
    const char *scale;          /* the option */
    int64_t width_in, width_out;
    const char *message; /* what the line must name; further things behind '|' */
} bad_case;

static const bad_case bad_cases[] = {
    {IDENTITY, &nothing, NULL, NULL, NULL, NULL, NULL, 6, 16, "6 channels|16|identity"},
    {MLP, &llava_hf, NULL, NULL, NULL, NULL, NULL, 7, 16, "takes 6 channels|gives 7"},
    {MLP, &llava_hf, NULL, NULL, NULL, NULL, NULL, 6, 17, "rows of 16|17"},
    {MLP, &llava_hf, "projector_hidden_act", "\"relu\"", NULL, NULL, NULL, 6, 16, "projector_hidden_act|relu|gelu"},
    {MLP, &llava_hf, NULL, NULL, "linear_1.weight", NULL, NULL, 6, 16, "linear_1.weight"},
    {MLP, &llava_hf, NULL, NULL, "linear_2.bias", NULL, NULL, 6, 16, "linear_2.bias"},
    {MLP, &llava_hf, NULL, NULL, "linear_2.weight", "[16, 15]", NULL, 6, 16, "linear_2.weight|15|16"},
    {MLP, &linear, NULL, NULL, "weight", "[16]", NULL, 6, 16, "weight|rank 1"},
    {SHUFFLE, &internvl, NULL, NULL, NULL, NULL, NULL, 7, 16, "takes 24 channels|gives 4 x 7"},
    {SHUFFLE, &internvl, NULL, NULL, NULL, NULL, NULL, 6, 17, "rows of 16|17"},
    {SHUFFLE, &internvl, NULL, NULL, NULL, NULL, "3", 6, 16, "takes 24 channels|gives 9 x 6"},
    {SHUFFLE, &internvl, NULL, NULL, NULL, NULL, "3", 2, 16, "takes 24 channels|gives 9 x 2"},
    {SHUFFLE, &internvl, "downsample_ratio", "0.4", NULL, NULL, NULL, 6, 16, "downsample_ratio 0.4"},
    {SHUFFLE, &internvl, "downsample_ratio", "0", NULL, NULL, NULL, 6, 16, "downsample_ratio 0"},
    {SHUFFLE, &internvl, "downsample_ratio", "-1", NULL, NULL, NULL, 6, 16, "downsample_ratio -1"},
    {SHUFFLE, &internvl, "downsample_ratio", "1e-9", NULL, NULL, NULL, 6, 16, "downsample_ratio 1e-09"},
    {SHUFFLE, &internvl, "downsample_ratio", "\"half\"", NULL, NULL, NULL, 6, 16, "downsample_ratio"},
    {SHUFFLE, &idefics3, "scale_factor", "99", NULL, NULL, NULL, 6, 16, "scale_factor|99"},
    {SHUFFLE, &idefics3, NULL, NULL, "modality_projection.proj.weight", NULL, NULL, 6, 16, "modality_projection.proj"},
    {SHUFFLE, &internvl, NULL, NULL, "layer_norm.bias", NULL, NULL, 6, 16, "layer_norm.bias"},
    {SHUFFLE, &internvl, NULL, NULL, "layer_norm.weight", "[23]", NULL, 6, 16, "layer_norm.weight|23"},
    {SHUFFLE, &sequential, NULL, NULL, "0.bias", NULL, NULL, 6, 16, "0.bias"},
    {SHUFFLE, &sequential, NULL, NULL, "0.weight", "[8, 24, 1]", NULL, 6, 16, "0.weight|rank 3"},
};

static void bad_checkpoints(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * sizeof bad_cases / sizeof *bad_cases; i++) {
        const bad_case *one = &bad_cases[i / 2];
        test_folder folder = make_folder(one->sample);
        if (one->key)
            folder_config(&folder, one->key, one->value);
        if (one->tensor)
            folder_shape(&folder, one->tensor, one->shape);
        opened o = open_folder(one->plugin, folder, one->width_in, one->width_out,
                               i % 2 ? MORE_OPEN_METADATA_ONLY : MORE_OPEN_DEFAULT, one->scale);
        if (o.status >= 0)
            fail_msg("%s: \"%s\" was not refused", plugins[one->plugin], one->message);
        assert_names(o.error.message, one->message);
        assert_null(o.instance);
        close_opened(&o);
    }
}

static void bad_grids(void **state)
{
    static const struct {
        int plugin;
        more_grid grid;
        const char *message;
    } cases[] = {{IDENTITY, {0, 4, 0}, "0 x 4"},
                 {IDENTITY, {4, -1, 0}, "4 x -1"},
                 {MLP, {INT64_MAX, 2, 0}, "9223372036854775807 x 2"},
                 {SHUFFLE, {0, 0, 1}, "select = patch"},
                 {SHUFFLE, {4, 4, 1}, "1 rows|select = patch"},
                 {SHUFFLE, {27, 26, 0}, "27 x 26|2 x 2|scale = 2"},
                 {SHUFFLE, {4, 5, 0}, "4 x 5"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int plugin = cases[i].plugin;
        int64_t tokens, width_in = plugin == IDENTITY ? WIDTH_OUT : WIDTH_IN;
        opened o = open_folder(plugin,
                               make_folder(plugin == IDENTITY ? &nothing
                                           : plugin == MLP    ? &llava
                                                              : &internvl),
                               width_in, WIDTH_OUT, MORE_OPEN_DEFAULT, NULL);
        const more_projection projection = {.struct_size = MORE_STRUCT_SIZE(more_projection, tokens),
                                            .grid = cases[i].grid};
        assert_int_equal(o.projector->plan(o.instance, &cases[i].grid, &tokens, &o.error), MORE_ERROR_ARGUMENT);
        assert_names(o.error.message, cases[i].message);
        assert_int_equal(o.projector->project(o.instance, &projection, &o.error), MORE_ERROR_ARGUMENT);
        close_opened(&o);
    }
}

/* ---- identity --------------------------------------------------------------------------------------------------- */

static void identity_copies(void **state)
{
    opened o = open_folder(IDENTITY, make_folder(&nothing), WIDTH_OUT, WIDTH_OUT, MORE_OPEN_DEFAULT, NULL);
    parity_tensor *features = parity_tensor_create(2, 7, WIDTH_OUT, 1),
                  *tokens = parity_tensor_create(2, 7, WIDTH_OUT, 1);
    more_projection projection = {.struct_size = MORE_STRUCT_SIZE(more_projection, tokens),
                                  .grid = {2, 3, 1},
                                  .features = &features->view,
                                  .tokens = &tokens->view};

    (void)state;
    for (int i = 0; i < 7 * WIDTH_OUT; i++)
        features->data[i] = (float)i;
    assert_int_equal(o.projector->project(o.instance, &projection, &o.error), MORE_OK);
    assert_memory_equal(tokens->data, features->data, sizeof(float) * 7 * WIDTH_OUT);
    projection.grid.prefix_tokens = 0;
    assert_int_equal(o.projector->project(o.instance, &projection, &o.error), MORE_ERROR_ARGUMENT);
    assert_names(o.error.message, "features|[6, 16]|[7, 16]");
    parity_tensor_free(features);
    parity_tensor_free(tokens);
    close_opened(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(opens_every_form), cmocka_unit_test(too_many_layers),
                                       cmocka_unit_test(recognise),        cmocka_unit_test(bad_checkpoints),
                                       cmocka_unit_test(bad_grids),        cmocka_unit_test(identity_copies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
