/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/postprocessor.h"

#include "text/engine/vocabulary.h"
#include <string.h>

static more_status wrong(const core_place *place, const char *what, more_error *error)
{
    return more_fail(error, MORE_ERROR_CORRUPT, "%s: %s.TemplateProcessing: %s", place->file, place->part, what);
}

/* Appends the ids that `special_tokens` gives for a name. */
static more_status append_special(json_t *json, json_t *name, const core_place *place, core_ids *ids, more_error *error)
{
    json_t *list = NULL, *value;
    size_t index;
    if (json_is_string(name))
        list =
            json_object_get(json_object_get(json_object_get(json, "special_tokens"), json_string_value(name)), "ids");
    if (!json_is_array(list))
        return wrong(place, "a SpecialToken has no 'ids' in 'special_tokens'", error);
    json_array_foreach(list, index, value)
    {
        json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || id >= CORE_VOCABULARY_LIMIT)
            return wrong(place, "an id in 'special_tokens' is out of range", error);
        core_ids_push(ids, (int32_t)id);
    }
    return MORE_OK;
}

/* A processor further on in a Sequence puts its tokens around those of the one before. */
static more_status read_template(core_postprocessor *post, json_t *json, const core_place *place, more_error *error)
{
    json_t *single = json_object_get(json, "single"), *item;
    core_postprocessor own = {0};
    size_t index, texts = 0;
    more_status status = json_is_array(single) ? MORE_OK : wrong(place, "'single' must be an array", error);
    json_array_foreach(single, index, item)
    {
        json_t *special = json_object_get(item, "SpecialToken"), *sequence = json_object_get(item, "Sequence");
        if (status == MORE_OK && special)
            status =
                append_special(json, json_object_get(special, "id"), place, texts ? &own.behind : &own.before, error);
        else if (status == MORE_OK && sequence)
            texts++;
        else if (status == MORE_OK)
            status = wrong(place, "'single' holds something else than SpecialToken and Sequence", error);
    }
    if (status == MORE_OK && texts != 1)
        status = more_fail(error, MORE_ERROR_UNSUPPORTED,
                           "%s: %s.TemplateProcessing: 'single' has the text %zu times; "
                           "once is supported",
                           place->file, place->part, texts);
    core_ids_append(&own.before, post->before.data, post->before.count);
    core_ids_append(&post->behind, own.behind.data, own.behind.count);
    core_ids_free(&post->before);
    core_ids_free(&own.behind);
    post->before = own.before;
    if (status == MORE_OK && (post->before.failed || post->behind.failed))
        status = more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", place->file);
    return status;
}

static more_status take_processor(void *context, json_t *json, const core_place *place, more_error *error)
{
    if (!strcmp(place->type, "TemplateProcessing"))
        return read_template(context, json, place, error);
    return strcmp(place->type, "ByteLevel") ? core_component_refuse(place, error) : MORE_OK;
}

more_status core_postprocessor_load(json_t *json, const char *file, core_postprocessor *postprocessor,
                                    more_error *error)
{
    return core_component_walk(json, "processors", file, "post_processor", take_processor, postprocessor, error);
}

void core_postprocessor_free(core_postprocessor *postprocessor)
{
    core_ids_free(&postprocessor->before);
    core_ids_free(&postprocessor->behind);
}
