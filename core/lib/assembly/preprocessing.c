/* SPDX-License-Identifier: Apache-2.0
 *
 * From the picture to what the encoder takes: which steps, at which size, and whether they fit the encoder.
 */
#include "assembly/assembly.h"
#include "base/file.h"
#include "generate/multiscale.h"
#include "weights/checkpoint.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SAME_NORMALIZE 1e-3 /* means and deviations that differ less were rounded */

static core_pad read_padding(const core_assembly *assembly)
{
    char *text = core_assembly_setting(assembly, "preprocess.pad");
    core_pad pad = CORE_PAD_NONE;
    if (text && (!strcmp(text, "square") || !strcmp(text, "pad")))
        pad = CORE_PAD_SQUARE;
    else if (text && strcmp(text, "none") != 0)
        core_log(core_host_abi(assembly->host), MORE_LOG_INFO, "preprocess", "image_aspect_ratio '%s' adds no padding",
                 text);
    free(text);
    return pad;
}

/* ---- Which steps ------------------------------------------------------------------------------------------------ */

/* From the tower's own file, else its preprocessor_config.json, else from the plugin. */
static more_status find_steps(core_assembly *assembly, core_pad pad, more_error *error)
{
    const char *folder = core_checkpoint_folder(assembly->vision_part.checkpoint);
    json_t *processor = core_checkpoint_processor(assembly->vision_part.checkpoint);
    if (processor) { /* of the tower's own file */
        assembly->steps_source = strdup(assembly->vision_path);
        return core_preprocess_steps(processor, assembly->vision_path, pad, &assembly->steps, error);
    }
    more_status status = core_preprocess_steps_from_config(folder, pad, &assembly->steps, error);
    if (status == MORE_OK) {
        assembly->steps_source = core_path_join(folder, "preprocessor_config.json");
    } else if (status == MORE_ERROR_NOT_FOUND) {
        core_buffer source = {0};
        core_buffer_format(&source, "plugin '%s'", assembly->vision_part.file->id);
        assembly->steps_source = core_buffer_take(&source);
        status = core_preprocess_add_padding(assembly->vision_info.preprocess, pad, &assembly->steps, error);
    }
    return status;
}

/* One call with every size in it made `side`. */
static void write_scaled(const core_call *call, int64_t side, core_buffer *text)
{
    const char *name = core_call_function(call)->name;
    more_value filter = {0};
    core_call_argument(call, "filter", &filter, NULL);
    if (!strcmp(name, "resize"))
        core_buffer_format(text, "resize(%lld, %lld, %s)", (long long)side, (long long)side, filter.as.s);
    else if (!strcmp(name, "resize_shortest"))
        core_buffer_format(text, "resize_shortest(%lld, %s)", (long long)side, filter.as.s);
    else if (!strcmp(name, "center_crop"))
        core_buffer_format(text, "center_crop(%lld, %lld)", (long long)side, (long long)side);
    else
        core_call_write(call, text);
}

/* The tower's own steps, which deliver its own size, made to deliver that of the largest scale. */
static more_status scale_steps(core_assembly *assembly, more_error *error)
{
    core_calls calls = {0};
    core_buffer text = {0};
    int64_t side = assembly->scales[assembly->scale_count - 1].side;
    more_status status = core_calls_parse(assembly->functions, MORE_STAGE_PREPROCESS, assembly->steps,
                                          assembly->steps_source, &calls, error);
    for (size_t i = 0; i < calls.count; i++) {
        core_buffer_text(&text, i ? ", " : "");
        write_scaled(calls.items[i], side, &text);
    }
    core_calls_free(&calls);
    if (status == MORE_OK) { /* NULL without memory, which read_steps sees */
        free(assembly->steps);
        assembly->steps = core_buffer_take(&text);
    }
    core_buffer_free(&text);
    return status;
}

/* The INI's steps are taken as they stand but for padding. */
static more_status read_steps(core_assembly *assembly, more_error *error)
{
    const core_config_entry *given = core_config_find(assembly->config, "preprocess", "steps");
    core_pad pad = read_padding(assembly);
    more_status status;
    if (given) {
        assembly->steps_source = strdup(given->where);
        status = core_preprocess_add_padding(given->value, pad, &assembly->steps, error);
    } else {
        status = find_steps(assembly, pad, error);
        if (status == MORE_OK && assembly->scale_count && assembly->steps_source)
            status = scale_steps(assembly, error);
    }
    if (status == MORE_OK && (!assembly->steps || !assembly->steps_source))
        status = more_fail(error, MORE_ERROR_MEMORY, "out of memory for preprocessing steps");
    assembly->pads_square = assembly->steps && strstr(assembly->steps, "pad_square(");
    return status;
}

