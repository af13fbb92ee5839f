/* SPDX-License-Identifier: Apache-2.0
 *
 * Decoding and preprocessing against Pillow and transformers' slow image processors: tests/parity/data/pixels, whose
 * README says what is in it. Everything is compared by SHA-256, so a single different bit fails; of JPEG the distance
 * to Pillow's decoder is measured and printed.
 */
#include "base/file.h"
#include "base/json.h"
#include "image/decode.h"
#include "image/preprocess.h"
#include "image/steps.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- SHA-256 (FIPS 180-4) --------------------------------------------------------------------------------------- */

/* The first 32 fractional bits of the square root (cube root when `cube`) of a prime, by whole-number bisection. */
static uint32_t root_bits(uint64_t prime, bool cube)
{
    unsigned __int128 low = 0, high = (unsigned __int128)1 << 37;
    while (high - low > 1) {
        unsigned __int128 middle = (low + high) / 2;
        /* middle / 2^32 against the root: compare middle^2 with prime * 2^64, or middle^3 with prime * 2^96 */
        bool below = cube ? middle * middle * middle <= (unsigned __int128)prime << 96
                          : middle * middle <= (unsigned __int128)prime << 64;
        if (below)
            low = middle;
        else
            high = middle;
    }
    return (uint32_t)low;
}

static void constants(uint32_t k[64], uint32_t h[8])
{
    int found = 0;
    for (uint64_t n = 2; found < 64; n++) {
        bool prime = true;
        for (uint64_t d = 2; d * d <= n; d++)
            prime = prime && n % d;
        if (!prime)
            continue;
        if (found < 8)
            h[found] = root_bits(n, false);
        k[found++] = root_bits(n, true);
    }
}

