/* SPDX-License-Identifier: Apache-2.0
 *
 * stb_image, compiled here for the formats that go through it and without file input. Debian's shared build of it takes
 * every format, more than we want to be open to.
 */
#include "image/formats.h"

#include <stdlib.h>

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_ONLY_GIF
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_MALLOC(size) calloc(1, size) /* it reads tables and pixels that a broken JPEG never defines */
#define STBI_REALLOC(memory, size) realloc(memory, size)
#define STBI_FREE(memory) free(memory)
#define STBI_ASSERT(condition) ((void)0) /* a library never aborts; what they guard is checked before or fuzzed */
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wunused-function" /* of a private copy not every function is used */
#endif
#if defined(__clang__) /* broken JPEGs make its bit reader shift and add past its numbers, which indexes nothing */
#pragma clang attribute push(__attribute__((no_sanitize("shift", "signed-integer-overflow"))), apply_to = function)
#endif
#include <stb/stb_image.h>
#if defined(__clang__)
#pragma clang attribute pop
#endif

more_status core_stb_decode(const core_encoded *file, int64_t width, int64_t height, int channels, bool wide,
                            void **pixels, more_error *error)
{
    int got_width = 0, got_height = 0, got_channels = 0;
    *pixels = NULL;
    if (file->size > INT32_MAX)
        return core_broken_image(file, "is over 2 GiB", error);
    if (wide)
        *pixels =
            stbi_load_16_from_memory(file->bytes, (int)file->size, &got_width, &got_height, &got_channels, channels);
    else
        *pixels = stbi_load_from_memory(file->bytes, (int)file->size, &got_width, &got_height, &got_channels, channels);
    if (!*pixels)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: broken image (%s)", file->name, stbi_failure_reason());
    if (got_width == width && got_height == height)
        return MORE_OK;
    core_stb_free(*pixels);
    *pixels = NULL;
    return core_broken_image(file, "its headers contradict each other about its size", error);
}

void core_stb_free(void *pixels)
{
    stbi_image_free(pixels);
}
