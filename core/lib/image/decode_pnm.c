/* SPDX-License-Identifier: Apache-2.0
 *
 * Binary PBM, PGM and PPM (P4, P5, P6) of any depth, read here since stb_image does not scale by their largest value.
 * As in Pillow, 16-bit grey saturates at 255 and 16-bit colour is scaled to 8 bits.
 */
#include "image/formats.h"

#include <string.h>

static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* One number of the header, and the single blank behind it. False when there is none within 10 digits. */
static bool take_number(const core_encoded *file, size_t *at, int64_t *number)
{
    bool comment = false;
    int digits = 0;
    *number = 0;
    for (; *at < file->size; ++*at) {
        unsigned char c = file->bytes[*at];
        if (comment)
            comment = c != '\n' && c != '\r';
        else if (c == '#')
            comment = true;
        else if (c >= '0' && c <= '9' && digits++ < 10)
            *number = *number * 10 + (c - '0');
        else if (!is_space(c))
            return false;
        else if (digits)
            break;
    }
    if (!digits || *at == file->size)
        return false;
    ++*at;
    return true;
}

/* Half to even, as Python rounds. */
static unsigned scale(unsigned value, unsigned largest, unsigned to)
{
    unsigned long long doubled = 2ull * value * to + largest, quotient = doubled / (2ull * largest);
    if (doubled % (2ull * largest) == 0 && quotient & 1)
        quotient--;
    return quotient > to ? to : (unsigned)quotient;
}

static unsigned char sample(const unsigned char *bytes, int64_t largest, bool colour)
{
    if (largest < 256)
        return (unsigned char)scale(bytes[0], (unsigned)largest, 255);
    unsigned wide = scale(core_be16(bytes), (unsigned)largest, colour ? 255 : 65535);
    return (unsigned char)(wide > 255 ? 255 : wide);
}

static void read_bits(const unsigned char *bytes, more_image *image)
{
    unsigned char *out = image->data;
    int64_t row = (image->width + 7) / 8;
    for (int64_t y = 0; y < image->height; y++)
        for (int64_t x = 0; x < image->width; x++, out += 3)
            memset(out, bytes[y * row + x / 8] >> (7 - x % 8) & 1 ? 0 : 255, 3);
}

static void read_samples(const unsigned char *bytes, int64_t largest, bool colour, more_image *image)
{
    unsigned char *out = image->data;
    size_t width = largest > 255 ? 2 : 1, samples = (size_t)(image->width * image->height) * (colour ? 3 : 1);
    for (size_t i = 0; i < samples; i++, bytes += width) {
        unsigned char value = sample(bytes, largest, colour);
        if (colour)
            out[i] = value;
        else
            memset(out + 3 * i, value, 3);
    }
}

more_status core_decode_pnm(const core_encoded *file, core_image *image, more_error *error)
{
    size_t at = 2;
    int64_t width = 0, height = 0, largest = 1;
    bool bits = file->bytes[1] == '4', colour = file->bytes[1] == '6';
    if (!take_number(file, &at, &width) || !take_number(file, &at, &height) ||
        (!bits && !take_number(file, &at, &largest)))
        return core_broken_image(file, "broken PNM: its header has no sizes", error);
    if (width < 1 || height < 1 || largest < 1 || largest > 65535)
        return core_broken_image(file, "broken PNM: a size of zero, or a largest value that is not 1 to 65535", error);
    more_status status = image->abi.allocate(&image->abi, MORE_IMAGE_U8, width, height, 3, error);
    if (status != MORE_OK)
        return status;
    uint64_t row = bits ? (uint64_t)(width + 7) / 8 : (uint64_t)width * (colour ? 3 : 1) * (largest > 255 ? 2 : 1);
    if ((file->size - at) / row < (uint64_t)height) /* the cap on pixels keeps row far from overflow */
        return core_broken_image(file, "truncated PNM: fewer bytes than its size needs", error);
    if (bits)
        read_bits(file->bytes + at, &image->abi);
    else
        read_samples(file->bytes + at, largest, colour, &image->abi);
    return MORE_OK;
}
