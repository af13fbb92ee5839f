/* SPDX-License-Identifier: Apache-2.0 */
#include "image/preprocess.h"

#include "base/file.h"
#include "base/json.h"
#include "image/resize.h"
#include "plugin/value.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- preprocessor_config.json ----------------------------------------------------------------------------------- */

/* A config on its way to text. The first failure is kept in status. */
typedef struct writer {
    json_t *config;
    const char *path;
    core_buffer *steps;
    more_status status;
    more_error *error;
} writer;

/* Keys that say nothing about the pixels, or that this reading is made of. Anything else is refused unless it is null
 * or false: it may ask for a step that we would leave out. */
static const char *const known_keys[] = {"do_convert_rgb",
                                         "do_resize",
                                         "size",
                                         "resample",
                                         "do_center_crop",
                                         "crop_size",
                                         "do_rescale",
                                         "rescale_factor",
                                         "do_normalize",
                                         "image_mean",
                                         "image_std",
                                         "processor_class",
                                         "image_processor_type",
                                         "feature_extractor_type",
                                         "_valid_processor_keys",
                                         "auto_map",
                                         "return_tensors",
                                         "data_format",
                                         "input_data_format",
                                         "default_to_square",
                                         "max_num_patches",
                                         "patch_size",
                                         "image_seq_length",
                                         "image_token",
                                         "_name_or_path"};

static void refuse(writer *w, const char *key, const char *reason)
{
    char *value = json_dumps(json_object_get(w->config, key), JSON_ENCODE_ANY | JSON_COMPACT);
    if (w->status == MORE_OK)
        w->status = more_fail(w->error, MORE_ERROR_UNSUPPORTED,
                              "%s: %s = %.80s %s; write the steps into [preprocess] of the INI file instead", w->path,
                              key, value ? value : "(missing)", reason);
    free(value);
}

static void check_keys(writer *w)
{
    const char *key;
    json_t *value;
    json_object_foreach(w->config, key, value)
    {
        bool known = json_is_null(value) || json_is_false(value);
        for (size_t i = 0; i < sizeof known_keys / sizeof *known_keys && !known; i++)
            known = !strcmp(key, known_keys[i]);
        if (!known)
            refuse(w, key, "is not understood");
    }
}

/* A do_... key; `fallback` where it is absent or null. */
static bool asked(writer *w, const char *key, bool fallback)
{
    json_t *value = json_object_get(w->config, key);
    if (!value || json_is_null(value))
        return fallback;
    if (!json_is_boolean(value))
        refuse(w, key, "is not true or false");
    return json_is_true(value);
}

static bool present(const writer *w, const char *key)
{
    json_t *value = json_object_get(w->config, key);
    return value && !json_is_null(value);
}

/* A side in pixels; 0 where the value is none. */
static int64_t pixels(json_t *value)
{
    int64_t number = json_integer_value(value);
    return number >= 1 && number <= INT32_MAX ? number : 0;
}

static void write_resize(writer *w, bool crops)
{
    json_t *size = json_object_get(w->config, "size"), *resample = json_object_get(w->config, "resample");
    const char *filter = json_is_integer(resample) ? core_filter_name(json_integer_value(resample)) : NULL;
    int64_t width = pixels(json_object_get(size, "width")), height = pixels(json_object_get(size, "height"));
    int64_t edge = pixels(json_object_get(size, "shortest_edge"));
    if (!filter) {
        refuse(w, "resample", "is none of Pillow's filters 0 to 5");
    } else if (!present(w, "size") && present(w, "max_num_patches")) { /* a budget: the encoder's plan fits it */
        core_buffer_format(w->steps, ", resize_to_plan(%s)", filter);
    } else if (json_object_size(size) == 2 && width && height) {
        core_buffer_format(w->steps, ", resize(%" PRId64 ", %" PRId64 ", %s)", width, height, filter);
    } else if (json_object_size(size) == 1 && edge) {
        core_buffer_format(w->steps, ", resize_shortest(%" PRId64 ", %s)", edge, filter);
    } else if (pixels(size) && crops) { /* the old form of processors that crop: a bare number is the shortest edge */
        core_buffer_format(w->steps, ", resize_shortest(%" PRId64 ", %s)", pixels(size), filter);
    } else {
        refuse(w, "size",
               json_is_integer(size) ? "may mean a square or a shortest edge"
                                     : "is neither {height, width} nor {shortest_edge} in pixels");
    }
}

static void write_crop(writer *w)
{
    json_t *size = json_object_get(w->config, "crop_size");
    int64_t width = pixels(json_is_object(size) ? json_object_get(size, "width") : size);
    int64_t height = pixels(json_is_object(size) ? json_object_get(size, "height") : size);
    if (!width || !height || (json_is_object(size) && json_object_size(size) != 2))
        refuse(w, "crop_size", "is neither {height, width} nor a number of pixels");
    else
        core_buffer_format(w->steps, ", center_crop(%" PRId64 ", %" PRId64 ")", width, height);
}

