/* SPDX-License-Identifier: Apache-2.0
 *
 * A complete projector plugin outside the tree: merges each 2x2 square of patches by concatenating their channels and
 * maps the result with one linear layer: a quarter of the visual tokens. README.md says how to build and use it. */
#include <llavamore/projector.h>

#include <stdlib.h>
#include <string.h>

struct more_projector {
    const more_host *host;
    const more_threads_service *threads;
    int64_t width_in, width_out;
    float *weight; /* [width_out, 4 width_in]; NULL when opened for metadata only */
    float *bias;   /* [width_out] */
    float *merged; /* [workers, 4 width_in]: scratch, one row a worker */
};

static void merge_recognise(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition)
{
    const more_weights_service *weights = host->get_service(host, MORE_WEIGHTS_SERVICE);
    const char *type = "not given";

    if (weights)
        weights->get_string(checkpoint, "mm_projector_type", &type, NULL);
    recognition->score = strcmp(type, "merge2x2") ? 0 : 100;
    recognition->settings[0] = 0;
    snprintf(recognition->reason, sizeof recognition->reason, "mm_projector_type %.200s", type);
}

static const more_tensor_map *merge_tensor_map(void)
{
    return NULL; /* the names in the file, "weight" and "bias", are the ones that open() asks for */
}

static void merge_close(more_projector *merge)
{
    if (!merge)
        return;
    free(merge->weight);
    free(merge->bias);
    free(merge->merged);
    free(merge);
}

/* Checks the shape, [rows] where columns is 1, and reads the tensor as f32 unless the host wants metadata only. */
static more_status read_tensor(const more_open *arguments, const more_weights_service *weights, const char *name,
                               int64_t rows, int64_t columns, float **values, more_error *error)
{
    more_weight_info info = {.struct_size = MORE_STRUCT_SIZE(more_weight_info, bytes)};
    more_status status = weights->info(arguments->checkpoint, name, &info, error);

    if (status)
        return status;
    if (info.shape[0] != rows || info.rank != (columns == 1 ? 1 : 2) || (columns != 1 && info.shape[1] != columns))
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor %s must be [%lld, %lld] between these two models",
                         weights->path(arguments->checkpoint), info.name, (long long)rows, (long long)columns);
    if (arguments->flags & MORE_OPEN_METADATA_ONLY)
        return MORE_OK;
    *values = calloc((size_t)rows, (size_t)columns * sizeof **values);
    if (!*values)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for tensor %s", info.name);
    return weights->read_rows(arguments->checkpoint, name, 0, columns == 1 ? 1 : rows, more_f32(), *values, error);
}

static more_status merge_open(const more_open *arguments, int64_t width_in, int64_t width_out,
                              more_projector **projector, more_error *error)
{
    const more_host *host = arguments->host;
    const more_weights_service *weights = host->get_service(host, MORE_WEIGHTS_SERVICE);
    more_projector *merge = calloc(1, sizeof *merge);
    more_status status;

    *projector = NULL;
    if (!merge)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for merge2x2");
    *merge =
        (more_projector){host, host->get_service(host, MORE_THREADS_SERVICE), width_in, width_out, NULL, NULL, NULL};
    if (!weights || !merge->threads)
        status = more_fail(error, MORE_ERROR_UNSUPPORTED, "merge2x2 needs a host with %s and %s", MORE_WEIGHTS_SERVICE,
                           MORE_THREADS_SERVICE);
    else if (arguments->devices[0].device_type != kDLCPU)
        status = more_fail(error, MORE_ERROR_UNSUPPORTED, "merge2x2 runs on the CPU only");
    else
        status = read_tensor(arguments, weights, "weight", width_out, 4 * width_in, &merge->weight, error);
    if (!status)
        status = read_tensor(arguments, weights, "bias", width_out, 1, &merge->bias, error);
    if (!status && merge->weight) {
        merge->merged = calloc((size_t)merge->threads->count(host), 4 * (size_t)width_in * sizeof(float));
        status = merge->merged ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "no memory for scratch");
    }
    if (status)
        merge_close(merge);
    else
        *projector = merge;
    return status;
}