static uint32_t turn(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void block(const unsigned char *bytes, const uint32_t k[64], uint32_t h[8])
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)bytes[4 * i] << 24 | (uint32_t)bytes[4 * i + 1] << 16 | (uint32_t)bytes[4 * i + 2] << 8 |
               bytes[4 * i + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(s, h, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t first =
            s[7] + (turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
        uint32_t second =
            (turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += first;
        s[0] = first + second;
    }
    for (int i = 0; i < 8; i++)
        h[i] += s[i];
}

static void sha256(const void *data, size_t size, char hex[65])
{
    uint32_t k[64], h[8];
    const unsigned char *bytes = data;
    unsigned char last[128] = {0};
    size_t whole = size / 64 * 64, rest = size - whole, padded = rest < 56 ? 64 : 128;
    constants(k, h);
    for (size_t at = 0; at < whole; at += 64)
        block(bytes + at, k, h);
    if (rest)
        memcpy(last, bytes + whole, rest);
    last[rest] = 0x80;
    for (size_t i = 0; i < 8; i++)
        last[padded - 1 - i] = (unsigned char)((uint64_t)size * 8 >> (8 * i));
    for (size_t at = 0; at < padded; at += 64)
        block(last + at, k, h);
    for (int i = 0; i < 8; i++)
        snprintf(hex + 8 * i, 9, "%08" PRIx32, h[i]);
}

static void test_sha256(void **state)
{
    char hex[65];
    (void)state;
    sha256("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/* ---- The data --------------------------------------------------------------------------------------------------- */

typedef struct fixture {
    char *folder;
    json_t *json;
    core_functions *functions;
} fixture;

static int set_up(void **state)
{
    more_error error = {{0}};
    fixture *f = calloc(1, sizeof *f);
    const char *top = getenv("srcdir");
    core_buffer folder = {0};
    core_buffer_format(&folder, "%s/tests/parity/data/pixels", top ? top : ".");
    f->folder = core_buffer_take(&folder);
    char *path = core_path_join(f->folder, "cases.json");
    if (core_json_load(path, &f->json, &error) != MORE_OK || core_functions_create(&f->functions, &error) != MORE_OK ||
        core_functions_add(f->functions, core_image_steps(), "core", &error) != MORE_OK) {
        print_error("%s\n", error.message);
        return 1;
    }
    free(path);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    core_functions_destroy(f->functions);
    json_decref(f->json);
    free(f->folder);
    free(f);
    return 0;
}

static const char *text_of(json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void load(const fixture *f, const char *file, core_image *image)
{
    more_error error = {{0}};
    core_buffer path = {0};
    core_buffer_format(&path, "%s/images/%s", f->folder, file);
    more_status status = core_image_load(path.data, NULL, image, &error);
    if (status != MORE_OK)
        fail_msg("%s", error.message);
    core_buffer_free(&path);
}

/* ---- Decoding --------------------------------------------------------------------------------------------------- */

static void test_decoded_bytes(void **state)
{
    const fixture *f = *state;
    json_t *item;
    size_t index;
    int wrong = 0, equal = 0;
    json_array_foreach(json_object_get(f->json, "images"), index, item)
    {
        core_image image;
        char hex[65];
        const char *twin = text_of(item, "twin");
        core_image_init(&image, 0);
        load(f, twin ? twin : text_of(item, "file"), &image);
        assert_int_equal(image.abi.width, json_integer_value(json_object_get(item, "width")));
        assert_int_equal(image.abi.height, json_integer_value(json_object_get(item, "height")));
        sha256(image.abi.data, core_image_bytes(&image.abi), hex);
        if (strcmp(hex, text_of(item, "rgb_sha256"))) {
            print_error("%s: decoded bytes differ from Pillow's\n", text_of(item, "file"));
            wrong++;
        } else {
            equal++;
        }
        core_image_free(&image);
    }
    print_message("decoded: %d files bit-equal to Pillow\n", equal);
    assert_int_equal(wrong, 0);
    assert_true(equal >= 20);
}

typedef struct difference {
    int largest, inner; /* of 255: anywhere, and without the column before the last */
    double mean;
} difference;

/* stb_image exchanges two chroma weights in the column before the last of 4:2:2 files, so that column counts apart. */
static difference distance(const core_image *a, const core_image *b)
{
    const unsigned char *left = a->abi.data, *right = b->abi.data;
    size_t bytes = core_image_bytes(&a->abi);
    difference d = {0};
    assert_int_equal(bytes, core_image_bytes(&b->abi));
    for (size_t i = 0; i < bytes; i++) {
        int here = abs(left[i] - right[i]);
        d.largest = here > d.largest ? here : d.largest;
        if ((int64_t)(i / 3) % a->abi.width != a->abi.width - 2 && here > d.inner)
            d.inner = here;
        d.mean += here / (double)bytes;
    }
    return d;
}

static void test_jpeg_distance(void **state)
{
    const fixture *f = *state;
    json_t *item;
    size_t index;
    int files = 0;
    json_array_foreach(json_object_get(f->json, "images"), index, item)
    {
        core_image ours, theirs;
        if (!text_of(item, "twin"))
            continue;
        core_image_init(&ours, 0);
        core_image_init(&theirs, 0);
        load(f, text_of(item, "file"), &ours);
        load(f, text_of(item, "twin"), &theirs);
        difference d = distance(&ours, &theirs);
        print_message("JPEG %-28s against Pillow: at most %d of 255 (%d without the column before the last), %.3f on "
                      "average\n",
                      text_of(item, "file"), d.largest, d.inner, d.mean);
        assert_in_range(d.inner, 0, 4);
        assert_true(d.mean < 0.25);
        files++;
        core_image_free(&ours);
        core_image_free(&theirs);
    }
    assert_true(files >= 5);
}

/* ---- Preprocessing ---------------------------------------------------------------------------------------------- */

/* Runs one case; the message says what differs. */
static bool run_case(const fixture *f, json_t *item, core_image *decoded)
{
    more_error error = {{0}};
    char *steps = NULL, hex[65];
    core_pipeline *pipeline = NULL;
    core_image pixels;
    json_t *shape = json_object_get(item, "shape");
    json_t *config = json_object_get(json_object_get(f->json, "pipelines"), text_of(item, "pipeline"));
    core_pad pad = json_is_true(json_object_get(item, "pad")) ? CORE_PAD_SQUARE : CORE_PAD_NONE;
    core_image_init(&pixels, 0);
    /* What the encoder's plan would say, for processors that leave the size to it; others do not look. */
    decoded->abi.plan_height = json_integer_value(json_array_get(shape, 1));
    decoded->abi.plan_width = json_integer_value(json_array_get(shape, 2));
    more_status status = core_preprocess_steps(config, text_of(item, "pipeline"), pad, &steps, &error);
    if (status == MORE_OK)
        status = core_pipeline_create(f->functions, steps, "cases.json", 0, &pipeline, &error);
    if (status == MORE_OK)
        status = core_pipeline_run(pipeline, &decoded->abi, &pixels, &error);
    if (status != MORE_OK)
        fail_msg("%s", error.message);
    bool equal = pixels.abi.height == json_integer_value(json_array_get(shape, 1)) &&
                 pixels.abi.width == json_integer_value(json_array_get(shape, 2));
    sha256(pixels.abi.data, core_image_bytes(&pixels.abi), hex);
    equal = equal && !strcmp(hex, text_of(item, "sha256"));
    if (!equal)
        print_error("%s through %s: pixels differ\n", text_of(item, "image"), steps);
    core_image_free(&pixels);
    core_pipeline_free(pipeline);
    free(steps);
    return equal;
}

static void test_pixels(void **state)
{
    const fixture *f = *state;
    json_t *image, *item;
    size_t index, number;
    int wrong = 0, equal = 0, images = 0;
    json_array_foreach(json_object_get(f->json, "images"), index, image)
    {
        core_image decoded;
        const char *twin = text_of(image, "twin"), *file = text_of(image, "file");
        core_image_init(&decoded, 0);
        load(f, twin ? twin : file, &decoded);
        images++;
        json_array_foreach(json_object_get(f->json, "cases"), number, item)
        {
            if (strcmp(text_of(item, "image"), file))
                continue;
            if (run_case(f, item, &decoded))
                equal++;
            else
                wrong++;
        }
        core_image_free(&decoded);
    }
    print_message("pixels: %d cases of %d images bit-equal to transformers and Pillow\n", equal, images);
    assert_int_equal(wrong, 0);
    assert_int_equal(equal, json_array_size(json_object_get(f->json, "cases")));
    assert_true(images >= 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_decoded_bytes),
        cmocka_unit_test(test_jpeg_distance),
        cmocka_unit_test(test_pixels),
    };
    return cmocka_run_group_tests_name("pixels", tests, set_up, tear_down);
}
