/* SPDX-License-Identifier: Apache-2.0
 *
 * Image files that are broken, cut, tiny or far too large. That whole ones decode as in Pillow is tested in
 * tests/parity/test_pixels.
 */
#include "base/file.h"
#include "image/decode.h"
#include "image/formats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Decodes a copy that ends where its memory ends. */
static more_status decode(const void *bytes, size_t size, const core_decode_options *options, core_image *image,
                          more_error *error)
{
    void *exact = malloc(size ? size : 1);
    if (size)
        memcpy(exact, bytes, size);
    *error = (more_error){{0}};
    core_image_init(image, 0);
    more_status status = core_image_decode(exact, size, "test.img", options, image, error);
    free(exact);
    if (status != MORE_OK) {
        assert_null(image->abi.data);
        assert_ptr_equal(strstr(error->message, "test.img: "), error->message);
    }
    return status;
}

static void refused(const void *bytes, size_t size, more_status status, const char *word)
{
    more_error error;
    core_image image;
    assert_int_equal(decode(bytes, size, NULL, &image, &error), status);
    if (!strstr(error.message, word))
        fail_msg("'%s' lacks '%s'", error.message, word);
}

static core_buffer sample(const char *name)
{
    more_error error = {{0}};
    core_buffer path = {0}, bytes = {0};
    const char *top = getenv("srcdir");
    core_buffer_format(&path, "%s/tests/parity/data/pixels/images/%s", top ? top : ".", name);
    if (core_file_read(path.data, 1 << 24, &bytes, &error) != MORE_OK)
        fail_msg("%s", error.message);
    core_buffer_free(&path);
    return bytes;
}

/* ---- PNG made by hand ------------------------------------------------------------------------------------------- */

static void put32(core_buffer *out, uint32_t number)
{
    unsigned char bytes[4] = {(unsigned char)(number >> 24), (unsigned char)(number >> 16),
                              (unsigned char)(number >> 8), (unsigned char)number};
    core_buffer_append(out, bytes, 4);
}

static void put_chunk(core_buffer *out, const char *type, const void *body, size_t size)
{
    put32(out, (uint32_t)size);
    size_t begin = out->size;
    core_buffer_append(out, type, 4);
    core_buffer_append(out, body, size);
    uint32_t crc = 0xffffffff;
    for (size_t i = begin; i < out->size; i++) {
        crc ^= (unsigned char)out->data[i];
        for (int k = 0; k < 8; k++)
            crc = crc & 1 ? 0xedb88320 ^ crc >> 1 : crc >> 1;
    }
    put32(out, ~crc);
}

/* A grey PNG of `bits` a sample whose rows are `rows` (filter bytes included), stored without compression. */
static core_buffer make_png(uint32_t width, uint32_t height, unsigned char bits, const void *rows, size_t size)
{
    core_buffer out = {0}, header = {0}, zlib = {0};
    const unsigned char tail[5] = {bits, 0, 0, 0, 0};
    put32(&header, width);
    put32(&header, height);
    core_buffer_append(&header, tail, sizeof tail);
    core_buffer_append(&zlib, "\x78\x01", 2);
    for (size_t at = 0; at < size || !at; at += 65535) {
        size_t count = size - at < 65535 ? size - at : 65535;
        unsigned char head[5] = {at + count == size, (unsigned char)count, (unsigned char)(count >> 8),
                                 (unsigned char)~count, (unsigned char)(~count >> 8)};
        core_buffer_append(&zlib, head, sizeof head);
        core_buffer_append(&zlib, (const char *)rows + at, count);
    }
    put32(&zlib, 0);
    core_buffer_text(&out, "\x89PNG\r\n\x1a\n");
    put_chunk(&out, "IHDR", header.data, header.size);
    put_chunk(&out, "IDAT", zlib.data, zlib.size);
    put_chunk(&out, "IEND", "", 0);
    core_buffer_free(&header);
    core_buffer_free(&zlib);
    return out;
}

/* ---- Cases ------------------------------------------------------------------------------------------------------ */