/* A number so that it reads back as the same double. */
static void write_double(core_buffer *out, double number)
{
    more_value value = {.type = MORE_DOUBLE, .as.f = number};
    core_value_write(out, &value);
}

static void write_rescale(writer *w)
{
    json_t *factor = json_object_get(w->config, "rescale_factor");
    core_buffer_text(w->steps, ", rescale(");
    if (json_is_number(factor))
        write_double(w->steps, json_number_value(factor));
    else if (!present(w, "rescale_factor"))
        core_buffer_text(w->steps, "1/255");
    else
        refuse(w, "rescale_factor", "is not a number");
    core_buffer_text(w->steps, ")");
}

/* Three numbers of image_mean or image_std. */
static bool three(writer *w, const char *key, double *numbers)
{
    json_t *list = json_object_get(w->config, key);
    bool good = json_array_size(list) == 3;
    for (size_t c = 0; c < 3 && good; c++) {
        good = json_is_number(json_array_get(list, c));
        numbers[c] = json_number_value(json_array_get(list, c));
    }
    if (!good)
        refuse(w, key, "is not an array of 3 numbers");
    return good;
}

static void write_normalize(writer *w)
{
    double numbers[6] = {0};
    if (!three(w, "image_mean", numbers) || !three(w, "image_std", numbers + 3))
        return;
    core_buffer_text(w->steps, ", normalize(");
    for (int i = 0; i < 6; i++) {
        core_buffer_text(w->steps, i ? ", " : "");
        write_double(w->steps, numbers[i]);
    }
    core_buffer_text(w->steps, ")");
}

/* LLaVA's fill: the mean as a colour, cut to whole numbers. */
static bool write_padding(core_buffer *out, const double *mean)
{
    for (int c = 0; c < 3; c++)
        if (!(mean[c] * 255 >= 0 && mean[c] * 255 < 256))
            return false;
    core_buffer_format(out, "pad_square(%d, %d, %d)", (int)(mean[0] * 255), (int)(mean[1] * 255), (int)(mean[2] * 255));
    return true;
}

static void write_steps(writer *w, core_pad pad)
{
    double mean[3];
    check_keys(w);
    /* Decoded pictures are RGB already; the step is for those that a caller made himself. */
    core_buffer_text(w->steps, "convert_rgb()");
    asked(w, "do_convert_rgb", true);
    if (pad == CORE_PAD_SQUARE && three(w, "image_mean", mean)) {
        core_buffer_text(w->steps, ", ");
        if (!write_padding(w->steps, mean))
            refuse(w, "image_mean", "gives no colour to pad with");
    }
    bool crops = asked(w, "do_center_crop", present(w, "crop_size"));
    if (asked(w, "do_resize", true))
        write_resize(w, crops);
    if (crops)
        write_crop(w);
    if (asked(w, "do_rescale", true))
        write_rescale(w);
    else
        core_buffer_text(w->steps, ", rescale(1)");
    if (asked(w, "do_normalize", true))
        write_normalize(w);
}

more_status core_preprocess_steps(json_t *config, const char *path, core_pad pad, char **steps, more_error *error)
{
    core_buffer text = {0};
    writer w = {config, path, &text, MORE_OK, error};
    *steps = NULL;
    if (!json_is_object(config))
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: is not a JSON object", path);
    write_steps(&w, pad);
    if (w.status == MORE_OK) {
        *steps = core_buffer_take(&text);
        if (!*steps)
            w.status = more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", path);
    }
    core_buffer_free(&text);
    return w.status;
}

more_status core_preprocess_steps_from_config(const char *folder, core_pad pad, char **steps, more_error *error)
{
    json_t *config = NULL;
    char *path = core_path_join(folder, "preprocessor_config.json");
    *steps = NULL;
    if (!path)
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", folder);
    more_status status = core_json_load(path, &config, error);
    if (status == MORE_OK)
        status = core_preprocess_steps(config, path, pad, steps, error);
    json_decref(config);
    free(path);
    return status;
}

/* ---- Padding of other steps ------------------------------------------------------------------------------------- */

