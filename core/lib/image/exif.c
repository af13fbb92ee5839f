/* SPDX-License-Identifier: Apache-2.0
 *
 * The orientation tag of EXIF (CIPA DC-008), and what it asks for.
 */
#include "image/formats.h"

#include <string.h>

#define ORIENTATION 0x0112
#define SHORT 3

static uint32_t read16(const unsigned char *p, bool big)
{
    return big ? core_be16(p) : core_le16(p);
}

int core_exif_orientation(core_exif exif)
{
    if (exif.size < 8 || (memcmp(exif.bytes, "II*\0", 4) && memcmp(exif.bytes, "MM\0*", 4)))
        return 1;
    bool big = exif.bytes[0] == 'M';
    size_t at = big ? core_be32(exif.bytes + 4) : core_le32(exif.bytes + 4);
    if (at > exif.size - 2)
        return 1;
    uint32_t count = read16(exif.bytes + at, big);
    at += 2;
    for (uint32_t i = 0; i < count && exif.size - at >= 12; i++, at += 12) {
        const unsigned char *tag = exif.bytes + at;
        if (read16(tag, big) != ORIENTATION || read16(tag + 2, big) != SHORT)
            continue;
        uint32_t value = read16(tag + 8, big);
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

more_status core_exif_apply(core_image *image, int orientation, more_error *error)
{
    /* Bits: 1 = the source is mirrored left to right, 2 = top to bottom, 4 = rows and columns are exchanged first. */
    static const int turns[9] = {0, 0, 1, 3, 2, 4, 6, 7, 5};
    int turn = orientation >= 1 && orientation <= 8 ? turns[orientation] : 0;
    if (!turn)
        return MORE_OK;
    core_image turned;
    core_image_init(&turned, image->max_pixels);
    int64_t width = turn & 4 ? image->abi.height : image->abi.width;
    int64_t height = turn & 4 ? image->abi.width : image->abi.height;
    more_status status = turned.abi.allocate(&turned.abi, MORE_IMAGE_U8, width, height, 3, error);
    if (status == MORE_OK) {
        unsigned char *out = turned.abi.data;
        const unsigned char *in = image->abi.data;
        for (int64_t y = 0; y < height; y++)
            for (int64_t x = 0; x < width; x++, out += 3) {
                int64_t column = turn & 4 ? y : x, row = turn & 4 ? x : y;
                if (turn & 1)
                    column = image->abi.width - 1 - column;
                if (turn & 2)
                    row = image->abi.height - 1 - row;
                memcpy(out, in + 3 * (row * image->abi.width + column), 3);
            }
        core_image_swap(image, &turned);
    }
    core_image_free(&turned);
    return status;
}
