/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/visual.h"

#include "base/clock.h"
#include "base/memory.h"
#include "generate/multiscale.h"
#include "generate/npy.h"
#include "image/decode.h"
#include <stdlib.h>
#include <string.h>

/* The images of one question on their way to the encoder. */
typedef struct visual_batch {
    core_assembly *assembly;
    int32_t count;
    core_image *pixels;      /* [count] */
    more_vision_plan *plans; /* [count] */
    float **features;        /* [layers], each [count, rows, scales * feature_width] */
    int64_t rows;            /* of the longest image */
    int64_t *counts;         /* [count] */
    const char *dump_folder;
} visual_batch;

bool core_visual_create(core_visual *visual, int64_t count, int64_t width)
{
    *visual = (core_visual){.rows = core_floats(count, width), .count = count};
    visual->holders = malloc(sizeof *visual->holders);
    if (visual->holders)
        atomic_init(visual->holders, 1);
    return visual->rows && visual->holders;
}

core_visual core_visual_share(const core_visual *visual)
{
    if (visual->holders)
        atomic_fetch_add_explicit(visual->holders, 1, memory_order_relaxed);
    return *visual;
}

void core_visual_free(core_visual *visual)
{
    if (!visual->holders || atomic_fetch_sub_explicit(visual->holders, 1, memory_order_acq_rel) == 1) {
        free(visual->rows);
        free(visual->holders);
    }
    *visual = (core_visual){0};
}

static more_status out_of_memory(more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the image's features");
}

static more_status decode(const visual_batch *work, const llavamore_image *source, core_image *image, more_error *error)
{
    const core_config *config = work->assembly->config;
    core_decode_options options = {.max_pixels = core_config_int64(config, "preprocess", "max_pixels"),
                                   .exif = core_config_bool(config, "preprocess", "exif")};
    if (source->path)
        return core_image_load(source->path, &options, image, error);
    return core_image_decode(source->bytes, source->size, source->name ? source->name : "image", &options, image,
                             error);
}

static more_status plan_for(const visual_batch *work, const more_image *image, bool padded, int32_t index,
                            more_error *error)
{
    const core_assembly *assembly = work->assembly;
    int64_t width = image->width, height = image->height;
    if (padded)
        width = height = width > height ? width : height;
    return core_multiscale_plan(assembly, width, height, &work->plans[index], error);
}

/* Runs the steps on one decoded image and holds the result against the encoder's plan. */
static more_status run_steps(visual_batch *work, more_image *decoded, int32_t index, more_error *error)
{
    const core_assembly *assembly = work->assembly;
    const more_vision_plan *plan = &work->plans[index];
    more_image *pixels = &work->pixels[index].abi;
    bool before = assembly->vision_info.resolutions & MORE_RESOLUTION_BUDGET;
    more_status status = before ? plan_for(work, decoded, assembly->pads_square, index, error) : MORE_OK;
    decoded->plan_width = before ? plan->pixel_width : 0;
    decoded->plan_height = before ? plan->pixel_height : 0;
    if (status == MORE_OK)
        status = core_pipeline_run(assembly->preprocess, decoded, &work->pixels[index], error);
    if (status == MORE_OK && !before)
        status = plan_for(work, pixels, false, index, error);
    if (status == MORE_OK && (pixels->width != plan->pixel_width || pixels->height != plan->pixel_height))
        status = more_fail(error, MORE_ERROR_ARGUMENT,
                           "preprocessing gives %lld x %lld pixels, the encoder '%s' wants %lld x %lld: check "
                           "[preprocess] steps (%.300s)",
                           (long long)pixels->width, (long long)pixels->height, assembly->vision_part.file->id,
                           (long long)plan->pixel_width, (long long)plan->pixel_height, assembly->steps);
    return status;
}

static more_status preprocess(visual_batch *work, const llavamore_image *source, int32_t index, more_error *error)
{
    core_image decoded;
    core_image_init(&decoded, 0);
    more_status status = decode(work, source, &decoded, error);
    if (status == MORE_OK)
        status = run_steps(work, &decoded.abi, index, error);
    core_image_free(&decoded);
    return status;
}

static more_tensor image_tensor(core_image *image, int64_t *shape, int64_t *strides)
{
    shape[0] = image->abi.channels;
    shape[1] = image->abi.height;
    shape[2] = image->abi.width;
    return more_host_tensor(image->abi.data, more_f32(), 3, shape, strides);
}

/* Channels of one layer's rows. */
static int64_t layer_width(const core_assembly *assembly)
{
    return assembly->vision_info.feature_width * (assembly->scale_count ? assembly->scale_count : 1);
}

