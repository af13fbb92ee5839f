/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/value.h"

#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN 64       /* bytes of a value that a message quotes */
#define NAME_LENGTH 40 /* longest name */

static const char *const type_names[] = {"?", "bool", "int64", "double", "string"};

const char *core_type_name(more_type type)
{
    return type_names[type >= MORE_BOOL && type <= MORE_STRING ? type : 0];
}

more_type core_type_from_name(const char *name, size_t size)
{
    for (more_type type = MORE_BOOL; type <= MORE_STRING; type++)
        if (strlen(type_names[type]) == size && !memcmp(type_names[type], name, size))
            return type;
    return 0;
}

bool core_is_name(const char *text)
{
    if (*text < 'a' || *text > 'z')
        return false;
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return !text[length] && length <= NAME_LENGTH;
}

/* ---- Parsing ---------------------------------------------------------------------------------------------------- */

static more_status not_a(const char *what, const char *text, more_error *error)
{
    char shown[SHOWN];
    return more_fail(error, MORE_ERROR_ARGUMENT, "must be %s, not '%s'", what,
                     core_printable(text, shown, sizeof shown));
}

static more_status parse_bool(const char *text, int64_t *value, more_error *error)
{
    static const char *const words[] = {"false", "no", "off", "0", "true", "yes", "on", "1"};
    for (int i = 0; i < 8; i++)
        if (!strcmp(words[i], text)) {
            *value = i >= 4;
            return MORE_OK;
        }
    return not_a("true or false", text, error);
}

static more_status parse_int64(const char *text, int64_t *value, more_error *error)
{
    const char *digits = text + (*text == '-' || *text == '+');
    bool hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
    digits += hex ? 2 : 0;
    size_t length = strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789");
    if (!length || digits[length])
        return not_a("a whole number (int64)", text, error);
    errno = 0;
    unsigned long long magnitude = strtoull(digits, NULL, hex ? 16 : 10);
    bool negative = *text == '-';
    if (errno == ERANGE || magnitude > (unsigned long long)INT64_MAX + negative)
        return not_a("a whole number of 64 bits", text, error);
    *value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return MORE_OK;
}

/* A number without a fraction bar, up to *end. */
static bool parse_plain_double(const char *text, char **end, double *value)
{
    const char *first = text + (*text == '-' || *text == '+');
    if ((*first < '0' || *first > '9') && *first != '.')
        return false;
    locale_t c = newlocale(LC_ALL_MASK, "C", NULL);
    if (!c)
        return false;
    *value = strtod_l(text, end, c);
    freelocale(c);
    return *end != text && isfinite(*value);
}

static more_status parse_double(const char *text, double *value, more_error *error)
{
    char *end;
    double number, divisor = 1;
    bool good = parse_plain_double(text, &end, &number);
    if (good && *end == '/')
        good = parse_plain_double(end + 1, &end, &divisor);
    if (!good || *end || divisor == 0 || !isfinite(number / divisor))
        return not_a("a finite number, or a fraction as in 1/255", text, error);
    *value = number / divisor;
    return MORE_OK;
}

more_status core_value_parse(more_type type, const char *text, more_value *value, more_error *error)
{
    value->type = type;
    switch (type) {
    case MORE_BOOL:
        return parse_bool(text, &value->as.i, error);
    case MORE_INT64:
        return parse_int64(text, &value->as.i, error);
    case MORE_DOUBLE:
        return parse_double(text, &value->as.f, error);
    case MORE_STRING:
        value->as.s = text;
        return MORE_OK;
    default:
        return more_fail(error, MORE_ERROR_ARGUMENT, "is of type number %d, which there is not", type);
    }
}

