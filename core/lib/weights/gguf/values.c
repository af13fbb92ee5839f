/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/gguf/values.h"

#include "base/json.h"
#include "text/engine/utf8.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEEPEST 4     /* arrays of arrays of ... */
#define SHOWN 60      /* bytes of a name that a message shows */
#define LENGTH 8      /* bytes of a text's length */
#define ARRAY_HEAD 12 /* of an array: type and count */

uint64_t core_gguf_number(const unsigned char *at, size_t width)
{
    uint64_t number = 0;
    for (size_t i = width; i > 0; i--)
        number = number << 8 | at[i - 1];
    return number;
}

static size_t left(const core_gguf_cursor *cursor)
{
    return (size_t)(cursor->end - cursor->at);
}

more_status core_gguf_take(core_gguf_cursor *cursor, size_t width, const char *what, uint64_t *number,
                           more_error *error)
{
    *number = 0;
    if (left(cursor) < width)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: the file ends inside %s: it is truncated", cursor->path, what);
    *number = core_gguf_number(cursor->at, width);
    cursor->at += width;
    return MORE_OK;
}

more_status core_gguf_take_text(core_gguf_cursor *cursor, const char *what, core_gguf_text *text, more_error *error)
{
    uint64_t size = 0;
    more_status status = core_gguf_take(cursor, LENGTH, what, &size, error);
    if (status != MORE_OK)
        return status;
    if (size > left(cursor))
        return more_fail(error, MORE_ERROR_CORRUPT,
                         "%s: %s: a text of %" PRIu64 " bytes does not fit the %zu that are left of the file",
                         cursor->path, what, size, left(cursor));
    *text = (core_gguf_text){(const char *)cursor->at, (size_t)size};
    cursor->at += size;
    return MORE_OK;
}

more_status core_gguf_take_name(core_gguf_cursor *cursor, const char *what, size_t limit, char **name,
                                more_error *error)
{
    core_gguf_text text;
    *name = NULL;
    more_status status = core_gguf_take_text(cursor, what, &text, error);
    if (status != MORE_OK)
        return status;
    bool clean = text.size && core_utf8_check(text.data, text.size) == text.size;
    for (size_t i = 0; i < text.size && clean; i++)
        clean = (unsigned char)text.data[i] >= 0x20 && text.data[i] != 0x7F;
    if (!clean || text.size > limit)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: %s: its name of %zu bytes is %s", cursor->path, what,
                         text.size, text.size > limit ? "longer than the format allows" : "no printable UTF-8 text");
    *name = strndup(text.data, text.size);
    return *name ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", cursor->path);
}

/* ---- Values ----------------------------------------------------------------------------------------------------- */

size_t core_gguf_width(uint64_t type)
{
    static const unsigned char widths[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < sizeof widths ? widths[type] : 0;
}

static more_status bad(const core_gguf_cursor *cursor, const char *key, const char *reason, more_error *error)
{
    return more_fail(error, MORE_ERROR_CORRUPT, "%s: key '%.*s': %s", cursor->path, SHOWN, key, reason);
}

static double real_of(const unsigned char *at, core_gguf_type type)
{
    double whole;
    float single;
    uint64_t bits = core_gguf_number(at, type == CORE_GGUF_F32 ? 4 : 8);
    uint32_t low = (uint32_t)bits;
    memcpy(&whole, &bits, sizeof whole);
    memcpy(&single, &low, sizeof single);
    return type == CORE_GGUF_F32 ? (double)single : whole;
}

/* A scalar as JSON; NULL for a number that JSON has not, a bool that is neither, and without memory. */
static json_t *scalar(const unsigned char *at, core_gguf_type type)
{
    size_t width = core_gguf_width(type);
    uint64_t number = core_gguf_number(at, width);
    switch (type) {
    case CORE_GGUF_F32:
    case CORE_GGUF_F64:
        return json_real(real_of(at, type));
    case CORE_GGUF_BOOL:
        return number > 1 ? NULL : json_boolean(number);
    case CORE_GGUF_I8:
        return json_integer((int8_t)number);
    case CORE_GGUF_I16:
        return json_integer((int16_t)number);
    case CORE_GGUF_I32:
        return json_integer((int32_t)number);
    case CORE_GGUF_U64:
        return number > INT64_MAX ? json_real((double)number) : json_integer((json_int_t)number);
    case CORE_GGUF_I64:
        return json_integer((int64_t)number);
    default:
        return json_integer((json_int_t)number);
    }
}

/* Bytes that are not UTF-8 become '?': licences and names are not worth a refusal. */
static json_t *text_json(const core_gguf_text *text)
{
    json_t *json = json_stringn(text->data, text->size);
    char *copy = json ? NULL : strndup(text->data, text->size);
    if (copy)
        json = core_json_text(copy);
    free(copy);
    return json;
}

/* Moves over the elements, checking that they are there. */
static more_status skip_array(core_gguf_cursor *cursor, const char *key, int depth, core_gguf_array *array,
                              more_error *error)
{
    uint64_t type = 0, count = 0;
    more_status status = core_gguf_take(cursor, 4, "the type of an array", &type, error);
    if (status == MORE_OK)
        status = core_gguf_take(cursor, 8, "the length of an array", &count, error);
    if (status != MORE_OK)
        return status;
    size_t least = type == CORE_GGUF_STRING ? LENGTH : type == CORE_GGUF_ARRAY ? ARRAY_HEAD : core_gguf_width(type);
    if (!least)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: key '%.*s': an array of type %" PRIu64 ", which is none",
                         cursor->path, SHOWN, key, type);
    if (count > left(cursor) / least)
        return more_fail(error, MORE_ERROR_CORRUPT,
                         "%s: key '%.*s': an array of %" PRIu64 " elements does not fit the %zu bytes that are left",
                         cursor->path, SHOWN, key, count, left(cursor));
    if (type == CORE_GGUF_ARRAY && depth == DEEPEST)
        return bad(cursor, key, "arrays of arrays, deeper than is taken", error);
    *array = (core_gguf_array){(core_gguf_type)type, count, cursor->at};
    if (core_gguf_width(type))
        cursor->at += count * core_gguf_width(type);
    for (uint64_t i = 0; i < count && !core_gguf_width(type) && status == MORE_OK; i++) {
        core_gguf_text text;
        core_gguf_array inner;
        status = type == CORE_GGUF_STRING ? core_gguf_take_text(cursor, key, &text, error)
                                          : skip_array(cursor, key, depth + 1, &inner, error);
    }
    return status;
}

