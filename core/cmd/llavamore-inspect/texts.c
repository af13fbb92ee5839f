/* SPDX-License-Identifier: Apache-2.0
 *
 * The small files around a model: tokenizers, conversation templates, layouts, configurations.
 */
#include "base/file.h"
#include "base/json.h"
#include "inspect.h"
#include "text/template.h"
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#define INI_LIMIT ((size_t)1 << 20)

/* A token by its text; NULL, which leaves the member out, where there is none. */
static json_t *token_text(const core_tokenizer *tokenizer, int32_t id)
{
    size_t size = 0;
    const char *piece = id >= 0 ? core_tokenizer_piece(tokenizer, id, &size) : NULL;
    char *text = piece ? strndup(piece, size) : NULL;
    json_t *json = text ? core_json_text(text) : NULL;
    free(text);
    return json;
}

more_status inspect_tokenizer(const char *path, json_t **report, more_error *error)
{
    core_tokenizer *tokenizer;
    more_status status = core_tokenizer_load(path, &tokenizer, error);
    if (status != MORE_OK)
        return status;
    *report = json_pack(
        "{s:s, s:o, s:i, s:o*, s:o*, s:b}", "what", "tokenizer", "path", core_json_text(path), "tokens",
        (int)core_tokenizer_size(tokenizer), "bos", token_text(tokenizer, core_tokenizer_bos(tokenizer)), "eos",
        token_text(tokenizer, core_tokenizer_eos(tokenizer)), "adds_bos", (int)core_tokenizer_adds_bos(tokenizer));
    core_tokenizer_destroy(tokenizer);
    return MORE_OK;
}

/* A question about a picture as the template prints it, in JSON's escapes. */
static more_status add_prompt(json_t *report, const char *key, const char *path, const char *compat, more_error *error)
{
    const core_message question = {.role = CORE_ROLE_USER, .text = "QUESTION", .images = 1};
    core_template *loaded = NULL;
    core_prompt prompt = {0};
    more_status status = core_template_load(path, "", compat, &loaded, error);
    if (status == MORE_OK)
        status = core_template_render(loaded, &question, 1, NULL, true, &prompt, error);
    if (status == MORE_OK) {
        json_t *text = core_json_text(prompt.text.data ? prompt.text.data : "");
        char *escaped = json_dumps(text, JSON_ENCODE_ANY);
        json_object_set_new(report, key, json_string(escaped ? escaped : ""));
        free(escaped);
        json_decref(text);
    }
    core_prompt_free(&prompt);
    core_template_destroy(loaded);
    return status;
}

static more_status inspect_template(const char *path, bool has_compat, json_t **report, more_error *error)
{
    core_template *loaded;
    const char *stop;
    more_status status = core_template_load(path, "", NULL, &loaded, error);
    if (status != MORE_OK)
        return status;
    json_t *stops = json_array();
    for (size_t i = 0; (stop = core_template_stop(loaded, i)); i++)
        json_array_append_new(stops, core_json_text(stop));
    *report = json_pack("{s:s, s:o, s:o, s:o, s:o}", "what", "conversation template", "path", core_json_text(path),
                        "name", core_json_text(core_template_name(loaded)), "description",
                        core_json_text(core_template_description(loaded)), "stop", stops);
    core_template_destroy(loaded);
    status = add_prompt(*report, "prompt", path, NULL, error);
    return status == MORE_OK && has_compat ? add_prompt(*report, "prompt_lmms_eval", path, "lmms_eval", error) : status;
}

/* True when a line of the text is the section's heading. */
static bool has_section(const char *text, const char *heading)
{
    size_t size = strlen(heading);
    for (const char *at = text; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
        if (!strncmp(at, heading, size))
            return true;
    return false;
}

more_status inspect_ini(const char *path, json_t **report, more_error *error)
{
    core_buffer text = {0};
    more_status status = core_file_read(path, INI_LIMIT, &text, error);
    if (status == MORE_OK && has_section(text.data, "[template]"))
        status = inspect_template(path, has_section(text.data, "[lmms_eval]"), report, error);
    else if (status == MORE_OK && has_section(text.data, "[layout]"))
        *report = json_pack("{s:s, s:o}", "what", "layout of checkpoints", "path", core_json_text(path));
    else if (status == MORE_OK)
        status = inspect_config(path, report, error);
    core_buffer_free(&text);
    return status;
}

more_status inspect_json(const char *path, json_t **report, more_error *error)
{
    json_t *json = NULL;
    more_status status = core_json_load(path, &json, error);
    if (status != MORE_OK)
        return status;
    if (json_is_object(core_json_at(json, "model")) && json_is_array(core_json_at(json, "added_tokens"))) {
        json_decref(json);
        return inspect_tokenizer(path, report, error);
    }
    const char *type = json_string_value(core_json_at(json, "model_type"));
    char *folder = core_path_folder(path);
    *report = json_pack("{s:s, s:o, s:o*, s:o}", "what", "JSON file beside a model: inspect its folder", "path",
                        core_json_text(path), "model_type", type ? core_json_text(type) : NULL, "folder",
                        core_json_text(folder ? folder : "."));
    free(folder);
    json_decref(json);
    return MORE_OK;
}
