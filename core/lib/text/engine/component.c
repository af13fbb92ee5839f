/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/component.h"

#include "text/engine/utf8.h"
#include <string.h>

#define MAX_DEPTH 16

static more_status wrong(const core_place *place, const char *key, const char *expected, more_error *error)
{
    return more_fail(error, MORE_ERROR_CORRUPT, "%s: %s.%s: '%s' must be %s", place->file, place->part, place->type,
                     key, expected);
}

static more_status walk(json_t *json, const char *list, const core_place *place, core_component_take take,
                        void *context, int depth, more_error *error)
{
    if (!json || json_is_null(json))
        return MORE_OK;
    json_t *type = json_object_get(json, "type");
    if (!json_is_string(type))
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: %s: expected an object with a 'type'", place->file,
                         place->part);
    core_place here = {place->file, place->part, json_string_value(type)};
    if (strcmp(here.type, "Sequence"))
        return take(context, json, &here, error);
    json_t *parts = json_object_get(json, list), *part;
    if (!json_is_array(parts))
        return wrong(&here, list, "an array", error);
    if (depth == MAX_DEPTH)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: %s: Sequences nested deeper than %d", place->file, place->part,
                         MAX_DEPTH);
    size_t index;
    json_array_foreach(parts, index, part)
    {
        if (json_is_null(part))
            return wrong(&here, list, "an array of objects", error);
        more_status status = walk(part, list, &here, take, context, depth + 1, error);
        if (status != MORE_OK)
            return status;
    }
    return MORE_OK;
}

more_status core_component_walk(json_t *json, const char *list, const char *file, const char *part,
                                core_component_take take, void *context, more_error *error)
{
    core_place place = {file, part, ""};
    return walk(json, list, &place, take, context, 0, error);
}

more_status core_component_refuse(const core_place *place, more_error *error)
{
    return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: %s: type '%.80s' is not supported", place->file, place->part,
                     place->type);
}

more_status core_component_bool(json_t *json, const char *key, bool absent, const core_place *place, bool *value,
                                more_error *error)
{
    json_t *member = json_object_get(json, key);
    *value = member ? json_is_true(member) : absent;
    return !member || json_is_boolean(member) ? MORE_OK : wrong(place, key, "true or false", error);
}

more_status core_component_count(json_t *json, const char *key, const core_place *place, int64_t *value,
                                 more_error *error)
{
    json_t *member = json_object_get(json, key);
    *value = (int64_t)json_integer_value(member);
    return json_is_integer(member) && *value >= 0 ? MORE_OK : wrong(place, key, "a whole number from 0", error);
}

more_status core_component_text(json_t *json, const char *key, const core_place *place, core_buffer *value,
                                more_error *error)
{
    json_t *member = json_object_get(json, key);
    if (!json_is_string(member))
        return wrong(place, key, "a string", error);
    core_buffer_append(value, json_string_value(member), json_string_length(member));
    return value->failed ? more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", place->file) : MORE_OK;
}

more_status core_component_character(json_t *json, const char *key, const core_place *place, core_buffer *value,
                                     more_error *error)
{
    size_t length = 0;
    uint32_t code;
    more_status status = core_component_text(json, key, place, value, error);
    if (status != MORE_OK)
        return status;
    if (!value->size || core_utf8_next(value->data, value->size, &length, &code) != CORE_UTF8_WHOLE ||
        length != value->size)
        return wrong(place, key, "one character", error);
    return MORE_OK;
}

more_status core_component_choice(json_t *json, const char *key, const char *const *names, int absent,
                                  const core_place *place, int *value, more_error *error)
{
    json_t *member = json_object_get(json, key);
    core_buffer allowed = {0};
    *value = absent;
    if (!member)
        return MORE_OK;
    for (int i = 0; names[i]; i++) {
        if (json_is_string(member) && !strcmp(names[i], json_string_value(member))) {
            *value = i;
            core_buffer_free(&allowed);
            return MORE_OK;
        }
        core_buffer_format(&allowed, "%s%s", i ? ", " : "one of ", names[i]);
    }
    more_status status = wrong(place, key, allowed.failed ? "another word" : allowed.data, error);
    core_buffer_free(&allowed);
    return status;
}

more_status core_component_pattern(json_t *json, const core_place *place, core_pattern **pattern, more_error *error)
{
    json_t *member = json_object_get(json, "pattern");
    json_t *literal = json_object_get(member, "String"), *regex = json_object_get(member, "Regex");
    char where[256];
    snprintf(where, sizeof where, "%s: %s.%s", place->file, place->part, place->type);
    if (json_is_string(literal) && !regex)
        return core_pattern_literal(json_string_value(literal), json_string_length(literal), where, pattern, error);
    if (json_is_string(regex) && !literal)
        return core_pattern_regex(json_string_value(regex), json_string_length(regex), where, pattern, error);
    return wrong(place, "pattern", "{\"String\": ...} or {\"Regex\": ...}", error);
}
