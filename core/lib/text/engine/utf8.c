/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/utf8.h"

/* Range of the second byte by the first one: E0, ED, F0 and F4 narrow it, which shuts out overlong forms, surrogates
 * and what lies above U+10FFFF. */
static bool second_byte_fits(unsigned char first, unsigned char second)
{
    unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    return second >= low && second <= high;
}

core_utf8 core_utf8_next(const char *bytes, size_t size, size_t *length, uint32_t *code)
{
    const unsigned char *b = (const unsigned char *)bytes;
    *length = 1;
    if (b[0] < 0x80) {
        *code = b[0];
        return CORE_UTF8_WHOLE;
    }
    if (b[0] < 0xC2 || b[0] > 0xF4)
        return CORE_UTF8_BAD;
    size_t needed = b[0] < 0xE0 ? 2 : b[0] < 0xF0 ? 3 : 4;
    uint32_t value = b[0] & (0x7Fu >> needed);
    for (size_t i = 1; i < needed; i++) {
        *length = i;
        if (i == size)
            return CORE_UTF8_CUT;
        if (i == 1 ? !second_byte_fits(b[0], b[1]) : (b[i] & 0xC0) != 0x80)
            return CORE_UTF8_BAD;
        value = value << 6 | (b[i] & 0x3Fu);
    }
    *length = needed;
    *code = value;
    return CORE_UTF8_WHOLE;
}

size_t core_utf8_last(const char *bytes, size_t size, uint32_t *code)
{
    size_t start = size - 1, length;
    while (start && ((unsigned char)bytes[start] & 0xC0) == 0x80)
        start--;
    if (core_utf8_next(bytes + start, size - start, &length, code) != CORE_UTF8_WHOLE)
        *code = 0xFFFD;
    return size - start;
}

size_t core_utf8_check(const char *bytes, size_t size)
{
    size_t at = 0, length;
    uint32_t code;
    while (at < size && core_utf8_next(bytes + at, size - at, &length, &code) == CORE_UTF8_WHOLE)
        at += length;
    return at;
}

void core_utf8_lossy(const char *bytes, size_t size, core_buffer *text)
{
    size_t at = 0;
    for (;;) {
        size_t good = core_utf8_check(bytes + at, size - at), length;
        uint32_t code;
        core_buffer_append(text, bytes + at, good);
        at += good;
        if (at == size)
            return;
        core_utf8_next(bytes + at, size - at, &length, &code);
        core_buffer_text(text, CORE_UTF8_REPLACEMENT);
        at += length;
    }
}

void core_utf8_append(core_buffer *text, uint32_t code)
{
    unsigned char b[4];
    size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = size; i-- > 1; code >>= 6)
        b[i] = (unsigned char)(0x80 | (code & 0x3F));
    b[0] = (unsigned char)(size == 1 ? code : (0xF00u >> size & 0xFF) | code);
    core_buffer_append(text, b, size);
}

bool core_utf8_is_space(uint32_t code)
{
    return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
           (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F ||
           code == 0x3000;
}
