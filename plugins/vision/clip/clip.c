/* SPDX-License-Identifier: Apache-2.0
 *
 * CLIP: the vision interface and the plugin's descriptor.
 */
#include "clip.h"

#include "require.h"

#include <stdlib.h>
#include <string.h>

enum { OPTION_BLOCKS, OPTION_COUNT };

static const more_option options[OPTION_COUNT] = {
    {"blocks", MORE_INT64, "0", 0, 1024, NULL,
     "Number of transformer blocks to load, counted from the first; 0 = all. Later hidden states cannot be asked for."},
};

static void clip_close(more_vision *clip)
{
    if (!clip)
        return;
    if (clip->context) { /* else nothing was loaded */
        clip_unload(clip);
        nn_context_destroy(clip->context);
    }
    free(clip->blocks);
    free(clip);
}

/* The image processor of OpenAI's checkpoints, for this tower's size. */
static void write_preprocess(more_vision *clip)
{
    long long size = (long long)clip->config.image_size;
    snprintf(clip->preprocess, sizeof clip->preprocess,
             "convert_rgb(), resize_shortest(%lld, bicubic), center_crop(%lld, %lld), rescale(1/255), "
             "normalize(0.48145466, 0.4578275, 0.40821073, 0.26862954, 0.26130258, 0.27577711)",
             size, size, size);
}

static more_status clip_open(const more_open *arguments, more_vision **vision, more_error *error)
{
    more_vision *clip = calloc(1, sizeof *clip);
    int64_t blocks = arguments->option_count > OPTION_BLOCKS ? arguments->options[OPTION_BLOCKS].as.i : 0;
    nn_source source;
    more_status status;

    *vision = NULL;
    if (!clip)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for clip");
    status = nn_require_host(arguments, "clip", error);
    if (!status)
        status = nn_context_create(arguments->host, &clip->context, error);
    if (!status)
        status = nn_source_open(clip->context, arguments, &source, error);
    if (!status)
        status = clip_config_read(&source, &clip->config, error);
    if (!status && (blocks < 0 || blocks > clip->config.layers))
        status = more_fail(error, MORE_ERROR_ARGUMENT, "blocks = %lld, but %s has %lld", (long long)blocks,
                           source.weights->path(source.checkpoint), (long long)clip->config.layers);
    if (!status) {
        clip->metadata_only = source.metadata_only;
        clip->loaded = blocks > 0 ? blocks : clip->config.layers;
        clip->blocks = calloc((size_t)clip->loaded, sizeof *clip->blocks);
        status = clip->blocks
                     ? clip_load(clip, &source, error)
                     : more_fail(error, MORE_ERROR_MEMORY, "no memory for %lld blocks", (long long)clip->loaded);
    }
    if (status) {
        clip_close(clip);
        return status;
    }
    write_preprocess(clip);
    *vision = clip;
    return MORE_OK;
}

static void clip_describe(const more_vision *clip, more_vision_info *info)
{
    const clip_config *config = &clip->config;
    const more_vision_info own = {.feature_width = config->width,
                                  .layers = config->layers,
                                  .patch_size = config->patch_size,
                                  .image_size = config->image_size,
                                  .prefix_tokens = 1,
                                  .resolutions = MORE_RESOLUTION_FIXED,
                                  .preprocess = clip->preprocess,
                                  .weight_formats = "f32 f16 bf16"};
    size_t size = info->struct_size < sizeof own ? info->struct_size : sizeof own;
    memcpy((char *)info + sizeof size, (const char *)&own + sizeof size, size - sizeof size);
}

static more_status clip_estimate(const more_vision *clip, int64_t images, more_memory *memory, more_error *error)
{
    if (images < 0)
        return more_fail(error, MORE_ERROR_ARGUMENT, "no estimate for %lld images", (long long)images);
    *memory = (more_memory){.weight_bytes = clip->weight_bytes,
                            .activation_bytes = images ? clip_activation_bytes(&clip->config, images) : 0};
    return MORE_OK;
}

static more_status clip_plan(const more_vision *clip, int64_t width, int64_t height, more_vision_plan *plan,
                             more_error *error)
{
    const clip_config *config = &clip->config;

    if (width < 1 || height < 1)
        return more_fail(error, MORE_ERROR_ARGUMENT, "an image of %lld x %lld pixels has no content", (long long)width,
                         (long long)height);
    plan->pixel_width = plan->pixel_height = config->image_size;
    plan->grid_width = plan->grid_height = config->grid;
    plan->prefix_tokens = 1;
    plan->tokens = config->tokens;
    return MORE_OK;
}

static const more_vision_interface vision_interface = {
    .struct_size = MORE_STRUCT_SIZE(more_vision_interface, encode),
    .recognise = clip_recognise,
    .tensor_map = clip_tensor_map,
    .open = clip_open,
    .close = clip_close,
    .describe = clip_describe,
    .estimate = clip_estimate,
    .plan = clip_plan,
    .encode = clip_encode,
};

static int32_t score(void)
{
    return 100;
}

static const void *get_interface(const char *id)
{
    return strcmp(id, MORE_VISION_INTERFACE) ? NULL : &vision_interface;
}

static const more_plugin plugin = {
    .struct_size = MORE_STRUCT_SIZE(more_plugin, get_interface),
    .abi_version = MORE_ABI_VERSION,
    .kind = MORE_KIND_VISION,
    .id = "clip",
    .version = "0.1.0",
    .license = "Apache-2.0",
    .description = "CLIP vision towers (ViT), as OpenAI's clip-vit-large-patch14-336",
    .options = options,
    .option_count = OPTION_COUNT,
    .score = score,
    .get_interface = get_interface,
};

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    return more_plugin_offer(&plugin, oldest, newest, error);
}
