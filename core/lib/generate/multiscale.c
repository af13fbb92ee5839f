/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/multiscale.h"

#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

#define CHANNELS 3

/* ---- Planning --------------------------------------------------------------------------------------------------- */

static more_status check_scale(const core_assembly *assembly, core_scale *scale, more_error *error)
{
    more_vision_plan plan = {.struct_size = MORE_STRUCT_SIZE(more_vision_plan, tokens)};
    more_status status = assembly->vision_api->plan(assembly->vision, scale->tile, scale->tile, &plan, error);
    if (status != MORE_OK)
        return status;
    if (plan.pixel_width != scale->tile || plan.pixel_height != scale->tile || plan.grid_width != plan.grid_height)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "[vision] scales: %lld pixels are cut into tiles of %lld, but the encoder '%s' of %s takes "
                         "%lld x %lld; the smallest scale must be the encoder's size, the others whole multiples of it",
                         (long long)scale->side, (long long)scale->tile, assembly->vision_part.file->id,
                         assembly->vision_path, (long long)plan.pixel_width, (long long)plan.pixel_height);
    scale->grid = plan.grid_width;
    return MORE_OK;
}

more_status core_multiscale_check(core_assembly *assembly, more_error *error)
{
    more_status status = MORE_OK;
    if (!assembly->scale_count)
        return MORE_OK;
    if (assembly->vision_info.resolutions & MORE_RESOLUTION_BUDGET)
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "[vision] scales: the encoder '%s' of %s picks a size for each picture, so there are no tiles "
                         "of one size; leave scales out or take an encoder of fixed size",
                         assembly->vision_part.file->id, assembly->vision_path);
    if (assembly->select != MORE_SELECT_PATCH && assembly->vision_info.prefix_tokens > 0)
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "[vision] select = cls_patch does not go with scales: the tiles' class tokens have no place "
                         "in one map; say select = patch");
    for (int32_t i = 0; i < assembly->scale_count && status == MORE_OK; i++)
        status = check_scale(assembly, &assembly->scales[i], error);
    return status;
}

more_status core_multiscale_plan(const core_assembly *assembly, int64_t width, int64_t height, more_vision_plan *plan,
                                 more_error *error)
{
    const core_scale *smallest = &assembly->scales[0];
    plan->struct_size = MORE_STRUCT_SIZE(more_vision_plan, tokens);
    if (!assembly->scale_count)
        return assembly->vision_api->plan(assembly->vision, width, height, plan, error);
    more_status status = assembly->vision_api->plan(assembly->vision, smallest->tile, smallest->tile, plan, error);
    plan->pixel_width = plan->pixel_height = assembly->scales[assembly->scale_count - 1].side;
    return status;
}

int64_t core_multiscale_images(const core_assembly *assembly)
{
    int64_t tiles = assembly->scale_count ? assembly->scales[assembly->scale_count - 1].tiles : 1;
    return tiles * tiles;
}

int64_t core_multiscale_bytes(const core_assembly *assembly)
{
    if (!assembly->scale_count)
        return 0;
    const core_scale *smallest = &assembly->scales[0], *largest = &assembly->scales[assembly->scale_count - 1];
    int64_t width = assembly->vision_info.feature_width * assembly->layer_count, map = largest->tiles * largest->grid;
    int64_t pictures = 2 * CHANNELS * largest->side * largest->side;
    int64_t rows = map * map + smallest->grid * smallest->grid * assembly->scale_count;
    return (pictures + rows * width) * (int64_t)sizeof(float);
}

/* ---- Encoding --------------------------------------------------------------------------------------------------- */

/* All pictures at one scale, as the encoder gets them. Shapes and strides are the same for every tile. */
typedef struct tile_batch {
    int64_t images; /* tiles of all pictures */
    float *pixels;  /* [images, 3, tile, tile] */
    more_tensor *inputs;
    more_vision_plan *plans;
    int64_t *counts;
    float *features; /* [layers, images, grid * grid, width] */
    more_tensor *outputs;
    int64_t shape[3], strides[3], out_shape[3], out_strides[3];
} tile_batch;

static void free_batch(tile_batch *batch)
{
    free(batch->pixels);
    free(batch->inputs);
    free(batch->plans);
    free(batch->counts);
    free(batch->features);
    free(batch->outputs);
}

