/* SPDX-License-Identifier: Apache-2.0
 *
 * Which tensors a file gets, under which names, in which shape and format.
 */
#include "weights/gguf/export_plan.h"

#include "base/buffer.h"
#include "base/json.h"
#include "weights/checkpoint.h"
#include "weights/view.h"
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_COMPUTED (1 << 20) /* numbers of an array that the rules compute */

/* ---- Names ------------------------------------------------------------------------------------------------------ */

/* The pattern with the digits in place of its stars; the caller frees it. */
static char *name_of(const char *pattern, const char *digits, size_t length)
{
    core_buffer name = {0};
    core_name_fill_in(&name, pattern, digits, length);
    return core_buffer_take(&name);
}

/* Where a stored tensor belongs: its canonical name, and the row that says what it is called in GGUF files and what
 * they do to it (several rows may lead to one canonical name); a NULL row = nowhere. */
typedef struct place {
    char *canonical, *name; /* owned */
    const more_tensor_name *row;
    int64_t layer; /* -1 = of no layer */
} place;

static void place_clear(place *p)
{
    free(p->canonical);
    free(p->name);
}

static more_status find_place(const core_export_part *part, const char *stored, place *found, more_error *error)
{
    bool gguf = core_checkpoint_is_gguf(part->checkpoint);
    const char *digits;
    size_t length;
    *found = (place){.layer = -1};
    for (int32_t i = 0; i < part->map->count && !found->canonical; i++) {
        const more_tensor_name *row = &part->map->names[i];
        const char *pattern = gguf ? row->gguf : row->huggingface;
        if (!pattern || !core_name_match(pattern, stored, &digits, &length))
            continue;
        found->canonical = name_of(row->canonical, digits, length);
        if (!found->canonical)
            return more_fail(error, MORE_ERROR_MEMORY, "out of memory for a tensor's name");
    }
    for (int32_t i = 0; found->canonical && i < part->map->count && !found->row; i++) {
        const more_tensor_name *row = &part->map->names[i];
        if (!row->gguf || !core_name_match(row->canonical, found->canonical, &digits, &length))
            continue;
        found->row = row;
        found->layer = digits ? strtoll(digits, NULL, 10) : -1;
        found->name = name_of(row->gguf, digits, length);
        if (!found->name)
            return more_fail(error, MORE_ERROR_MEMORY, "out of memory for a tensor's name");
    }
    return MORE_OK;
}

/* ---- Formats ---------------------------------------------------------------------------------------------------- */

static const core_gguf_format *format_named(const char *title)
{
    for (uint32_t number = 0; number < 64; number++) {
        const core_gguf_format *format = core_gguf_format_numbered(number);
        if (format && !strcmp(format->title, title))
            return format;
    }
    return NULL;
}

/* The format that the rules want for a tensor which is not quantised; NULL = none. */
static const core_gguf_format *plain_format(const core_export *export, const char *name)
{
    size_t i;
    json_t *row;
    bool f32 = !strcmp(export->request->format->title, "F32");
    json_array_foreach(json_object_get(export->model, "plain"), i, row)
    {
        const char *pattern = json_string_value(json_array_get(row, 0));
        const char *wanted = json_string_value(json_array_get(row, 1));
        if (pattern && wanted && !strcmp(pattern, name))
            return format_named(!strcmp(wanted, "f32") || f32 ? "F32" : "F16");
    }
    return NULL;
}

/* Vectors are f32; matrices as asked for, where their rows are whole blocks; else f16, and false. */
static bool choose_format(const core_export *export, core_export_tensor *tensor)
{
    const core_gguf_format *wanted = export->request->format, *plain = plain_format(export, tensor->name);
    tensor->format = plain ? plain : tensor->rank < 2 ? format_named("F32") : wanted;
    if (tensor->rank > 2 && tensor->format->block > 1)
        tensor->format = format_named("F16");
    bool whole = tensor->shape[tensor->rank - 1] % tensor->format->block == 0;
    if (!whole)
        tensor->format = format_named("F16");
    return whole;
}

/* One line for all tensors that blocks do not fit. */
static void choose_formats(core_export *export)
{
    const core_gguf_format *wanted = export->request->format;
    const core_export_tensor *first = NULL;
    int count = 0;
    for (size_t i = 0; i < export->count; i++) {
        core_export_tensor *tensor = &export->tensors[i];
        if (tensor->values || choose_format(export, tensor))
            continue;
        first = first ? first : tensor;
        count++;
    }
    if (first)
        core_json_note(export->notes,
                       "%d of its matrices (%s with rows of %" PRId64
                       ", ...) are stored as F16 instead of %s: rows that "
                       "blocks of %d do not divide cannot be blocks",
                       count, first->name, first->shape[first->rank - 1], wanted->title, (int)wanted->block);
}