static void test_no_image(void **state)
{
    (void)state;
    refused("", 0, MORE_ERROR_CORRUPT, "empty");
    refused("hello", 5, MORE_ERROR_UNSUPPORTED, "JPEG, PNG, BMP, GIF");
    refused("RIFF....WEBPVP8 ", 16, MORE_ERROR_UNSUPPORTED, "WebP");
    refused("II*\0....", 8, MORE_ERROR_UNSUPPORTED, "TIFF");
    refused("....ftypheic", 12, MORE_ERROR_UNSUPPORTED, "HEIF");
    refused("P3 1 1 255 1 2 3\n", 17, MORE_ERROR_UNSUPPORTED, "text");
    refused("%PDF-1.4", 8, MORE_ERROR_UNSUPPORTED, "PDF");
    refused("\xff\xd8\xff", 3, MORE_ERROR_CORRUPT, "truncated JPEG");
    refused("\x89PNG\r\n\x1a\n", 8, MORE_ERROR_CORRUPT, "truncated PNG");
    refused("GIF89a", 6, MORE_ERROR_CORRUPT, "truncated GIF");
    refused("BM", 2, MORE_ERROR_CORRUPT, "truncated BMP");
    more_error error = {{0}};
    core_image image;
    core_image_init(&image, 0);
    assert_int_equal(core_image_load("/nowhere.png", NULL, &image, &error), MORE_ERROR_NOT_FOUND);
    assert_int_equal(core_image_load("/", NULL, &image, &error), MORE_ERROR_IO);
}

/* Cut anywhere, a file is refused: never decoded to less than it says. */
static void test_truncated(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t tail; /* bytes at the end that say nothing about the picture */
    } files[] = {{"astronaut_restart.jpg", 0},
                 {"cat_progressive.jpg", 0},
                 {"tiny_2x3.png", 0},
                 {"palette.png", 0},
                 {"rgba_interlaced.png", 0},
                 {"grey.pgm", 0},
                 {"rgb24.bmp", 0},
                 {"one_bit.bmp", 0},
                 {"rle8.bmp", 4},
                 {"small_first_frame.gif", 1}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        core_buffer bytes = sample(files[i].name);
        size_t step = bytes.size / 150 + 1;
        for (size_t size = 0; size < bytes.size - files[i].tail; size += step) {
            core_image image;
            more_error error;
            if (decode(bytes.data, size, NULL, &image, &error) == MORE_OK)
                fail_msg("%s cut to %zu of %zu bytes was taken", files[i].name, size, bytes.size);
        }
        size_t most = bytes.size - files[i].tail - 1;
        core_image image;
        more_error error;
        assert_int_equal(decode(bytes.data, most, NULL, &image, &error), MORE_ERROR_CORRUPT);
        assert_non_null(strstr(error.message, "truncated"));
        core_buffer_free(&bytes);
    }
}

/* Every byte of small files changed in turn: any answer will do, but no crash and no leak. */
static void test_damaged(void **state)
{
    (void)state;
    static const char *const names[] = {"one_1x1.png", "tiny_2x3.png",          "palette_transparent.png",
                                        "rle8.bmp",    "small_first_frame.gif", "one_bit.bmp"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        core_buffer bytes = sample(names[i]);
        for (size_t at = 0; at < bytes.size; at++)
            for (unsigned flip = 1; flip < 256; flip = flip * 4 + 3) {
                core_decode_options options = {.max_pixels = 1 << 16, .exif = true};
                core_image image;
                more_error error;
                bytes.data[at] = (char)(bytes.data[at] ^ (char)flip);
                decode(bytes.data, bytes.size, &options, &image, &error);
                bytes.data[at] = (char)(bytes.data[at] ^ (char)flip);
                core_image_free(&image);
            }
        core_buffer_free(&bytes);
    }
}

static void test_png_structure(void **state)
{
    (void)state;
    const unsigned char rows[2] = {0, 77};
    core_buffer good = make_png(1, 1, 8, rows, 2);
    more_error error;
    core_image image;
    assert_int_equal(decode(good.data, good.size, NULL, &image, &error), MORE_OK);
    assert_int_equal(image.abi.width, 1);
    assert_int_equal(((unsigned char *)image.abi.data)[2], 77);
    core_image_free(&image);
    good.data[29] = (char)(good.data[29] ^ 1); /* the header's sum */
    refused(good.data, good.size, MORE_ERROR_CORRUPT, "sum of its chunk IHDR");
    core_buffer_free(&good);
    core_buffer empty = make_png(0, 5, 8, rows, 2), few = make_png(2, 2, 8, rows, 2), odd = make_png(1, 1, 3, rows, 2);
    refused(empty.data, empty.size, MORE_ERROR_CORRUPT, "0 x 5");
    refused(few.data, few.size, MORE_ERROR_CORRUPT, "not enough pixels");
    refused(odd.data, odd.size, MORE_ERROR_CORRUPT, "test.img");
    core_buffer_free(&empty);
    core_buffer_free(&few);
    core_buffer_free(&odd);
}

