/* SPDX-License-Identifier: Apache-2.0 */
#include "image/steps.h"

#include "image/image.h"
#include "image/resize.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

static more_status want_u8(const more_image *in, const char *step, more_error *error)
{
    if (in->format == MORE_IMAGE_U8)
        return MORE_OK;
    return more_fail(error, MORE_ERROR_ARGUMENT, "%s works on 8-bit images: put it before rescale and normalize", step);
}

static more_status convert_rgb(const more_image *in, more_image *out, more_error *error)
{
    more_status status = want_u8(in, "convert_rgb", error);
    if (status == MORE_OK)
        status = out->allocate(out, MORE_IMAGE_U8, in->width, in->height, 3, error);
    if (status != MORE_OK)
        return status;
    const unsigned char *from = in->data;
    unsigned char *to = out->data;
    for (int64_t i = 0; i < in->width * in->height; i++, from += in->channels, to += 3)
        if (in->channels < 3)
            memset(to, from[0], 3);
        else
            memcpy(to, from, 3);
    return MORE_OK;
}

static more_status pad_square(const more_image *in, more_image *out, more_error *error, int64_t red, int64_t green,
                              int64_t blue)
{
    int64_t side = in->width > in->height ? in->width : in->height;
    more_status status = want_u8(in, "pad_square", error);
    if (status == MORE_OK && in->channels != 3)
        status = more_fail(error, MORE_ERROR_ARGUMENT, "pad_square works on RGB images: put convert_rgb() before it");
    if (status == MORE_OK && ((red | green | blue) < 0 || red > 255 || green > 255 || blue > 255))
        status = more_fail(error, MORE_ERROR_ARGUMENT,
                           "pad_square: colour %" PRId64 ", %" PRId64 ", %" PRId64 " is not within 0 to 255", red,
                           green, blue);
    if (status == MORE_OK)
        status = out->allocate(out, MORE_IMAGE_U8, side, side, 3, error);
    if (status != MORE_OK)
        return status;
    unsigned char colour[3] = {(unsigned char)red, (unsigned char)green, (unsigned char)blue}, *to = out->data;
    for (int64_t i = 0; in->width != in->height && i < side * side; i++)
        memcpy(to + 3 * i, colour, 3);
    to += 3 * ((side - in->height) / 2 * side + (side - in->width) / 2);
    for (int64_t y = 0; y < in->height; y++)
        memcpy(to + 3 * y * side, (const char *)in->data + 3 * y * in->width, 3 * (size_t)in->width);
    return MORE_OK;
}

static more_status resize(const more_image *in, more_image *out, more_error *error, int64_t width, int64_t height,
                          const char *filter)
{
    core_filter kind;
    more_status status = core_filter_from_name(filter, &kind, error);
    return status == MORE_OK ? core_resize(in, out, width, height, kind, error) : status;
}

/* The encoder picked the size from the picture's own, see more_image. */
static more_status resize_to_plan(const more_image *in, more_image *out, more_error *error, const char *filter)
{
    if (in->plan_width < 1 || in->plan_height < 1)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "resize_to_plan: this encoder picks no size for each picture; write resize(width, height) or "
                         "resize_shortest(size)");
    return resize(in, out, error, in->plan_width, in->plan_height, filter);
}

/* transformers' get_resize_output_image_size: the long side is cut to a whole number, not rounded. */
static more_status resize_shortest(const more_image *in, more_image *out, more_error *error, int64_t size,
                                   const char *filter)
{
    int64_t shorter = in->width <= in->height ? in->width : in->height;
    int64_t longer = in->width <= in->height ? in->height : in->width, product;
    if (size < 1 || __builtin_mul_overflow(size, longer, &product))
        return more_fail(error, MORE_ERROR_ARGUMENT, "resize_shortest: a size of %" PRId64 " pixels can't be made",
                         size);
    int64_t length = (int64_t)((double)product / (double)shorter);
    return in->width <= in->height ? resize(in, out, error, size, length, filter)
                                   : resize(in, out, error, length, size, filter);
}

static int64_t floor_half(int64_t value)
{
    return value >= 0 ? value / 2 : -((1 - value) / 2);
}

/* Where the target's samples 0 .. out - 1 lie in a source of `in` samples, and which of them exist there. */
typedef struct span {
    int64_t offset, begin, end;
} span;

static span crop_span(int64_t in, int64_t out)
{
    span s = {.offset = floor_half(in - out)};
    s.begin = s.offset < 0 ? -s.offset : 0;
    s.end = out < in - s.offset ? out : in - s.offset;
    return s;
}