/* ---- Transforms ------------------------------------------------------------------------------------------------- */

/* Rows of a head that are interleaved; the shape is in place. */
static more_status set_head(const core_export *export, core_export_tensor *tensor, more_error *error)
{
    bool query = tensor->transform == MORE_TRANSFORM_PERMUTED_QUERY;
    json_t *count = NULL;
    if (!query && tensor->transform != MORE_TRANSFORM_PERMUTED_KEY)
        return MORE_OK;
    if (!query)
        count = core_export_json(&export->scope, "num_key_value_heads");
    if (!count)
        count = core_export_json(&export->scope, "num_attention_heads");
    json_int_t heads = json_integer_value(count);
    if (heads < 1 || tensor->shape[0] % heads || tensor->shape[0] / heads % 2)
        return more_fail(error, MORE_ERROR_CORRUPT,
                         "tensor '%s': %" PRId64 " rows are not an even number for each of %lld heads", tensor->stored,
                         tensor->shape[0], (long long)heads);
    tensor->head = tensor->shape[0] / heads;
    return MORE_OK;
}

static more_status set_shape(const core_export *export, core_export_tensor *tensor, more_error *error)
{
    more_weight_info info = {.struct_size = sizeof info};
    more_status status = core_weights_service()->info(tensor->part->checkpoint, tensor->canonical, &info, error);
    if (status != MORE_OK)
        return status;
    tensor->rank = info.rank < 1 ? 1 : info.rank;
    tensor->shape[0] = 1;
    for (int32_t i = 0; i < info.rank; i++)
        tensor->shape[i] = info.shape[i];
    if (tensor->transform == MORE_TRANSFORM_TRANSPOSED && info.rank == 2) {
        tensor->shape[0] = info.shape[1];
        tensor->shape[1] = info.shape[0];
    }
    return set_head(export, tensor, error);
}

/* ---- The list --------------------------------------------------------------------------------------------------- */

static core_export_tensor *grow(core_export *export, more_error *error)
{
    core_export_tensor *grown = realloc(export->tensors, (export->count + 1) * sizeof *grown);
    if (!grown) {
        more_fail(error, MORE_ERROR_MEMORY, "out of memory for the list of tensors");
        return NULL;
    }
    export->tensors = grown;
    grown[export->count] = (core_export_tensor){0};
    return &grown[export->count++];
}

static bool is_there(const core_export *export, const char *name)
{
    for (size_t i = 0; i < export->count; i++)
        if (!strcmp(export->tensors[i].name, name))
            return true;
    return false;
}

/* True for a tensor that the rules leave out. */
static more_status is_dropped(const core_export *export, const char *name, bool *dropped, more_error *error)
{
    size_t i;
    json_t *row;
    double value = 0;
    more_status status = MORE_OK;
    json_array_foreach(json_object_get(export->model, "drop"), i, row)
    {
        const char *own = json_string_value(json_array_get(row, 0));
        if (status == MORE_OK && own && !strcmp(own, name))
            status = core_export_first(export, json_array_get(row, 1), &value, error);
    }
    *dropped = value != 0;
    return status;
}

static more_status add_stored(core_export *export, const core_export_part *part, const char *stored, more_error *error)
{
    place found;
    bool dropped = false;
    more_status status = find_place(part, stored, &found, error);
    if (status == MORE_OK && found.canonical && !found.row)
        status = more_fail(error, MORE_ERROR_UNSUPPORTED,
                           "%s: tensor '%s': GGUF files have no place for it: this kind of model cannot be written",
                           core_weights_service()->path(part->checkpoint), stored);
    if (status == MORE_OK && found.name)
        status = is_dropped(export, found.name, &dropped, error);
    bool wanted = found.row && !dropped && (part->layers < 0 || found.layer < part->layers);
    core_export_tensor *tensor = NULL;
    if (status == MORE_OK && !wanted)
        json_array_append_new(export->left_out, core_json_text(stored));
    else if (status == MORE_OK && !is_there(export, found.name) && !(tensor = grow(export, error)))
        status = MORE_ERROR_MEMORY;
    if (tensor) {
        tensor->name = found.name;
        tensor->canonical = found.canonical;
        tensor->part = part;
        tensor->stored = stored;
        tensor->transform = found.row->transform;
        found = (place){0};
        status = set_shape(export, tensor, error);
    }
    place_clear(&found);
    return status;
}

