/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/turn.h"

#include "base/clock.h"
#include "base/memory.h"
#include "generate/npy.h"
#include "recall/recall.h"
#include "text/engine/utf8.h"
#include <stdlib.h>
#include <string.h>

static more_status out_of_memory(more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the conversation");
}

more_status core_chat_create(core_assembly *assembly, core_chat **result, more_error *error)
{
    *result = NULL;
    core_chat *chat = calloc(1, sizeof *chat);
    if (!chat)
        return out_of_memory(error);
    chat->assembly = assembly;
    chat->unfed = -1;
    more_status status = core_context_create(assembly, &chat->context, error);
    if (status == MORE_OK)
        *result = chat;
    else
        core_chat_destroy(chat);
    return status;
}

static void forget_messages(core_chat *chat)
{
    for (size_t i = 0; i < chat->count; i++)
        free((void *)(uintptr_t)chat->messages[i].text);
    free(chat->messages);
    chat->messages = NULL;
    chat->count = 0;
}

void core_chat_destroy(core_chat *chat)
{
    if (!chat)
        return;
    forget_messages(chat);
    core_context_destroy(&chat->context);
    core_context_destroy(&chat->past);
    core_context_destroy(&chat->trunk);
    free(chat);
}

more_status core_chat_reset(core_chat *chat, more_error *error)
{
    core_context fresh;
    more_status status = core_context_create(chat->assembly, &fresh, error);
    if (status != MORE_OK)
        return status;
    if (chat->context.rows > 0) {
        core_context_destroy(&chat->past);
        chat->past = chat->context;
    } else {
        core_context_destroy(&chat->context);
    }
    forget_messages(chat);
    chat->context = fresh;
    chat->unfed = -1;
    return MORE_OK;
}

static more_status copy_messages(const core_chat *chat, core_chat *copy, more_error *error)
{
    copy->messages = calloc(chat->count + 1, sizeof *copy->messages);
    if (!copy->messages)
        return out_of_memory(error);
    for (; copy->count < chat->count; copy->count++) {
        const core_message *message = &chat->messages[copy->count];
        char *text = strdup(message->text);
        if (!text)
            return out_of_memory(error);
        copy->messages[copy->count] = (core_message){message->role, text, message->images};
    }
    return MORE_OK;
}

more_status core_chat_fork(const core_chat *chat, core_chat **result, more_error *error)
{
    *result = NULL;
    core_chat *copy = calloc(1, sizeof *copy);
    if (!copy)
        return out_of_memory(error);
    copy->assembly = chat->assembly;
    copy->unfed = chat->unfed;
    more_status status = copy_messages(chat, copy, error);
    if (status == MORE_OK)
        status = core_context_fork(&chat->context, &copy->context, error);
    if (status == MORE_OK && chat->past.assembly)
        status = core_context_fork(&chat->past, &copy->past, error);
    if (status == MORE_OK && chat->trunk.assembly)
        status = core_context_fork(&chat->trunk, &copy->trunk, error);
    if (status == MORE_OK)
        *result = copy;
    else
        core_chat_destroy(copy);
    return status;
}

/* ---- The prompt -------------------------------------------------------------------------------------------------- */

/* Ids of what this turn adds to the conversation. */
static more_status render(core_turn *turn, more_error *error)
{
    const char *text = turn->question->text;
    size_t bad = core_utf8_check(text, strlen(text)); /* here, where offsets are those of what the user wrote */
    if (text[bad])
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "the question is not UTF-8: byte 0x%02X at offset %zu; convert it to UTF-8",
                         (unsigned char)text[bad], bad);
    const core_assembly *assembly = turn->chat->assembly;
    const core_config_entry *system = core_config_find(assembly->config, "llm", "system");
    size_t count = turn->chat->count;
    core_prompt prompt = {0};
    core_message *messages = calloc(count + 1, sizeof *messages);
    if (!messages)
        return out_of_memory(error);
    if (count)
        memcpy(messages, turn->chat->messages, count * sizeof *messages);
    messages[count] = (core_message){CORE_ROLE_USER, turn->question->text, turn->question->image_count};
    more_status status;
    if (count)
        status = core_template_continue(assembly->conversation, messages, count + 1, count, true, &prompt, error);
    else
        status = core_template_render(assembly->conversation, messages, 1, system ? system->value : NULL, true, &prompt,
                                      error);
    if (turn->chat->unfed >= 0)
        core_ids_push(&turn->prompt, turn->chat->unfed);
    if (status == MORE_OK)
        status = core_prompt_encode(assembly->tokenizer, &prompt, count > 0, &turn->prompt, error);
    if (status == MORE_OK && turn->prompt.failed)
        status = out_of_memory(error);
    if (status == MORE_OK && !turn->prompt.count)
        status = more_fail(error, MORE_ERROR_ARGUMENT, "the prompt is empty: ask something or give an image");
    core_prompt_free(&prompt);
    free(messages);
    return status;
}

/* ---- One turn ---------------------------------------------------------------------------------------------------- */

static more_status dump(const core_turn *turn, const core_ids *prompt, more_error *error)
{
    const char *folder = turn->question->dump_folder;
    int64_t ids[1] = {(int64_t)prompt->count};
    int64_t logits[2] = {(int64_t)turn->drawn.count, turn->chat->assembly->language_info.vocabulary};
    int64_t drawn[1] = {(int64_t)turn->drawn.count};
    more_status status = core_npy_write(folder, "input_ids.npy", CORE_NPY_I32, 1, ids, prompt->data, error);
    if (status == MORE_OK)
        status = core_npy_write(folder, "token_ids.npy", CORE_NPY_I32, 1, drawn, turn->drawn.data, error);
    if (status == MORE_OK)
        status = core_npy_write(folder, "logits.npy", CORE_NPY_F32, 2, logits, turn->logit_rows.data, error);
    return status;
}

