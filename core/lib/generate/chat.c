/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/chat.h"

#include "base/clock.h"
#include "base/memory.h"
#include "generate/answer.h"
#include "generate/npy.h"
#include "text/engine/utf8.h"
#include <stdlib.h>
#include <string.h>

struct core_chat {
    core_assembly *assembly;
    core_context context;
    core_message *messages; /* the turns so far, texts owned */
    size_t count;
    int32_t unfed; /* last token of the last answer where it was drawn and not yet fed; -1 = none */
};

/* One question on its way to an answer. */
typedef struct chat_turn {
    core_chat *chat;
    const llavamore_question *question;
    core_context context; /* a fork of the chat's: becomes the chat's when the turn succeeds */
    core_visual *images;
    core_ids prompt; /* what the turn adds, CORE_IMAGE_TOKEN for images */
    core_ids drawn;
    core_ids text_ends; /* [drawn]: bytes of the answer after each */
    core_answer answer;
    core_sampler *sampler;
    float *logits;          /* [vocabulary] */
    core_buffer logit_rows; /* for the dump: one row a drawn token */
    int32_t unfed;
    const char *finish;
    double start;
    core_visual_times times;
    double prefill_ms, decode_ms, first_token_ms;
} chat_turn;

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
    free(chat);
}

more_status core_chat_reset(core_chat *chat, more_error *error)
{
    core_context fresh;
    more_status status = core_context_create(chat->assembly, &fresh, error);
    if (status != MORE_OK)
        return status;
    core_context_destroy(&chat->context);
    forget_messages(chat);
    chat->context = fresh;
    chat->unfed = -1;
    return MORE_OK;
}

/* ---- The prompt -------------------------------------------------------------------------------------------------- */

/* Ids of what this turn adds to the conversation. */
static more_status render(chat_turn *turn, more_error *error)
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

/* ---- Sampling ---------------------------------------------------------------------------------------------------- */

static more_status run_call(const void *context, more_candidates *candidates, more_error *error)
{
    void *leading[] = {candidates};
    return core_call_invoke(context, leading, error);
}

static more_status create_sampler(chat_turn *turn, more_error *error)
{
    const core_assembly *assembly = turn->chat->assembly;
    const core_config *config = assembly->config;
    core_sampler_options options = {
        .temperature = core_config_double(config, "generate", "temperature"),
        .top_k = core_config_int64(config, "generate", "top_k"),
        .top_p = core_config_double(config, "generate", "top_p"),
        .min_p = core_config_double(config, "generate", "min_p"),
        .repetition_penalty = core_config_double(config, "generate", "repetition_penalty"),
        .seed = (uint64_t)core_config_int64(config, "generate", "seed"),
    };
    size_t count = assembly->sampler_calls.count;
    core_sampler_stage *stages = calloc(count + 1, sizeof *stages);
    if (!stages)
        return out_of_memory(error);
    for (size_t i = 0; i < count; i++)
        stages[i] = (core_sampler_stage){run_call, assembly->sampler_calls.items[i]};
    more_status status =
        core_sampler_create(assembly->language_info.vocabulary, &options, stages, count, &turn->sampler, error);
    free(stages);
    return status;
}

static bool is_stop(const core_assembly *assembly, int32_t id)
{
    for (size_t i = 0; i < assembly->stop_ids.count; i++)
        if (assembly->stop_ids.data[i] == id)
            return true;
    return false;
}

/* Ids of the conversation without images, for the repetition penalty. */
static more_status text_history(const core_context *context, core_ids *history, more_error *error)
{
    for (size_t i = 0; i < context->history.count; i++)
        if (context->history.data[i] >= 0)
            core_ids_push(history, context->history.data[i]);
    return history->failed ? out_of_memory(error) : MORE_OK;
}

/* Draws one token from the logits; *more says whether the answer goes on behind it. */
static more_status draw(chat_turn *turn, core_ids *history, int64_t index, bool *more, more_error *error)
{
    const core_assembly *assembly = turn->chat->assembly;
    int32_t id;
    more_status status = core_sampler_next(turn->sampler, turn->logits, history->data, (int64_t)history->count,
                                           (uint64_t)index, &id, error);
    if (status != MORE_OK)
        return status;
    if (turn->question->dump_folder)
        core_buffer_append(&turn->logit_rows, turn->logits,
                           (size_t)assembly->language_info.vocabulary * sizeof *turn->logits);
    core_ids_push(&turn->drawn, id);
    core_ids_push(history, id);
    if (history->failed || turn->drawn.failed || turn->text_ends.failed || turn->logit_rows.failed)
        return out_of_memory(error);
    *more = false;
    if (is_stop(assembly, id) && !core_config_bool(assembly->config, "generate", "ignore_stop")) {
        turn->finish = "stop";
        return MORE_OK;
    }
    turn->unfed = id;
    status = core_answer_push(&turn->answer, id, error);
    core_ids_push(&turn->text_ends, (int32_t)turn->answer.text.size);
    if (turn->answer.stopped)
        turn->finish = "stop";
    else if (turn->answer.refused)
        turn->finish = "cancelled";
    else
        *more = true;
    return status;
}