/* ---- Arrays that are tensors ------------------------------------------------------------------------------------ */

static more_status set_value(core_export_tensor *tensor, int64_t i, double value, more_error *error)
{
    if (!(fabs(value) <= FLT_MAX))
        return more_fail(error, MORE_ERROR_CORRUPT, "tensor '%s': element %" PRId64 " is no number that an f32 holds",
                         tensor->name, i);
    tensor->values[i] = (float)value;
    return MORE_OK;
}

static more_status compute(core_export *export, json_t *row, core_export_tensor *tensor, more_error *error)
{
    const char *each = json_string_value(json_object_get(row, "each"));
    double value;
    more_status status = MORE_OK;
    for (int64_t i = 0; i < tensor->shape[0] && status == MORE_OK; i++) {
        export->scope.index = (double)i;
        status = core_export_number(&export->scope, each ? each : "", &value, error);
        if (status == MORE_OK)
            status = set_value(tensor, i, value, error);
    }
    return status;
}

/* The array that one of the names has, NULL when none does. */
static json_t *find_numbers(const core_export *export, json_t *names)
{
    size_t i;
    json_t *name, *list = NULL;
    json_array_foreach(names, i, name)
    {
        if (!json_array_size(list))
            list = core_export_json(&export->scope, json_string_value(name));
    }
    return json_array_size(list) ? list : NULL;
}

static more_status add_computed(core_export *export, json_t *row, more_error *error)
{
    const char *name = json_string_value(json_object_get(row, "name"));
    const char *when = json_string_value(json_object_get(row, "when"));
    const char *size = json_string_value(json_object_get(row, "count"));
    json_t *numbers = find_numbers(export, json_object_get(row, "numbers"));
    double wanted = when != NULL, count = (double)json_array_size(numbers);
    more_status status = when ? core_export_number(&export->scope, when, &wanted, error) : MORE_OK;
    if (status == MORE_OK && wanted != 0 && size)
        status = core_export_number(&export->scope, size, &count, error);
    if (status != MORE_OK || !name || is_there(export, name) || (wanted == 0 && !numbers))
        return status;
    if (!(count >= 1 && count <= MOST_COMPUTED))
        return more_fail(error, MORE_ERROR_CORRUPT, "tensor '%s': %g numbers", name, count);
    core_export_tensor *tensor = grow(export, error);
    if (!tensor)
        return MORE_ERROR_MEMORY;
    tensor->name = strdup(name);
    tensor->format = format_named("F32");
    tensor->rank = 1;
    tensor->shape[0] = (int64_t)count;
    tensor->values = calloc((size_t)count, sizeof *tensor->values);
    if (!tensor->name || !tensor->values)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for tensor '%s'", name);
    if (!numbers)
        return compute(export, row, tensor, error);
    more_status good = MORE_OK;
    for (int64_t i = 0; i < tensor->shape[0] && good == MORE_OK; i++) {
        json_t *number = json_array_get(numbers, (size_t)i);
        good = set_value(tensor, i, json_is_number(number) ? json_number_value(number) : NAN, error);
    }
    return good;
}

more_status core_export_plan_tensors(core_export *export, more_error *error)
{
    const more_weights_service *weights = core_weights_service();
    size_t row;
    json_t *computed;
    more_status status = MORE_OK;
    json_array_foreach(json_object_get(export->model, "tensors"), row, computed)
    {
        if (status == MORE_OK)
            status = add_computed(export, computed, error);
    }
    for (int32_t p = 0; p < export->request->part_count; p++) {
        const core_export_part *part = &export->request->parts[p];
        for (int64_t i = 0; i < weights->count(part->checkpoint) && status == MORE_OK; i++)
            status = add_stored(export, part, weights->name_at(part->checkpoint, i), error);
    }
    if (status == MORE_OK)
        choose_formats(export);
    for (size_t i = 0; i < export->count && status == MORE_OK; i++) {
        const core_export_tensor *tensor = &export->tensors[i];
        status = core_gguf_add_tensor(export->writer, tensor->name, tensor->format, tensor->rank, tensor->shape, error);
    }
    return status;
}

void core_export_free_tensors(core_export *export)
{
    for (size_t i = 0; i < export->count; i++) {
        free(export->tensors[i].name);
        free(export->tensors[i].canonical);
        free(export->tensors[i].values);
    }
    free(export->tensors);
}
