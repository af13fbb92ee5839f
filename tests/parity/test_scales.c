/* SPDX-License-Identifier: Apache-2.0
 *
 * S2: bicubic, tiles and averages against PyTorch's, and multi-scale features of small towers against those that
 * tests/oracle/s2.py makes with transformers.
 */
#include "parity.h"

#include "generate/multiscale.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_BICUBIC 1e-6 /* of the largest magnitude */

/* The oracle's picture(): noise in steps of 1/64. */
static float *picture(int64_t count, int64_t channels, int64_t side)
{
    float *made = calloc((size_t)(count * channels * side * side), sizeof *made), *to = made;
    assert_non_null(made);
    for (uint64_t i = 0; i < (uint64_t)count; i++)
        for (uint64_t c = 0; c < (uint64_t)channels; c++)
            for (uint64_t y = 0; y < (uint64_t)side; y++)
                for (uint64_t x = 0; x < (uint64_t)side; x++) {
                    uint64_t mixed = (x * 73856093) ^ (y * 19349663) ^ (c * 83492791) ^ (i * 2654435761);
                    *to++ = (float)((mixed & UINT32_MAX) >> 24) / 64 - 2;
                }
    return made;
}

static int64_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static float *reference(more_checkpoint *file, const char *kind, const char *name, int64_t shape[MORE_MAX_RANK])
{
    char key[64];
    snprintf(key, sizeof key, "%s_%s", kind, name);
    return parity_floats(file, key, shape);
}

/* ---- Arithmetic ------------------------------------------------------------------------------------------------- */

static void compare_resized(const char *name, const json_t *facts, more_checkpoint *file)
{
    int64_t side = number(facts, "side"), out = number(facts, "out"), shape[MORE_MAX_RANK];
    json_t *rows = json_object_get(facts, "rows");
    float *wanted = reference(file, "resized", name, shape), *in = picture(1, 2, side);
    float *got = calloc((size_t)(2 * out * out), sizeof *got);
    double worst = 0, largest = 0;
    assert_non_null(got);
    assert_int_equal(core_scale_resize(in, 2, side, got, out, NULL), MORE_OK);
    for (int64_t c = 0; c < 2; c++)
        for (int64_t r = 0; r < shape[1]; r++) {
            int64_t row = json_is_array(rows) ? json_integer_value(json_array_get(rows, (size_t)r)) : r;
            for (int64_t x = 0; x < out; x++) {
                double value = wanted[(c * shape[1] + r) * out + x];
                worst = fmax(worst, fabs(got[(c * out + row) * out + x] - value));
                largest = fmax(largest, fabs(value));
            }
        }
    print_message("%s: %lld to %lld: largest error %.2g\n", name, (long long)side, (long long)out, worst / largest);
    assert_true(worst <= MOST_BICUBIC * largest);
    if (side == out)
        assert_memory_equal(got, in, (size_t)(2 * out * out) * sizeof *got);
    free(wanted);
    free(in);
    free(got);
}

static void compare_joined(const char *name, const json_t *facts, more_checkpoint *file)
{
    const int64_t width = 3, pictures = 2;
    core_scale scale = {.tiles = number(facts, "tiles"), .grid = number(facts, "grid")};
    int64_t out = number(facts, "out"), cells = scale.grid * scale.grid, tiles = scale.tiles * scale.tiles;
    int64_t shape[MORE_MAX_RANK];
    parity_error worst = {0};
    float *wanted = reference(file, "joined", name, shape), *noise = picture(tiles * pictures, cells, 4);
    float *features = calloc((size_t)(tiles * pictures * cells * width), sizeof *features);
    float *got = calloc((size_t)(pictures * out * out * width), sizeof *got);
    assert_true(features && got);
    for (int64_t i = 0; i < tiles * pictures * cells; i++)
        memcpy(features + i * width, noise + i * 16, (size_t)width * sizeof *features);
    for (int64_t i = 0; i < pictures; i++)
        core_scale_join(features + i * cells * width, pictures * cells * width, &scale, width,
                        got + i * out * out * width, out, width);
    assert_int_equal(shape[1], out * out);
    parity_compare(name, got, wanted, pictures * out * out, width, &worst);
    free(wanted);
    free(noise);
    free(features);
    free(got);
}