static void test_caps(void **state)
{
    (void)state;
    const unsigned char rows[2] = {0, 0};
    core_buffer bomb = make_png(65535, 65535, 8, rows, 2), vast = make_png(0x7fffffff, 0x7fffffff, 8, rows, 2);
    refused(bomb.data, bomb.size, MORE_ERROR_MEMORY, "65535 x 65535");
    refused(bomb.data, bomb.size, MORE_ERROR_MEMORY, "104857600");
    refused(vast.data, vast.size, MORE_ERROR_MEMORY, "2147483647");
    refused("P5 999999999 999999999 255\n", 27, MORE_ERROR_MEMORY, "over the cap");
    refused("P5 99999999999 1 255\n", 21, MORE_ERROR_CORRUPT, "header");
    core_decode_options narrow = {.max_pixels = 5}, brief = {.max_bytes = 40};
    core_buffer small = sample("tiny_2x3.png");
    more_error error;
    core_image image;
    assert_int_equal(decode(small.data, small.size, &narrow, &image, &error), MORE_ERROR_MEMORY);
    assert_non_null(strstr(error.message, "cap of 5 pixels"));
    assert_int_equal(decode(small.data, small.size, &brief, &image, &error), MORE_ERROR_MEMORY);
    narrow.max_pixels = 6;
    assert_int_equal(decode(small.data, small.size, &narrow, &image, &error), MORE_OK);
    core_image_free(&image);
    core_buffer_free(&bomb);
    core_buffer_free(&vast);
    core_buffer_free(&small);
}

/* 10,000 x 10,000 pixels of one bit: within the cap, so it decodes. */
static void test_hundred_megapixels(void **state)
{
    (void)state;
    enum { SIDE = 10000, ROW = SIDE / 8 + 1 };
    unsigned char *rows = calloc(SIDE, ROW);
    rows[(size_t)ROW * SIDE - 1] = 1; /* the last pixel is white */
    core_buffer file = make_png(SIDE, SIDE, 1, rows, (size_t)ROW * SIDE);
    free(rows);
    more_error error = {{0}};
    core_image image;
    core_image_init(&image, 0);
    assert_int_equal(core_image_decode(file.data, file.size, "large", NULL, &image, &error), MORE_OK);
    assert_int_equal(core_image_bytes(&image.abi), 300000000);
    assert_int_equal(((unsigned char *)image.abi.data)[299999999], 255);
    assert_int_equal(((unsigned char *)image.abi.data)[299999996], 0);
    core_image_free(&image);
    core_buffer_free(&file);
}

static void test_pnm_and_bmp(void **state)
{
    (void)state;
    more_error error;
    core_image image;
    assert_int_equal(decode("P6#c\n1 # c\n1\n255\nabc", 20, NULL, &image, &error), MORE_OK);
    assert_memory_equal(image.abi.data, "abc", 3);
    core_image_free(&image);
    refused("P6 0 1 255\nabc", 14, MORE_ERROR_CORRUPT, "zero");
    refused("P6 1 1 0\nabc", 12, MORE_ERROR_CORRUPT, "largest");
    refused("P6 1 1 70000\nabc", 16, MORE_ERROR_CORRUPT, "largest");
    refused("P6 1 1 255\nab", 13, MORE_ERROR_CORRUPT, "truncated");
    refused("P6 1 x 255\nabc", 14, MORE_ERROR_CORRUPT, "header");
    unsigned char bmp[58] = {'B', 'M', 58, 0, 0, 0, 0, 0, 0, 0, 54, 0, 0, 0,  40,
                             0,   0,   0,  1, 0, 0, 0, 1, 0, 0, 0,  1, 0, 24, 0};
    bmp[54] = 3;
    assert_int_equal(decode(bmp, sizeof bmp, NULL, &image, &error), MORE_OK);
    assert_int_equal(((unsigned char *)image.abi.data)[2], 3);
    core_image_free(&image);
    bmp[25] = 0x80; /* height -2^31 + 1 */
    refused(bmp, sizeof bmp, MORE_ERROR_MEMORY, "2147483647");
    bmp[22] = bmp[25] = 0;
    refused(bmp, sizeof bmp, MORE_ERROR_CORRUPT, "1 x 0");
    bmp[22] = 1;
    bmp[30] = 4;
    refused(bmp, sizeof bmp, MORE_ERROR_UNSUPPORTED, "compression 4");
    bmp[14] = 41;
    refused(bmp, sizeof bmp, MORE_ERROR_UNSUPPORTED, "header of 41");
}