static json_t *element(const core_gguf_array *array, const unsigned char **at)
{
    if (array->type == CORE_GGUF_STRING) {
        core_gguf_text text;
        text.data = core_gguf_next_text(at, &text.size);
        return text_json(&text);
    }
    json_t *json = scalar(*at, array->type);
    *at += core_gguf_width(array->type);
    return json;
}

static more_status array_json(const core_gguf_cursor *cursor, const char *key, const core_gguf_array *array,
                              json_t **json, more_error *error)
{
    const unsigned char *at = array->data;
    *json = json_array();
    for (uint64_t i = 0; i < array->count && *json; i++)
        if (json_array_append_new(*json, element(array, &at))) {
            json_decref(*json);
            *json = NULL;
            return bad(cursor, key, "an element is neither a finite number nor true or false", error);
        }
    return *json ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", cursor->path);
}

static more_status take_array(core_gguf_cursor *cursor, const char *key, json_t **json, core_gguf_array *array,
                              more_error *error)
{
    more_status status = skip_array(cursor, key, 1, array, error);
    if (status != MORE_OK)
        return status;
    if (array->type == CORE_GGUF_ARRAY)
        *array = (core_gguf_array){0};
    else if (array->count <= CORE_GGUF_SHORT_ARRAY)
        return array_json(cursor, key, array, json, error);
    return MORE_OK;
}

more_status core_gguf_take_value(core_gguf_cursor *cursor, const char *key, json_t **json, core_gguf_array *array,
                                 more_error *error)
{
    uint64_t type = 0;
    core_gguf_text text;
    *json = NULL;
    *array = (core_gguf_array){0};
    more_status status = core_gguf_take(cursor, 4, key, &type, error);
    if (status != MORE_OK)
        return status;
    if (type == CORE_GGUF_ARRAY)
        return take_array(cursor, key, json, array, error);
    if (type == CORE_GGUF_STRING) {
        status = core_gguf_take_text(cursor, key, &text, error);
        if (status == MORE_OK)
            *json = text_json(&text);
    } else {
        size_t width = core_gguf_width(type);
        if (!width)
            return more_fail(error, MORE_ERROR_CORRUPT, "%s: key '%.*s': a value of type %" PRIu64 ", which is none",
                             cursor->path, SHOWN, key, type);
        if (left(cursor) < width)
            return bad(cursor, key, "the file ends inside its value: it is truncated", error);
        *json = scalar(cursor->at, (core_gguf_type)type);
        cursor->at += width;
    }
    if (status == MORE_OK && !*json)
        status = bad(cursor, key, "its value is neither a finite number nor true or false", error);
    return status;
}

const char *core_gguf_next_text(const unsigned char **at, size_t *size)
{
    *size = (size_t)core_gguf_number(*at, LENGTH);
    const char *text = (const char *)*at + LENGTH;
    *at += LENGTH + *size;
    return text;
}
