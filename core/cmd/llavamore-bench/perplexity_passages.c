/* SPDX-License-Identifier: Apache-2.0 */
#include "perplexity.h"

#include "base/file.h"
#include "base/json.h"

#include <string.h>

#define TEXT_LIMIT ((size_t)1 << 30) /* bytes of a text or a file of questions */

static more_status out_of_memory(more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the text's tokens");
}

/* Takes over the passage. */
static more_status keep(passages *list, passage *made, more_error *error)
{
    bool failed = made->ids.failed;
    if (!failed && list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        passage *grown = realloc(list->list, capacity * sizeof *grown);
        failed = !grown;
        if (grown) {
            list->list = grown;
            list->capacity = capacity;
        }
    }
    if (failed) {
        core_ids_free(&made->ids);
        free(made->picture);
        return out_of_memory(error);
    }
    list->counted += (int64_t)(made->ids.count - made->first);
    list->list[list->count++] = *made;
    return MORE_OK;
}

void passages_free(passages *list)
{
    for (size_t i = 0; i < list->count; i++) {
        core_ids_free(&list->list[i].ids);
        free(list->list[i].picture);
    }
    free(list->list);
    *list = (passages){0};
}

/* FNV-1a over `value`'s bytes. */
static uint64_t mix(uint64_t digest, uint64_t value)
{
    for (int shift = 0; shift < 64; shift += 8)
        digest = (digest ^ ((value >> shift) & 0xff)) * 0x100000001b3;
    return digest;
}

uint64_t passages_digest(const passages *list)
{
    uint64_t digest = 0xcbf29ce484222325;
    for (size_t p = 0; p < list->count; p++) {
        const passage *one = &list->list[p];
        digest = mix(mix(digest, one->first), one->ids.count);
        for (size_t i = 0; i < one->ids.count; i++)
            digest = mix(digest, (uint64_t)(int64_t)one->ids.data[i]);
    }
    return digest;
}

/* ---- A text ------------------------------------------------------------------------------------------------------ */

static more_status cut_windows(const core_ids *ids, int32_t bos, size_t window, int64_t limit, passages *list,
                               more_error *error)
{
    more_status status = MORE_OK;
    for (size_t at = 0; at + window <= ids->count && status == MORE_OK; at += window) {
        passage made = {.first = window / 2 + 1};
        core_ids_append(&made.ids, ids->data + at, window);
        if (bos >= 0 && !made.ids.failed)
            made.ids.data[0] = bos;
        status = keep(list, &made, error);
        if (limit && list->count == (size_t)limit)
            break;
    }
    return status;
}

more_status passages_of_text(const subject *model, const char *path, int64_t window, int64_t limit, passages *list,
                             more_error *error)
{
    const core_assembly *assembly = model->assembly;
    const core_tokenizer *tokenizer = assembly->tokenizer;
    core_buffer text = {0};
    core_ids ids = {0};
    *list = (passages){0};
    if (window > assembly->context)
        return more_fail(error, MORE_ERROR_LIMIT, "--context is %lld: the model's is %lld", (long long)window,
                         (long long)assembly->context);
    more_status status = core_file_read(path, TEXT_LIMIT, &text, error);
    if (status == MORE_OK && text.size)
        status = core_tokenizer_encode(tokenizer, text.data, text.size, CORE_ENCODE_SPECIAL | CORE_ENCODE_STRICT, &ids,
                                       error);
    if (status == MORE_OK && ids.failed)
        status = out_of_memory(error);
    if (status == MORE_OK && ids.count < (size_t)window)
        status = more_fail(error, MORE_ERROR_ARGUMENT,
                           "%s: %zu tokens are less than one window of %lld: give more text, or --context", path,
                           ids.count, (long long)window);
    if (status == MORE_OK) {
        list->tokens = (int64_t)ids.count;
        status = cut_windows(&ids, core_tokenizer_adds_bos(tokenizer) ? core_tokenizer_bos(tokenizer) : -1,
                             (size_t)window, limit, list, error);
    }
    core_buffer_free(&text);
    core_ids_free(&ids);
    return status;
}

/* ---- Questions about pictures ------------------------------------------------------------------------------------ */

/* The prompt's ids and, in *rest, the text of the answer and what the template puts behind it. */
static more_status render(const core_assembly *assembly, const char *question, const char *answer, core_ids *ids,
                          char **rest, more_error *error)
{
    const core_config_entry *system = core_config_find(assembly->config, "llm", "system");
    const core_message messages[] = {{CORE_ROLE_USER, question, 1}, {CORE_ROLE_ASSISTANT, answer, 0}};
    core_prompt asked = {0}, whole = {0};
    more_status status =
        core_template_render(assembly->conversation, messages, 1, system ? system->value : NULL, true, &asked, error);
    if (status == MORE_OK)
        status = core_template_render(assembly->conversation, messages, 2, system ? system->value : NULL, false, &whole,
                                      error);
    if (status == MORE_OK &&
        (whole.text.size <= asked.text.size || memcmp(whole.text.data, asked.text.data, asked.text.size) != 0))
        status = more_fail(error, MORE_ERROR_UNSUPPORTED,
                           "template '%s' begins an answer in another way than it writes one down: no perplexity of "
                           "answers",
                           core_template_name(assembly->conversation));
    if (status == MORE_OK)
        status = core_prompt_encode(assembly->tokenizer, &asked, false, ids, error);
    if (status == MORE_OK && !(*rest = strdup(whole.text.data + asked.text.size)))
        status = out_of_memory(error);
    core_prompt_free(&asked);
    core_prompt_free(&whole);
    return status;
}

