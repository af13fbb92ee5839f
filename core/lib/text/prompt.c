/* SPDX-License-Identifier: Apache-2.0 */
#include "text/template.h"

#include "text/engine/utf8.h"
#include "text/template_data.h"
#include <stdlib.h>
#include <string.h>

static const size_t mark_size = sizeof CORE_IMAGE_MARK - 1;

void core_prompt_free(core_prompt *prompt)
{
    core_buffer_free(&prompt->text);
    free(prompt->images);
    *prompt = (core_prompt){0};
}

static void add_image(core_prompt *prompt, size_t offset)
{
    if (prompt->image_count == prompt->image_capacity) {
        size_t capacity = prompt->image_capacity ? prompt->image_capacity * 2 : 8;
        size_t *images = realloc(prompt->images, capacity * sizeof *images);
        if (!images) {
            prompt->text.failed = 1;
            return;
        }
        prompt->images = images;
        prompt->image_capacity = capacity;
    }
    prompt->images[prompt->image_count++] = offset;
}

static more_status outcome(const core_prompt *prompt, more_error *error)
{
    return prompt->text.failed ? more_fail(error, MORE_ERROR_MEMORY, "prompt: out of memory") : MORE_OK;
}

static size_t count_marks(const char *text)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, CORE_IMAGE_MARK)); at += mark_size)
        count++;
    return count;
}

static void mark_from(core_prompt *prompt, size_t offset)
{
    const char *text = prompt->text.data, *at = text ? text + offset : NULL;
    for (; at && (at = memmem(at, prompt->text.size - (size_t)(at - text), CORE_IMAGE_MARK, mark_size));
         at += mark_size)
        add_image(prompt, (size_t)(at - text));
}

more_status core_prompt_mark_all(core_prompt *prompt, more_error *error)
{
    prompt->image_count = 0;
    mark_from(prompt, 0);
    return outcome(prompt, error);
}

/* What Python's str.strip takes for white space. */
static bool is_blank(uint32_t code)
{
    return core_utf8_is_space(code) || (code >= 0x1C && code <= 0x1F);
}

static void append_trimmed(core_buffer *out, const char *text, size_t size, bool trim)
{
    size_t begin = 0, length;
    uint32_t code;
    while (trim && begin < size && core_utf8_next(text + begin, size - begin, &length, &code) == CORE_UTF8_WHOLE &&
           is_blank(code))
        begin += length;
    while (trim && size > begin) {
        length = core_utf8_last(text + begin, size - begin, &code);
        if (!is_blank(code))
            break;
        size -= length;
    }
    core_buffer_append(out, text + begin, size - begin);
}

/* The text of a message with its marks, in place when it has them, else in front. */
static more_status compose(const core_template *t, const core_message *message, core_buffer *content, more_error *error)
{
    size_t marks = message->images > 0 ? count_marks(message->text) : 0;
    if (message->images < 0 || (message->images && message->role != CORE_ROLE_USER))
        return more_fail(error, MORE_ERROR_ARGUMENT, "template '%s': %d images with %s message; only a user's has any",
                         t->name, message->images, message->role == CORE_ROLE_USER ? "a user's" : "an assistant's");
    if (marks && marks != (size_t)message->images)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "the question has %zu %s mark%s for %d image%s; give as many, or "
                         "none to put the images first",
                         marks, CORE_IMAGE_MARK, marks == 1 ? "" : "s", message->images,
                         message->images == 1 ? "" : "s");
    bool discard = t->discard_user_text && message->role == CORE_ROLE_USER;
    const char *suffix = t->texts[CORE_TEXT_IMAGE_SUFFIX] ? t->texts[CORE_TEXT_IMAGE_SUFFIX] : "\n";
    const char *joint = t->texts[CORE_TEXT_IMAGE_JOINT] ? t->texts[CORE_TEXT_IMAGE_JOINT] : suffix;
    for (int32_t i = 0; i < message->images && (!marks || discard); i++) {
        core_buffer_text(content, CORE_IMAGE_MARK);
        if (!discard)
            core_buffer_text(content, i + 1 < message->images ? joint : suffix);
    }
    if (!discard)
        core_buffer_text(content, message->text);
    core_buffer_append(content, "", 0);
    return MORE_OK;
}

/* The message between its prefix and its suffix. */
static more_status append_message(const core_template *t, const core_message *message, core_prompt *prompt,
                                  more_error *error)
{
    core_buffer content = {0};
    bool user = message->role == CORE_ROLE_USER;
    more_status status = compose(t, message, &content, error);
    if (status == MORE_OK) {
        core_buffer_text(&prompt->text,
                         core_template_get(t, user ? CORE_TEXT_USER_PREFIX : CORE_TEXT_ASSISTANT_PREFIX));
        size_t offset = prompt->text.size;
        append_trimmed(&prompt->text, content.data, content.size, t->trim);
        if (message->images)
            mark_from(prompt, offset);
        core_buffer_text(&prompt->text,
                         core_template_get(t, user ? CORE_TEXT_USER_SUFFIX : CORE_TEXT_ASSISTANT_SUFFIX));
    }
    prompt->text.failed |= content.failed;
    core_buffer_free(&content);
    return status;
}

