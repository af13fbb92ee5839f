/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/normalizer.h"

#include "text/engine/utf8.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

typedef struct core_normalizer_step core_normalizer_step;
typedef more_status (*step_function)(const core_normalizer_step *step, const core_buffer *in, core_buffer *out,
                                     more_error *error);

struct core_normalizer_step {
    step_function apply;
    core_buffer content; /* Prepend, Replace */
    core_pattern *pattern;
    utf8proc_option_t form;
    bool left, right; /* Strip */
};

static more_status prepend(const core_normalizer_step *step, const core_buffer *in, core_buffer *out, more_error *error)
{
    (void)error;
    if (in->size)
        core_buffer_append(out, step->content.data, step->content.size);
    core_buffer_append(out, in->data, in->size);
    return MORE_OK;
}

static more_status replace(const core_normalizer_step *step, const core_buffer *in, core_buffer *out, more_error *error)
{
    return core_pattern_replace(step->pattern, in->data, in->size, &step->content, out, error);
}

static more_status unicode_form(const core_normalizer_step *step, const core_buffer *in, core_buffer *out,
                                more_error *error)
{
    utf8proc_uint8_t *text = NULL;
    utf8proc_ssize_t size =
        utf8proc_map((const utf8proc_uint8_t *)in->data, (utf8proc_ssize_t)in->size, &text, step->form);
    if (size < 0)
        return more_fail(error, MORE_ERROR_INTERNAL, "tokenizer: cannot normalise: %s", utf8proc_errmsg(size));
    core_buffer_append(out, text, (size_t)size);
    free(text);
    return MORE_OK;
}

static more_status lowercase(const core_normalizer_step *step, const core_buffer *in, core_buffer *out,
                             more_error *error)
{
    size_t length;
    uint32_t code;
    (void)step, (void)error;
    for (size_t at = 0; at < in->size; at += length) {
        core_utf8_next(in->data + at, in->size - at, &length, &code);
        if (code == 0x130) /* the one character whose lower case is two */
            core_buffer_text(out, "i\xCC\x87");
        else
            core_utf8_append(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)code));
    }
    return MORE_OK;
}

static more_status strip(const core_normalizer_step *step, const core_buffer *in, core_buffer *out, more_error *error)
{
    size_t begin = 0, end = in->size, length;
    uint32_t code;
    (void)error;
    while (step->left && begin < end) {
        core_utf8_next(in->data + begin, end - begin, &length, &code);
        if (!core_utf8_is_space(code))
            break;
        begin += length;
    }
    while (step->right && begin < end) {
        length = core_utf8_last(in->data + begin, end - begin, &code);
        if (!core_utf8_is_space(code))
            break;
        end -= length;
    }
    core_buffer_append(out, in->data + begin, end - begin);
    return MORE_OK;
}

static const struct form {
    const char *type;
    int options;
} forms[] = {{"NFC", UTF8PROC_STABLE | UTF8PROC_COMPOSE},
             {"NFD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE},
             {"NFKC", UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
             {"NFKD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT}};

static more_status read_step(json_t *json, const core_place *place, core_normalizer_step *step, more_error *error)
{
    more_status status;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (strcmp(place->type, forms[i].type))
            continue;
        step->apply = unicode_form;
        step->form = (utf8proc_option_t)forms[i].options;
        return MORE_OK;
    }
    if (!strcmp(place->type, "Prepend")) {
        step->apply = prepend;
        return core_component_text(json, "prepend", place, &step->content, error);
    }
    if (!strcmp(place->type, "Replace")) {
        step->apply = replace;
        status = core_component_text(json, "content", place, &step->content, error);
        return status == MORE_OK ? core_component_pattern(json, place, &step->pattern, error) : status;
    }
    if (!strcmp(place->type, "Strip")) {
        step->apply = strip;
        status = core_component_bool(json, "strip_left", true, place, &step->left, error);
        return status == MORE_OK ? core_component_bool(json, "strip_right", true, place, &step->right, error) : status;
    }
    if (!strcmp(place->type, "Lowercase")) {
        step->apply = lowercase;
        return MORE_OK;
    }
    return core_component_refuse(place, error);
}

static more_status take_step(void *context, json_t *json, const core_place *place, more_error *error)
{
    core_normalizer *normalizer = context;
    core_normalizer_step *steps = realloc(normalizer->steps, (normalizer->count + 1) * sizeof *steps);
    if (!steps)
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", place->file);
    normalizer->steps = steps;
    steps[normalizer->count] = (core_normalizer_step){0};
    return read_step(json, place, &steps[normalizer->count++], error);
}

more_status core_normalizer_load(json_t *json, const char *file, core_normalizer *normalizer, more_error *error)
{
    return core_component_walk(json, "normalizers", file, "normalizer", take_step, normalizer, error);
}

void core_normalizer_free(core_normalizer *normalizer)
{
    for (size_t i = 0; i < normalizer->count; i++) {
        core_buffer_free(&normalizer->steps[i].content);
        core_pattern_destroy(normalizer->steps[i].pattern);
    }
    free(normalizer->steps);
    *normalizer = (core_normalizer){0};
}

more_status core_normalizer_apply(const core_normalizer *normalizer, const char *text, size_t size, core_buffer *result,
                                  more_error *error)
{
    core_buffer next = {0};
    more_status status = MORE_OK;
    core_buffer_clear(result);
    core_buffer_append(result, text, size);
    for (size_t i = 0; i < normalizer->count && status == MORE_OK; i++) {
        core_buffer_clear(&next);
        core_buffer_append(&next, "", 0);
        status = normalizer->steps[i].apply(&normalizer->steps[i], result, &next, error);
        core_buffer swapped = *result;
        *result = next;
        next = swapped;
    }
    if (status == MORE_OK && (result->failed || next.failed))
        status = more_fail(error, MORE_ERROR_MEMORY, "tokenizer: out of memory for a text of %zu bytes", size);
    core_buffer_free(&next);
    return status;
}
