/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/utf8.h"
#include "text/sentencepiece/model.h"
#include <string.h>

/* The double array is that of Darts-clone. A unit of 32 bits: bits 0-7 the byte that leads here, bit 31 set in the
 * units of values, bit 8 "a value hangs below", bit 9 and bits 10-30 the offset of the children. */
static uint32_t children(uint32_t unit)
{
    return (unit >> 10) << ((unit & 1u << 9) >> 6);
}

/* Length of the longest text at the front that is replaced, 0 without one; *by is what it becomes. A unit or a text
 * outside the tables ends the search. */
static size_t find_replacement(const core_sentencepiece *model, const char *text, size_t size, const char **by)
{
    size_t longest = 0;
    if (!model->charsmap)
        return 0;
    uint32_t at = children(model->charsmap[0]);
    for (size_t i = 0; i < size; i++) {
        at ^= (unsigned char)text[i];
        if (at >= model->charsmap_size)
            break;
        uint32_t unit = model->charsmap[at];
        if ((unit & 0x800000FFu) != (unsigned char)text[i])
            break;
        at ^= children(unit);
        if (!(unit >> 8 & 1))
            continue;
        uint32_t value = at < model->charsmap_size ? model->charsmap[at] & 0x7FFFFFFFu : UINT32_MAX;
        if (value >= model->replacements.size)
            break;
        *by = model->replacements.data + value;
        longest = i + 1;
    }
    return longest;
}

/* Bytes of text that the front of it gives at once; what they become in *by, of *by_size bytes. */
static size_t next_part(const core_sentencepiece *model, const char *text, size_t size, const char **by,
                        size_t *by_size)
{
    uint32_t token, code;
    size_t length = core_trie_match(&model->user, text, size, &token);
    if (!length && (length = find_replacement(model, text, size, by))) {
        *by_size = strlen(*by);
        return length;
    }
    if (!length)
        core_utf8_next(text, size, &length, &code);
    *by = text;
    *by_size = length;
    return length;
}

static void append_space(const core_sentencepiece *model, core_buffer *normal)
{
    core_buffer_text(normal, model->escape_spaces ? CORE_SPACE_MARK : " ");
}

static void append_part(const core_sentencepiece *model, const char *part, size_t size, core_buffer *normal)
{
    while (size) {
        const char *space = model->escape_spaces ? memchr(part, ' ', size) : NULL;
        size_t plain = space ? (size_t)(space - part) : size;
        core_buffer_append(normal, part, plain);
        part += plain;
        size -= plain;
        if (size) {
            append_space(model, normal);
            part++;
            size--;
        }
    }
}

/* Bytes in front that are spaces, and go. */
static size_t leading_spaces(const core_sentencepiece *model, const char *text, size_t size)
{
    const char *part;
    size_t part_size, at = 0;
    while (model->remove_extra_spaces && at < size) {
        size_t length = next_part(model, text + at, size - at, &part, &part_size);
        if (part_size != 1 || *part != ' ')
            break;
        at += length;
    }
    return at;
}

static void drop_trailing_spaces(const core_sentencepiece *model, size_t start, core_buffer *normal)
{
    const char *space = model->escape_spaces ? CORE_SPACE_MARK : " ";
    size_t unit = strlen(space);
    while (normal->size >= start + unit && !memcmp(normal->data + normal->size - unit, space, unit))
        normal->size -= unit;
}

void core_sentencepiece_normalize(const core_sentencepiece *model, const char *text, size_t size, bool prefix,
                                  core_buffer *normal)
{
    const char *part;
    size_t part_size, start = normal->size;
    bool dummy = prefix && model->dummy_prefix, after_space = model->remove_extra_spaces;
    size_t at = leading_spaces(model, text, size);
    if (at == size)
        return;
    if (dummy && !model->space_as_suffix)
        append_space(model, normal);
    while (at < size) {
        at += next_part(model, text + at, size - at, &part, &part_size);
        for (; after_space && part_size && *part == ' '; part_size--)
            part++;
        append_part(model, part, part_size, normal);
        if (part_size)
            after_space = model->remove_extra_spaces && part[part_size - 1] == ' ';
    }
    if (model->remove_extra_spaces)
        drop_trailing_spaces(model, start, normal);
    if (dummy && model->space_as_suffix)
        append_space(model, normal);
}