static more_status merge_estimate(const more_projector *merge, int64_t features, more_memory *memory, more_error *error)
{
    (void)features, (void)error;
    *memory = (more_memory){.weight_bytes = merge->width_out * (4 * merge->width_in + 1) * 4,
                            .scratch_bytes = merge->threads->count(merge->host) * 4 * merge->width_in * 4};
    return MORE_OK;
}

static more_status merge_plan(const more_projector *merge, const more_grid *grid, int64_t *tokens, more_error *error)
{
    (void)merge;
    if (grid->prefix_tokens || grid->grid_width < 1 || grid->grid_height < 1)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "merge2x2 merges patches, not %lld other rows and a grid of %lld x %lld: set select = patch",
                         (long long)grid->prefix_tokens, (long long)grid->grid_width, (long long)grid->grid_height);
    *tokens = (grid->grid_width + 1) / 2 * ((grid->grid_height + 1) / 2);
    return MORE_OK;
}

typedef struct job {
    const more_projector *merge;
    const more_projection *projection;
} job;

/* tokens[t] = weight [top left, top right, bottom left, bottom right] + bias, for t in [begin, end) */
static void project_tokens(void *context, int64_t begin, int64_t end, int32_t worker)
{
    const job *own = context;
    const more_grid *grid = &own->projection->grid;
    const float *features = more_tensor_data(own->projection->features);
    int64_t width = own->merge->width_in, across = (grid->grid_width + 1) / 2;
    float *merged = own->merge->merged + worker * 4 * width;

    for (int64_t t = begin; t < end; t++) {
        for (int64_t corner = 0; corner < 4; corner++) {
            int64_t row = t / across * 2 + corner / 2, column = t % across * 2 + corner % 2;
            row = row < grid->grid_height ? row : grid->grid_height - 1;
            column = column < grid->grid_width ? column : grid->grid_width - 1;
            memcpy(merged + corner * width, features + (row * grid->grid_width + column) * width,
                   (size_t)width * sizeof *merged);
        }
        float *token = (float *)more_tensor_data(own->projection->tokens) + t * own->merge->width_out;
        for (int64_t o = 0; o < own->merge->width_out; o++) {
            const float *weight = own->merge->weight + o * 4 * width;
            float sum = own->merge->bias[o];
            for (int64_t i = 0; i < 4 * width; i++)
                sum += weight[i] * merged[i];
            token[o] = sum;
        }
    }
}

static more_status merge_project(more_projector *merge, const more_projection *projection, more_error *error)
{
    job own = {merge, projection};
    int64_t tokens = 0;
    more_status status = merge_plan(merge, &projection->grid, &tokens, error);

    if (!status && !merge->weight)
        status = more_fail(error, MORE_ERROR_ARGUMENT, "the projector was opened for its metadata only");
    if (!status)
        merge->threads->parallel_for(merge->host, tokens, 1, project_tokens, &own);
    return status;
}

static const more_projector_interface projector_interface = {MORE_STRUCT_SIZE(more_projector_interface, project),
                                                             merge_recognise,
                                                             merge_tensor_map,
                                                             merge_open,
                                                             merge_close,
                                                             merge_estimate,
                                                             merge_plan,
                                                             merge_project};

static int32_t score(void)
{
    return 100;
}

static const void *get_interface(const char *id)
{
    return strcmp(id, MORE_PROJECTOR_INTERFACE) ? NULL : &projector_interface;
}

static const more_plugin plugin = {MORE_STRUCT_SIZE(more_plugin, get_interface),
                                   MORE_ABI_VERSION,
                                   MORE_KIND_PROJECTOR,
                                   "org.example.merge2x2",
                                   "1.0.0",
                                   "Apache-2.0",
                                   "Merges 2x2 patches, then one linear layer",
                                   NULL,
                                   0,
                                   score,
                                   get_interface};

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    return more_plugin_offer(&plugin, oldest, newest, error);
}
