/* SPDX-License-Identifier: Apache-2.0
 *
 * Image files to RGB, as Pillow's Image.open(file).convert("RGB") gives it: alpha and transparent palette entries are
 * dropped without blending, 16-bit grey saturates at 255, other 16-bit samples keep their high byte, of a GIF the first
 * frame counts, EXIF orientation is ignored unless asked for. Formats: JPEG (baseline and progressive), PNG, BMP, GIF,
 * binary PGM/PPM; decoded by stb_image. All are bit-equal to Pillow but JPEG, whose inverse DCT and upsampling differ
 * by a few units (tests/parity/test_pixels prints how much), and 16-bit BMP, which is spread to 8 bits otherwise.
 */
#ifndef CORE_IMAGE_DECODE_H
#define CORE_IMAGE_DECODE_H

#include "image/image.h"

typedef struct core_decode_options {
    int64_t max_pixels; /* 0 = CORE_IMAGE_MAX_PIXELS; the header's size is checked before anything is decoded */
    size_t max_bytes;   /* cap on the file; 0 = CORE_IMAGE_MAX_BYTES */
    bool exif;          /* turn and flip as the EXIF orientation of a JPEG or PNG says */
} core_decode_options;

/* Decodes `size` bytes into `image` (initialised by the caller; its cap becomes options->max_pixels). `name` is for
 * messages; options NULL = defaults. MORE_ERROR_CORRUPT: empty, truncated or broken; MORE_ERROR_UNSUPPORTED: another
 * format; MORE_ERROR_MEMORY: past a cap, with the numbers. [any-thread] */
more_status core_image_decode(const void *bytes, size_t size, const char *name, const core_decode_options *options,
                              core_image *image, more_error *error);
/* The same from a file; "-" is standard input. [any-thread] */
more_status core_image_load(const char *path, const core_decode_options *options, core_image *image, more_error *error);

#endif
