/* SPDX-License-Identifier: Apache-2.0 */
#include "image/decode.h"

#include "base/file.h"
#include "image/formats.h"
#include <string.h>

more_status core_broken_image(const core_encoded *file, const char *reason, more_error *error)
{
    return more_fail(error, MORE_ERROR_CORRUPT, "%s: %s", file->name, reason);
}

static bool begins(const core_encoded *file, const char *signature, size_t size)
{
    return file->size >= size && !memcmp(file->bytes, signature, size);
}

static more_status unknown_format(const core_encoded *file, more_error *error)
{
    static const char taken[] = "JPEG, PNG, BMP, GIF and binary PBM, PGM, PPM are taken";
    const char *found = NULL;
    if (file->size >= 12 && begins(file, "RIFF", 4) && !memcmp(file->bytes + 8, "WEBP", 4))
        found = "WebP";
    else if (begins(file, "II*\0", 4) || begins(file, "MM\0*", 4))
        found = "TIFF";
    else if (file->size >= 12 && !memcmp(file->bytes + 4, "ftyp", 4))
        found = "HEIF, AVIF or video";
    else if (begins(file, "P1", 2) || begins(file, "P2", 2) || begins(file, "P3", 2))
        found = "PNM written as text";
    else if (begins(file, "%PDF", 4))
        found = "PDF";
    if (found)
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: is %s; only %s", file->name, found, taken);
    return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: is not an image of a known format; only %s", file->name,
                     taken);
}

static more_status decode(const core_encoded *file, core_image *image, core_exif *exif, more_error *error)
{
    if (!file->size)
        return core_broken_image(file, "the image is empty (0 bytes)", error);
    if (begins(file, "\xff\xd8\xff", 3))
        return core_decode_jpeg(file, image, exif, error);
    if (begins(file, "\x89PNG\r\n\x1a\n", 8))
        return core_decode_png(file, image, exif, error);
    if (begins(file, "BM", 2))
        return core_decode_bmp(file, image, error);
    if (begins(file, "GIF87a", 6) || begins(file, "GIF89a", 6))
        return core_decode_gif(file, image, error);
    if (file->size > 2 && file->bytes[0] == 'P' && file->bytes[1] >= '4' && file->bytes[1] <= '6')
        return core_decode_pnm(file, image, error);
    return unknown_format(file, error);
}

more_status core_image_decode(const void *bytes, size_t size, const char *name, const core_decode_options *options,
                              core_image *image, more_error *error)
{
    core_encoded file = {bytes, size, name};
    core_exif exif = {NULL, 0};
    more_error reason = {{0}};
    size_t limit = options && options->max_bytes ? options->max_bytes : CORE_IMAGE_MAX_BYTES;
    if (size > limit)
        return more_fail(error, MORE_ERROR_MEMORY, "%s: %zu bytes are over the cap of %zu for an image", name, size,
                         limit);
    core_image_free(image);
    core_image_init(image, options ? options->max_pixels : 0);
    more_status status = decode(&file, image, &exif, &reason);
    if (status == MORE_OK && options && options->exif)
        status = core_exif_apply(image, core_exif_orientation(exif), &reason);
    if (status == MORE_OK)
        return MORE_OK;
    core_image_free(image);
    /* A cap knows no file name. */
    bool named = !strncmp(reason.message, name, strlen(name));
    return named ? more_fail(error, status, "%s", reason.message)
                 : more_fail(error, status, "%s: %.900s", name, reason.message);
}

more_status core_image_load(const char *path, const core_decode_options *options, core_image *image, more_error *error)
{
    core_buffer bytes = {0};
    size_t limit = options && options->max_bytes ? options->max_bytes : CORE_IMAGE_MAX_BYTES;
    more_status status = core_file_read(path, limit, &bytes, error);
    if (status == MORE_OK)
        status = core_image_decode(bytes.data, bytes.size, strcmp(path, "-") ? path : "standard input", options, image,
                                   error);
    core_buffer_free(&bytes);
    return status;
}
