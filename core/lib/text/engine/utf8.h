/* SPDX-License-Identifier: Apache-2.0
 *
 * UTF-8, character by character, with the ill-formed parts of the Unicode standard (3.9, "maximal subpart").
 */
#ifndef CORE_UTF8_H
#define CORE_UTF8_H

#include "base/buffer.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum core_utf8 {
    CORE_UTF8_WHOLE, /* a character */
    CORE_UTF8_BAD,   /* bytes that no continuation can make a character */
    CORE_UTF8_CUT    /* all bytes that there are begin a character, which needs more */
} core_utf8;

#define CORE_UTF8_REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

/* Looks at the front of `size` > 0 bytes: *length is the number of bytes that the verdict is about, *code the character
 * when it is whole. [any-thread] */
core_utf8 core_utf8_next(const char *bytes, size_t size, size_t *length, uint32_t *code);
/* Length in bytes of the last character of valid UTF-8, size > 0; *code is the character. [any-thread] */
size_t core_utf8_last(const char *bytes, size_t size, uint32_t *code);
/* Offset of the first byte that is not part of a character; `size` when all is well. [any-thread] */
size_t core_utf8_check(const char *bytes, size_t size);
/* Appends the bytes with each maximal ill-formed part replaced by U+FFFD. [any-thread] */
void core_utf8_lossy(const char *bytes, size_t size, core_buffer *text);
/* Appends one character. [any-thread] */
void core_utf8_append(core_buffer *text, uint32_t code);
/* Unicode's White_Space property. [any-thread] */
bool core_utf8_is_space(uint32_t code);

#endif
