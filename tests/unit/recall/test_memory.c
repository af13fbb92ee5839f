/* SPDX-License-Identifier: Apache-2.0
 *
 * Which pictures stay in memory: the ones last used, as many as the limits allow; and SHA-256.
 */
#include "recall/visual_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WIDTH 4
#define ROW_BYTES (WIDTH * sizeof(float))

static core_digest content_of(int number)
{
    core_digest content = {{0}};
    content.bytes[31] = (unsigned char)number;
    return content;
}

static void keep(core_visual_memory *memory, int number, int64_t rows)
{
    core_visual visual;
    assert_true(core_visual_create(&visual, rows, WIDTH));
    visual.content = content_of(number);
    for (int64_t i = 0; i < rows * WIDTH; i++)
        visual.rows[i] = (float)number;
    core_visual_memory_keep(memory, &visual);
    core_visual_free(&visual);
}

static bool has(core_visual_memory *memory, int number)
{
    core_visual visual = {0};
    core_digest content = content_of(number);
    bool found = core_visual_memory_find(memory, &content, &visual);
    if (found) {
        assert_true(core_digest_equal(&visual.content, &content));
        assert_true(visual.rows[0] >= (float)number && visual.rows[0] <= (float)number);
    }
    core_visual_free(&visual);
    return found;
}

static void last_used_stay(void **state)
{
    core_visual_memory memory = {.limit = 10 * ROW_BYTES, .width = WIDTH};
    (void)state;
    keep(&memory, 1, 4);
    keep(&memory, 2, 4);
    assert_true(has(&memory, 1));
    keep(&memory, 3, 4); /* 2 was longest unused */
    assert_true(has(&memory, 3) && has(&memory, 1) && !has(&memory, 2));
    assert_int_equal(memory.bytes, 8 * ROW_BYTES);
    keep(&memory, 3, 4); /* is there already */
    assert_int_equal(memory.count, 2);
    keep(&memory, 4, 11); /* larger than all that may be kept */
    assert_true(!has(&memory, 4) && has(&memory, 3) && has(&memory, 1));
    keep(&memory, 5, 10);
    assert_true(has(&memory, 5) && !has(&memory, 3) && !has(&memory, 1));
    core_visual_memory_clear(&memory);
    assert_int_equal(memory.bytes, 0);
    assert_false(has(&memory, 5));
}

static void no_more_than_many(void **state)
{
    core_visual_memory memory = {.limit = 1 << 20, .width = WIDTH};
    (void)state;
    for (int i = 0; i < CORE_KEPT_VISUALS + 3; i++)
        keep(&memory, i, 1);
    assert_int_equal(memory.count, CORE_KEPT_VISUALS);
    assert_int_equal(memory.bytes, CORE_KEPT_VISUALS * ROW_BYTES);
    assert_true(!has(&memory, 2) && has(&memory, 3) && has(&memory, CORE_KEPT_VISUALS + 2));
    core_visual_memory_clear(&memory);
}

/* Rows outlive the memory while somebody holds them. */
static void rows_are_shared(void **state)
{
    core_visual_memory memory = {.limit = 1 << 20, .width = WIDTH};
    core_digest content = content_of(7);
    core_visual held;
    (void)state;
    keep(&memory, 7, 2);
    assert_true(core_visual_memory_find(&memory, &content, &held));
    assert_ptr_equal(held.rows, memory.visuals[0].rows);
    core_visual_memory_clear(&memory);
    assert_true(held.rows[2 * WIDTH - 1] >= 7 && held.rows[2 * WIDTH - 1] <= 7);
    core_visual_free(&held);
}

/* The test vectors of FIPS 180-2, appendix B. */
static void digests(void **state)
{
    static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    core_digest digest, parts;
    char text[65];
    (void)state;
    assert_int_equal(core_digest_of("abc", 3, &digest, NULL), MORE_OK);
    core_digest_text(&digest, text);
    assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(core_digest_of(NULL, 0, &digest, NULL), MORE_OK);
    core_digest_text(&digest, text);
    assert_string_equal(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_int_equal(core_digest_of(two_blocks, sizeof two_blocks - 1, &digest, NULL), MORE_OK);
    core_digest_text(&digest, text);
    assert_string_equal(text, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    assert_int_equal(core_digest_of_both(two_blocks, 5, two_blocks + 5, sizeof two_blocks - 6, &parts, NULL), MORE_OK);
    assert_true(core_digest_equal(&digest, &parts));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_used_stay),
        cmocka_unit_test(no_more_than_many),
        cmocka_unit_test(rows_are_shared),
        cmocka_unit_test(digests),
    };
    return cmocka_run_group_tests_name("pictures in memory", tests, NULL, NULL);
}
