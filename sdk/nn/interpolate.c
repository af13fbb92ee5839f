/* SPDX-License-Identifier: Apache-2.0
 *
 * Resizing of tables of rows (position embeddings) by torch.nn.functional.interpolate's rules. Coordinates and
 * coefficients are rounded where torch rounds them: a more exact coefficient would be a different one.
 */
#include <math.h>

#include "profile.h"

enum { WIDTH_AT_ONCE = 256 /* floats of two rows on the stack */ };

/* One axis of the table, and how its output positions read its input positions. */
typedef struct axis {
    int64_t in;
    float scale; /* in / out */
    nn_resize_filter filter;
} axis;

/* The input positions [first, first + count) that one output position reads; positions outside the axis are its ends.
 */
typedef struct taps {
    const axis *axis;
    int64_t first, count;
    float center;  /* antialiased: of the output position, in input positions; else its distance from first + 1 */
    float inverse; /* antialiased: of the filter's stretching */
    float total;   /* antialiased: of the unnormalised coefficients */
} taps;

static bool is_antialiased(nn_resize_filter filter)
{
    return filter != NN_RESIZE_BICUBIC;
}

/* Keys' cubic convolution with a = -0.75, |x| <= 1 and 1 <= |x| <= 2. */
static float cubic_near(float x)
{
    return (1.25f * x - 2.25f) * x * x + 1;
}

static float cubic_far(float x)
{
    return ((-0.75f * x + 3.75f) * x - 6) * x + 3;
}

/* The same with a = -0.5; torch's build fuses these, and not those above. */
static float cubic_fused(float x)
{
    if (x < 1)
        return fmaf(fmaf(1.5f, x, -2.5f) * x, x, 1);
    return x < 2 ? fmaf(fmaf(fmaf(-0.5f, x, 2.5f), x, -4), x, 2) : 0;
}

static float antialiased(nn_resize_filter filter, float x)
{
    x = fabsf(x);
    if (filter == NN_RESIZE_BILINEAR_ANTIALIAS)
        return x < 1 ? 1 - x : 0;
    return cubic_fused(x);
}

/* Before division by the total. */
static float antialiased_at(const taps *t, int64_t k)
{
    float distance = (float)(k + t->first) - t->center;
    return antialiased(t->axis->filter, (float)(((double)distance + 0.5) * (double)t->inverse));
}

static float coefficient(const taps *t, int64_t k)
{
    if (is_antialiased(t->axis->filter))
        return antialiased_at(t, k) / t->total;
    switch (k) {
    case 0:
        return cubic_far(t->center + 1);
    case 1:
        return cubic_near(t->center);
    case 2:
        return cubic_near(1 - t->center);
    default:
        return cubic_far(1 - t->center + 1);
    }
}

static taps taps_of(const axis *a, int64_t out)
{
    taps t = {.axis = a};

    if (is_antialiased(a->filter)) {
        float reach = a->filter == NN_RESIZE_BILINEAR_ANTIALIAS ? 1 : 2;
        float support = a->scale >= 1 ? reach * a->scale : reach;
        t.center = (float)((double)a->scale * ((double)out + 0.5));
        t.inverse = a->scale >= 1 ? 1 / a->scale : 1;
        t.first = nn_max((int64_t)((double)(t.center - support) + 0.5), 0);
        t.count = nn_min((int64_t)((double)(t.center + support) + 0.5), a->in) - t.first;
        for (int64_t k = 0; k < t.count; k++)
            t.total += antialiased_at(&t, k);
    } else {
        /* One rounding: with two, the coordinate and all coefficients move by 1e-5 on large tables. */
        float source = fmaf(a->scale, (float)out + 0.5f, -0.5f);
        int64_t below = nn_min((int64_t)floorf(source), a->in - 1);
        t.first = below - 1;
        t.count = 4;
        t.center = fminf(fmaxf(source - (float)below, 0), 1);
    }
    return t;
}

static int64_t position(const taps *t, int64_t k)
{
    return nn_min(nn_max(t->first + k, 0), t->axis->in - 1);
}

typedef struct resize_job {
    const float *table;
    int64_t width, columns_out;
    axis vertical, horizontal;
    float *resized;
} resize_job;

/* y = sum_k coefficient_k x_k over the taps of one input row: `count` channels, the row's columns `width` apart. */
static void sum_row(const taps *t, const float *row, int64_t width, int64_t count, float *y)
{
    for (int64_t k = 0; k < t->count; k++) {
        const float *x = row + position(t, k) * width, weight = coefficient(t, k);
        for (int64_t i = 0; i < count; i++)
            y[i] = k ? y[i] + weight * x[i] : weight * x[i];
    }
}

/* Channels [first, first + count) of one output position: the sum over rows of the sums over columns. */
static void resize_position(const resize_job *job, const taps *rows, const taps *columns, int64_t first, int64_t count,
                            float *y)
{
    float sum[WIDTH_AT_ONCE], total[WIDTH_AT_ONCE];

    for (int64_t k = 0; k < rows->count; k++) {
        float weight = coefficient(rows, k);
        sum_row(columns, job->table + position(rows, k) * job->horizontal.in * job->width + first, job->width, count,
                sum);
        for (int64_t i = 0; i < count; i++)
            total[i] = k ? total[i] + weight * sum[i] : weight * sum[i];
    }
    for (int64_t i = 0; i < count; i++)
        y[i] = total[i];
}

static void resize_positions(void *argument, int64_t begin, int64_t end, int32_t worker)
{
    const resize_job *job = argument;

    (void)worker;
    for (int64_t p = begin; p < end; p++) {
        taps rows = taps_of(&job->vertical, p / job->columns_out);
        taps columns = taps_of(&job->horizontal, p % job->columns_out);
        for (int64_t i = 0; i < job->width; i += WIDTH_AT_ONCE)
            resize_position(job, &rows, &columns, i, nn_min(WIDTH_AT_ONCE, job->width - i),
                            job->resized + p * job->width + i);
    }
}

void nn_host_resize_table(nn_context *context, const float *table, int64_t rows_in, int64_t columns_in, int64_t width,
                          int64_t rows_out, int64_t columns_out, nn_resize_filter filter, float *resized)
{
    double begin = nn_profile_begin(context);
    int64_t positions = rows_out * columns_out;
    resize_job job = {.table = table, .width = width, .columns_out = columns_out, .resized = resized};

    if (positions == 0)
        return;
    job.vertical = (axis){rows_in, (float)rows_in / (float)rows_out, filter};
    job.horizontal = (axis){columns_in, (float)columns_in / (float)columns_out, filter};
    nn_parallel_sized(context, 16.0 * (double)positions * (double)width, positions, 1, resize_positions, &job);
    nn_profile_end(context, begin, "resize_table", positions);
}
