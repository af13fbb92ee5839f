/* SPDX-License-Identifier: Apache-2.0
 *
 * GIF89a: the first frame. The decoder gets a file rebuilt of that frame alone, with the palette in force and without
 * transparency, so that transparent pixels keep their palette colour as in Pillow; the frame is then laid on a canvas
 * of the transparent colour, or colour 0 where there is none.
 */
#include "base/buffer.h"
#include "image/formats.h"

#include <string.h>

typedef struct frame {
    int64_t canvas_width, canvas_height;
    int64_t left, top, width, height;
    bool interlaced;
    int transparent; /* palette index; -1 = none */
    unsigned char palette[768];
    const unsigned char *data; /* code size and sub-blocks */
    size_t data_size;
} frame;

static more_status truncated(const core_encoded *file, more_error *error)
{
    return core_broken_image(file, "truncated GIF: it ends inside its first frame", error);
}

/* Skips sub-blocks up to and with the empty one. False at the end of the file. */
static bool skip_blocks(const core_encoded *file, size_t *at)
{
    while (*at < file->size) {
        size_t size = file->bytes[*at];
        *at += size + 1;
        if (!size)
            return true;
    }
    return false;
}

static bool take_palette(const core_encoded *file, size_t *at, int flags, frame *first)
{
    size_t size = (size_t)3 << ((flags & 7) + 1);
    if (file->size - *at < size)
        return false;
    memcpy(first->palette, file->bytes + *at, size);
    memset(first->palette + size, 0, sizeof first->palette - size);
    *at += size;
    return true;
}

static bool take_extension(const core_encoded *file, size_t *at, frame *first)
{
    const unsigned char *bytes = file->bytes + *at;
    if (file->size - *at >= 7 && bytes[1] == 0xf9 && bytes[2] >= 4 && bytes[3] & 1)
        first->transparent = bytes[6];
    *at += 2;
    return skip_blocks(file, at);
}

static more_status take_descriptor(const core_encoded *file, size_t at, frame *first, more_error *error)
{
    const unsigned char *bytes = file->bytes + at;
    if (file->size - at < 10)
        return truncated(file, error);
    first->left = core_le16(bytes + 1);
    first->top = core_le16(bytes + 3);
    first->width = core_le16(bytes + 5);
    first->height = core_le16(bytes + 7);
    first->interlaced = bytes[9] & 0x40;
    at += 10;
    if (bytes[9] & 0x80 && !take_palette(file, &at, bytes[9], first))
        return truncated(file, error);
    size_t begin = at++;
    if (!skip_blocks(file, &at))
        return truncated(file, error);
    first->data = file->bytes + begin;
    first->data_size = at - begin;
    if (!first->width || !first->height)
        return core_broken_image(file, "GIF of zero width or height", error);
    return MORE_OK;
}

static more_status find_frame(const core_encoded *file, frame *first, more_error *error)
{
    if (file->size < 13)
        return truncated(file, error);
    size_t at = 13;
    first->transparent = -1;
    first->canvas_width = core_le16(file->bytes + 6);
    first->canvas_height = core_le16(file->bytes + 8);
    for (size_t i = 0; i < sizeof first->palette; i++)
        first->palette[i] = (unsigned char)(i / 3);
    if (file->bytes[10] & 0x80 && !take_palette(file, &at, file->bytes[10], first))
        return truncated(file, error);
    while (at < file->size) {
        if (file->bytes[at] == ',')
            return take_descriptor(file, at, first, error);
        if (file->bytes[at] == ';')
            return core_broken_image(file, "GIF without a picture", error);
        if (file->bytes[at] != '!')
            at++;
        else if (!take_extension(file, &at, first))
            break;
    }
    return truncated(file, error);
}

static void rebuild(const frame *first, core_buffer *out)
{
    unsigned char size[4] = {(unsigned char)first->width, (unsigned char)(first->width >> 8),
                             (unsigned char)first->height, (unsigned char)(first->height >> 8)};
    core_buffer_text(out, "GIF89a");
    core_buffer_append(out, size, 4);
    core_buffer_append(out, "\xf7\0\0", 3); /* a global palette of 256, background 0 */
    core_buffer_append(out, first->palette, sizeof first->palette);
    core_buffer_append(out, ",\0\0\0\0", 5);
    core_buffer_append(out, size, 4);
    core_buffer_append(out, first->interlaced ? "\x40" : "\0", 1);
    core_buffer_append(out, first->data, first->data_size);
    core_buffer_text(out, ";");
}

/* Lays RGBA rows on the canvas. False when a pixel was never drawn: the codes ended too early. */
static bool lay_down(const frame *first, const unsigned char *rgba, more_image *canvas)
{
    unsigned char *pixels = canvas->data;
    const unsigned char *colour = first->palette + 3 * (first->transparent < 0 ? 0 : first->transparent);
    bool covered = first->width == canvas->width && first->height == canvas->height;
    for (int64_t i = 0; !covered && i < canvas->width * canvas->height; i++)
        memcpy(pixels + 3 * i, colour, 3);
    for (int64_t y = 0; y < first->height; y++)
        for (int64_t x = 0; x < first->width; x++, rgba += 4) {
            if (!rgba[3])
                return false;
            memcpy(pixels + 3 * ((first->top + y) * canvas->width + first->left + x), rgba, 3);
        }
    return true;
}

more_status core_decode_gif(const core_encoded *file, core_image *image, more_error *error)
{
    frame first = {0};
    core_buffer whole = {0};
    void *pixels = NULL;
    more_status status = find_frame(file, &first, error);
    if (status == MORE_OK) { /* a frame that sticks out makes the canvas larger */
        int64_t right = first.left + first.width, bottom = first.top + first.height;
        status =
            image->abi.allocate(&image->abi, MORE_IMAGE_U8, right > first.canvas_width ? right : first.canvas_width,
                                bottom > first.canvas_height ? bottom : first.canvas_height, 3, error);
    }
    if (status == MORE_OK) {
        rebuild(&first, &whole);
        core_encoded rebuilt = {(const unsigned char *)whole.data, whole.size, file->name};
        status = whole.failed ? more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", file->name)
                              : core_stb_decode(&rebuilt, first.width, first.height, 4, false, &pixels, error);
    }
    if (status == MORE_OK && !lay_down(&first, pixels, &image->abi))
        status = core_broken_image(file, "truncated GIF: its first frame ends too early", error);
    core_stb_free(pixels);
    core_buffer_free(&whole);
    return status;
}