static more_status encode_scales(visual_batch *work, const int32_t *layers, int32_t layer_count, more_error *error)
{
    const float **pixels = calloc((size_t)work->count, sizeof *pixels);
    if (!pixels)
        return out_of_memory(error);
    for (int32_t i = 0; i < work->count; i++)
        pixels[i] = work->pixels[i].abi.data;
    more_status status = core_multiscale_encode(work->assembly, pixels, work->count, layers, layer_count,
                                                work->features, work->counts, error);
    free(pixels);
    return status;
}

/* One pass of the encoder for `layers` hidden states; features are allocated here. */
static more_status encode(visual_batch *work, const int32_t *layers, int32_t layer_count, more_select select,
                          more_error *error)
{
    const core_assembly *assembly = work->assembly;
    int64_t width = layer_width(assembly);
    int64_t shapes[2][3], strides[3];
    more_tensor *pixels = calloc((size_t)work->count, sizeof *pixels);
    int64_t(*sizes)[6] = calloc((size_t)work->count, sizeof *sizes);
    more_tensor *outputs = calloc((size_t)layer_count, sizeof *outputs);
    work->features = calloc((size_t)layer_count, sizeof *work->features);
    more_status status = pixels && sizes && outputs && work->features ? MORE_OK : out_of_memory(error);
    work->rows = 0;
    for (int32_t i = 0; status == MORE_OK && i < work->count; i++) {
        const more_vision_plan *plan = &work->plans[i];
        int64_t rows = select == MORE_SELECT_PATCH ? plan->tokens - plan->prefix_tokens : plan->tokens;
        work->rows = rows > work->rows ? rows : work->rows;
        pixels[i] = image_tensor(&work->pixels[i], sizes[i], sizes[i] + 3);
    }
    for (int32_t i = 0; status == MORE_OK && i < layer_count; i++) {
        shapes[0][0] = work->count;
        shapes[0][1] = work->rows;
        shapes[0][2] = width;
        work->features[i] = core_floats(work->count * work->rows, width);
        outputs[i] = more_host_tensor(work->features[i], more_f32(), 3, shapes[0], strides);
        if (!work->features[i])
            status = out_of_memory(error);
    }
    more_vision_batch batch = {.struct_size = MORE_STRUCT_SIZE(more_vision_batch, counts),
                               .images = work->count,
                               .pixels = pixels,
                               .plans = work->plans,
                               .layers = layers,
                               .layer_count = layer_count,
                               .select = select,
                               .features = outputs,
                               .counts = work->counts};
    if (status == MORE_OK && assembly->scale_count)
        status = encode_scales(work, layers, layer_count, error);
    else if (status == MORE_OK)
        status = assembly->vision_api->encode(assembly->vision, &batch, error);
    free(pixels);
    free(sizes);
    free(outputs);
    return status;
}

static void free_features(visual_batch *work, int32_t layer_count)
{
    for (int32_t i = 0; work->features && i < layer_count; i++)
        free(work->features[i]);
    free(work->features);
    work->features = NULL;
}

/* name.npy for an only image, name_NN.npy for one of several. */
static more_status dump(const visual_batch *work, const char *name, int32_t index, int rank, const int64_t *shape,
                        const float *data, more_error *error)
{
    char file[64];
    if (!work->dump_folder)
        return MORE_OK;
    if (work->count == 1)
        snprintf(file, sizeof file, "%s.npy", name);
    else
        snprintf(file, sizeof file, "%s_%02d.npy", name, index);
    return core_npy_write(work->dump_folder, file, CORE_NPY_F32, rank, shape, data, error);
}

/* Rows of one image: by scale, then by layer. */
static void join_layers(const visual_batch *work, int32_t index, float *features)
{
    const core_assembly *assembly = work->assembly;
    int64_t scales = assembly->scale_count ? assembly->scale_count : 1, width = assembly->vision_info.feature_width;
    float *to = features;
    for (int64_t r = index * work->rows; r < index * work->rows + work->counts[index]; r++)
        for (int64_t s = 0; s < scales; s++)
            for (int32_t l = 0; l < assembly->layer_count; l++, to += width)
                memcpy(to, work->features[l] + (r * scales + s) * width, (size_t)width * sizeof *to);
}

