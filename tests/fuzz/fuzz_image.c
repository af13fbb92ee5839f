/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as an image file, EXIF followed, at most 65,536 pixels: it is refused, or every pixel may be read.
 */
#include "image/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const core_decode_options options = {.max_pixels = 1 << 16, .max_bytes = 1 << 20, .exif = true};
    core_image image;
    more_error error;
    core_image_init(&image, 0);
    volatile unsigned sum = 0;
    if (core_image_decode(data, size, "fuzz", &options, &image, &error) == MORE_OK)
        for (size_t i = 0, bytes = core_image_bytes(&image.abi); i < bytes; i++)
            sum += ((const unsigned char *)image.abi.data)[i];
    core_image_free(&image);
    (void)sum;
    return 0;
}