static void arithmetic(void **state)
{
    const char *name;
    json_t *facts, *all = parity_json("s2/arithmetic.json");
    (void)state;
    parity_checkpoint file = parity_checkpoint_open(parity_path("s2/arithmetic.safetensors"), NULL, NULL);
    json_object_foreach(json_object_get(all, "resized"), name, facts)
    {
        compare_resized(name, facts, file.view);
    }
    json_object_foreach(json_object_get(all, "joined"), name, facts)
    {
        compare_joined(name, facts, file.view);
    }
    parity_checkpoint_close(&file);
    json_decref(all);
}

/* Every sample of every tile is the picture's, bit for bit, row by row. */
static void tiles(void **state)
{
    core_scale scale = {.side = 12, .tiles = 3, .tile = 4};
    float *whole = picture(1, 3, 12), tile[3 * 4 * 4];
    (void)state;
    for (int64_t t = 0; t < 9; t++) {
        core_scale_cut(whole, 3, &scale, t, tile);
        for (int64_t c = 0; c < 3; c++)
            for (int64_t y = 0; y < 4; y++)
                assert_memory_equal(tile + (c * 4 + y) * 4, whole + (c * 12 + t / 3 * 4 + y) * 12 + t % 3 * 4,
                                    4 * sizeof *tile);
    }
    free(whole);
}

static void refuses(const char *text, const char *because)
{
    core_scale scales[CORE_MAX_SCALES];
    int32_t count;
    more_error error = {{0}};
    assert_int_equal(core_scales_parse(text, scales, &count, &error), MORE_ERROR_ARGUMENT);
    if (!strstr(error.message, because))
        fail_msg("'%s': '%s' lacks '%s'", text, error.message, because);
}

static void sides(void **state)
{
    core_scale scales[CORE_MAX_SCALES];
    int32_t count;
    (void)state;
    assert_int_equal(core_scales_parse("1008, 336,672", scales, &count, NULL), MORE_OK);
    assert_int_equal(count, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(scales[i].side, 336 * (i + 1));
        assert_int_equal(scales[i].tiles, i + 1);
        assert_int_equal(scales[i].tile, 336);
    }
    assert_int_equal(core_scales_parse("224,336", scales, &count, NULL), MORE_OK);
    assert_int_equal(scales[1].tile, 168);
    refuses("336,500,337,x", "'x'");
    refuses("", "at least one");
    refuses("336,336", "336 stands twice");
    refuses("0,336", "0 is not within 1 to 8192");
    refuses("336,-672", "-672 is not within");
    refuses("336,8193", "8193 is not within");
    refuses("224,518", "518 pixels do not divide into 3 tiles");
    refuses("1,2,3,4,5,6,7,8,9", "at most 8");
}

/* ---- Features --------------------------------------------------------------------------------------------------- */

/* An assembly that is no more than an open encoder under scales. */
typedef struct eyes {
    core_assembly assembly;
    core_plugin_file file;
    parity_checkpoint checkpoint;
} eyes;

static void open_eyes(eyes *self, const char *name, const char *model, const char *scales)
{
    static char path[] = "the tower";
    more_error error = {{0}};
    const more_plugin *plugin = parity_plugin(name);
    const more_vision_interface *api = plugin->get_interface(MORE_VISION_INTERFACE);
    core_assembly *assembly = &self->assembly;
    *self = (eyes){.file = {.plugin = plugin, .id = plugin->id}};
    self->checkpoint = parity_checkpoint_open(parity_path(model), NULL, api->tensor_map());
    const more_open *arguments = parity_arguments(plugin, parity_host(2), self->checkpoint.view, 0, NULL, NULL);
    assembly->vision_api = api;
    assembly->vision_part.file = &self->file;
    assembly->vision_path = path;
    if (api->open(arguments, &assembly->vision, &error) != MORE_OK)
        fail_msg("%s: %s", model, error.message);
    assembly->vision_info.struct_size = MORE_STRUCT_SIZE(more_vision_info, weight_formats);
    api->describe(assembly->vision, &assembly->vision_info);
    if (core_scales_parse(scales, assembly->scales, &assembly->scale_count, &error) != MORE_OK)
        fail_msg("%s: %s", scales, error.message);
}

static void close_eyes(eyes *self)
{
    self->assembly.vision_api->close(self->assembly.vision);
    parity_checkpoint_close(&self->checkpoint);
    assert_int_equal(parity_host_bytes(), 0);
    parity_host_close();
}