static bool stops(const core_assembly *assembly, int32_t id)
{
    for (size_t i = 0; i < assembly->stop_ids.count; i++)
        if (assembly->stop_ids.data[i] == id)
            return true;
    return false;
}

static more_status add_conversation(const core_assembly *assembly, const char *question, const char *answer,
                                    passage *made, more_error *error)
{
    char *rest = NULL;
    more_status status = render(assembly, question, answer, &made->ids, &rest, error);
    made->first = made->ids.count;
    /* The answer's first token is predicted by the one before it, and a picture is no token. */
    if (status == MORE_OK && !made->ids.failed && (!made->first || made->ids.data[made->first - 1] == CORE_IMAGE_TOKEN))
        status = more_fail(error, MORE_ERROR_UNSUPPORTED,
                           "nothing stands between the picture and the answer: template '%s' has no perplexity of "
                           "answers",
                           core_template_name(assembly->conversation));
    if (status == MORE_OK)
        status = core_tokenizer_encode(assembly->tokenizer, rest, strlen(rest), CORE_ENCODE_STRICT, &made->ids, error);
    free(rest);
    for (size_t i = made->first; i < made->ids.count; i++)
        if (stops(assembly, made->ids.data[i]))
            made->ids.count = i + 1;
    if (status == MORE_OK && made->first == made->ids.count)
        status = more_fail(error, MORE_ERROR_ARGUMENT, "an answer without a token");
    return status;
}

/* The text of a key; NULL where it has none. One with a NUL would be cut short by everything that reads it. */
static const char *text_of(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    const char *text = json_string_value(value);
    return text && strlen(text) == json_string_length(value) ? text : NULL;
}

/* One line of the file; `where` names it. */
static more_status add_question(const core_assembly *assembly, const char *folder, const char *line, size_t size,
                                const char *where, passages *list, more_error *error)
{
    json_t *row = NULL;
    passage made = {0};
    more_error reason = {{0}};
    more_status status = core_json_parse(line, size, where, &row, error);
    if (status != MORE_OK)
        return status;
    const char *image = text_of(row, "image"), *question = text_of(row, "question"), *answer = text_of(row, "answer");
    if (!image || !question || !answer) {
        status = more_fail(error, MORE_ERROR_ARGUMENT,
                           "%s: a line is {\"image\", \"question\", \"answer\"}, all texts without a NUL", where);
    } else {
        made.picture = core_path_join(folder, image);
        status = made.picture ? add_conversation(assembly, question, answer, &made, &reason) : out_of_memory(&reason);
        if (status != MORE_OK)
            more_fail(error, status, "%s: %s", where, reason.message);
    }
    json_decref(row);
    if (status == MORE_OK)
        return keep(list, &made, error);
    core_ids_free(&made.ids);
    free(made.picture);
    return status;
}

more_status passages_of_questions(const subject *model, const char *path, int64_t limit, passages *list,
                                  more_error *error)
{
    core_buffer text = {0};
    char where[4096], *folder = core_path_folder(path);
    int64_t number = 0;
    *list = (passages){0};
    more_status status = folder ? core_file_read(path, TEXT_LIMIT, &text, error) : out_of_memory(error);
    const char *nul = status == MORE_OK && text.size ? memchr(text.data, '\0', text.size) : NULL;
    if (nul)
        status = more_fail(error, MORE_ERROR_ARGUMENT, "%s: a NUL byte at offset %zu: questions are text", path,
                           (size_t)(nul - text.data));
    for (const char *line = text.data, *end; status == MORE_OK && line && *line; line = end + (*end == '\n')) {
        end = strchrnul(line, '\n');
        snprintf(where, sizeof where, "%s:%lld", path, (long long)++number);
        status = add_question(model->assembly, folder, line, (size_t)(end - line), where, list, error);
        if (limit && list->count == (size_t)limit)
            break;
    }
    if (status == MORE_OK && !list->count)
        status = more_fail(error, MORE_ERROR_ARGUMENT, "%s: no question in it", path);
    for (size_t i = 0; i < list->count; i++)
        list->tokens += (int64_t)list->list[i].ids.count;
    core_buffer_free(&text);
    free(folder);
    return status;
}
