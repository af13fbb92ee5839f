/* SPDX-License-Identifier: Apache-2.0
 *
 * PNG (ISO/IEC 15948): every chunk is walked and the sums of the critical ones checked. The decoder then gets a file
 * rebuilt from IHDR, PLTE and IDAT alone: without tRNS, so that colours come out as they are stored, without vendors'
 * chunks, and with a palette of 256 entries, so that no index points behind it.
 */
#include "base/buffer.h"
#include "image/formats.h"

#include <inttypes.h>
#include <string.h>

static const unsigned char signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

/* CRC-32 of annex D, four bits at a time. */
static uint32_t crc32_of(const unsigned char *bytes, size_t size)
{
    uint32_t table[256], crc = 0xffffffff;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int k = 0; k < 8; k++)
            table[i] = (table[i] & 1) ? 0xedb88320 ^ table[i] >> 1 : table[i] >> 1;
    }
    for (size_t i = 0; i < size; i++)
        crc = table[(crc ^ bytes[i]) & 0xff] ^ crc >> 8;
    return ~crc;
}

/* Appends a chunk; its sum is left 0, which stb_image does not look at. */
static void append_chunk(core_buffer *out, const char *type, const void *body, size_t size)
{
    unsigned char head[8] = {(unsigned char)(size >> 24), (unsigned char)(size >> 16), (unsigned char)(size >> 8),
                             (unsigned char)size};
    memcpy(head + 4, type, 4);
    core_buffer_append(out, head, sizeof head);
    core_buffer_append(out, body, size);
    core_buffer_append(out, "\0\0\0", 4);
}

static more_status check_header(const core_encoded *file, const unsigned char *body, size_t size, more_error *error)
{
    if (size != 13)
        return core_broken_image(file, "broken PNG: its header has not 13 bytes", error);
    uint32_t width = core_be32(body), height = core_be32(body + 4);
    if (!width || !height || width > INT32_MAX || height > INT32_MAX)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: PNG of %" PRIu32 " x %" PRIu32 " pixels", file->name, width,
                         height);
    return MORE_OK;
}

/* Takes one chunk over into the rebuilt file; `done` after IEND. */
static more_status take_chunk(const core_encoded *file, const unsigned char *chunk, size_t size, core_buffer *out,
                              core_exif *exif, bool *done, more_error *error)
{
    const char *type = (const char *)chunk + 4;
    const unsigned char *body = chunk + 8;
    bool critical = !(type[0] & 0x20), first = out->size == sizeof signature;
    if (critical && core_be32(body + size) != crc32_of(chunk + 4, size + 4))
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: broken PNG: the sum of its chunk %.4s is wrong", file->name,
                         memchr(type, 0, 4) ? "?" : type);
    if (first != !memcmp(type, "IHDR", 4))
        return core_broken_image(file, "broken PNG: it does not begin with one header", error);
    if (first) {
        more_status status = check_header(file, body, size, error);
        if (status != MORE_OK)
            return status;
        append_chunk(out, "IHDR", body, size);
    } else if (!memcmp(type, "PLTE", 4)) {
        unsigned char palette[768] = {0};
        if (size > sizeof palette || size % 3)
            return core_broken_image(file, "broken PNG: its palette has a wrong size", error);
        memcpy(palette, body, size);
        append_chunk(out, "PLTE", palette, sizeof palette);
    } else if (!memcmp(type, "IDAT", 4)) {
        append_chunk(out, "IDAT", body, size);
    } else if (!memcmp(type, "IEND", 4)) {
        append_chunk(out, "IEND", NULL, 0);
        *done = true;
    } else if (!memcmp(type, "eXIf", 4)) {
        *exif = (core_exif){body, size};
    }
    return MORE_OK;
}

static more_status rebuild(const core_encoded *file, core_buffer *out, core_exif *exif, more_error *error)
{
    bool done = false;
    core_buffer_append(out, signature, sizeof signature);
    for (size_t at = sizeof signature; !done;) {
        size_t left = file->size - at;
        size_t size = left >= 12 ? core_be32(file->bytes + at) : 0;
        if (left < 12 || size > left - 12)
            return core_broken_image(file, "truncated PNG: its end chunk is missing", error);
        more_status status = take_chunk(file, file->bytes + at, size, out, exif, &done, error);
        if (status != MORE_OK)
            return status;
        at += size + 12;
    }
    if (out->failed)
        return core_broken_image(file, "out of memory while reading it", error);
    return MORE_OK;
}

/* 16-bit grey saturates at 255, as Pillow's conversion from I;16 does. */
static void saturate(const uint16_t *from, unsigned char *to, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++)
        memset(to + 3 * i, from[i] > 255 ? 255 : from[i], 3);
}

static more_status decode(const core_encoded *file, core_image *image, more_error *error)
{
    const unsigned char *header = file->bytes + sizeof signature + 8;
    int64_t width = core_be32(header), height = core_be32(header + 4);
    bool grey16 = header[8] == 16 && header[9] == 0;
    void *pixels;
    more_status status = image->abi.allocate(&image->abi, MORE_IMAGE_U8, width, height, 3, error);
    if (status == MORE_OK)
        status = core_stb_decode(file, width, height, grey16 ? 1 : 3, grey16, &pixels, error);
    if (status != MORE_OK)
        return status;
    if (grey16)
        saturate(pixels, image->abi.data, (size_t)width * (size_t)height);
    else
        memcpy(image->abi.data, pixels, core_image_bytes(&image->abi));
    core_stb_free(pixels);
    return MORE_OK;
}

more_status core_decode_png(const core_encoded *file, core_image *image, core_exif *exif, more_error *error)
{
    core_buffer whole = {0};
    more_status status = rebuild(file, &whole, exif, error);
    if (status == MORE_OK) {
        core_encoded rebuilt = {(const unsigned char *)whole.data, whole.size, file->name};
        status = decode(&rebuilt, image, error);
    }
    core_buffer_free(&whole);
    return status;
}
