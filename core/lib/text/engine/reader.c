/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/reader.h"

#include "text/engine/utf8.h"
#include <stdlib.h>
#include <string.h>

typedef struct cursor {
    const char *at, *end, *begin;
    const char *name;   /* of the file */
    const char *member; /* "model.vocab" */
    more_error *error;
} cursor;

static more_status corrupt(const cursor *c, const char *expected)
{
    return more_fail(c->error, MORE_ERROR_CORRUPT, "%s: %s: expected %s at byte %zu of it", c->name, c->member,
                     expected, (size_t)(c->at - c->begin));
}

static void skip_space(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t' || *c->at == '\r'))
        c->at++;
}

/* Moves on when the next character is `wanted`. */
static bool take(cursor *c, char wanted)
{
    skip_space(c);
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static bool skip_string(cursor *c)
{
    while (c->at < c->end) {
        const char *stop = memchr(c->at, '"', (size_t)(c->end - c->at));
        if (!stop)
            break;
        size_t slashes = 0;
        while (stop - slashes > c->at && stop[-1 - (ptrdiff_t)slashes] == '\\')
            slashes++;
        c->at = stop + 1;
        if (slashes % 2 == 0)
            return true;
    }
    c->at = c->end;
    return false;
}

/* Skips one value without looking inside more than needed to find its end. */
static bool skip_value(cursor *c)
{
    size_t depth = 0;
    skip_space(c);
    do {
        if (c->at == c->end)
            return false;
        char ch = *c->at++;
        if (ch == '"' && !skip_string(c))
            return false;
        if (ch == '{' || ch == '[')
            depth++;
        else if ((ch == '}' || ch == ']') && depth)
            depth--;
        else if (!depth && ch != '"')
            while (c->at < c->end && !strchr(",}] \n\t\r", *c->at))
                c->at++;
        if (depth)
            skip_space(c);
    } while (depth);
    return true;
}

/* Walks the members of the object at the cursor; `key` is the raw text between the quotes. */
static bool next_member(cursor *c, bool *first, core_span *key)
{
    if (*first ? !take(c, '{') : !take(c, ','))
        return false;
    *first = false;
    if (!take(c, '"'))
        return false;
    key->data = c->at;
    if (!skip_string(c))
        return false;
    key->size = (size_t)(c->at - 1 - key->data);
    return take(c, ':');
}

static bool is_key(core_span key, const char *text)
{
    return key.size == strlen(text) && !memcmp(key.data, text, key.size);
}

/* Takes the value at the cursor out of the document when it opens with `open`. */
static bool cut_member(cursor *c, char open, core_span *member, const char **copied, core_buffer *rest)
{
    skip_space(c);
    const char *begin = c->at;
    if (!skip_value(c))
        return false;
    if (*begin != open)
        return true;
    *member = (core_span){begin, (size_t)(c->at - begin)};
    core_buffer_append(rest, *copied, (size_t)(begin - *copied));
    core_buffer_text(rest, open == '{' ? "{}" : "[]");
    *copied = c->at;
    return true;
}

static bool split_model(cursor *c, core_span *vocab, core_span *merges, const char **copied, core_buffer *rest)
{
    bool first = true;
    core_span key;
    skip_space(c);
    if (c->at == c->end || *c->at != '{')
        return skip_value(c);
    while (next_member(c, &first, &key)) {
        bool good = is_key(key, "vocab")    ? cut_member(c, '{', vocab, copied, rest)
                    : is_key(key, "merges") ? cut_member(c, '[', merges, copied, rest)
                                            : skip_value(c);
        if (!good)
            return false;
    }
    return take(c, '}');
}

void core_reader_split(const char *json, size_t size, core_span *vocab, core_span *merges, core_buffer *rest)
{
    cursor c = {.at = json, .end = json + size, .begin = json};
    const char *copied = json;
    bool first = true;
    core_span key;
    *vocab = *merges = (core_span){0};
    while (next_member(&c, &first, &key)) {
        if (!(is_key(key, "model") ? split_model(&c, vocab, merges, &copied, rest) : skip_value(&c)))
            break;
    }
    core_buffer_append(rest, copied, (size_t)(json + size - copied));
}

static bool hex4(cursor *c, uint32_t *value)
{
    *value = 0;
    if (c->end - c->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char ch = *c->at++;
        uint32_t digit = ch >= '0' && ch <= '9'   ? (uint32_t)(ch - '0')
                         : ch >= 'a' && ch <= 'f' ? (uint32_t)(ch - 'a' + 10)
                         : ch >= 'A' && ch <= 'F' ? (uint32_t)(ch - 'A' + 10)
                                                  : 16;
        if (digit == 16)
            return false;
        *value = *value << 4 | digit;
    }
    return true;
}

/* A \u escape, behind its u; two of them make a character above U+FFFF. */
static bool unicode_escape(cursor *c, core_buffer *text)
{
    uint32_t high, low;
    if (!hex4(c, &high) || (high >= 0xDC00 && high < 0xE000))
        return false;
    if (high >= 0xD800 && high < 0xDC00) {
        if (c->end - c->at < 2 || c->at[0] != '\\' || c->at[1] != 'u')
            return false;
        c->at += 2;
        if (!hex4(c, &low) || low < 0xDC00 || low >= 0xE000)
            return false;
        high = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    }
    core_utf8_append(text, high);
    return true;
}

static bool unescape(cursor *c, core_buffer *text)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    c->at++;
    if (c->at == c->end)
        return false;
    char letter = *c->at++;
    if (letter == 'u')
        return unicode_escape(c, text);
    const char *found = letter ? strchr(letters, letter) : NULL;
    if (found)
        core_buffer_append(text, &meanings[found - letters], 1);
    return found != NULL;
}