static more_status prefill(core_turn *turn, more_error *error)
{
    core_assembly *assembly = turn->chat->assembly;
    const llavamore_question *question = turn->question;
    turn->images = calloc((size_t)question->image_count + 1, sizeof *turn->images);
    turn->next_guess = (int32_t)core_config_int64(assembly->config, "generate", "prompt_lookup");
    turn->logits = core_floats(1 + turn->next_guess, assembly->language_info.vocabulary);
    if (!turn->images || !turn->logits)
        return out_of_memory(error);
    /* The text first: a mistake in it shows before the encoder has run for seconds. */
    more_status status = render(turn, error);
    if (status == MORE_OK)
        status = core_recall_pictures(assembly, question->images, question->image_count, question->dump_folder,
                                      question->dump_layers, turn->images, &turn->times, error);
    return status == MORE_OK ? core_turn_begin(turn, error) : status;
}

/* Takes a finished turn into the conversation. */
static more_status keep(core_turn *turn, const char *text, more_error *error)
{
    core_chat *chat = turn->chat;
    core_message *messages = realloc(chat->messages, (chat->count + 2) * sizeof *messages);
    if (!messages)
        return out_of_memory(error);
    chat->messages = messages;
    char *question = strdup(turn->question->text);
    char *answer = strdup(text);
    if (!question || !answer) {
        free(question);
        free(answer);
        return out_of_memory(error);
    }
    messages[chat->count++] = (core_message){CORE_ROLE_USER, question, turn->question->image_count};
    messages[chat->count++] = (core_message){CORE_ROLE_ASSISTANT, answer, 0};
    core_context_destroy(&chat->past); /* what of it is of use is in this conversation */
    core_context_destroy(&chat->context);
    chat->context = turn->context;
    turn->context = (core_context){0};
    chat->unfed = turn->unfed;
    return MORE_OK;
}

static void fill_answer(core_turn *turn, int64_t rows, int64_t image_rows, llavamore_answer *answer)
{
    answer->size = turn->answer.text.size;
    answer->text = core_buffer_take(&turn->answer.text);
    answer->token_count = (int32_t)turn->drawn.count;
    answer->completion_tokens = (int64_t)turn->drawn.count;
    answer->token_ids = turn->drawn.data;
    turn->drawn = (core_ids){0};
    answer->finish_reason = turn->finish;
    answer->prompt_tokens = rows;
    answer->image_tokens = image_rows;
    answer->prefill_rows = turn->prefill_rows;
    answer->reused_rows = turn->reused_rows > 0 ? turn->reused_rows : 0;
    answer->encoded_images = turn->times.encoded;
    answer->decode_calls = turn->decode_calls;
    answer->guessed_tokens = turn->all_guessed;
    answer->right_tokens = turn->all_right;
    answer->preprocess_ms = turn->times.preprocess_ms;
    answer->encode_ms = turn->times.encode_ms;
    answer->project_ms = turn->times.project_ms;
    answer->prefill_ms = turn->prefill_ms;
    answer->decode_ms = turn->decode_ms;
    answer->first_token_ms = turn->first_token_ms;
    answer->total_ms = core_now_ms() - turn->start;
}

static more_status run(core_turn *turn, llavamore_answer *answer, more_error *error)
{
    const llavamore_question *question = turn->question;
    more_status status = prefill(turn, error);
    if (status != MORE_OK)
        return status;
    int64_t rows = core_context_rows(&turn->prompt, turn->images), image_rows = 0;
    for (int32_t i = 0; i < question->image_count; i++)
        image_rows += turn->images[i].count;
    double start = core_now_ms();
    status = core_turn_read(turn, rows, error);
    turn->prefill_ms = core_now_ms() - start;
    turn->prefill_rows = turn->context.computed;
    turn->reused_rows = turn->context.rows - turn->context.computed;
    start = core_now_ms();
    if (status == MORE_OK)
        status = core_turn_generate(turn, error);
    turn->decode_ms = core_now_ms() - start;
    if (status == MORE_OK && question->dump_folder)
        status = dump(turn, &turn->prompt, error);
    if (status != MORE_OK)
        return status;
    fill_answer(turn, rows, image_rows, answer);
    status = answer->text ? keep(turn, answer->text, error) : out_of_memory(error);
    if (status != MORE_OK)
        llavamore_answer_clear(answer);
    return status;
}

more_status core_chat_ask(core_chat *chat, const llavamore_question *question, llavamore_answer *answer,
                          more_error *error)
{
    llavamore_question asked = *question;
    if (!asked.text)
        asked.text = "";
    question = &asked;
    core_turn turn = {.chat = chat, .question = question, .unfed = -1, .start = core_now_ms()};
    *answer = (llavamore_answer){0};
    if (chat->assembly->flags & MORE_OPEN_METADATA_ONLY)
        return more_fail(error, MORE_ERROR_ARGUMENT, "the model was opened for a dry run: it has no weights");
    more_status status = run(&turn, answer, error);
    for (int32_t i = 0; turn.images && i < question->image_count; i++)
        core_visual_free(&turn.images[i]);
    free(turn.images);
    free(turn.logits);
    core_context_destroy(&turn.context);
    core_ids_free(&turn.prompt);
    core_ids_free(&turn.drawn);
    core_ids_free(&turn.text_ends);
    core_answer_free(&turn.answer);
    core_sampler_destroy(turn.sampler);
    core_buffer_free(&turn.logit_rows);
    return status;
}
