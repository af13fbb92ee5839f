/* SPDX-License-Identifier: Apache-2.0 */
#include "image/resize.h"

#include "image/image.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PRECISION 22 /* fractional bits of the coefficients */

static const double pi = 3.14159265358979323846;

/* ---- Filters, as functions of the distance in filter units ------------------------------------------------------ */

static double box(double x)
{
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double bilinear(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double hamming(double x)
{
    x = fabs(x);
    if (x == 0.0)
        return 1.0;
    if (x >= 1.0)
        return 0.0;
    x *= pi;
    return sin(x) / x * (0.54f + 0.46f * cos(x)); /* single-precision constants, as Pillow has them */
}

static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    if (x < 2.0)
        return (((x - 5) * x + 8) * x - 4) * a;
    return 0.0;
}

static double sinc(double x)
{
    if (x == 0.0)
        return 1.0;
    x *= pi;
    return sin(x) / x;
}

static double lanczos(double x)
{
    return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
}

static const struct {
    const char *name;
    double (*weight)(double);
    double support;
} filters[] = {{"nearest", NULL, 0},      {"lanczos", lanczos, 3.0}, {"bilinear", bilinear, 1.0},
               {"bicubic", bicubic, 2.0}, {"box", box, 0.5},         {"hamming", hamming, 1.0}};

more_status core_filter_from_name(const char *name, core_filter *filter, more_error *error)
{
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (!strcmp(name, filters[i].name)) {
            *filter = (core_filter)i;
            return MORE_OK;
        }
    return more_fail(error, MORE_ERROR_ARGUMENT,
                     "filter '%.60s' is not known; use nearest, box, bilinear, hamming, bicubic or lanczos", name);
}

const char *core_filter_name(int64_t filter)
{
    return filter >= 0 && filter < (int64_t)(sizeof filters / sizeof *filters) ? filters[filter].name : NULL;
}

/* ---- Coefficients of one axis ----------------------------------------------------------------------------------- */

typedef struct axis {
    int64_t *first;   /* first source sample of each target sample */
    int64_t *taps;    /* number of source samples */
    int32_t *weights; /* `stride` a target sample */
    int64_t stride;
} axis;

static void free_axis(axis *a)
{
    free(a->first);
    free(a->taps);
    free(a->weights);
}

static int32_t fixed(double weight)
{
    double scaled = weight * (1 << PRECISION);
    return (int32_t)(weight < 0 ? -0.5 + scaled : 0.5 + scaled);
}

/* The weights of one target sample; `scratch` holds stride doubles. */
static void weigh(axis *a, int64_t target, int64_t in, double scale, core_filter filter, double *scratch)
{
    double stretch = scale < 1.0 ? 1.0 : scale, support = filters[filter].support * stretch;
    double center = ((double)target + 0.5) * scale, sum = 0.0, step = 1.0 / stretch;
    int64_t first = (int64_t)(center - support + 0.5), end = (int64_t)(center + support + 0.5);
    first = first < 0 ? 0 : first;
    end = end > in ? in : end;
    a->first[target] = first;
    a->taps[target] = end - first;
    for (int64_t i = 0; i < end - first; i++) {
        scratch[i] = filters[filter].weight(((double)(i + first) - center + 0.5) * step);
        sum += scratch[i];
    }
    for (int64_t i = 0; i < end - first; i++)
        a->weights[target * a->stride + i] = fixed(sum != 0.0 ? scratch[i] / sum : scratch[i]);
}

static more_status make_axis(axis *a, int64_t in, int64_t out, core_filter filter, more_error *error)
{
    double scale = (double)in / (double)out, stretch = scale < 1.0 ? 1.0 : scale;
    int64_t cells;
    a->stride = (int64_t)ceil(filters[filter].support * stretch) * 2 + 1;
    double *scratch = calloc((size_t)a->stride, sizeof *scratch);
    if (!__builtin_mul_overflow(a->stride, out, &cells)) {
        a->first = calloc((size_t)out, sizeof *a->first);
        a->taps = calloc((size_t)out, sizeof *a->taps);
        a->weights = calloc((size_t)cells, sizeof *a->weights);
    }
    bool good = scratch && a->first && a->taps && a->weights;
    for (int64_t i = 0; i < out && good; i++)
        weigh(a, i, in, scale, filter, scratch);
    free(scratch);
    return good ? MORE_OK
                : more_fail(error, MORE_ERROR_MEMORY, "resize: out of memory for %" PRId64 " to %" PRId64 " samples",
                            in, out);
}

/* ---- Passes ----------------------------------------------------------------------------------------------------- */

static unsigned char to_byte(int32_t sum)
{
    int32_t value = sum >> PRECISION;
    return (unsigned char)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* One row; `channels` is constant where this is inlined for 3. */
static inline void filter_row(const axis *a, const unsigned char *in, unsigned char *out, int64_t width,
                              int64_t channels)
{
    for (int64_t x = 0; x < width; x++) {
        const int32_t *weights = a->weights + x * a->stride;
        const unsigned char *from = in + a->first[x] * channels;
        int32_t sums[4] = {1 << (PRECISION - 1), 1 << (PRECISION - 1), 1 << (PRECISION - 1), 1 << (PRECISION - 1)};
        for (int64_t i = 0; i < a->taps[x]; i++, from += channels)
            for (int64_t c = 0; c < channels; c++)
                sums[c] += from[c] * weights[i];
        for (int64_t c = 0; c < channels; c++)
            *out++ = to_byte(sums[c]);
    }
}

static void horizontal(const axis *a, const more_image *in, unsigned char *out, int64_t width)
{
    const unsigned char *row = in->data;
    for (int64_t y = 0; y < in->height; y++, row += in->width * in->channels, out += width * in->channels) {
        if (in->channels == 3)
            filter_row(a, row, out, width, 3);
        else
            filter_row(a, row, out, width, in->channels);
    }
}

/* `row` bytes a row; `sums` holds as many numbers. */
static void vertical(const axis *a, const unsigned char *in, unsigned char *out, int64_t height, int64_t row,
                     int32_t *sums)
{
    for (int64_t y = 0; y < height; y++, out += row) {
        for (int64_t i = 0; i < row; i++)
            sums[i] = 1 << (PRECISION - 1);
        for (int64_t k = 0; k < a->taps[y]; k++) {
            const unsigned char *from = in + (a->first[y] + k) * row;
            int32_t weight = a->weights[y * a->stride + k];
            for (int64_t i = 0; i < row; i++)
                sums[i] += from[i] * weight;
        }
        for (int64_t i = 0; i < row; i++)
            out[i] = to_byte(sums[i]);
    }
}

static more_status resample_columns(const more_image *in, unsigned char *out, int64_t width, core_filter filter,
                                    more_error *error)
{
    axis a = {0};
    more_status status = make_axis(&a, in->width, width, filter, error);
    if (status == MORE_OK)
        horizontal(&a, in, out, width);
    free_axis(&a);
    return status;
}

static more_status resample_rows(const unsigned char *in, int64_t in_height, more_image *out, core_filter filter,
                                 more_error *error)
{
    axis a = {0};
    int64_t row = out->width * out->channels;
    more_status status = make_axis(&a, in_height, out->height, filter, error);
    int32_t *sums = malloc((size_t)row * sizeof *sums);
    if (status == MORE_OK && !sums)
        status = more_fail(error, MORE_ERROR_MEMORY, "resize: out of memory for a row of %" PRId64 " bytes", row);
    if (status == MORE_OK)
        vertical(&a, in, out->data, out->height, row, sums);
    free(sums);
    free_axis(&a);
    return status;
}

/* Both passes, with 8-bit samples between them. Rows go first where the height shrinks by more than twice what the
 * width does: Pillow's order since 13.0 (its pull request 9549). */
static more_status resample_both(const more_image *in, more_image *out, core_filter filter, more_error *error)
{
    bool rows_first = in->height > out->height && in->height - out->height > 2 * (in->width - out->width);
    core_image between;
    core_image_init(&between, 4 * CORE_IMAGE_MAX_PIXELS);
    more_status status = between.abi.allocate(&between.abi, MORE_IMAGE_U8, rows_first ? in->width : out->width,
                                              rows_first ? out->height : in->height, in->channels, error);
    if (status == MORE_OK)
        status = rows_first ? resample_rows(in->data, in->height, &between.abi, filter, error)
                            : resample_columns(in, between.abi.data, out->width, filter, error);
    if (status == MORE_OK)
        status = rows_first ? resample_columns(&between.abi, out->data, out->width, filter, error)
                            : resample_rows(between.abi.data, in->height, out, filter, error);
    core_image_free(&between);
    return status;
}

static more_status resample(const more_image *in, more_image *out, core_filter filter, more_error *error)
{
    if (in->height == out->height)
        return resample_columns(in, out->data, out->width, filter, error);
    if (in->width == out->width)
        return resample_rows(in->data, in->height, out, filter, error);
    return resample_both(in, out, filter, error);
}

/* Positions are summed up step by step, as Pillow's transform does, so that they round alike. */
static more_status nearest(const more_image *in, more_image *out, more_error *error)
{
    int64_t *columns = malloc((size_t)out->width * sizeof *columns);
    double step = (double)in->width / (double)out->width, at = step * 0.5;
    if (!columns)
        return more_fail(error, MORE_ERROR_MEMORY, "resize: out of memory for %" PRId64 " columns", out->width);
    for (int64_t x = 0; x < out->width; x++, at += step)
        columns[x] = (int64_t)at < in->width ? (int64_t)at : in->width - 1;
    step = (double)in->height / (double)out->height;
    at = step * 0.5;
    unsigned char *to = out->data;
    size_t pixel = (size_t)in->channels;
    for (int64_t y = 0; y < out->height; y++, at += step) {
        int64_t row = (int64_t)at < in->height ? (int64_t)at : in->height - 1;
        const unsigned char *from = (const unsigned char *)in->data + row * in->width * in->channels;
        for (int64_t x = 0; x < out->width; x++, to += pixel)
            memcpy(to, from + columns[x] * in->channels, pixel);
    }
    free(columns);
    return MORE_OK;
}

more_status core_resize(const more_image *in, more_image *out, int64_t width, int64_t height, core_filter filter,
                        more_error *error)
{
    if (in->format != MORE_IMAGE_U8)
        return more_fail(error, MORE_ERROR_ARGUMENT, "resize works on 8-bit images: put it before rescale");
    more_status status = out->allocate(out, MORE_IMAGE_U8, width, height, in->channels, error);
    if (status != MORE_OK)
        return status;
    if (width == in->width && height == in->height) {
        memcpy(out->data, in->data, (size_t)(width * height * in->channels));
        return MORE_OK;
    }
    return filter == CORE_FILTER_NEAREST ? nearest(in, out, error) : resample(in, out, filter, error);
}