static more_status center_crop(const more_image *in, more_image *out, more_error *error, int64_t width, int64_t height)
{
    more_status status = out->allocate(out, in->format, width, height, in->channels, error);
    if (status != MORE_OK)
        return status;
    /* u8 is one plane of pixels, f32 `channels` planes of samples */
    bool planar = in->format == MORE_IMAGE_F32;
    int64_t planes = planar ? in->channels : 1;
    size_t pixel = planar ? sizeof(float) : (size_t)in->channels;
    span columns = crop_span(in->width, width), rows = crop_span(in->height, height);
    memset(out->data, 0, core_image_bytes(out));
    for (int64_t p = 0; p < planes; p++)
        for (int64_t y = rows.begin; y < rows.end; y++) {
            int64_t from = (p * in->height + y + rows.offset) * in->width + columns.begin + columns.offset;
            int64_t to = (p * height + y) * width + columns.begin;
            memcpy((char *)out->data + (size_t)to * pixel, (const char *)in->data + (size_t)from * pixel,
                   (size_t)(columns.end - columns.begin) * pixel);
        }
    return MORE_OK;
}

/* numpy's order: float64 product, then float32. */
static more_status rescale(const more_image *in, more_image *out, more_error *error, double factor)
{
    more_status status = out->allocate(out, MORE_IMAGE_F32, in->width, in->height, in->channels, error);
    if (status != MORE_OK)
        return status;
    float *to = out->data;
    const float *planes = in->data;
    const unsigned char *bytes = in->data;
    int64_t pixels = in->width * in->height;
    for (int64_t c = 0; c < in->channels; c++)
        for (int64_t i = 0; i < pixels; i++, to++)
            *to = (float)((in->format == MORE_IMAGE_F32 ? (double)planes[c * pixels + i]
                                                        : (double)bytes[i * in->channels + c]) *
                          factor);
    return MORE_OK;
}

static more_status normalize(const more_image *in, more_image *out, more_error *error, double mean_red,
                             double mean_green, double mean_blue, double std_red, double std_green, double std_blue)
{
    const float mean[3] = {(float)mean_red, (float)mean_green, (float)mean_blue};
    const float deviation[3] = {(float)std_red, (float)std_green, (float)std_blue};
    if (in->channels != 3)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "normalize works on 3 channels, not %" PRId64 ": put convert_rgb() first", in->channels);
    for (int c = 0; c < 3; c++)
        if (!(fabsf(deviation[c]) > 0))
            return more_fail(error, MORE_ERROR_ARGUMENT, "normalize: a standard deviation of 0");
    more_status status = out->allocate(out, MORE_IMAGE_F32, in->width, in->height, 3, error);
    if (status != MORE_OK)
        return status;
    float *to = out->data;
    const float *planes = in->data;
    const unsigned char *bytes = in->data;
    int64_t pixels = in->width * in->height;
    for (int64_t c = 0; c < 3; c++)
        for (int64_t i = 0; i < pixels; i++, to++) {
            float value = in->format == MORE_IMAGE_F32 ? planes[c * pixels + i] : (float)bytes[3 * i + c];
            *to = (value - mean[c]) / deviation[c];
        }
    return MORE_OK;
}

#define STEP(name, parameters, doc)                                                                                    \
    {                                                                                                                  \
        MORE_STAGE_PREPROCESS, #name, parameters, doc, (void (*)(void))name                                            \
    }

static const more_function functions[] = {
    STEP(convert_rgb, "", "Gives 3 channels: grey is repeated, alpha is dropped without blending."),
    STEP(
        pad_square, "int64 red, int64 green, int64 blue",
        "Centres the picture on a square of its longer side filled with a colour (0 to 255); LLaVA takes 255 times the "
        "encoder's mean, cut to whole numbers."),
    STEP(resize, "int64 width, int64 height, string filter = bicubic",
         "Stretches to width x height pixels; filter: nearest, box, bilinear, hamming, bicubic or lanczos, as Pillow "
         "computes them."),
    STEP(resize_to_plan, "string filter = bilinear",
         "Stretches to the size that the encoder picked for this picture, for encoders that take many shapes."),
    STEP(resize_shortest, "int64 size, string filter = bicubic",
         "Makes the shorter side `size` pixels and keeps the shape, the longer side cut to a whole number."),
    STEP(center_crop, "int64 width, int64 height",
         "Cuts width x height pixels out of the middle; where the picture is smaller, zeros surround it."),
    STEP(rescale, "double factor = 1/255", "Multiplies every sample by a factor and makes them floats."),
    STEP(normalize,
         "double mean_red, double mean_green, double mean_blue, double std_red, double std_green, double std_blue",
         "Subtracts the mean of each channel and divides by its standard deviation."),
};

const more_functions_interface *core_image_steps(void)
{
    static const more_functions_interface table = {
        .struct_size = MORE_STRUCT_SIZE(more_functions_interface, count),
        .functions = functions,
        .count = (int32_t)(sizeof functions / sizeof *functions),
    };
    return &table;
}