static more_status create_batch(const core_assembly *assembly, const core_scale *scale, int64_t pictures,
                                int32_t layer_count, tile_batch *batch, more_error *error)
{
    int64_t images = pictures * scale->tiles * scale->tiles, width = assembly->vision_info.feature_width;
    int64_t size = CHANNELS * scale->tile * scale->tile, rows = scale->grid * scale->grid;
    *batch = (tile_batch){
        .images = images, .shape = {CHANNELS, scale->tile, scale->tile}, .out_shape = {images, rows, width}};
    batch->pixels = core_floats(images, size);
    batch->inputs = calloc((size_t)images, sizeof *batch->inputs);
    batch->plans = calloc((size_t)images, sizeof *batch->plans);
    batch->counts = calloc((size_t)images, sizeof *batch->counts);
    batch->features = core_floats(layer_count * images, rows * width);
    batch->outputs = calloc((size_t)layer_count, sizeof *batch->outputs);
    if (!batch->pixels || !batch->inputs || !batch->plans || !batch->counts || !batch->features || !batch->outputs)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for %lld tiles of %lld pixels", (long long)images,
                         (long long)scale->tile);
    for (int64_t i = 0; i < images; i++) {
        batch->inputs[i] = more_host_tensor(batch->pixels + i * size, more_f32(), 3, batch->shape, batch->strides);
        batch->plans[i].struct_size = MORE_STRUCT_SIZE(more_vision_plan, tokens);
        more_status status =
            assembly->vision_api->plan(assembly->vision, scale->tile, scale->tile, &batch->plans[i], error);
        if (status != MORE_OK)
            return status;
    }
    for (int32_t l = 0; l < layer_count; l++)
        batch->outputs[l] = more_host_tensor(batch->features + l * images * rows * width, more_f32(), 3,
                                             batch->out_shape, batch->out_strides);
    return MORE_OK;
}

/* Tile t of picture i becomes image t * pictures + i. */
static more_status fill_batch(const core_assembly *assembly, const core_scale *scale, const float *const *pixels,
                              int64_t pictures, const tile_batch *batch, more_error *error)
{
    int64_t largest = assembly->scales[assembly->scale_count - 1].side, size = CHANNELS * scale->tile * scale->tile;
    float *resized = core_floats(CHANNELS * scale->side, scale->side);
    more_status status = resized ? MORE_OK
                                 : more_fail(error, MORE_ERROR_MEMORY, "out of memory for a picture of %lld pixels",
                                             (long long)scale->side);
    for (int64_t i = 0; i < pictures && status == MORE_OK; i++) {
        status = core_scale_resize(pixels[i], CHANNELS, largest, resized, scale->side, error);
        for (int64_t t = 0; t < scale->tiles * scale->tiles && status == MORE_OK; t++)
            core_scale_cut(resized, CHANNELS, scale, t, batch->pixels + (t * pictures + i) * size);
    }
    free(resized);
    return status;
}

static more_status encode_scale(const core_assembly *assembly, int32_t index, const float *const *pixels,
                                int64_t pictures, const int32_t *layers, int32_t layer_count, float *const *features,
                                more_error *error)
{
    const core_scale *scale = &assembly->scales[index];
    int64_t width = assembly->vision_info.feature_width, grid = assembly->scales[0].grid;
    int64_t tile_size = scale->grid * scale->grid * width, row = assembly->scale_count * width;
    tile_batch tiles;
    more_status status = create_batch(assembly, scale, pictures, layer_count, &tiles, error);
    if (status == MORE_OK)
        status = fill_batch(assembly, scale, pixels, pictures, &tiles, error);
    more_vision_batch batch = {.struct_size = MORE_STRUCT_SIZE(more_vision_batch, counts),
                               .images = tiles.images,
                               .pixels = tiles.inputs,
                               .plans = tiles.plans,
                               .layers = layers,
                               .layer_count = layer_count,
                               .select = MORE_SELECT_PATCH,
                               .features = tiles.outputs,
                               .counts = tiles.counts};
    if (status == MORE_OK)
        status = assembly->vision_api->encode(assembly->vision, &batch, error);
    for (int32_t l = 0; l < layer_count && status == MORE_OK; l++)
        for (int64_t i = 0; i < pictures; i++)
            core_scale_join(tiles.features + (l * tiles.images + i) * tile_size, pictures * tile_size, scale, width,
                            features[l] + i * grid * grid * row + index * width, grid, row);
    free_batch(&tiles);
    return status;
}

more_status core_multiscale_encode(const core_assembly *assembly, const float *const *pixels, int64_t images,
                                   const int32_t *layers, int32_t layer_count, float *const *features, int64_t *counts,
                                   more_error *error)
{
    more_status status = MORE_OK;
    for (int32_t s = 0; s < assembly->scale_count && status == MORE_OK; s++)
        status = encode_scale(assembly, s, pixels, images, layers, layer_count, features, error);
    for (int64_t i = 0; i < images && status == MORE_OK; i++)
        counts[i] = assembly->scales[0].grid * assembly->scales[0].grid;
    return status;
}