/* ---- Do they fit? ----------------------------------------------------------------------------------------------- */

/* What the steps make of a square picture of the size that the encoder was trained with. */
static more_status delivered_size(const core_assembly *assembly, int64_t *width, int64_t *height, more_error *error)
{
    int64_t side = assembly->vision_info.image_size;
    core_image picture, pixels;
    core_image_init(&picture, 0);
    core_image_init(&pixels, 0);
    more_status status = picture.abi.allocate(&picture.abi, MORE_IMAGE_U8, side, side, 3, error);
    if (status == MORE_OK) {
        memset(picture.abi.data, 0, core_image_bytes(&picture.abi));
        status = core_pipeline_run(assembly->preprocess, &picture.abi, &pixels, error);
    }
    *width = pixels.abi.width;
    *height = pixels.abi.height;
    core_image_free(&picture);
    core_image_free(&pixels);
    return status;
}

static more_status check_size(core_assembly *assembly, more_error *error)
{
    more_vision_plan *plan = &assembly->nominal;
    int64_t width = assembly->vision_info.image_size, height = width;
    bool planned_before = assembly->vision_info.resolutions & MORE_RESOLUTION_BUDGET;
    more_status status = planned_before ? MORE_OK : delivered_size(assembly, &width, &height, error);
    if (status == MORE_OK)
        status = core_multiscale_plan(assembly, width, height, plan, error);
    if (status != MORE_OK || planned_before || (plan->pixel_width == width && plan->pixel_height == height))
        return status;
    return more_fail(
        error, MORE_ERROR_ARGUMENT,
        "preprocessing by %s makes %lld x %lld pixels, but the encoder '%s' of %s takes %lld x %lld%s: they "
        "belong to different models; mend one, or write [preprocess] steps (now %.300s)",
        assembly->steps_source, (long long)width, (long long)height, assembly->vision_part.file->id,
        assembly->vision_path, (long long)plan->pixel_width, (long long)plan->pixel_height,
        assembly->scale_count ? " under these scales" : "", assembly->steps);
}

/* The six numbers of normalize() in steps; false where there is none. */
static bool find_normalize(const core_assembly *assembly, const char *steps, double numbers[6])
{
    static const char *const names[] = {"mean_red", "mean_green", "mean_blue", "std_red", "std_green", "std_blue"};
    core_calls calls = {0};
    bool found = false;
    core_calls_parse(assembly->functions, MORE_STAGE_PREPROCESS, steps ? steps : "", "", &calls, NULL);
    for (size_t i = 0; i < calls.count && !found; i++) {
        found = !strcmp(core_call_function(calls.items[i])->name, "normalize");
        for (int k = 0; k < 6 && found; k++) {
            more_value value = {0};
            found = core_call_argument(calls.items[i], names[k], &value, NULL) == MORE_OK && value.type == MORE_DOUBLE;
            numbers[k] = value.as.f;
        }
    }
    core_calls_free(&calls);
    return found;
}

/* Other numbers than the plugin's own mostly mean another model's processor, but some towers were trained so. */
static void compare_normalize(const core_assembly *assembly)
{
    double ours[6], theirs[6];
    bool same = true;
    if (!find_normalize(assembly, assembly->steps, ours) ||
        !find_normalize(assembly, assembly->vision_info.preprocess, theirs))
        return;
    for (int i = 0; i < 6; i++)
        same = same && fabs(ours[i] - theirs[i]) < SAME_NORMALIZE;
    if (!same)
        core_log(core_host_abi(assembly->host), MORE_LOG_WARNING, "preprocess",
                 "%s normalizes by mean %.4g %.4g %.4g and deviation %.4g %.4g %.4g, encoders of plugin '%s' (%s) by "
                 "%.4g %.4g %.4g and %.4g %.4g %.4g: is it another model's processor?",
                 assembly->steps_source, ours[0], ours[1], ours[2], ours[3], ours[4], ours[5],
                 assembly->vision_part.file->id, assembly->vision_path, theirs[0], theirs[1], theirs[2], theirs[3],
                 theirs[4], theirs[5]);
}

more_status core_assembly_open_preprocessing(core_assembly *assembly, more_error *error)
{
    more_status status = read_steps(assembly, error);
    if (status == MORE_OK)
        status = core_pipeline_create(assembly->functions, assembly->steps, assembly->steps_source,
                                      core_config_int64(assembly->config, "preprocess", "max_pixels"),
                                      &assembly->preprocess, error);
    if (status == MORE_OK)
        status = check_size(assembly, error);
    if (status == MORE_OK)
        compare_normalize(assembly);
    return status;
}
