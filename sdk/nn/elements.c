/* SPDX-License-Identifier: Apache-2.0
 *
 * Norms, activations, softmax, element-wise operators and the cutting of patches: each divides its rows or elements
 * among the workers and leaves the arithmetic to the kernel table.
 */
#include <string.h>

#include "profile.h"

enum { PIECE = 1 << 12 /* elements of an element-wise piece; a multiple of every vector */ };

/* One operator call; each body reads the fields that its operator has. */
typedef struct element_job {
    const nn_kernels *kernels;
    const float *x;
    float *y;
    int64_t width; /* of a row, or all elements of an element-wise operator */
    const float *weight, *bias;
    float number; /* offset of rms_norm, factor of scale */
    float epsilon;
    nn_activation activation;
} element_job;

static void run_rows(nn_context *context, element_job *job, int64_t rows, double cost, more_range_function body)
{
    job->kernels = context->kernels;
    int64_t grain = nn_max(1, PIECE / nn_max(job->width, 1));
    nn_parallel_sized(context, (double)rows * (double)job->width * cost, rows, grain, body, job);
}

static void run_pieces(nn_context *context, element_job *job, double cost, more_range_function body)
{
    job->kernels = context->kernels;
    nn_parallel_sized(context, (double)job->width * cost, nn_ceil_divide(job->width, PIECE), 4, body, job);
}

static void layer_norm_rows(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    const element_job *job = argument;
    for (int64_t r = begin; r < end; r++)
        job->kernels->layer_norm(job->x + r * job->width, job->width, job->weight, job->bias, job->epsilon,
                                 job->y + r * job->width);
}

void nn_host_layer_norm(nn_context *context, const float *x, int64_t rows, int64_t width, const float *weight,
                        const float *bias, float epsilon, float *y)
{
    double begin = nn_profile_begin(context);
    element_job job = {.x = x, .y = y, .width = width, .weight = weight, .bias = bias, .epsilon = epsilon};
    run_rows(context, &job, rows, 2.0, layer_norm_rows);
    nn_profile_end(context, begin, "layer_norm", rows);
}

static void rms_norm_rows(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    const element_job *job = argument;
    for (int64_t r = begin; r < end; r++)
        job->kernels->rms_norm(job->x + r * job->width, job->width, job->weight, job->number, job->epsilon,
                               job->y + r * job->width);
}

void nn_host_rms_norm(nn_context *context, const float *x, int64_t rows, int64_t width, const float *weight,
                      float offset, float epsilon, float *y)
{
    double begin = nn_profile_begin(context);
    element_job job = {.x = x, .y = y, .width = width, .weight = weight, .number = offset, .epsilon = epsilon};
    run_rows(context, &job, rows, 2.0, rms_norm_rows);
    nn_profile_end(context, begin, "rms_norm", rows);
}

static void softmax_rows(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    const element_job *job = argument;
    for (int64_t r = begin; r < end; r++)
        job->kernels->softmax(job->y + r * job->width, job->width);
}

void nn_host_softmax(nn_context *context, float *x, int64_t rows, int64_t width)
{
    double begin = nn_profile_begin(context);
    element_job job = {.y = x, .width = width};
    if (width > 0)
        run_rows(context, &job, rows, 4.0, softmax_rows);
    nn_profile_end(context, begin, "softmax", rows);
}

static void glu_rows(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    const element_job *job = argument;
    for (int64_t r = begin; r < end; r++) {
        const float *gate = job->x + 2 * r * job->width;
        job->kernels->glu(job->activation, gate, gate + job->width, job->width, job->y + r * job->width);
    }
}

void nn_host_glu(nn_context *context, nn_activation activation, const float *x, int64_t rows, int64_t width, float *y)
{
    double begin = nn_profile_begin(context);
    element_job job = {.x = x, .y = y, .width = width, .activation = activation};
    run_rows(context, &job, rows, 4.0, glu_rows);
    nn_profile_end(context, begin, "glu", rows);
}

