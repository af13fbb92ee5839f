/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"
#include "../print.h"

#include <stdlib.h>
#include <string.h>

static more_status parse(const char *text, json_t **json, more_error *error)
{
    json_error_t problem;
    *json = json_loads(text, 0, &problem);
    if (!*json)
        return more_fail(error, MORE_ERROR_INTERNAL, "the library's report is no JSON: %s", problem.text);
    return MORE_OK;
}

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static double mebibytes_at(const json_t *object, const char *key)
{
    return (double)json_integer_value(json_object_get(object, key)) / (1 << 20);
}

/* ---- The answer ------------------------------------------------------------------------------------------------- */

static json_t *token_list(const llavamore_answer *answer)
{
    json_t *ids = json_array();
    for (int32_t i = 0; i < answer->token_count; i++)
        json_array_append_new(ids, json_integer(answer->token_ids[i]));
    return ids;
}

static json_t *usage(const llavamore_answer *answer)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:i, s:I, s:I, s:I}", "prompt_tokens",
                     (json_int_t)answer->prompt_tokens, "image_tokens", (json_int_t)answer->image_tokens,
                     "completion_tokens", (json_int_t)answer->completion_tokens, "prefill_rows",
                     (json_int_t)answer->prefill_rows, "reused_rows", (json_int_t)answer->reused_rows, "encoded_images",
                     (int)answer->encoded_images, "decode_calls", (json_int_t)answer->decode_calls, "guessed_tokens",
                     (json_int_t)answer->guessed_tokens, "right_tokens", (json_int_t)answer->right_tokens);
}

static json_t *timings(const llavamore_model *model, const llavamore_answer *answer)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "load_ms", llavamore_model_load_ms(model),
                     "preprocess_ms", answer->preprocess_ms, "encode_ms", answer->encode_ms, "project_ms",
                     answer->project_ms, "prefill_ms", answer->prefill_ms, "decode_ms", answer->decode_ms,
                     "first_token_ms", answer->first_token_ms, "total_ms", answer->total_ms);
}

more_status report_answer(output *out, const llavamore_model *model, const llavamore_answer *answer, more_error *error)
{
    char *assembly_text = NULL;
    json_t *assembly = NULL;
    more_status status = llavamore_model_describe(model, &assembly_text, error);
    if (status == MORE_OK)
        status = parse(assembly_text, &assembly, error);
    llavamore_free(assembly_text);
    if (status != MORE_OK)
        return status;
    json_t *report = json_pack("{s:s%, s:o, s:s, s:o, s:o, s:I, s:o}", "answer", answer->text, answer->size,
                               "token_ids", token_list(answer), "finish_reason", answer->finish_reason, "usage",
                               usage(answer), "timings", timings(model, answer), "peak_memory_bytes",
                               (json_int_t)llavamore_peak_memory(), "assembly", assembly);
    status = print_json(out, report, error);
    json_decref(report);
    return status;
}

static void print_rate(const char *what, int64_t tokens, double milliseconds)
{
    if (tokens > 0 && milliseconds > 0)
        fprintf(stderr, "  %-12s %10.1f ms  %5lld tokens  %8.1f a second\n", what, milliseconds, (long long)tokens,
                1000.0 * (double)tokens / milliseconds);
}

/* Of each device that a part of the model is on. */
static void print_devices(const llavamore_model *model)
{
    char *text = NULL;
    json_t *assembly = NULL, *device;
    size_t i;
    if (llavamore_model_describe(model, &text, NULL) == MORE_OK && parse(text, &assembly, NULL) == MORE_OK) {
        json_array_foreach(json_object_get(json_object_get(assembly, "runtime"), "devices"), i, device)
        {
            fprintf(stderr, "  %-12s %10.1f MiB at most, %.1f MiB kept for later\n", text_at(device, "device"),
                    mebibytes_at(device, "peak_bytes"), mebibytes_at(device, "cached_bytes"));
        }
    }
    json_decref(assembly);
    llavamore_free(text);
}