/* The stop string is no part of the conversation: the session goes back to the last token before it. */
static more_status drop_stop_string(chat_turn *turn, more_error *error)
{
    size_t kept = 0, fed = turn->drawn.count - 1, size = turn->answer.text.size;
    while (kept < fed && (size_t)turn->text_ends.data[kept] <= size)
        kept++;
    turn->unfed = -1;
    return core_context_drop(&turn->context, fed - kept, error);
}

/* Feeds the last token back; false in *more when the context is full or the user asked to stop. */
static more_status feed(chat_turn *turn, bool *more, more_error *error)
{
    const core_assembly *assembly = turn->chat->assembly;
    core_ids id = {.data = &turn->unfed, .count = 1};
    if (turn->context.rows >= assembly->context) {
        turn->finish = "length";
        *more = false;
        return MORE_OK;
    }
    more_status status = core_context_append(&turn->context, &id, NULL, 0, NULL, turn->logits, error);
    if (status == MORE_OK)
        turn->unfed = -1;
    return status;
}

static more_status generate(chat_turn *turn, more_error *error)
{
    const more_host *host = core_host_abi(turn->chat->assembly->host);
    const more_progress_service *progress = host->get_service(host, MORE_PROGRESS_SERVICE);
    int64_t most = core_config_int64(turn->chat->assembly->config, "generate", "max_new_tokens");
    core_ids history = {0};
    bool more = most > 0;
    turn->finish = "length";
    more_status status = text_history(&turn->context, &history, error);
    for (int64_t i = 0; status == MORE_OK && more; i++) {
        status = draw(turn, &history, i, &more, error);
        if (i == 0)
            turn->first_token_ms = core_now_ms() - turn->start;
        if (status != MORE_OK || !more || i + 1 >= most)
            break;
        if (progress->cancelled(host)) {
            turn->finish = "cancelled";
            break;
        }
        status = feed(turn, &more, error);
        /* What was printed is kept; the token that was not fed waits for the next turn. */
        if (status == MORE_ERROR_CANCELLED) {
            turn->finish = "cancelled";
            status = MORE_OK;
            break;
        }
    }
    core_ids_free(&history);
    if (status == MORE_OK)
        status = core_answer_finish(&turn->answer, error);
    if (status == MORE_OK && turn->answer.stopped && turn->unfed >= 0)
        status = drop_stop_string(turn, error);
    return status;
}

/* ---- One turn ---------------------------------------------------------------------------------------------------- */

static more_status dump(const chat_turn *turn, const core_ids *prompt, more_error *error)
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

static more_status prefill(chat_turn *turn, more_error *error)
{
    const llavamore_question *question = turn->question;
    turn->images = calloc((size_t)question->image_count + 1, sizeof *turn->images);
    turn->logits = core_floats(1, turn->chat->assembly->language_info.vocabulary);
    if (!turn->images || !turn->logits)
        return out_of_memory(error);
    /* The text first: a mistake in it shows before the encoder has run for seconds. */
    more_status status = render(turn, error);
    if (status == MORE_OK)
        status = core_visual_encode(turn->chat->assembly, question->images, question->image_count,
                                    question->dump_folder, question->dump_layers, turn->images, &turn->times, error);
    if (status == MORE_OK)
        status = core_context_fork(&turn->chat->context, &turn->context, error);
    return status;
}

/* Takes a finished turn into the conversation. */
static more_status keep(chat_turn *turn, const char *text, more_error *error)
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
    core_context_destroy(&chat->context);
    chat->context = turn->context;
    turn->context = (core_context){0};
    chat->unfed = turn->unfed;
    return MORE_OK;
}

static void fill_answer(chat_turn *turn, int64_t rows, int64_t image_rows, llavamore_answer *answer)
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
    answer->preprocess_ms = turn->times.preprocess_ms;
    answer->encode_ms = turn->times.encode_ms;
    answer->project_ms = turn->times.project_ms;
    answer->prefill_ms = turn->prefill_ms;
    answer->decode_ms = turn->decode_ms;
    answer->first_token_ms = turn->first_token_ms;
    answer->total_ms = core_now_ms() - turn->start;
}

static more_status run(chat_turn *turn, llavamore_answer *answer, more_error *error)
{
    const llavamore_question *question = turn->question;
    const core_assembly *assembly = turn->chat->assembly;
    const char *stop = core_config_string(assembly->config, "generate", "stop");
    more_status status = prefill(turn, error);
    if (status != MORE_OK)
        return status;
    int64_t rows = core_context_rows(&turn->prompt, turn->images), image_rows = 0;
    for (int32_t i = 0; i < question->image_count; i++)
        image_rows += turn->images[i].count;
    double start = core_now_ms();
    status = core_context_append(&turn->context, &turn->prompt, turn->images, (size_t)question->image_count,
                                 question->dump_layers ? question->dump_folder : NULL, turn->logits, error);
    turn->prefill_ms = core_now_ms() - start;
    if (status == MORE_OK)
        status = create_sampler(turn, error);
    if (status == MORE_OK)
        status = core_answer_begin(&turn->answer, assembly->tokenizer, stop, question, error);
    start = core_now_ms();
    if (status == MORE_OK)
        status = generate(turn, error);
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
    chat_turn turn = {.chat = chat, .question = question, .unfed = -1, .start = core_now_ms()};
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
