/* SPDX-License-Identifier: Apache-2.0
 *
 * A checkpoint's metadata by dotted key, and the weights service as plugins get it.
 */
#include "weights/checkpoint.h"

#include "base/file.h"
#include "base/json.h"
#include "weights/view.h"
#include <stdlib.h>
#include <string.h>

#define PROCESSOR "preprocessor_config." /* keys of that file begin so */

static json_t *value_at(const more_checkpoint *checkpoint, const char *key)
{
    if (!strncmp(key, PROCESSOR, strlen(PROCESSOR)))
        return core_json_at(checkpoint->facts->processor, key + strlen(PROCESSOR));
    return core_json_at(checkpoint->config, key);
}

/* The value, or NULL with the status and message for its absence or for a type that is not the one wanted. */
static more_status look_up(more_checkpoint *checkpoint, const char *key, json_t **value, more_error *error)
{
    const core_source *facts = checkpoint->facts;
    const char *root = checkpoint->root ? checkpoint->root : "";
    *value = value_at(checkpoint, key);
    if (*value)
        return MORE_OK;
    if (!facts->config)
        return more_fail(error, MORE_ERROR_NOT_FOUND, "%s: there is no such file, and '%s%s' is wanted from it",
                         facts->config_path, root, key);
    return more_fail(error, MORE_ERROR_NOT_FOUND, "%s: '%s%s' is missing", facts->config_path, root, key);
}

static more_status wrong_type(more_checkpoint *checkpoint, const char *key, json_t *value, const char *wanted,
                              more_error *error)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    more_status status =
        more_fail(error, MORE_ERROR_CORRUPT, "%s: '%s%s' is %.80s, not %s", checkpoint->facts->config_path,
                  checkpoint->root ? checkpoint->root : "", key, text ? text : "?", wanted);
    free(text);
    return status;
}

static more_status get_int64(more_checkpoint *checkpoint, const char *key, int64_t *value, more_error *error)
{
    json_t *json;
    more_status status = look_up(checkpoint, key, &json, error);
    if (status != MORE_OK)
        return status;
    if (!json_is_integer(json))
        return wrong_type(checkpoint, key, json, "a whole number", error);
    *value = json_integer_value(json);
    return MORE_OK;
}

static more_status get_double(more_checkpoint *checkpoint, const char *key, double *value, more_error *error)
{
    json_t *json;
    more_status status = look_up(checkpoint, key, &json, error);
    if (status != MORE_OK)
        return status;
    if (!json_is_number(json))
        return wrong_type(checkpoint, key, json, "a number", error);
    *value = json_number_value(json);
    return MORE_OK;
}

static more_status get_bool(more_checkpoint *checkpoint, const char *key, bool *value, more_error *error)
{
    json_t *json;
    more_status status = look_up(checkpoint, key, &json, error);
    if (status != MORE_OK)
        return status;
    if (!json_is_boolean(json))
        return wrong_type(checkpoint, key, json, "true or false", error);
    *value = json_is_true(json);
    return MORE_OK;
}

static more_status get_string(more_checkpoint *checkpoint, const char *key, const char **value, more_error *error)
{
    json_t *json;
    more_status status = look_up(checkpoint, key, &json, error);
    if (status != MORE_OK)
        return status;
    if (!json_is_string(json) || strlen(json_string_value(json)) != json_string_length(json))
        return wrong_type(checkpoint, key, json, "a text", error);
    *value = json_string_value(json);
    return MORE_OK;
}

static int64_t length(more_checkpoint *checkpoint, const char *key)
{
    json_t *json = value_at(checkpoint, key);
    if (json_is_array(json))
        return (int64_t)json_array_size(json);
    return json_is_object(json) ? (int64_t)json_object_size(json) : -1;
}

static bool has_file(more_checkpoint *checkpoint, const char *name)
{
    if (!*name || strchr(name, '/') || checkpoint->facts->gguf)
        return false;
    char *path = core_path_join(checkpoint->facts->folder, name);
    bool there = path && core_file_exists(path);
    free(path);
    return there;
}

static const char *path_of(more_checkpoint *checkpoint)
{
    return checkpoint->source->path;
}

const more_weights_service *core_weights_service(void)
{
    static const more_weights_service service = {
        .struct_size = MORE_STRUCT_SIZE(more_weights_service, read_stored_rows),
        .info = core_tensor_info,
        .count = core_tensor_count,
        .name_at = core_tensor_name_at,
        .read_rows = core_tensor_read_rows,
        .get_int64 = get_int64,
        .get_double = get_double,
        .get_bool = get_bool,
        .get_string = get_string,
        .length = length,
        .has_file = has_file,
        .path = path_of,
        .drop = core_tensor_drop,
        .read_stored_rows = core_tensor_read_stored_rows,
    };
    return &service;
}
