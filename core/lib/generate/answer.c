/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/answer.h"

#include <string.h>

more_status core_answer_begin(core_answer *answer, const core_tokenizer *tokenizer, const char *stop,
                              const llavamore_question *question, more_error *error)
{
    answer->stop = stop && stop[0] ? stop : NULL;
    answer->on_text = question->on_text;
    answer->user = question->user;
    return core_stream_create(tokenizer, true, &answer->stream, error);
}

/* Bytes at the end of the text that may be the beginning of the stop string. */
static size_t held_back(const core_answer *answer)
{
    if (!answer->stop)
        return 0;
    size_t longest = strlen(answer->stop) - 1, size = answer->text.size;
    for (size_t n = longest < size ? longest : size; n; n--)
        if (!memcmp(answer->text.data + size - n, answer->stop, n))
            return n;
    return 0;
}

static void cut_at_stop(core_answer *answer)
{
    char *found = answer->stop && answer->text.data
                      ? memmem(answer->text.data, answer->text.size, answer->stop, strlen(answer->stop))
                      : NULL;
    if (!found)
        return;
    answer->stopped = true;
    answer->text.size = (size_t)(found - answer->text.data);
    *found = '\0';
}

/* Cuts only between characters: the text is whole UTF-8, but the stop string may begin like a part of one. */
static size_t character_start(const core_answer *answer, size_t at)
{
    while (at > answer->handed && ((unsigned char)answer->text.data[at] & 0xc0) == 0x80)
        at--;
    return at;
}

static more_status hand_on(core_answer *answer, size_t keep, more_error *error)
{
    if (answer->text.failed)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the answer");
    size_t end = answer->text.size - keep;
    if (keep)
        end = character_start(answer, end);
    if (end <= answer->handed)
        return MORE_OK;
    if (answer->on_text && !answer->refused)
        answer->refused = !answer->on_text(answer->user, answer->text.data + answer->handed, end - answer->handed);
    answer->handed = end;
    return MORE_OK;
}

more_status core_answer_push(core_answer *answer, int32_t id, more_error *error)
{
    more_status status = core_stream_push(answer->stream, id, &answer->text, error);
    cut_at_stop(answer);
    if (status == MORE_OK)
        status = hand_on(answer, answer->stopped ? 0 : held_back(answer), error);
    return status;
}

more_status core_answer_finish(core_answer *answer, more_error *error)
{
    more_status status = MORE_OK;
    if (!answer->stopped) {
        status = core_stream_finish(answer->stream, &answer->text, error);
        cut_at_stop(answer);
    }
    if (status == MORE_OK)
        status = hand_on(answer, 0, error);
    return status;
}

void core_answer_free(core_answer *answer)
{
    core_stream_destroy(answer->stream);
    core_buffer_free(&answer->text);
    *answer = (core_answer){0};
}