void report_timings(const llavamore_model *model, const llavamore_answer *answer)
{
    fprintf(stderr, "  %-12s %10.1f ms\n", "load", llavamore_model_load_ms(model));
    if (answer->image_tokens && !answer->encoded_images) {
        fprintf(stderr, "  %-12s %10.1f ms  %5lld tokens, seen before\n", "pictures", answer->preprocess_ms,
                (long long)answer->image_tokens);
    } else if (answer->image_tokens) {
        fprintf(stderr, "  %-12s %10.1f ms\n", "preprocess", answer->preprocess_ms);
        fprintf(stderr, "  %-12s %10.1f ms\n", "encode", answer->encode_ms);
        fprintf(stderr, "  %-12s %10.1f ms  %5lld tokens\n", "project", answer->project_ms,
                (long long)answer->image_tokens);
    }
    print_rate("prefill", answer->prefill_rows, answer->prefill_ms);
    if (answer->reused_rows)
        fprintf(stderr, "  %-12s %13s  %5lld tokens, read before\n", "reused", "", (long long)answer->reused_rows);
    print_rate("decode", answer->completion_tokens, answer->decode_ms);
    if (answer->guessed_tokens)
        fprintf(stderr, "  %-12s %13s  %5lld tokens of %lld, %.2f tokens a call\n", "guessed", "",
                (long long)answer->right_tokens, (long long)answer->guessed_tokens,
                (double)(answer->completion_tokens - 1) / (double)answer->decode_calls);
    fprintf(stderr, "  %-12s %10.1f ms\n", "first token", answer->first_token_ms);
    fprintf(stderr, "  %-12s %10.1f ms\n", "total", answer->total_ms);
    fprintf(stderr, "  %-12s %10.1f MiB\n", "peak memory", (double)llavamore_peak_memory() / (1 << 20));
    print_devices(model);
}

/* ---- Lists -------------------------------------------------------------------------------------------- */

/* The longest text under the key, in bytes; at least 12. */
static int widest(const json_t *list, const char *key)
{
    size_t i, width = 12;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        width = strlen(text_at(item, key)) > width ? strlen(text_at(item, key)) : width;
    }
    return (int)width;
}

static void plugins_layout(FILE *file, const json_t *json)
{
    size_t i;
    const json_t *item, *plugins = json_object_get(json, "plugins");
    int width = widest(plugins, "id");
    json_array_foreach(plugins, i, item)
    {
        fprintf(file, "%-10s %-*s %-8s score %-4lld %s\n%*s%s\n", text_at(item, "kind"), width, text_at(item, "id"),
                text_at(item, "version"), (long long)json_integer_value(json_object_get(item, "score")),
                text_at(item, "description"), width + 32, "", text_at(item, "path"));
    }
    json_array_foreach(json_object_get(json, "refused"), i, item)
    {
        fprintf(file, "refused    %s: %s\n", text_at(item, "path"), text_at(item, "reason"));
    }
}

static void presets_layout(FILE *file, const json_t *json)
{
    size_t i;
    const json_t *item;
    int width = widest(json, "name");
    json_array_foreach(json, i, item)
    {
        fprintf(file, "%-*s %s\n%*s%s\n", width, text_at(item, "name"), text_at(item, "description"), width + 1, "",
                text_at(item, "path"));
    }
}

static void assembly_layout(FILE *file, const json_t *json)
{
    print_tree(file, json, 0);
}

static more_status write_text(output *out, const char *text, bool as_json, layout_function layout, more_error *error)
{
    json_t *json = NULL;
    more_status status = parse(text, &json, error);
    if (status == MORE_OK)
        status = print_report(out, json, as_json, layout, error);
    json_decref(json);
    return status;
}

more_status report_plugins(output *out, const char *json, bool as_json, more_error *error)
{
    return write_text(out, json, as_json, plugins_layout, error);
}

more_status report_presets(output *out, const char *json, bool as_json, more_error *error)
{
    return write_text(out, json, as_json, presets_layout, error);
}

more_status report_assembly(output *out, const char *json, bool as_json, more_error *error)
{
    return write_text(out, json, as_json, assembly_layout, error);
}