/* Layer by layer, against the reference's channels (scale * layers + layer) * width + c. */
static void compare_features(const eyes *self, const char *name, float *const *got, int32_t layer_count, int64_t rows,
                             const float *wanted)
{
    int64_t width = self->assembly.vision_info.feature_width, scales = self->assembly.scale_count;
    float *one = calloc((size_t)(rows * scales * width), sizeof *one);
    parity_error worst = {0};
    assert_non_null(one);
    for (int32_t l = 0; l < layer_count; l++) {
        for (int64_t r = 0; r < rows; r++)
            for (int64_t s = 0; s < scales; s++)
                memcpy(one + (r * scales + s) * width, wanted + ((r * scales + s) * layer_count + l) * width,
                       (size_t)width * sizeof *one);
        parity_compare(name, got[l], one, rows, scales * width, &worst);
    }
    print_message("%s: largest error %.2g, largest row error %.2g\n", name, worst.absolute, worst.row);
    free(one);
}

static void run_case(const char *name)
{
    char relative[512];
    int64_t shape[MORE_MAX_RANK], counts[8];
    int32_t layers[8], layer_count = 0;
    float *features[8];
    const float *pixels[8];
    more_error error = {{0}};
    eyes self;
    snprintf(relative, sizeof relative, "s2/%s/case.json", name);
    json_t *facts = parity_json(relative), *item;
    snprintf(relative, sizeof relative, "s2/%s/ref.safetensors", name);
    parity_checkpoint file = parity_checkpoint_open(parity_path(relative), NULL, NULL);
    float *wanted = parity_floats(file.view, "features", shape);
    open_eyes(&self, json_string_value(json_object_get(facts, "plugin")),
              json_string_value(json_object_get(facts, "model")), json_string_value(json_object_get(facts, "scales")));
    size_t index;
    json_array_foreach(json_object_get(facts, "layers"), index, item)
    {
        layers[layer_count++] = (int32_t)json_integer_value(item);
    }
    int64_t images = number(facts, "images"), largest = self.assembly.scales[self.assembly.scale_count - 1].side;
    float *pictures = picture(images, 3, largest);
    for (int64_t i = 0; i < images; i++)
        pixels[i] = pictures + i * 3 * largest * largest;
    for (int32_t l = 0; l < layer_count; l++)
        assert_non_null(features[l] = calloc((size_t)(shape[0] * shape[1] * shape[2]), sizeof(float)));
    if (core_multiscale_check(&self.assembly, &error) != MORE_OK ||
        core_multiscale_encode(&self.assembly, pixels, images, layers, layer_count, features, counts, &error) !=
            MORE_OK)
        fail_msg("%s: %s", name, error.message);
    for (int64_t i = 0; i < images; i++)
        assert_int_equal(counts[i], shape[1]);
    compare_features(&self, name, features, layer_count, images * shape[1], wanted);
    for (int32_t l = 0; l < layer_count; l++)
        free(features[l]);
    free(pictures);
    free(wanted);
    parity_checkpoint_close(&file);
    json_decref(facts);
    close_eyes(&self);
}

static void features(void **state)
{
    struct dirent **entries;
    int count = scandir(parity_path("s2"), &entries, NULL, alphasort), run = 0;
    (void)state;
    for (int i = 0; i < count; i++) {
        char relative[512];
        snprintf(relative, sizeof relative, "s2/%.200s/case.json", entries[i]->d_name);
        if (!access(parity_path(relative), F_OK)) {
            run_case(entries[i]->d_name);
            run++;
        }
        free(entries[i]);
    }
    free(entries);
    assert_true(run >= 5);
}

/* Tiles of another size than the encoder's, class rows, and encoders that pick their size. */
static void refusals(void **state)
{
    eyes self;
    more_error error = {{0}};
    (void)state;
    open_eyes(&self, "vision/clip", "models/clip-quick", "64,128");
    assert_int_equal(core_multiscale_check(&self.assembly, &error), MORE_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "tiles of 64, but the encoder 'clip' of the tower takes 32 x 32"));
    assert_int_equal(core_scales_parse("32,64", self.assembly.scales, &self.assembly.scale_count, NULL), MORE_OK);
    self.assembly.select = MORE_SELECT_CLS_PATCH;
    assert_int_equal(core_multiscale_check(&self.assembly, &error), MORE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "cls_patch"));
    self.assembly.select = MORE_SELECT_PATCH;
    self.assembly.vision_info.resolutions = MORE_RESOLUTION_BUDGET;
    assert_int_equal(core_multiscale_check(&self.assembly, &error), MORE_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "picks a size"));
    close_eyes(&self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(arithmetic), cmocka_unit_test(tiles), cmocka_unit_test(sides),
                                       cmocka_unit_test(features), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests_name("multi-scale features", tests, NULL, NULL);
}
