/* SPDX-License-Identifier: Apache-2.0
 *
 * An image with its memory, and the caps that guard against bombs.
 */
#ifndef CORE_IMAGE_IMAGE_H
#define CORE_IMAGE_IMAGE_H

#include <llavamore/functions.h>

#define CORE_IMAGE_MAX_PIXELS ((int64_t)100 << 20) /* default cap: a 100-megapixel image passes */
#define CORE_IMAGE_MAX_BYTES ((size_t)256 << 20)   /* default cap on a file */

/* `abi` is what steps see; its allocate() finds the cap behind it. Not to be copied. One thread at a time. */
typedef struct core_image {
    more_image abi;
    int64_t max_pixels; /* cap on width * height */
    size_t capacity;    /* bytes behind abi.data */
} core_image;

/* An empty image (data NULL, 0 x 0). max_pixels 0 = CORE_IMAGE_MAX_PIXELS. */
void core_image_init(core_image *image, int64_t max_pixels);
void core_image_free(core_image *image);
/* Swaps the contents of two images. */
void core_image_swap(core_image *a, core_image *b);
/* Bytes of the content. */
size_t core_image_bytes(const more_image *image);

#endif
