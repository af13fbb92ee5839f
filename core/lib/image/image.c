/* SPDX-License-Identifier: Apache-2.0 */
#include "image/image.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static size_t sample_bytes(more_image_format format)
{
    return format == MORE_IMAGE_F32 ? sizeof(float) : 1;
}

/* more_image.allocate: `out` is the first member of a core_image. */
static more_status allocate(more_image *out, more_image_format format, int64_t width, int64_t height, int64_t channels,
                            more_error *error)
{
    core_image *image = (core_image *)(void *)out;
    int64_t pixels;
    if (width < 1 || height < 1 || channels < 1 || channels > 4 ||
        (format != MORE_IMAGE_U8 && format != MORE_IMAGE_F32))
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "an image of %" PRId64 " x %" PRId64 " pixels, %" PRId64 " channels, format %d can't be made",
                         width, height, channels, (int)format);
    if (__builtin_mul_overflow(width, height, &pixels) || pixels > image->max_pixels)
        return more_fail(error, MORE_ERROR_MEMORY,
                         "an image of %" PRId64 " x %" PRId64 " pixels is over the cap of %" PRId64
                         " pixels; raise [preprocess] max_pixels if it is meant",
                         width, height, image->max_pixels);
    /* At most INT64_MAX / 16 pixels are allowed (core_image_init), so this product fits. */
    size_t bytes = (size_t)pixels * (size_t)channels * sample_bytes(format);
    if (bytes > image->capacity) {
        size_t rounded = (bytes + MORE_ALIGNMENT - 1) / MORE_ALIGNMENT * MORE_ALIGNMENT;
        void *data = aligned_alloc(MORE_ALIGNMENT, rounded);
        if (!data)
            return more_fail(error, MORE_ERROR_MEMORY,
                             "out of memory for an image of %" PRId64 " x %" PRId64 " pixels (%zu bytes)", width,
                             height, bytes);
        free(out->data);
        out->data = data;
        image->capacity = rounded;
    }
    out->format = format;
    out->width = width;
    out->height = height;
    out->channels = channels;
    return MORE_OK;
}

void core_image_init(core_image *image, int64_t max_pixels)
{
    *image = (core_image){0};
    image->abi.struct_size = MORE_STRUCT_SIZE(more_image, plan_height);
    image->abi.format = MORE_IMAGE_U8;
    image->abi.allocate = allocate;
    image->max_pixels = max_pixels < 1 ? CORE_IMAGE_MAX_PIXELS : max_pixels;
    if (image->max_pixels > INT64_MAX / 16)
        image->max_pixels = INT64_MAX / 16;
}

void core_image_free(core_image *image)
{
    int64_t cap = image->max_pixels;
    free(image->abi.data);
    core_image_init(image, cap);
}

void core_image_swap(core_image *a, core_image *b)
{
    core_image other = *a;
    *a = *b;
    *b = other;
}

size_t core_image_bytes(const more_image *image)
{
    return (size_t)image->width * (size_t)image->height * (size_t)image->channels * sample_bytes(image->format);
}