more_status core_int32_list(const char *text, int32_t *numbers, int32_t limit, int32_t *count, more_error *error)
{
    char word[SHOWN];
    *count = 0;
    for (const char *at = text + strspn(text, " \t\n,"); *at; at += strspn(at, " \t\n,")) {
        size_t length = strcspn(at, " \t\n,");
        int64_t number;
        snprintf(word, sizeof word, "%.*s", length < sizeof word ? (int)length : (int)sizeof word - 1, at);
        if (length >= sizeof word || parse_int64(word, &number, NULL) != MORE_OK || number < INT32_MIN ||
            number > INT32_MAX)
            return not_a("whole numbers of 32 bits, apart by commas", word, error);
        if (*count == limit)
            return more_fail(error, MORE_ERROR_ARGUMENT, "must be at most %d numbers", limit);
        numbers[(*count)++] = (int32_t)number;
        at += length;
    }
    return *count ? MORE_OK : not_a("at least one whole number", text, error);
}

/* ---- Quotes ----------------------------------------------------------------------------------------------------- */

static const char escape_letters[] = "\"\\nt", escaped_bytes[] = "\"\\\n\t";

more_status core_unquote(const char *text, char **plain, size_t *used, more_error *error)
{
    core_buffer out = {0};
    const char *at = text + 1;
    *plain = NULL;
    core_buffer_append(&out, "", 0);
    for (; *at && *at != '"'; at++) {
        const char *letter = NULL;
        if (*at == '\\') {
            letter = at[1] ? strchr(escape_letters, at[1]) : NULL;
            if (!letter) {
                core_buffer_free(&out);
                return more_fail(error, MORE_ERROR_ARGUMENT,
                                 "has a backslash before neither \", \\, n nor t; write \\\\ for one backslash");
            }
            at++;
        }
        core_buffer_append(&out, letter ? &escaped_bytes[letter - escape_letters] : at, 1);
    }
    if (!*at) {
        core_buffer_free(&out);
        return more_fail(error, MORE_ERROR_ARGUMENT, "lacks its closing double quote");
    }
    *used = (size_t)(at - text) + 1;
    *plain = core_buffer_take(&out);
    return *plain ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "is too long for the memory there is");
}

void core_quote(core_buffer *buffer, const char *text)
{
    core_buffer_text(buffer, "\"");
    for (; *text; text++) {
        const char *escaped = strchr(escaped_bytes, *text);
        if (escaped) {
            char pair[2] = {'\\', escape_letters[escaped - escaped_bytes]};
            core_buffer_append(buffer, pair, 2);
        } else {
            core_buffer_append(buffer, text, 1);
        }
    }
    core_buffer_text(buffer, "\"");
}

void core_value_write(core_buffer *buffer, const more_value *value)
{
    char number[64];
    switch (value->type) {
    case MORE_BOOL:
        core_buffer_text(buffer, value->as.i ? "true" : "false");
        break;
    case MORE_INT64:
        core_buffer_format(buffer, "%lld", (long long)value->as.i);
        break;
    case MORE_DOUBLE:
        /* the shortest that reads back the same; a locale's decimal comma is put right again */
        for (int digits = 6; digits <= 17; digits++) {
            snprintf(number, sizeof number, "%.*g", digits, value->as.f);
            if (strtod(number, NULL) == value->as.f)
                break;
        }
        number[strcspn(number, ",")] = strchr(number, ',') ? '.' : '\0';
        core_buffer_text(buffer, number);
        break;
    default:
        core_quote(buffer, value->as.s);
    }
}

const char *core_printable(const char *text, char *out, size_t size)
{
    size_t used = 0;
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        char piece[8];
        int length = snprintf(piece, sizeof piece, byte < ' ' || byte == 0x7f ? "\\x%02x" : "%c", byte);
        if (byte == '\n' || byte == '\t')
            length = snprintf(piece, sizeof piece, "\\%c", byte == '\n' ? 'n' : 't');
        if (used + (size_t)length + 4 > size) {
            /* not in the middle of a UTF-8 character */
            while (used && ((unsigned char)text[0] & 0xc0) == 0x80 && ((unsigned char)out[used - 1] & 0x80)) {
                used--;
                text--;
            }
            memcpy(out + used, "...", 3);
            used += 3;
            break;
        }
        memcpy(out + used, piece, (size_t)length);
        used += (size_t)length;
    }
    out[used] = '\0';
    return out;
}