/* The first three arguments of normalize(...) in the text, whether by position or by name. */
static bool find_mean(const char *steps, double *mean)
{
    static const char blank[] = " \t\n";
    const char *at = strstr(steps, "normalize");
    if (!at)
        return false;
    at += strlen("normalize");
    at += strspn(at, blank);
    if (*at != '(')
        return false;
    for (int c = 0; c < 3; c++) {
        char number[64];
        more_value value;
        at += 1 + strspn(at + 1, blank);
        size_t length = strcspn(at, ",)"), equals = strcspn(at, "=");
        if (equals < length) {
            at += equals + 1;
            at += strspn(at, blank);
            length = strcspn(at, ",)");
        }
        const char *end = at + length;
        while (length && strchr(blank, at[length - 1]))
            length--;
        if (!*end || !length || length >= sizeof number)
            return false;
        memcpy(number, at, length);
        number[length] = '\0';
        if (core_value_parse(MORE_DOUBLE, number, &value, NULL) != MORE_OK)
            return false;
        mean[c] = value.as.f;
        at = end;
    }
    return true;
}

more_status core_preprocess_add_padding(const char *steps, core_pad pad, char **padded, more_error *error)
{
    double mean[3];
    core_buffer text = {0};
    *padded = NULL;
    if (pad == CORE_PAD_NONE || strstr(steps, "pad_square")) {
        core_buffer_text(&text, steps);
    } else {
        const char *rest = steps + strspn(steps, " \t\n");
        if (!strncmp(rest, "convert_rgb()", 13))
            rest += 13 + strspn(rest + 13, " \t\n,");
        core_buffer_text(&text, "convert_rgb(), ");
        if (!find_mean(steps, mean) || !write_padding(&text, mean)) {
            core_buffer_free(&text);
            return more_fail(error, MORE_ERROR_ARGUMENT,
                             "padding to a square takes its colour from normalize(), which the steps '%.300s' lack; "
                             "write pad_square(red, green, blue) into them",
                             steps);
        }
        core_buffer_format(&text, ", %s", rest);
    }
    *padded = core_buffer_take(&text);
    return *padded ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "out of memory for preprocessing steps");
}

/* ---- Running ---------------------------------------------------------------------------------------------------- */

struct core_pipeline {
    core_calls calls;
    int64_t max_pixels;
};

more_status core_pipeline_create(const core_functions *functions, const char *steps, const char *where,
                                 int64_t max_pixels, core_pipeline **pipeline, more_error *error)
{
    *pipeline = calloc(1, sizeof **pipeline);
    if (!*pipeline)
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", where);
    (*pipeline)->max_pixels = max_pixels;
    more_status status = core_calls_parse(functions, MORE_STAGE_PREPROCESS, steps, where, &(*pipeline)->calls, error);
    if (status != MORE_OK) {
        core_pipeline_free(*pipeline);
        *pipeline = NULL;
    }
    return status;
}

void core_pipeline_free(core_pipeline *pipeline)
{
    if (!pipeline)
        return;
    core_calls_free(&pipeline->calls);
    free(pipeline);
}

static more_status run_step(const core_call *call, const more_image *in, core_image *out, more_error *error)
{
    more_error reason = {{0}};
    const more_image *from = in;
    more_image *to = &out->abi;
    void *leading[] = {(void *)(uintptr_t)from, to};
    more_status status = core_call_invoke(call, leading, &reason);
    const char *name = core_call_function(call)->name;
    if (status == MORE_OK)
        return MORE_OK;
    bool named = !strncmp(reason.message, name, strlen(name));
    return more_fail(error, status, "step %s: %.900s", name,
                     reason.message + (named ? strlen(name) + strspn(reason.message + strlen(name), ": ") : 0));
}

more_status core_pipeline_run(const core_pipeline *pipeline, const more_image *decoded, core_image *pixels,
                              more_error *error)
{
    core_image images[2];
    const more_image *current = decoded;
    more_status status = MORE_OK;
    core_image_init(&images[0], pipeline->max_pixels);
    core_image_init(&images[1], pipeline->max_pixels);
    for (int i = 0; i < 2; i++) {
        images[i].abi.plan_width = decoded->plan_width;
        images[i].abi.plan_height = decoded->plan_height;
    }
    for (size_t i = 0; i < pipeline->calls.count && status == MORE_OK; i++) {
        status = run_step(pipeline->calls.items[i], current, &images[i & 1], error);
        current = &images[i & 1].abi;
    }
    if (status == MORE_OK && (current == decoded || current->format != MORE_IMAGE_F32 || current->channels != 3))
        status =
            more_fail(error, MORE_ERROR_ARGUMENT,
                      "the preprocessing steps leave %" PRId64 " channels of %s, an encoder takes 3 of floats: end "
                      "them with rescale() and normalize()",
                      current->channels, current->format == MORE_IMAGE_F32 ? "floats" : "bytes");
    if (status == MORE_OK)
        core_image_swap(pixels, &images[(pipeline->calls.count - 1) & 1]);
    core_image_free(&images[0]);
    core_image_free(&images[1]);
    return status;
}