static void test_unusual_jpeg(void **state)
{
    (void)state;
    core_buffer bytes = sample("astronaut_restart.jpg");
    size_t frame = 2;
    while ((unsigned char)bytes.data[frame + 1] != 0xc0)
        frame += 2 + core_be16((unsigned char *)bytes.data + frame + 2);
    bytes.data[frame + 1] = (char)0xc9;
    refused(bytes.data, bytes.size, MORE_ERROR_UNSUPPORTED, "arithmetic");
    bytes.data[frame + 1] = (char)0xc0;
    bytes.data[frame + 4] = 12;
    refused(bytes.data, bytes.size, MORE_ERROR_UNSUPPORTED, "12 bits");
    bytes.data[frame + 4] = 8;
    bytes.data[frame + 5] = bytes.data[frame + 6] = 0;
    refused(bytes.data, bytes.size, MORE_ERROR_CORRUPT, "zero");
    bytes.data[frame + 5] = bytes.data[frame + 6] = bytes.data[frame + 7] = bytes.data[frame + 8] = (char)0xff;
    refused(bytes.data, bytes.size, MORE_ERROR_MEMORY, "65535 x 65535");
    bytes.data[frame + 5] = bytes.data[frame + 7] = 0;
    size_t table = frame;
    while ((unsigned char)bytes.data[table + 1] != 0xc4)
        table += 2 + core_be16((unsigned char *)bytes.data + table + 2);
    for (size_t i = 0; i < 16; i++)
        bytes.data[table + 5 + i] = 17;
    refused(bytes.data, bytes.size, MORE_ERROR_CORRUPT, "Huffman");
    core_buffer_free(&bytes);
}

static void test_orientation(void **state)
{
    (void)state;
    /* 2 x 3 pixels 0 to 5, and how each orientation is to be shown */
    static const unsigned char shown[9][6] = {{0},
                                              {0, 1, 2, 3, 4, 5},
                                              {1, 0, 3, 2, 5, 4},
                                              {5, 4, 3, 2, 1, 0},
                                              {4, 5, 2, 3, 0, 1},
                                              {0, 2, 4, 1, 3, 5},
                                              {4, 2, 0, 5, 3, 1},
                                              {5, 3, 1, 4, 2, 0},
                                              {1, 3, 5, 0, 2, 4}};
    for (int orientation = 1; orientation <= 8; orientation++) {
        more_error error = {{0}};
        core_image image;
        core_image_init(&image, 0);
        assert_int_equal(image.abi.allocate(&image.abi, MORE_IMAGE_U8, 2, 3, 3, &error), MORE_OK);
        for (int i = 0; i < 18; i++)
            ((unsigned char *)image.abi.data)[i] = (unsigned char)(i / 3);
        assert_int_equal(core_exif_apply(&image, orientation, &error), MORE_OK);
        assert_int_equal(image.abi.width, orientation > 4 ? 3 : 2);
        for (int i = 0; i < 18; i++)
            assert_int_equal(((unsigned char *)image.abi.data)[i], shown[orientation][i / 3]);
        core_image_free(&image);
    }
    core_buffer bytes = sample("china_rotated_exif.jpg");
    core_decode_options options = {.exif = true};
    core_image image;
    more_error error;
    assert_int_equal(decode(bytes.data, bytes.size, NULL, &image, &error), MORE_OK);
    assert_int_equal(image.abi.width, 90);
    core_image_free(&image);
    assert_int_equal(decode(bytes.data, bytes.size, &options, &image, &error), MORE_OK);
    assert_int_equal(image.abi.width, 60);
    assert_int_equal(image.abi.height, 90);
    core_image_free(&image);
    core_buffer_free(&bytes);
}

static void test_broken_exif(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        int orientation;
    } cases[] = {
        {"", 0, 1},
        {"II*\0\10\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0", 22, 6},
        {"MM\0*\0\0\0\10\0\1\1\x12\0\3\0\0\0\1\0\3\0\0", 22, 3},
        {"II*\0\10\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0", 21, 1},
        {"II*\0\10\0\0\0\1\0\x12\1\3\0\1\0\0\0\11\0\0\0", 22, 1},
        {"II*\0\10\0\0\0\1\0\x12\1\4\0\1\0\0\0\6\0\0\0", 22, 1},
        {"II*\0\xff\xff\xff\xff\1\0", 10, 1},
        {"II*\0\10\0\0\0\xff\xff", 10, 1},
        {"XX*\0\10\0\0\0", 8, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char *exact = malloc(cases[i].size + 1);
        memcpy(exact, cases[i].bytes, cases[i].size);
        exact = realloc(exact, cases[i].size ? cases[i].size : 1);
        assert_int_equal(core_exif_orientation((core_exif){exact, cases[i].size}), cases[i].orientation);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_image),    cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_damaged),     cmocka_unit_test(test_png_structure),
        cmocka_unit_test(test_caps),        cmocka_unit_test(test_hundred_megapixels),
        cmocka_unit_test(test_pnm_and_bmp), cmocka_unit_test(test_unusual_jpeg),
        cmocka_unit_test(test_orientation), cmocka_unit_test(test_broken_exif),
    };
    return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}
