/* SPDX-License-Identifier: Apache-2.0
 *
 * `quantize =` on every folder of data/models, whose widths no block divides: features, projections and logits beside
 * those of the weights as they are stored.
 */
#include "language.h"
#include "parity.h"

#include "weights/checkpoint.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Values that an instance gives, and the bytes of its weights. */
typedef struct run {
    float *values; /* the caller frees them */
    int64_t count;
    int64_t bytes;
} run;

/* Opens the plugin of the case with one more option than `quantize` and lets it run over the reference's input. */
typedef run (*run_function)(const char *name, json_t *facts, const more_plugin *plugin, const more_open *arguments,
                            more_checkpoint *reference);

/* Relative RMS of all values, in shares of the first run's; a NaN is infinitely wrong. */
static double distance(const run *got, const run *wanted)
{
    double square = 0, size = 0;
    assert_int_equal(got->count, wanted->count);
    for (int64_t i = 0; i < wanted->count; i++) {
        double delta = (double)got->values[i] - (double)wanted->values[i];
        square += delta * delta;
        size += (double)wanted->values[i] * (double)wanted->values[i];
    }
    assert_true(size > 0);
    return isnan(square) ? INFINITY : sqrt(square / size);
}

/* What a format may cost, a third to a half above the worst of what was measured: rounding a block to 8 bits is off by
 * about 0.4% of its root mean square, to 4 bits by about 7%, and each layer adds its own; the language models of random
 * weights magnify it the most. */
static const struct {
    const char *quantize, *arithmetic;
    double features, logits;
} kinds[] = {
    {"q8", "exact", 0.018, 0.09}, {"q8", "auto", 0.026, 0.1}, {"q4_1", "auto", 0.25, 0.7}, {"q4", "auto", 0.28, 0.8}};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* ---- Vision ----------------------------------------------------------------------------------------------------- */

/* The last state of the first picture. */
static run run_vision(const char *name, json_t *facts, const more_plugin *plugin, const more_open *arguments,
                      more_checkpoint *reference)
{
    const more_vision_interface *interface = plugin->get_interface(MORE_VISION_INTERFACE);
    more_vision_info info = {.struct_size = MORE_STRUCT_SIZE(more_vision_info, weight_formats)};
    more_vision_plan plan = {.struct_size = MORE_STRUCT_SIZE(more_vision_plan, tokens)};
    int64_t shape[MORE_MAX_RANK], strides[3], count;
    float *values = parity_floats(reference, "pixels_0", shape);
    more_tensor pixels = more_host_tensor(values, more_f32(), 3, shape, strides);
    json_t *size = json_array_get(json_object_get(facts, "sizes"), 0);
    const int32_t layer = -1;
    more_memory memory;
    more_vision *vision;
    more_error error = {""};

    if (interface->open(arguments, &vision, &error))
        fail_msg("%s: %s", name, error.message);
    interface->describe(vision, &info);
    assert_int_equal(interface->estimate(vision, 1, &memory, &error), MORE_OK);
    assert_int_equal(interface->plan(vision, size ? json_integer_value(json_array_get(size, 0)) : shape[2],
                                     size ? json_integer_value(json_array_get(size, 1)) : shape[1], &plan, &error),
                     MORE_OK);
    parity_tensor *output = parity_tensor_create(3, 1, plan.tokens, info.feature_width);
    more_vision_batch batch = {.struct_size = MORE_STRUCT_SIZE(more_vision_batch, counts),
                               .images = 1,
                               .pixels = &pixels,
                               .plans = &plan,
                               .layers = &layer,
                               .layer_count = 1,
                               .select = MORE_SELECT_CLS_PATCH,
                               .features = &output->view,
                               .counts = &count};
    if (interface->encode(vision, &batch, &error))
        fail_msg("%s: %s", name, error.message);
    run result = {.count = plan.tokens * info.feature_width, .bytes = memory.weight_bytes};
    result.values = malloc((size_t)result.count * sizeof(float));
    assert_non_null(result.values);
    memcpy(result.values, output->data, (size_t)result.count * sizeof(float));
    parity_tensor_free(output);
    interface->close(vision);
    free(values);
    return result;
}

/* ---- Projectors ------------------------------------------------------------------------------------------------- */

static run run_projector(const char *name, json_t *facts, const more_plugin *plugin, const more_open *arguments,
                         more_checkpoint *reference)
{
    const more_projector_interface *interface = plugin->get_interface(MORE_PROJECTOR_INTERFACE);
    json_t *grid = json_object_get(facts, "grid");
    int64_t in[MORE_MAX_RANK], out[MORE_MAX_RANK], strides[2];
    float *input = parity_floats(reference, "input", in), *wanted = parity_floats(reference, "output", out);
    more_tensor features = more_host_tensor(input, more_f32(), 2, in, strides);
    parity_tensor *output = parity_tensor_create(2, out[0], out[1], 1);
    more_projection projection = {.struct_size = MORE_STRUCT_SIZE(more_projection, tokens),
                                  .grid = {json_integer_value(json_array_get(grid, 0)),
                                           json_integer_value(json_array_get(grid, 1)),
                                           json_integer_value(json_object_get(facts, "prefix_tokens"))},
                                  .features = &features,
                                  .tokens = &output->view};
    more_projector *projector;
    more_memory memory;
    more_error error = {""};

    if (interface->open(arguments, in[1], out[1], &projector, &error) ||
        interface->estimate(projector, in[0], &memory, &error) || interface->project(projector, &projection, &error))
        fail_msg("%s: %s", name, error.message);
    run result = {.values = wanted, .count = out[0] * out[1], .bytes = memory.weight_bytes};
    memcpy(result.values, output->data, (size_t)result.count * sizeof(float));
    interface->close(projector);
    parity_tensor_free(output);
    free(input);
    return result;
}

