/* SPDX-License-Identifier: Apache-2.0
 *
 * Resampling of 8-bit images, bit-equal to Pillow's Image.resize (libImaging/Resample.c and Geometry.c): separable, 8
 * bits between the two passes, fixed-point coefficients of 22 fractional bits, the filter's support widened by the
 * scale when shrinking. The order of the passes is that of Pillow 13; older releases always do columns first, which
 * moves single values of tall pictures by 1.
 */
#ifndef CORE_IMAGE_RESIZE_H
#define CORE_IMAGE_RESIZE_H

#include <llavamore/functions.h>

/* Pillow's Resampling numbers, as `resample` in a preprocessor_config.json has them. */
typedef enum core_filter {
    CORE_FILTER_NEAREST = 0,
    CORE_FILTER_LANCZOS = 1,
    CORE_FILTER_BILINEAR = 2,
    CORE_FILTER_BICUBIC = 3, /* a = -0.5 */
    CORE_FILTER_BOX = 4,
    CORE_FILTER_HAMMING = 5
} core_filter;

/* "nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"; MORE_ERROR_ARGUMENT lists them. */
more_status core_filter_from_name(const char *name, core_filter *filter, more_error *error);
/* NULL when the number is none of Pillow's. */
const char *core_filter_name(int64_t filter);

/* `in`: uint8 [height, width, channels], 1 to 4 channels, each resampled by itself; `out` is allocated through its own
 * allocate(). [any-thread] */
more_status core_resize(const more_image *in, more_image *out, int64_t width, int64_t height, core_filter filter,
                        more_error *error);

#endif