/* A string at the cursor; without escapes *value points into the file, else into `text`. */
static more_status read_string(cursor *c, core_buffer *text, core_span *value)
{
    if (!take(c, '"'))
        return corrupt(c, "a string");
    const char *begin = c->at;
    core_buffer_clear(text);
    bool escaped = false;
    while (c->at < c->end && *c->at != '"') {
        const char *plain = c->at;
        while (c->at < c->end && *c->at != '"' && *c->at != '\\' && (unsigned char)*c->at >= 0x20)
            c->at++;
        if (core_utf8_check(plain, (size_t)(c->at - plain)) != (size_t)(c->at - plain))
            return corrupt(c, "UTF-8 before the string's end");
        if (c->at < c->end && *c->at == '"' && !escaped)
            break;
        core_buffer_append(text, plain, (size_t)(c->at - plain));
        if (c->at < c->end && *c->at == '\\') {
            escaped = true;
            if (!unescape(c, text))
                return corrupt(c, "a valid escape");
        } else if (c->at < c->end && *c->at != '"')
            return corrupt(c, "no control character in a string");
    }
    if (c->at == c->end)
        return corrupt(c, "the end of a string");
    *value = escaped ? (core_span){text->data, text->size} : (core_span){begin, (size_t)(c->at - begin)};
    c->at++;
    if (text->failed)
        return more_fail(c->error, MORE_ERROR_MEMORY, "%s: out of memory", c->name);
    return MORE_OK;
}

static bool read_id(cursor *c, int64_t *id)
{
    skip_space(c);
    const char *begin = c->at;
    for (*id = 0; c->at < c->end && *c->at >= '0' && *c->at <= '9' && c->at - begin < 12; c->at++)
        *id = *id * 10 + (*c->at - '0');
    return c->at > begin;
}

more_status core_reader_vocab(core_span vocab, const char *name, core_reader_token token, void *context,
                              more_error *error)
{
    cursor c = {vocab.data, vocab.data + vocab.size, vocab.data, name, "model.vocab", error};
    core_buffer text = {0};
    core_span value;
    int64_t id = 0;
    more_status status = take(&c, '{') ? MORE_OK : corrupt(&c, "an object");
    if (status == MORE_OK && take(&c, '}'))
        return MORE_OK;
    while (status == MORE_OK) {
        status = read_string(&c, &text, &value);
        if (status == MORE_OK && !(take(&c, ':') && read_id(&c, &id)))
            status = corrupt(&c, "a token's id, a whole number from 0");
        if (status == MORE_OK)
            status = token(context, value.data, value.size, id, error);
        if (status == MORE_OK && take(&c, '}'))
            break;
        if (status == MORE_OK && !take(&c, ','))
            status = corrupt(&c, "a comma");
    }
    core_buffer_free(&text);
    return status;
}

static more_status read_merge(cursor *c, core_buffer texts[2], core_span sides[2])
{
    if (take(c, '[')) {
        more_status status = read_string(c, &texts[0], &sides[0]);
        if (status == MORE_OK && !take(c, ','))
            status = corrupt(c, "two texts in a merge");
        if (status == MORE_OK)
            status = read_string(c, &texts[1], &sides[1]);
        if (status == MORE_OK && !take(c, ']'))
            status = corrupt(c, "two texts in a merge");
        return status;
    }
    more_status status = read_string(c, &texts[0], &sides[0]);
    if (status != MORE_OK)
        return status;
    const char *space = memchr(sides[0].data, ' ', sides[0].size);
    size_t left = space ? (size_t)(space - sides[0].data) : 0;
    if (!space || memchr(space + 1, ' ', sides[0].size - left - 1))
        return corrupt(c, "a merge of two texts with one space between, before");
    sides[1] = (core_span){space + 1, sides[0].size - left - 1};
    sides[0].size = left;
    return MORE_OK;
}

more_status core_reader_merges(core_span merges, const char *name, core_reader_merge merge, void *context,
                               more_error *error)
{
    cursor c = {merges.data, merges.data + merges.size, merges.data, name, "model.merges", error};
    core_buffer texts[2] = {{0}, {0}};
    core_span sides[2];
    more_status status = take(&c, '[') ? MORE_OK : corrupt(&c, "an array");
    if (status == MORE_OK && take(&c, ']'))
        return MORE_OK;
    while (status == MORE_OK) {
        status = read_merge(&c, texts, sides);
        if (status == MORE_OK)
            status = merge(context, sides[0].data, sides[0].size, sides[1].data, sides[1].size, error);
        if (status == MORE_OK && take(&c, ']'))
            break;
        if (status == MORE_OK && !take(&c, ','))
            status = corrupt(&c, "a comma");
    }
    core_buffer_free(&texts[0]);
    core_buffer_free(&texts[1]);
    return status;
}
