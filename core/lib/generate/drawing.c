/* SPDX-License-Identifier: Apache-2.0
 *
 * The answer, token by token.
 */
#include "generate/turn.h"

#include "base/clock.h"
#include <stdlib.h>
#include <string.h>

static more_status out_of_memory(more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the conversation");
}

static more_status run_call(const void *context, more_candidates *candidates, more_error *error)
{
    void *leading[] = {candidates};
    return core_call_invoke(context, leading, error);
}

static more_status create_sampler(core_turn *turn, more_error *error)
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
static more_status draw(core_turn *turn, core_ids *history, int64_t index, bool *more, more_error *error)
{
    const core_assembly *assembly = turn->chat->assembly;
    const float *logits = turn->logits + turn->right * assembly->language_info.vocabulary;
    int32_t id;
    more_status status =
        core_sampler_next(turn->sampler, logits, history->data, (int64_t)history->count, (uint64_t)index, &id, error);
    if (status != MORE_OK)
        return status;
    if (turn->question->dump_folder)
        core_buffer_append(&turn->logit_rows, logits, (size_t)assembly->language_info.vocabulary * sizeof *logits);
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
static more_status drop_stop_string(core_turn *turn, more_error *error)
{
    size_t kept = 0, fed = turn->drawn.count - 1, size = turn->answer.text.size;
    while (kept < fed && (size_t)turn->text_ends.data[kept] <= size)
        kept++;
    turn->unfed = -1;
    return core_context_drop(&turn->context, fed - kept, error);
}

/* Takes the end of the guess that was not drawn back out of the context. A guess that was right lets the next one be
 * longer, up to what the user allows. */
static more_status drop_guess(core_turn *turn, more_error *error)
{
    int64_t most = core_config_int64(turn->chat->assembly->config, "generate", "prompt_lookup");
    int32_t wrong = turn->guessed - turn->right;
    if (!turn->guessed)
        return MORE_OK;
    turn->all_right += turn->right;
    turn->next_guess = 2 * turn->right + 1 < most ? 2 * turn->right + 1 : (int32_t)most;
    turn->guessed = turn->right = 0;
    return core_context_drop(&turn->context, (size_t)wrong, error);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Feeds the last token back and behind it a guess, of which `left` - 1 can be used, in one call. MORE_NEEDS_REPLAY,
 * with nothing changed, where there is no guess, or where it alone would make a replay necessary. */
static more_status feed_guess(core_turn *turn, const core_ids *history, int64_t left, more_error *error)
{
    const core_assembly *assembly = turn->chat->assembly;
    int32_t ids[1 + CORE_MOST_GUESSED] = {turn->unfed};
    int64_t most = least(turn->next_guess, left - 1);
    most = least(most, assembly->context - turn->context.rows - 1);
    most = least(most, core_config_int64(assembly->config, "runtime", "batch") - 1);
    int32_t guessed = most > 0 ? core_lookup(history->data, history->count, (int32_t)most, turn->guess) : 0;
    if (!guessed)
        return MORE_NEEDS_REPLAY;
    memcpy(ids + 1, turn->guess, (size_t)guessed * sizeof *ids);
    core_ids fed = {.data = ids, .count = 1 + (size_t)guessed};
    more_status status = core_context_try(&turn->context, &fed, turn->logits, error);
    if (status == MORE_OK) {
        turn->guessed = guessed;
        turn->all_guessed += guessed;
    }
    return status;
}

/* Feeds the last token back, behind what was right of a guess; false in *more when the context is full. `left` tokens
 * may still be drawn. */
static more_status feed(core_turn *turn, const core_ids *history, int64_t left, bool *more, more_error *error)
{
    const core_assembly *assembly = turn->chat->assembly;
    core_ids id = {.data = &turn->unfed, .count = 1};
    more_status status;
    if (turn->context.rows >= assembly->context) {
        turn->finish = "length";
        *more = false;
        return MORE_OK;
    }
    status = feed_guess(turn, history, left, error);
    if (status == MORE_NEEDS_REPLAY)
        status = core_context_append(&turn->context, &id, NULL, 0, NULL, turn->logits, error);
    turn->decode_calls += status == MORE_OK;
    if (status == MORE_OK)
        turn->unfed = -1;
    return status;
}

/* True where the token just drawn is the one that was fed ahead: the logits after it are there. */
static bool was_guessed(core_turn *turn)
{
    if (turn->right == turn->guessed || turn->guess[turn->right] != turn->unfed)
        return false;
    turn->right++;
    turn->unfed = -1;
    return true;
}

static more_status draw_all(core_turn *turn, core_ids *history, int64_t most, more_error *error)
{
    const more_host *host = core_host_abi(turn->chat->assembly->host);
    const more_progress_service *progress = host->get_service(host, MORE_PROGRESS_SERVICE);
    bool more = most > 0;
    more_status status = MORE_OK;
    for (int64_t i = 0; status == MORE_OK && more; i++) {
        status = draw(turn, history, i, &more, error);
        if (i == 0)
            turn->first_token_ms = core_now_ms() - turn->start;
        if (status != MORE_OK || !more || i + 1 >= most)
            break;
        if (progress->cancelled(host)) {
            turn->finish = "cancelled";
            break;
        }
        if (was_guessed(turn))
            continue;
        status = drop_guess(turn, error);
        if (status != MORE_OK) /* the context is lost with it, also when it was the user who stopped it */
            break;
        status = feed(turn, history, most - i - 1, &more, error);
        /* What was printed is kept; the token that was not fed waits for the next turn. */
        if (status == MORE_ERROR_CANCELLED) {
            turn->finish = "cancelled";
            status = MORE_OK;
            break;
        }
    }
    return status;
}

more_status core_turn_generate(core_turn *turn, more_error *error)
{
    const core_config *config = turn->chat->assembly->config;
    core_ids history = {0};
    turn->finish = "length";
    more_status status = create_sampler(turn, error);
    if (status == MORE_OK)
        status = core_answer_begin(&turn->answer, turn->chat->assembly->tokenizer,
                                   core_config_string(config, "generate", "stop"), turn->question, error);
    if (status == MORE_OK)
        status = text_history(&turn->context, &history, error);
    if (status == MORE_OK)
        status = draw_all(turn, &history, core_config_int64(config, "generate", "max_new_tokens"), error);
    core_ids_free(&history);
    if (status == MORE_OK)
        status = core_answer_finish(&turn->answer, error);
    if (status == MORE_OK)
        status = drop_guess(turn, error);
    if (status == MORE_OK && turn->answer.stopped && turn->unfed >= 0)
        status = drop_stop_string(turn, error);
    return status;
}