/* Joins the layers of one image along the channels and maps them. */
static more_status project(visual_batch *work, int32_t index, core_visual *visual, more_error *error)
{
    const core_assembly *assembly = work->assembly;
    const more_vision_plan *plan = &work->plans[index];
    int64_t joined = core_assembly_feature_width(assembly);
    int64_t rows = work->counts[index], tokens = 0, in_shape[2] = {rows, joined}, in_strides[2], out_shape[2],
            out_strides[2];
    more_grid grid = {plan->grid_width, plan->grid_height,
                      assembly->select == MORE_SELECT_PATCH ? 0 : plan->prefix_tokens};
    more_status status = assembly->projector_api->plan(assembly->projector, &grid, &tokens, error);
    if (status != MORE_OK)
        return status;
    float *features = core_floats(rows, joined);
    if (!features || !core_visual_create(visual, tokens, assembly->language_info.width)) {
        free(features);
        return out_of_memory(error);
    }
    join_layers(work, index, features);
    out_shape[0] = tokens;
    out_shape[1] = assembly->language_info.width;
    more_tensor in = more_host_tensor(features, more_f32(), 2, in_shape, in_strides);
    more_tensor out = more_host_tensor(visual->rows, more_f32(), 2, out_shape, out_strides);
    more_projection projection = {MORE_STRUCT_SIZE(more_projection, tokens), grid, &in, &out};
    status = assembly->projector_api->project(assembly->projector, &projection, error);
    if (status == MORE_OK)
        status = dump(work, "features", index, 2, in_shape, features, error);
    if (status == MORE_OK)
        status = dump(work, "visual_tokens", index, 2, out_shape, visual->rows, error);
    free(features);
    return status;
}

/* Every hidden state of the encoder, all rows (patches only under scales), for --dump-layers. */
static more_status dump_all_layers(visual_batch *work, more_error *error)
{
    int32_t count = (int32_t)work->assembly->vision_info.layers + 1;
    int32_t *layers = calloc((size_t)count, sizeof *layers);
    if (!layers)
        return out_of_memory(error);
    for (int32_t i = 0; i < count; i++)
        layers[i] = i;
    more_select select = work->assembly->scale_count ? MORE_SELECT_PATCH : MORE_SELECT_CLS_PATCH;
    more_status status = encode(work, layers, count, select, error);
    for (int32_t l = 0; status == MORE_OK && l < count; l++) {
        char name[32];
        snprintf(name, sizeof name, "features_layer_%02d", l);
        for (int32_t i = 0; status == MORE_OK && i < work->count; i++) {
            int64_t width = layer_width(work->assembly), shape[2] = {work->counts[i], width};
            status = dump(work, name, i, 2, shape, work->features[l] + i * work->rows * width, error);
        }
    }
    free_features(work, count);
    free(layers);
    return status;
}

static more_status run(visual_batch *work, const llavamore_image *images, bool dump_layers, core_visual *visuals,
                       core_visual_times *times, more_error *error)
{
    const core_assembly *assembly = work->assembly;
    more_status status = MORE_OK;
    double start = core_now_ms();
    for (int32_t i = 0; status == MORE_OK && i < work->count; i++)
        status = preprocess(work, &images[i], i, error);
    for (int32_t i = 0; status == MORE_OK && i < work->count; i++) {
        int64_t shape[3], strides[3];
        more_tensor pixels = image_tensor(&work->pixels[i], shape, strides);
        status = dump(work, "pixels", i, 3, shape, more_tensor_data(&pixels), error);
    }
    times->preprocess_ms = core_now_ms() - start;
    start = core_now_ms();
    if (status == MORE_OK && work->dump_folder && dump_layers)
        status = dump_all_layers(work, error);
    if (status == MORE_OK)
        status = encode(work, assembly->layers, assembly->layer_count, assembly->select, error);
    times->encode_ms = core_now_ms() - start;
    start = core_now_ms();
    for (int32_t i = 0; status == MORE_OK && i < work->count; i++)
        status = project(work, i, &visuals[i], error);
    times->project_ms = core_now_ms() - start;
    times->encoded = work->count;
    free_features(work, assembly->layer_count);
    return status;
}

more_status core_visual_encode(core_assembly *assembly, const llavamore_image *images, int32_t image_count,
                               const char *dump_folder, bool dump_layers, core_visual *visuals,
                               core_visual_times *times, more_error *error)
{
    *times = (core_visual_times){0};
    if (!image_count)
        return MORE_OK;
    if (!assembly->vision)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "an image was given, but this assembly has no vision encoder: set [vision] weights");
    visual_batch work = {.assembly = assembly, .count = image_count, .dump_folder = dump_folder};
    size_t count = (size_t)image_count;
    work.pixels = calloc(count, sizeof *work.pixels);
    work.plans = calloc(count, sizeof *work.plans);
    work.counts = calloc(count, sizeof *work.counts);
    more_status status = work.pixels && work.plans && work.counts ? MORE_OK : out_of_memory(error);
    for (size_t i = 0; status == MORE_OK && i < count; i++)
        core_image_init(&work.pixels[i], 0);
    pthread_mutex_lock(&assembly->eyes);
    if (status == MORE_OK)
        status = run(&work, images, dump_layers, visuals, times, error);
    pthread_mutex_unlock(&assembly->eyes);
    for (size_t i = 0; work.pixels && i < count; i++)
        core_image_free(&work.pixels[i]);
    free(work.pixels);
    free(work.plans);
    free(work.counts);
    return status;
}
