/* SPDX-License-Identifier: Apache-2.0
 *
 * BMP: uncompressed ones go to stb_image once the file is known to be long enough; run-length encoded ones, which it
 * does not take, are decoded here, with Pillow's reading of the encoding.
 */
#include "image/formats.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { RGB = 0, RLE8 = 1, RLE4 = 2, BITFIELDS = 3 };

typedef struct header {
    int64_t width, height; /* height > 0 */
    bool top_down;
    uint32_t bits, compression;
    size_t data;    /* offset of the pixels */
    size_t palette; /* offset of the palette */
    size_t entry;   /* bytes of a palette entry */
} header;

static more_status truncated(const core_encoded *file, more_error *error)
{
    return core_broken_image(file, "truncated BMP: fewer bytes than its headers ask for", error);
}

static more_status read_sizes(const core_encoded *file, header *bmp, more_error *error)
{
    const unsigned char *bytes = file->bytes;
    uint32_t size = file->size >= 26 ? core_le32(bytes + 14) : 0;
    if (file->size < 26 || size > file->size - 14)
        return truncated(file, error);
    if (size != 12 && size != 40 && size != 56 && size != 108 && size != 124)
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: BMP with a header of %" PRIu32 " bytes is not taken",
                         file->name, size);
    bool old = size == 12;
    int64_t height = old ? (int64_t)core_le16(bytes + 20) : (int64_t)(int32_t)core_le32(bytes + 22);
    bmp->width = old ? (int64_t)core_le16(bytes + 18) : (int64_t)(int32_t)core_le32(bytes + 18);
    bmp->top_down = height < 0;
    bmp->height = height < 0 ? -height : height;
    bmp->bits = core_le16(bytes + (old ? 24 : 28));
    bmp->compression = old ? RGB : core_le32(bytes + 30);
    bmp->data = core_le32(bytes + 10);
    bmp->palette = 14 + (size_t)size;
    bmp->entry = old ? 3 : 4;
    if (bmp->width < 1 || bmp->height < 1)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: BMP of %" PRId64 " x %" PRId64 " pixels", file->name,
                         bmp->width, height);
    return bmp->data > file->size ? truncated(file, error) : MORE_OK;
}

typedef struct rle {
    const unsigned char *at, *end;
    unsigned char *out; /* palette indices, bottom row first */
    size_t used, size, width, x;
    bool nibbles;
} rle;

static void put(rle *run, size_t count, unsigned even, unsigned odd)
{
    for (size_t i = 0; i < count && run->used < run->size; i++)
        run->out[run->used++] = (unsigned char)(i & 1 ? odd : even);
}

static void put_run(rle *run, size_t count, unsigned value)
{
    if (run->x + count > run->width) /* runs end with their row */
        count = run->x < run->width ? run->width - run->x : 0;
    put(run, count, run->nibbles ? value >> 4 : value, run->nibbles ? value & 15 : value);
    run->x += count;
}

/* `count` indices as they stand, padded to a 16-bit word. False at the end of the file. */
static bool put_literals(rle *run, size_t count)
{
    size_t bytes = run->nibbles ? (count + 1) / 2 : count;
    if ((size_t)(run->end - run->at) < bytes)
        return false;
    for (size_t i = 0; i < count; i++) {
        unsigned value = run->nibbles ? run->at[i / 2] : run->at[i];
        put(run, 1, run->nibbles ? (i & 1 ? value & 15 : value >> 4) : value, 0);
    }
    run->x += count;
    run->at += bytes;
    if (bytes & 1 && run->at < run->end)
        run->at++;
    return true;
}

/* Fills `out`, which is zeroed: what the codes skip is colour 0. False when the file ends inside. */
static bool unpack(rle *run)
{
    while (run->used < run->size) {
        if (run->end - run->at < 2)
            return false;
        unsigned count = run->at[0], code = run->at[1];
        run->at += 2;
        if (count) {
            put_run(run, count, code);
        } else if (code == 0) { /* end of line */
            run->used = (run->used + run->width - 1) / run->width * run->width;
            run->x = 0;
        } else if (code == 1) { /* end of bitmap */
            return true;
        } else if (code == 2) { /* a jump to the right and up */
            if (run->end - run->at < 2)
                return false;
            size_t jump = run->at[0] + run->at[1] * run->width;
            run->used += jump < run->size - run->used ? jump : run->size - run->used;
            run->x = run->used % run->width;
            run->at += 2;
        } else if (!put_literals(run, code)) {
            return false;
        }
    }
    return true;
}

static void paint(const core_encoded *file, const header *bmp, const unsigned char *indices, more_image *image)
{
    unsigned char palette[256][3] = {{0}};
    unsigned char *out = image->data;
    size_t end = bmp->data > bmp->palette ? bmp->data : bmp->palette;
    for (size_t i = 0; i < 256 && bmp->palette + (i + 1) * bmp->entry <= end; i++)
        for (int c = 0; c < 3; c++)
            palette[i][c] = file->bytes[bmp->palette + i * bmp->entry + 2 - (size_t)c];
    for (int64_t y = 0; y < image->height; y++) {
        const unsigned char *row = indices + (bmp->top_down ? y : image->height - 1 - y) * image->width;
        for (int64_t x = 0; x < image->width; x++, out += 3)
            memcpy(out, palette[row[x]], 3);
    }
}

static more_status decode_rle(const core_encoded *file, const header *bmp, more_image *image, more_error *error)
{
    rle run = {.at = file->bytes + bmp->data, .end = file->bytes + file->size, .width = (size_t)bmp->width};
    run.nibbles = bmp->compression == RLE4;
    run.size = (size_t)bmp->width * (size_t)bmp->height;
    if (bmp->bits != (run.nibbles ? 4u : 8u))
        return core_broken_image(file, "broken BMP: its run-length encoding does not fit its depth", error);
    run.out = calloc(run.size, 1);
    if (!run.out)
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", file->name);
    more_status status = unpack(&run) ? MORE_OK : truncated(file, error);
    if (status == MORE_OK)
        paint(file, bmp, run.out, image);
    free(run.out);
    return status;
}

static more_status decode_plain(const core_encoded *file, const header *bmp, more_image *image, more_error *error)
{
    void *pixels;
    uint64_t row = ((uint64_t)bmp->width * bmp->bits + 31) / 32 * 4;
    if (bmp->compression != RGB && bmp->compression != BITFIELDS)
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: BMP compression %" PRIu32 " is not taken", file->name,
                         bmp->compression);
    if ((file->size - bmp->data) / (row ? row : 1) < (uint64_t)bmp->height)
        return truncated(file, error);
    more_status status = core_stb_decode(file, bmp->width, bmp->height, 3, false, &pixels, error);
    if (status != MORE_OK)
        return status;
    memcpy(image->data, pixels, core_image_bytes(image));
    core_stb_free(pixels);
    return MORE_OK;
}

more_status core_decode_bmp(const core_encoded *file, core_image *image, more_error *error)
{
    header bmp = {0};
    more_status status = read_sizes(file, &bmp, error);
    if (status == MORE_OK)
        status = image->abi.allocate(&image->abi, MORE_IMAGE_U8, bmp.width, bmp.height, 3, error);
    if (status != MORE_OK)
        return status;
    bool encoded = bmp.compression == RLE8 || bmp.compression == RLE4;
    return encoded ? decode_rle(file, &bmp, &image->abi, error) : decode_plain(file, &bmp, &image->abi, error);
}
