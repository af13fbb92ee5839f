/* SPDX-License-Identifier: Apache-2.0
 *
 * JPEG: a walk over all markers (ITU-T T.81, annex B) finds the size, the EXIF block and the end of the image.
 */
#include "image/formats.h"

#include <string.h>

typedef struct walk {
    size_t at;
    int64_t width, height;
    bool scans; /* a scan was seen */
} walk;

/* The next marker's code, `at` behind it; -1 at the end of the file. Between segments anything but a marker is skipped,
 * as decoders do; inside a scan this passes over its entropy-coded bytes. */
static int next_marker(const core_encoded *file, walk *place)
{
    while (place->at + 1 < file->size) {
        const unsigned char *found = memchr(file->bytes + place->at, 0xff, file->size - 1 - place->at);
        if (!found)
            break;
        place->at = (size_t)(found - file->bytes) + 1;
        int code = file->bytes[place->at];
        bool restart = code >= 0xd0 && code <= 0xd7;
        if (code != 0 && code != 0xff && !restart) {
            place->at++;
            return code;
        }
    }
    return -1;
}

static more_status read_frame(const core_encoded *file, int code, const unsigned char *body, size_t size, walk *place,
                              more_error *error)
{
    if (code > 0xc2)
        return more_fail(
            error, MORE_ERROR_UNSUPPORTED,
            "%s: JPEG coding process %d (lossless, hierarchical or arithmetic) is not taken, only baseline "
            "and progressive",
            file->name, code - 0xc0);
    if (size < 6)
        return core_broken_image(file, "broken JPEG: its frame header is too short", error);
    if (body[0] != 8)
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: JPEG of %d bits a sample; only 8 are taken", file->name,
                         body[0]);
    if (place->width)
        return core_broken_image(file, "broken JPEG: two frame headers", error);
    place->height = core_be16(body + 1);
    place->width = core_be16(body + 3);
    if (!place->width || !place->height)
        return core_broken_image(file, "JPEG of zero width or height", error);
    return MORE_OK;
}

/* Huffman tables have at most 256 codes; stb_image writes beyond its own tables where there are more. */
static more_status check_tables(const core_encoded *file, const unsigned char *body, size_t size, more_error *error)
{
    while (size) {
        size_t codes = 0;
        for (size_t i = 1; i <= 16 && size >= 17; i++)
            codes += body[i];
        if (size < 17 || codes > 256 || codes > size - 17)
            return core_broken_image(file, "broken JPEG: a Huffman table has a wrong size", error);
        body += 17 + codes;
        size -= 17 + codes;
    }
    return MORE_OK;
}

static more_status read_segment(const core_encoded *file, int code, const unsigned char *body, size_t size, walk *place,
                                core_exif *exif, more_error *error)
{
    bool frame = code >= 0xc0 && code <= 0xcf && code != 0xc4 && code != 0xc8 && code != 0xcc;
    if (frame)
        return read_frame(file, code, body, size, place, error);
    if (code == 0xc4)
        return check_tables(file, body, size, error);
    if (code == 0xe1 && size > 6 && !memcmp(body, "Exif\0", 6) && !exif->size)
        *exif = (core_exif){body + 6, size - 6};
    if (code == 0xda)
        place->scans = true;
    return MORE_OK;
}

static more_status walk_markers(const core_encoded *file, walk *place, core_exif *exif, more_error *error)
{
    place->at = 2;
    for (;;) {
        int code = next_marker(file, place);
        if (code < 0)
            return core_broken_image(file, "truncated JPEG: its end marker is missing", error);
        if (code == 0xd9)
            break;
        if (code == 0x01 || code == 0xd8)
            continue;
        size_t left = file->size - place->at;
        size_t length = left >= 2 ? core_be16(file->bytes + place->at) : 0;
        if (length < 2 || length > left)
            return core_broken_image(file, "truncated JPEG: a segment is longer than the file", error);
        more_status status = read_segment(file, code, file->bytes + place->at + 2, length - 2, place, exif, error);
        if (status != MORE_OK)
            return status;
        place->at += length;
    }
    if (!place->width || !place->scans)
        return core_broken_image(file, "broken JPEG: it has no picture", error);
    return MORE_OK;
}

more_status core_decode_jpeg(const core_encoded *file, core_image *image, core_exif *exif, more_error *error)
{
    walk place = {0};
    void *pixels;
    more_status status = walk_markers(file, &place, exif, error);
    if (status == MORE_OK)
        status = image->abi.allocate(&image->abi, MORE_IMAGE_U8, place.width, place.height, 3, error);
    if (status == MORE_OK)
        status = core_stb_decode(file, place.width, place.height, 3, false, &pixels, error);
    if (status != MORE_OK)
        return status;
    memcpy(image->abi.data, pixels, core_image_bytes(&image->abi));
    core_stb_free(pixels);
    return MORE_OK;
}