/* Users and assistants in turn, a user first; with `generate` a user last. */
static more_status check_turns(const core_template *t, const core_message *messages, size_t count, bool generate,
                               more_error *error)
{
    for (size_t i = 0; i < count; i++)
        if (messages[i].role != (i % 2 ? CORE_ROLE_ASSISTANT : CORE_ROLE_USER))
            return more_fail(error, MORE_ERROR_ARGUMENT,
                             "template '%s': message %zu is %s; a user's and an assistant's "
                             "take turns, a user's first",
                             t->name, i, i % 2 ? "a user's" : "an assistant's");
    if (generate && count % 2 == 0)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "template '%s': the last of %zu messages must be a user's for the "
                         "model to answer",
                         t->name, count);
    return MORE_OK;
}

/* What makes the model answer next. */
static const char *generation(const core_template *t, const core_message *messages, size_t count)
{
    bool image = false;
    for (size_t i = 0; i < count; i++)
        image = image || messages[i].images > 0;
    if (!image && t->texts[CORE_TEXT_GENERATION_NO_IMAGE])
        return t->texts[CORE_TEXT_GENERATION_NO_IMAGE];
    return core_template_get(t, t->texts[CORE_TEXT_GENERATION] ? CORE_TEXT_GENERATION : CORE_TEXT_ASSISTANT_PREFIX);
}

static more_status append_rest(const core_template *t, const core_message *messages, size_t count, size_t first,
                               bool generate, core_prompt *prompt, more_error *error)
{
    more_status status = MORE_OK;
    for (size_t i = first; i < count && status == MORE_OK; i++)
        status = append_message(t, &messages[i], prompt, error);
    if (status != MORE_OK)
        return status;
    if (generate)
        core_buffer_text(&prompt->text, generation(t, messages, count));
    return outcome(prompt, error);
}

more_status core_template_render(const core_template *t, const core_message *messages, size_t count, const char *system,
                                 bool generate, core_prompt *prompt, more_error *error)
{
    more_status status = check_turns(t, messages, count, generate, error);
    if (status != MORE_OK)
        return status;
    if (system && *system && !t->texts[CORE_TEXT_SYSTEM])
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "template '%s' has no place for a system message; say it in the "
                         "question",
                         t->name);
    const char *text = system ? system : core_template_get(t, CORE_TEXT_SYSTEM);
    core_buffer_text(&prompt->text, core_template_get(t, CORE_TEXT_BOS));
    if (*text) {
        core_buffer_text(&prompt->text, core_template_get(t, CORE_TEXT_SYSTEM_PREFIX));
        append_trimmed(&prompt->text, text, strlen(text), t->trim);
        core_buffer_text(&prompt->text, core_template_get(t, CORE_TEXT_SYSTEM_SUFFIX));
    }
    return append_rest(t, messages, count, 0, generate, prompt, error);
}

more_status core_template_continue(const core_template *t, const core_message *messages, size_t count, size_t first,
                                   bool generate, core_prompt *prompt, more_error *error)
{
    more_status status = check_turns(t, messages, count, generate, error);
    if (status != MORE_OK)
        return status;
    if (first == 0 || first > count || first % 2)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "template '%s': cannot go on at message %zu of %zu; it must follow "
                         "an answer",
                         t->name, first, count);
    core_buffer_text(&prompt->text, core_template_get(t, CORE_TEXT_ASSISTANT_SUFFIX));
    return append_rest(t, messages, count, first, generate, prompt, error);
}

/* The ids of one chunk. `drop`: leave out the BOS that the tokenizer puts in front; else one that the text has too. */
static more_status encode_chunk(const core_tokenizer *tokenizer, const char *text, size_t size, size_t offset,
                                int flags, bool drop, core_ids *ids, more_error *error)
{
    size_t first = ids->count, good = core_utf8_check(text, size);
    if (good < size)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "the prompt is not UTF-8: byte 0x%02X at offset %zu; convert it to "
                         "UTF-8",
                         (unsigned)(unsigned char)text[good], offset + good);
    more_status status = core_tokenizer_encode(tokenizer, text, size, flags, ids, error);
    if (status != MORE_OK || !flags || !core_tokenizer_adds_bos(tokenizer) || ids->count == first)
        return status;
    bool twice = ids->count > first + 1 && ids->data[first + 1] == ids->data[first];
    if (drop || twice)
        memmove(ids->data + first, ids->data + first + 1, (--ids->count - first) * sizeof *ids->data);
    return MORE_OK;
}

more_status core_prompt_encode(const core_tokenizer *tokenizer, const core_prompt *prompt, bool continuing,
                               core_ids *ids, more_error *error)
{
    const char *text = prompt->text.data ? prompt->text.data : "";
    int flags = continuing ? 0 : CORE_ENCODE_SPECIAL;
    size_t begin = 0;
    for (size_t i = 0; i <= prompt->image_count; i++) {
        size_t end = i < prompt->image_count ? prompt->images[i] : prompt->text.size;
        more_status status = encode_chunk(tokenizer, text + begin, end - begin, begin, flags, i > 0, ids, error);
        if (status != MORE_OK)
            return status;
        if (i < prompt->image_count)
            core_ids_push(ids, CORE_IMAGE_TOKEN);
        begin = end + mark_size;
    }
    return ids->failed ? more_fail(error, MORE_ERROR_MEMORY, "prompt: out of memory") : MORE_OK;
}
