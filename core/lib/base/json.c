/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include "base/file.h"
#include <stdlib.h>
#include <string.h>

more_status core_json_parse(const char *text, size_t size, const char *path, json_t **json, more_error *error)
{
    json_error_t reason;
    *json = json_loadb(text, size, JSON_ALLOW_NUL, &reason);
    if (!*json)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s:%d:%d: not valid JSON: %s", path, reason.line, reason.column,
                         reason.text);
    return MORE_OK;
}

more_status core_json_load(const char *path, json_t **json, more_error *error)
{
    core_buffer text = {0};
    *json = NULL;
    more_status status = core_file_read(path, CORE_JSON_LIMIT, &text, error);
    if (status == MORE_OK)
        status = core_json_parse(text.data, text.size, path, json, error);
    core_buffer_free(&text);
    return status;
}

static json_t *child(json_t *json, const char *name, size_t length)
{
    if (json_is_object(json))
        return json_object_getn(json, name, length);
    char *end;
    unsigned long index = strtoul(name, &end, 10);
    if (json_is_array(json) && length && end == name + length)
        return json_array_get(json, index);
    return NULL;
}

json_t *core_json_at(json_t *json, const char *key)
{
    while (json) {
        json_t *whole = child(json, key, strlen(key));
        const char *dot = strchr(key, '.');
        if (whole || !dot)
            return json_is_null(whole) ? NULL : whole;
        json = child(json, key, (size_t)(dot - key));
        key = dot + 1;
    }
    return NULL;
}

json_t *core_json_text(const char *text)
{
    json_t *whole = json_string(text);
    char *copy = whole ? NULL : strdup(text);
    for (char *at = copy; at && *at; at++)
        if ((unsigned char)*at >= 0x80)
            *at = '?';
    if (copy)
        whole = json_string(copy);
    free(copy);
    return whole;
}

void core_json_note(json_t *list, const char *format, ...)
{
    char text[MORE_ERROR_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    json_array_append_new(list, core_json_text(text));
}
