/* SPDX-License-Identifier: Apache-2.0
 *
 * Which rules count for a part, and what they make of its config.
 */
#include "weights/gguf/export_plan.h"

#include "base/json.h"
#include "weights/checkpoint.h"
#include "weights/view.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SURE 90             /* score of a plugin whose architecture a model type is */
#define NOWHERE "not.there" /* key that no config has */

more_status core_export_first(const core_export *export, json_t *expressions, double *value, more_error *error)
{
    size_t i;
    json_t *one;
    more_status status = more_fail(error, MORE_ERROR_NOT_FOUND, "%s: there is no value for it",
                                   core_weights_service()->path(export->scope.checkpoint));
    json_array_foreach(expressions, i, one)
    {
        status = core_export_number(&export->scope, json_string_value(one) ? json_string_value(one) : "", value, error);
        if (status != MORE_ERROR_NOT_FOUND)
            return status;
    }
    return status;
}

/* ---- Which model ------------------------------------------------------------------------------------------------ */

/* True when the part's plugin takes a checkpoint of which nothing but its model type is known. */
static more_status takes(const core_export *export, const char *type, bool *result, more_error *error)
{
    const core_export_part *part = &export->request->parts[0];
    more_recognition recognition = {.struct_size = sizeof recognition};
    more_checkpoint *empty = NULL, *source = core_checkpoint_unmapped(part->checkpoint);
    json_t *config = json_pack("{s:s}", "model_type", type);
    more_status status = core_checkpoint_view(source, &(core_view){.config_root = NOWHERE}, &empty, error);
    if (status == MORE_OK)
        status = core_checkpoint_add_defaults(empty, config, error);
    if (status == MORE_OK)
        part->recognise(export->request->host, empty, &recognition);
    *result = recognition.score >= SURE;
    json_decref(config);
    core_checkpoint_release(empty);
    return status;
}

static more_status fits(const core_export *export, json_t *model, bool *result, more_error *error)
{
    size_t i;
    json_t *type, *when = json_object_get(model, "when");
    double value = 0;
    const char *kind = json_string_value(json_object_get(model, "part"));
    more_status status = MORE_OK;
    *result = kind && !strcmp(kind, export->request->kind);
    if (*result && when) {
        status = core_export_first(export, when, &value, error);
        *result = status == MORE_OK && value != 0;
        return status == MORE_ERROR_NOT_FOUND ? MORE_OK : status;
    }
    bool any = false;
    json_array_foreach(json_object_get(model, "model_types"), i, type)
    {
        if (*result && !any && status == MORE_OK)
            status = takes(export, json_string_value(type), &any, error);
    }
    *result = *result && any;
    return status;
}

static more_status choose_model(core_export *export, more_error *error)
{
    size_t i;
    json_t *model;
    const char *type = NULL;
    json_array_foreach(json_object_get(export->rules, "models"), i, model)
    {
        bool good = false;
        more_status status = fits(export, model, &good, error);
        export->model = good ? model : NULL;
        if (status != MORE_OK || good)
            return status;
    }
    core_weights_service()->get_string(export->scope.checkpoint, "model_type", &type, NULL);
    return more_fail(error, MORE_ERROR_UNSUPPORTED,
                     "%s: no GGUF file is known for this kind of %s model%s%.100s (%s says which are)",
                     core_weights_service()->path(export->scope.checkpoint), export->request->kind, type ? ", " : "",
                     type ? type : "", export->request->rules);
}

/* The object inside the config that describes the part, where the rules know of one and the config has it. */
static void choose_inside(core_export *export)
{
    const char *inside = json_string_value(json_object_get(export->model, "inside"));
    if (inside && json_is_object(core_export_json(&export->scope, inside)))
        export->scope.inside = inside;
}

/* ---- Needs and notes -------------------------------------------------------------------------------------------- */

static more_status check_needs(core_export *export, more_error *error)
{
    size_t i;
    json_t *row;
    double value;
    json_array_foreach(json_object_get(export->model, "needs"), i, row)
    {
        more_status status = core_export_first(export, json_array_get(row, 0), &value, error);
        const char *why = json_string_value(json_array_get(row, 1));
        if (status != MORE_OK)
            return status;
        if (value == 0)
            return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: %s",
                             core_weights_service()->path(export->scope.checkpoint), why ? why : "");
    }
    json_array_foreach(json_object_get(export->model, "notes"), i, row)
    {
        more_status status = core_export_first(export, json_array_get(row, 0), &value, error);
        const char *what = json_string_value(json_array_get(row, 1));
        if (status != MORE_OK)
            return status;
        if (value != 0)
            core_json_note(export->notes, "%s", what ? what : "");
    }
    return MORE_OK;
}