/* ---- Language models -------------------------------------------------------------------------------------------- */

static run run_language(const char *name, json_t *facts, const more_plugin *plugin, const more_open *arguments,
                        more_checkpoint *reference)
{
    parity_language language = {.name = name, .interface = plugin->get_interface(MORE_LANGUAGE_INTERFACE)};
    int64_t count;
    int32_t *ids = parity_ids(reference, "input_ids", &count);
    more_memory memory;
    more_error error = {""};
    (void)facts;

    if (language.interface->open(arguments, &language.model, &error) ||
        language.interface->estimate(language.model, 1, 1, 1, &memory, &error))
        fail_msg("%s: %s", name, error.message);
    language.info.struct_size = MORE_STRUCT_SIZE(more_language_info, weight_formats);
    language.interface->describe(language.model, &language.info);
    run result = {.count = count * language.info.vocabulary, .bytes = memory.weight_bytes};
    result.values = malloc((size_t)result.count * sizeof(float));
    assert_non_null(result.values);
    more_session *session = parity_session(&language);
    parity_advance(&language, session, ids, count, count, result.values);
    parity_drop(&language, session);
    language.interface->close(language.model);
    free(ids);
    return result;
}

/* ---- Comparing ------------------------------------------------------------------------------------------------------
 */

static void compare(const char *name, json_t *facts, const more_tensor_map *map, const char *prefix, run_function body)
{
    const more_plugin *plugin = parity_plugin(json_string_value(json_object_get(facts, "plugin")));
    char folder[256], file[256];
    more_checkpoint *reference;
    more_error error = {""};
    double off[KINDS];
    int64_t bytes[KINDS];

    snprintf(folder, sizeof folder, "models/%s", name);
    snprintf(file, sizeof file, "models/%s/ref.safetensors", name);
    parity_checkpoint checkpoint = parity_checkpoint_open(parity_path(folder), prefix, map);
    if (core_checkpoint_open(parity_path(file), &reference, &error))
        fail_msg("%s", error.message);
    const more_host *host = parity_host(2);
    run stored = body(name, facts, plugin,
                      parity_arguments(plugin, host, checkpoint.view, MORE_OPEN_DEFAULT, NULL, NULL), reference);
    for (int i = 0; i < KINDS; i++) {
        const more_open *arguments =
            parity_arguments(plugin, host, checkpoint.view, MORE_OPEN_DEFAULT, "quantize", kinds[i].quantize);
        parity_set_option(plugin, "arithmetic", kinds[i].arithmetic);
        run own = body(name, facts, plugin, arguments, reference);
        off[i] = distance(&own, &stored);
        bytes[i] = own.bytes;
        free(own.values);
    }
    assert_int_equal(parity_host_bytes(), 0);
    parity_host_close();
    print_message("%-24s q8 %.4f, in 8-bit arithmetic %.4f, q4_1 %.3f, q4 %.3f\n", name, off[0], off[1], off[2],
                  off[3]);
    for (int i = 0; i < KINDS; i++)
        assert_true(off[i] > 0 && off[i] < (body == run_language ? kinds[i].logits : kinds[i].features));
    assert_true(off[1] < off[2] && off[1] < off[3]);
    assert_true(bytes[3] < bytes[2] && bytes[2] < bytes[1] && bytes[1] == bytes[0]);
    free(stored.values);
    core_checkpoint_release(reference);
    parity_checkpoint_close(&checkpoint);
}

static void vision(void **state)
{
    parity_cases cases = parity_cases_of("vision");
    (void)state;
    for (size_t i = 0; i < cases.count; i++) {
        const more_plugin *plugin = parity_plugin(json_string_value(json_object_get(cases.facts[i], "plugin")));
        const more_vision_interface *interface = plugin->get_interface(MORE_VISION_INTERFACE);
        compare(cases.names[i], cases.facts[i], interface->tensor_map(), NULL, run_vision);
    }
    parity_cases_free(&cases);
}

static void projectors(void **state)
{
    parity_cases cases = parity_cases_of("projector");
    (void)state;
    for (size_t i = 0; i < cases.count; i++) {
        const more_plugin *plugin = parity_plugin(json_string_value(json_object_get(cases.facts[i], "plugin")));
        const more_projector_interface *interface = plugin->get_interface(MORE_PROJECTOR_INTERFACE);
        json_t *prefix = json_object_get(cases.facts[i], "prefix");
        compare(cases.names[i], cases.facts[i], interface->tensor_map(),
                prefix ? json_string_value(prefix) : "model.mm_projector.", run_projector);
    }
    parity_cases_free(&cases);
}

static void language_models(void **state)
{
    parity_cases cases = parity_cases_of("language");
    (void)state;
    for (size_t i = 0; i < cases.count; i++) {
        const more_plugin *plugin = parity_plugin(json_string_value(json_object_get(cases.facts[i], "plugin")));
        const more_language_interface *interface = plugin->get_interface(MORE_LANGUAGE_INTERFACE);
        compare(cases.names[i], cases.facts[i], interface->tensor_map(), NULL, run_language);
    }
    parity_cases_free(&cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(vision), cmocka_unit_test(projectors),
                                       cmocka_unit_test(language_models)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
