/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/layout_values.h"

#include "base/buffer.h"
#include "base/json.h"
#include "weights/checkpoint.h"
#include <stdlib.h>
#include <string.h>

#define MAX_NUMBERS 4096 /* of a tensor that becomes an array of the config */

/* ---- Values of the config as text ------------------------------------------------------------------------------- */

/* A scalar as it would stand in an INI file, arrays of scalars joined by ", "; false for anything else. */
static bool write_value(core_buffer *buffer, json_t *value)
{
    if (json_is_string(value))
        core_buffer_text(buffer, json_string_value(value));
    else if (json_is_integer(value))
        core_buffer_format(buffer, "%lld", (long long)json_integer_value(value));
    else if (json_is_boolean(value))
        core_buffer_text(buffer, json_is_true(value) ? "true" : "false");
    else if (json_is_real(value)) {
        char *text = json_dumps(value, JSON_ENCODE_ANY); /* with a point in every locale */
        core_buffer_text(buffer, text ? text : "");
        free(text);
    } else if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++) {
            if (i)
                core_buffer_text(buffer, ", ");
            if (json_is_array(json_array_get(value, i)) || !write_value(buffer, json_array_get(value, i)))
                return false;
        }
    } else {
        return false;
    }
    return !buffer->failed;
}

char *core_layout_text(json_t *value)
{
    core_buffer text = {0};
    if (value && write_value(&text, value))
        return core_buffer_take(&text);
    core_buffer_free(&text);
    return NULL;
}

char *core_layout_config_text(more_checkpoint *checkpoint, const char *key)
{
    return core_layout_text(core_json_at(core_checkpoint_config(checkpoint), key));
}

/* ---- What the files say, by the form of a value: a new reference, NULL for nothing ------------------------------- */

static json_t *config_value(more_checkpoint *checkpoint, const char *key)
{
    return json_incref(core_json_at(core_checkpoint_config(checkpoint), key));
}

json_t *core_layout_rows(more_checkpoint *checkpoint, const char *name)
{
    more_weight_info info = {.struct_size = sizeof info};
    if (core_weights_service()->info(checkpoint, name, &info, NULL) != MORE_OK || info.rank < 1)
        return NULL;
    return json_integer(info.shape[0]);
}

/* The numbers of a small tensor of one dimension. */
static json_t *numbers_of(more_checkpoint *checkpoint, const char *name)
{
    const more_weights_service *weights = core_weights_service();
    more_weight_info info = {.struct_size = sizeof info};
    if (weights->info(checkpoint, name, &info, NULL) != MORE_OK || info.rank != 1 || info.shape[0] > MAX_NUMBERS)
        return NULL;
    float *values = calloc((size_t)info.shape[0] + 1, sizeof *values);
    bool good = values && weights->read_rows(checkpoint, name, 0, 1, more_f32(), values, NULL) == MORE_OK;
    json_t *list = good ? json_array() : NULL;
    for (int64_t i = 0; i < info.shape[0] && good; i++)
        good = !json_array_append_new(list, json_real((double)values[i]));
    free(values);
    if (good)
        return list;
    json_decref(list);
    return NULL;
}

/* Those of several keys, parted by blanks, that are there, each value once, as an array. */
static json_t *list_of(more_checkpoint *checkpoint, const char *keys)
{
    char *copy = strdup(keys), *rest = NULL;
    json_t *list = json_array();
    for (char *key = copy ? strtok_r(copy, " \t", &rest) : NULL; key; key = strtok_r(NULL, " \t", &rest)) {
        json_t *value = core_json_at(core_checkpoint_config(checkpoint), key);
        bool there = !value;
        for (size_t i = 0; i < json_array_size(list) && !there; i++)
            there = json_equal(json_array_get(list, i), value);
        if (!there)
            json_array_append(list, value);
    }
    free(copy);
    if (json_array_size(list))
        return list;
    json_decref(list);
    return NULL;
}

typedef struct value_form {
    const char *prefix;
    json_t *(*read)(more_checkpoint *checkpoint, const char *argument);
    bool whole; /* the argument is the rest of the text, which has no table then */
} value_form;

static const value_form *form_of(const char *text)
{
    static const value_form forms[] = {{"config:", config_value, false},
                                       {"rows:", core_layout_rows, false},
                                       {"numbers:", numbers_of, false},
                                       {"list:", list_of, true}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (!strncmp(text, forms[i].prefix, strlen(forms[i].prefix)))
            return &forms[i];
    return NULL;
}

/* What `text` of a form stands for; *table is what follows its argument. */
static json_t *form_value(const value_form *form, more_checkpoint *checkpoint, const char *text, const char **table)
{
    const char *name = text + strlen(form->prefix);
    size_t length = form->whole ? strlen(name) : strcspn(name, " \t");
    char *argument = strndup(name, length);
    json_t *value = argument ? form->read(checkpoint, argument) : NULL;
    *table = name + length + strspn(name + length, " \t");
    free(argument);
    return value;
}

/* ---- Values of a layout ----------------------------------------------------------------------------------------- */

/* Applies "a=b c=d *=e" to a config's value, in place of it; NULL when no word fits. Takes ownership of `value`. */
static char *translate(const char *table, char *value)
{
    while (value && *table) {
        table += strspn(table, " \t");
        size_t length = strcspn(table, " \t"), equals = strcspn(table, "=");
        if (equals < length &&
            ((equals == 1 && *table == '*') || (strlen(value) == equals && !strncmp(table, value, equals)))) {
            char *result = strndup(table + equals + 1, length - equals - 1);
            free(value);
            return result;
        }
        table += length;
    }
    free(value);
    return NULL;
}

char *core_layout_value_text(more_checkpoint *checkpoint, const char *said)
{
    const value_form *form = form_of(said);
    const char *table = "";
    if (!form)
        return strdup(said);
    json_t *value = form_value(form, checkpoint, said, &table);
    char *text = core_layout_text(value);
    json_decref(value);
    return *table ? translate(table, text) : text;
}

json_t *core_layout_value_json(more_checkpoint *checkpoint, const char *said)
{
    const value_form *form = form_of(said);
    const char *table = "";
    json_t *value = form ? form_value(form, checkpoint, said, &table) : NULL;
    if (form && !*table)
        return value;
    json_decref(value);
    char *text = core_layout_value_text(checkpoint, said);
    json_t *scalar = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    if (text && !scalar)
        scalar = json_string(text);
    free(text);
    return scalar;
}