/* ---- Keys ------------------------------------------------------------------------------------------------------- */

static more_status out_of_range(const core_export *export, const char *key, double value, more_error *error)
{
    return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: key '%s': %.17g does not fit it",
                     core_weights_service()->path(export->scope.checkpoint), key, value);
}

static more_status put_number(core_export *export, const char *key, const char *type, json_t *expressions,
                              more_error *error)
{
    double value;
    more_error reason = {{0}};
    more_status status = core_export_first(export, expressions, &value, &reason);
    if (status != MORE_OK)
        return more_fail(error, status, "GGUF's key '%s': %.600s", key, reason.message);
    if (!strcmp(type, "f32")) {
        if (fabs(value) > 3.4e38)
            return out_of_range(export, key, value, error);
        core_gguf_put_real(export->writer, key, (float)value);
    } else if (!strcmp(type, "bool")) {
        core_gguf_put_integer(export->writer, key, CORE_GGUF_BOOL, value != 0);
    } else {
        if (value < 0 || value > UINT32_MAX || value != floor(value))
            return out_of_range(export, key, value, error);
        core_gguf_put_integer(export->writer, key, CORE_GGUF_U32, (int64_t)value);
    }
    return MORE_OK;
}

/* 'plain' or the name of a text. */
static more_status put_text(core_export *export, const char *key, json_t *names, more_error *error)
{
    const char *said = json_string_value(json_array_get(names, 0));
    if (said && *said == '\'') {
        char *plain = strndup(said + 1, strcspn(said + 1, "'"));
        if (!plain)
            return more_fail(error, MORE_ERROR_MEMORY, "out of memory for '%s'", key);
        core_gguf_put_text(export->writer, key, plain);
        free(plain);
        return MORE_OK;
    }
    const char *text = said ? json_string_value(core_export_json(&export->scope, said)) : NULL;
    if (!text)
        return more_fail(error, MORE_ERROR_NOT_FOUND, "GGUF's key '%s': %s has no text '%.100s'", key,
                         core_weights_service()->path(export->scope.checkpoint), said ? said : "");
    core_gguf_put_text(export->writer, key, text);
    return MORE_OK;
}

static more_status put_list(core_export *export, const char *key, bool whole, json_t *names, more_error *error)
{
    size_t i;
    json_t *item, *list = core_export_json(&export->scope, json_string_value(json_array_get(names, 0)));
    if (!json_is_array(list))
        return more_fail(error, MORE_ERROR_NOT_FOUND, "GGUF's key '%s': %s has no such list", key,
                         core_weights_service()->path(export->scope.checkpoint));
    core_gguf_put_array(export->writer, key, whole ? CORE_GGUF_I32 : CORE_GGUF_F32, json_array_size(list));
    json_array_foreach(list, i, item)
    {
        if (whole)
            core_gguf_add_integer(export->writer, (int32_t)json_integer_value(item));
        else
            core_gguf_add_real(export->writer, (float)json_number_value(item));
    }
    return MORE_OK;
}

static more_status put_key(core_export *export, json_t *row, more_error *error)
{
    const char *key = json_string_value(json_array_get(row, 0)), *type = json_string_value(json_array_get(row, 1));
    const char *when = json_string_value(json_array_get(row, 3));
    json_t *from = json_array_get(row, 2);
    double wanted = 1;
    if (!key || !type || !json_is_array(from))
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: a key is no [key, type, [values]]", export->scope.file);
    more_status status = when ? core_export_number(&export->scope, when, &wanted, error) : MORE_OK;
    if (status != MORE_OK || wanted == 0)
        return status;
    if (!strcmp(type, "text"))
        return put_text(export, key, from, error);
    if (!strcmp(type, "i32s") || !strcmp(type, "f32s"))
        return put_list(export, key, *type == 'i', from, error);
    if (!strcmp(type, "u32") || !strcmp(type, "f32") || !strcmp(type, "bool"))
        return put_number(export, key, type, from, error);
    return more_fail(error, MORE_ERROR_CORRUPT, "%s: key '%s' has the type '%s', which is none", export->scope.file,
                     key, type);
}

/* The number of a file by what most of its matrices are in: as the makers of the format count them. */
static int64_t file_type(const core_gguf_format *format)
{
    static const struct {
        const char *title;
        int64_t number;
    } types[] = {{"F32", 0}, {"F16", 1}, {"Q4_0", 2}, {"Q4_1", 3}, {"Q8_0", 7}, {"BF16", 32}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(types[i].title, format->title))
            return types[i].number;
    return 1024; /* "guessed" */
}

