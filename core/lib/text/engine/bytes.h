/* SPDX-License-Identifier: Apache-2.0
 *
 * GPT-2's letters for bytes: printable Latin-1 stands for itself, the other 68 bytes are U+0100 and up, in order.
 */
#ifndef CORE_BYTES_H
#define CORE_BYTES_H

#include <stdbool.h>
#include <stdint.h>

static inline bool core_byte_is_printable(uint32_t code)
{
    return (code >= 0x21 && code <= 0x7E) || (code >= 0xA1 && code <= 0xFF && code != 0xAD);
}

/* The letter of a byte: 0x00-0x20 are U+0100-U+0120, 0x7F-0xA0 U+0121-U+0142, 0xAD U+0143. */
static inline uint32_t core_byte_letter(unsigned char byte)
{
    if (core_byte_is_printable(byte))
        return byte;
    return byte <= 0x20 ? 0x100u + byte : byte == 0xAD ? 0x143u : 0x121u + byte - 0x7Fu;
}

/* The byte of a letter, -1 for a character that is none. */
static inline int core_byte_of_letter(uint32_t code)
{
    if (core_byte_is_printable(code))
        return (int)code;
    if (code < 0x100 || code > 0x143)
        return -1;
    return (int)(code <= 0x120 ? code - 0x100 : code == 0x143 ? 0xAD : code - 0x121 + 0x7F);
}

#endif