static void activate_pieces(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    const element_job *job = argument;
    int64_t first = begin * PIECE, last = nn_min(end * PIECE, job->width);
    job->kernels->activate(job->activation, job->x + first, last - first, job->y + first);
}

void nn_host_activate(nn_context *context, nn_activation activation, const float *x, int64_t count, float *y)
{
    double begin = nn_profile_begin(context);
    element_job job = {.x = x, .y = y, .width = count, .activation = activation};
    run_pieces(context, &job, 4.0, activate_pieces);
    nn_profile_end(context, begin, "activate", count);
}

static void add_pieces(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    const element_job *job = argument;
    int64_t first = begin * PIECE, last = nn_min(end * PIECE, job->width);
    job->kernels->add(job->x + first, last - first, job->y + first);
}

void nn_host_add(nn_context *context, const float *x, int64_t count, float *y)
{
    double begin = nn_profile_begin(context);
    element_job job = {.x = x, .y = y, .width = count};
    run_pieces(context, &job, 1.0, add_pieces);
    nn_profile_end(context, begin, "add", count);
}

/* One row at a time: the scale is of channels. */
static void add_scaled_rows(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    const element_job *job = argument;
    for (int64_t r = begin; r < end; r++)
        for (int64_t i = 0; i < job->width; i++)
            job->y[r * job->width + i] += job->weight[i] * job->x[r * job->width + i];
}

void nn_host_add_scaled(nn_context *context, const float *x, const float *scale, int64_t rows, int64_t width, float *y)
{
    double begin = nn_profile_begin(context);
    element_job job = {.x = x, .y = y, .width = width, .weight = scale};
    run_rows(context, &job, rows, 1.0, add_scaled_rows);
    nn_profile_end(context, begin, "add_scaled", rows);
}

static void scale_pieces(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    const element_job *job = argument;
    int64_t first = begin * PIECE, last = nn_min(end * PIECE, job->width);
    job->kernels->scale(job->number, last - first, job->y + first);
}

void nn_host_scale(nn_context *context, float factor, int64_t count, float *y)
{
    double begin = nn_profile_begin(context);
    element_job job = {.y = y, .width = count, .number = factor};
    run_pieces(context, &job, 1.0, scale_pieces);
    nn_profile_end(context, begin, "scale", count);
}

static void softcap_pieces(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    const element_job *job = argument;
    int64_t first = begin * PIECE, last = nn_min(end * PIECE, job->width);
    job->kernels->softcap(job->number, last - first, job->y + first);
}

void nn_host_softcap(nn_context *context, float cap, int64_t count, float *y)
{
    double begin = nn_profile_begin(context);
    element_job job = {.y = y, .width = count, .number = cap};
    run_pieces(context, &job, 4.0, softcap_pieces);
    nn_profile_end(context, begin, "softcap", count);
}

typedef struct patch_job {
    const float *pixels;
    int64_t height, width, patch, grid_width;
    float *patches;
} patch_job;

/* One row of the grid of patches an item. */
static void cut_patches(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    (void)worker;
    const patch_job *job = argument;
    for (int64_t row = begin; row < end; row++)
        for (int64_t column = 0; column < job->grid_width; column++) {
            float *to = job->patches + (row * job->grid_width + column) * 3 * job->patch * job->patch;
            for (int64_t channel = 0; channel < 3; channel++)
                for (int64_t y = 0; y < job->patch; y++, to += job->patch)
                    memcpy(to,
                           job->pixels + (channel * job->height + row * job->patch + y) * job->width +
                               column * job->patch,
                           (size_t)job->patch * sizeof(float));
        }
}

void nn_host_patches(nn_context *context, const float *pixels, int64_t height, int64_t width, int64_t patch,
                     float *patches)
{
    double begin = nn_profile_begin(context);
    patch_job job = {pixels, height, width, patch, width / patch, patches};
    nn_parallel_sized(context, 3.0 * (double)height * (double)width, height / patch, 1, cut_patches, &job);
    nn_profile_end(context, begin, "patches", (height / patch) * (width / patch));
}