static more_status put_keys(core_export *export, more_error *error)
{
    size_t i;
    json_t *row;
    const core_export_request *request = export->request;
    const char *architecture = json_string_value(json_object_get(export->model, "architecture"));
    const char *type = json_string_value(json_object_get(export->model, "type"));
    more_status status = MORE_OK;
    core_gguf_put_text(export->writer, "general.architecture", architecture ? architecture : "");
    core_gguf_put_text(export->writer, "general.type", type ? type : "model");
    if (request->name)
        core_gguf_put_text(export->writer, "general.name", request->name);
    core_gguf_put_integer(export->writer, "general.file_type", CORE_GGUF_U32, file_type(request->format));
    if (request->format->block > 1)
        core_gguf_put_integer(export->writer, "general.quantization_version", CORE_GGUF_U32, 2);
    json_array_foreach(json_object_get(export->model, "keys"), i, row)
    {
        if (status == MORE_OK)
            status = put_key(export, row, error);
    }
    return status;
}

/* ---- The object ------------------------------------------------------------------------------------------------- */

more_status core_export_create(const core_export_request *request, core_export **result, more_error *error)
{
    core_export *export = calloc(1, sizeof *export);
    *result = NULL;
    if (!export)
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", request->path);
    export->request = request;
    export->writer = core_gguf_writer_create(request->path);
    export->notes = json_array();
    export->left_out = json_array();
    more_status status = export->writer && export->notes && export->left_out
                             ? core_json_load(request->rules, &export->rules, error)
                             : more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", request->path);
    export->scope = (core_export_scope){.checkpoint = request->parts[0].checkpoint,
                                        .facts = request->facts,
                                        .names = json_object_get(export->rules, "names"),
                                        .file = request->rules};
    if (status == MORE_OK)
        status = choose_model(export, error);
    if (status == MORE_OK) {
        choose_inside(export);
        status = check_needs(export, error);
    }
    if (status == MORE_OK)
        status = put_keys(export, error);
    if (status == MORE_OK)
        status = core_export_plan_tensors(export, error);
    if (status == MORE_OK)
        *result = export;
    else
        core_export_free(export);
    return status;
}

void core_export_free(core_export *export)
{
    if (!export)
        return;
    core_export_free_tensors(export);
    core_gguf_writer_free(export->writer);
    json_decref(export->rules);
    json_decref(export->notes);
    json_decref(export->left_out);
    free(export);
}

core_gguf_writer *core_export_writer(core_export *export)
{
    return export->writer;
}

json_t *core_export_notes(core_export *export)
{
    return export->notes;
}

static int64_t tensor_bytes(const core_export_tensor *tensor)
{
    int64_t elements = 1;
    for (int32_t i = 0; i < tensor->rank; i++)
        elements *= tensor->shape[i];
    return elements / tensor->format->block * (int64_t)tensor->format->bytes;
}

/* Adds one tensor to the sums by format. */
static void count_format(json_t *formats, const core_export_tensor *tensor)
{
    json_t *row = json_object_get(formats, tensor->format->title);
    json_int_t tensors = json_integer_value(json_object_get(row, "tensors"));
    json_int_t bytes = json_integer_value(json_object_get(row, "bytes"));
    json_object_set_new(
        formats, tensor->format->title,
        json_pack("{s:I, s:I}", "tensors", tensors + 1, "bytes", bytes + (json_int_t)tensor_bytes(tensor)));
}

json_t *core_export_report(const core_export *export)
{
    json_t *tensors = json_array(), *formats = json_object();
    for (size_t i = 0; i < export->count; i++) {
        const core_export_tensor *tensor = &export->tensors[i];
        json_t *shape = json_array();
        for (int32_t k = 0; k < tensor->rank; k++)
            json_array_append_new(shape, json_integer(tensor->shape[k]));
        count_format(formats, tensor);
        json_array_append_new(tensors, json_pack("{s:o, s:o*, s:s, s:o, s:I}", "name", core_json_text(tensor->name),
                                                 "from", tensor->stored ? core_json_text(tensor->stored) : NULL,
                                                 "format", tensor->format->title, "shape", shape, "bytes",
                                                 (json_int_t)tensor_bytes(tensor)));
    }
    return json_pack("{s:o, s:O, s:I, s:o, s:O, s:o, s:O}", "path", core_json_text(export->request->path),
                     "architecture", json_object_get(export->model, "architecture"), "bytes",
                     (json_int_t)core_gguf_writer_bytes(export->writer), "formats", formats, "notes", export->notes,
                     "tensors", tensors, "left_out", export->left_out);
}
