/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a prompt begins: with what was computed before.
 */
#include "generate/turn.h"

/* A context that begins with as much of the prompt as `known` has, if that is more than *reused. Hidden states are
 * wanted of every row, so that nothing is reused under them. */
static more_status begin_with(core_turn *turn, const core_context *known, more_error *error)
{
    core_context fork;
    if (!known->assembly || turn->question->dump_layers)
        return MORE_OK;
    core_prefix common = core_context_common(known, &turn->prompt, turn->images);
    if (common.rows <= turn->reused.rows)
        return MORE_OK;
    more_status status = core_context_fork(known, &fork, error);
    if (status != MORE_OK)
        return status;
    status = core_context_cut(&fork, &common, error);
    if (status != MORE_OK) {
        core_context_destroy(&fork);
        return status == MORE_NEEDS_REPLAY ? MORE_OK : status;
    }
    core_context_destroy(&turn->context);
    turn->context = fork;
    turn->reused = common;
    return MORE_OK;
}

/* The context that the prompt goes into: the conversation's, or, where it begins, what is known of its beginning. */
more_status core_turn_begin(core_turn *turn, more_error *error)
{
    const core_chat *chat = turn->chat;
    more_status status = core_context_fork(&chat->context, &turn->context, error);
    if (chat->context.rows > 0)
        return status;
    if (status == MORE_OK)
        status = begin_with(turn, &chat->past, error);
    if (status == MORE_OK)
        status = begin_with(turn, &chat->trunk, error);
    return status;
}

/* The beginning of the prompt up to its last image; nothing where there is none. */
static core_prefix through_images(const core_turn *turn)
{
    core_prefix end = {0}, at = {0};
    for (; at.ids < turn->prompt.count; at.ids++) {
        bool is_image = turn->prompt.data[at.ids] == CORE_IMAGE_TOKEN;
        at.rows += is_image ? turn->images[at.images].count : 1;
        at.images += is_image;
        if (is_image)
            end = (core_prefix){at.ids + 1, at.images, at.rows};
    }
    return end;
}

/* Makes a trunk of the turn's context, which holds more than `end`. Cutting also makes the session forget the length
 * that it was planned for, which the next question's need not be. */
static more_status keep_trunk(core_turn *turn, const core_prefix *end, more_error *error)
{
    core_context trunk;
    more_status status = core_context_fork(&turn->context, &trunk, error);
    if (status != MORE_OK)
        return status;
    status = core_context_cut(&trunk, end, error);
    if (status != MORE_OK) {
        core_context_destroy(&trunk);
        return status == MORE_NEEDS_REPLAY ? MORE_OK : status;
    }
    core_context_destroy(&turn->chat->trunk);
    turn->chat->trunk = trunk;
    return MORE_OK;
}

/* True when the prompt, which begins a conversation, is to leave a trunk that ends at `end` and is not there. */
static bool wants_trunk(const core_turn *turn, const core_prefix *end)
{
    const core_chat *chat = turn->chat;
    if (chat->context.rows > 0 || !end->ids || end->ids == turn->prompt.count || turn->question->dump_layers)
        return false;
    bool there = chat->trunk.assembly && chat->trunk.history.count == end->ids &&
                 core_context_common(&chat->trunk, &turn->prompt, turn->images).ids == end->ids;
    return !there && core_context_lets_go(chat->assembly, chat->assembly->context);
}

/* Appends the prompt's ids from `first` to `end`, and with them the images from `image` on. */
static more_status feed_prompt(core_turn *turn, size_t first, size_t end, size_t image, float *logits,
                               more_error *error)
{
    const llavamore_question *question = turn->question;
    core_ids ids = {.data = turn->prompt.data + first, .count = end - first};
    return core_context_append(&turn->context, &ids, turn->images + image, (size_t)question->image_count - image,
                               question->dump_layers ? question->dump_folder : NULL, logits, error);
}

/* Runs what is not reused of the prompt, which has `rows` rows, through the model. */
more_status core_turn_read(core_turn *turn, int64_t rows, more_error *error)
{
    const core_assembly *assembly = turn->chat->assembly;
    core_prefix end = through_images(turn);
    size_t first = turn->reused.ids, image = turn->reused.images, count = turn->prompt.count, split = count;
    int64_t total = turn->context.rows + rows - turn->reused.rows;
    bool trunk = wants_trunk(turn, &end), fits = total <= assembly->context;
    more_status status = MORE_OK;
    turn->context.planned = total;
    /* A session that would let go of the images' rows is stopped one id behind them. */
    if (trunk && fits && first <= end.ids && core_context_lets_go(assembly, total))
        split = end.ids + 1;
    if (trunk && first > end.ids)
        status = keep_trunk(turn, &end, error);
    if (status == MORE_OK)
        status = feed_prompt(turn, first, split, image, split == count ? turn->logits : NULL, error);
    if (status == MORE_OK && trunk && first <= end.ids)
        status = keep_trunk(turn, &end, error);
    if (status == MORE_OK && split < count)
        status = feed_prompt(turn, split, count, (size_t)turn->question->image_count, turn->logits, error);
    return status;
}
