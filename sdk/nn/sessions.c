/* SPDX-License-Identifier: Apache-2.0 */
#include "sessions.h"

#include "require.h"

#include <stdlib.h>
#include <string.h>

struct more_session {
    const nn_language *language;
    nn_cache *cache;
    int64_t planned_length;
    int64_t reach;  /* largest rotary position + 1; an upper bound after truncating `given` ones */
    bool given;     /* some positions were given one by one */
    int32_t regime; /* as nn_language.admit set it; 0 when empty */
};

/* ---- One session ------------------------------------------------------------------------------------------------ */

static more_status require_weights(const nn_language *language, more_error *error)
{
    if (!language->embedding)
        return more_fail(error, MORE_ERROR_ARGUMENT, "the model was opened for its metadata only and cannot run");
    return MORE_OK;
}

/* A session around `cache`, which it then owns; on failure the cache is destroyed. */
static more_status wrap(const nn_language *language, nn_cache *cache, int64_t planned_length, more_session **session,
                        more_error *error)
{
    more_session *created = calloc(1, sizeof *created);
    if (!created) {
        nn_cache_destroy(cache);
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for a session");
    }
    created->language = language;
    created->cache = cache;
    created->planned_length = planned_length;
    *session = created;
    return MORE_OK;
}

more_status nn_session_create(const nn_language *language, int64_t planned_length, more_session **session,
                              more_error *error)
{
    nn_cache *cache;
    more_status status = require_weights(language, error);

    *session = NULL;
    if (!status && planned_length < 0)
        status = more_fail(error, MORE_ERROR_ARGUMENT, "a session cannot be planned for %lld rows",
                           (long long)planned_length);
    if (!status && planned_length > language->context_length)
        status = more_fail(error, MORE_ERROR_LIMIT, "a session of %lld rows was asked for, the model's context is %lld",
                           (long long)planned_length, (long long)language->context_length);
    if (!status)
        status = nn_cache_create(language->context, &language->cache, &cache, error);
    return status ? status : wrap(language, cache, planned_length, session, error);
}

more_status nn_session_fork(more_session *session, more_session **fork, more_error *error)
{
    nn_cache *cache;
    more_status status;

    *fork = NULL;
    status = nn_cache_fork(session->cache, &cache, error);
    if (!status)
        status = wrap(session->language, cache, session->planned_length, fork, error);
    if (!status) {
        (*fork)->reach = session->reach;
        (*fork)->given = session->given;
        (*fork)->regime = session->regime;
    }
    return status;
}

/* Least length that the session may be truncated to. How far the positions of its first rows reach, which admit asks
 * for, is not known where they were given one by one. */
static int64_t floor_of(const more_session *session)
{
    bool unknown = session->given && session->language->admit;
    return unknown ? nn_cache_length(session->cache) : nn_cache_floor(session->cache);
}

more_status nn_session_truncate(more_session *session, int64_t length, more_error *error)
{
    int64_t rows = nn_cache_length(session->cache);
    if (length < 0 || length > rows)
        return more_fail(error, MORE_ERROR_ARGUMENT, "a session of %lld rows cannot be truncated to %lld",
                         (long long)rows, (long long)length);
    if (length < floor_of(session))
        return more_fail(error, MORE_NEEDS_REPLAY, "a session of %lld rows cannot be truncated to %lld, below %lld",
                         (long long)rows, (long long)length, (long long)floor_of(session));
    if (length == rows)
        return MORE_OK;
    nn_cache_truncate(session->cache, length);
    session->planned_length = 0; /* a plan is about rows that are now cut */
    session->given &= length > 0;
    session->reach = session->given ? session->reach : length;
    session->regime = length > 0 ? session->regime : 0;
    return MORE_OK;
}

void nn_session_info(const more_session *session, more_session_info *info)
{
    if (MORE_HAS(info, more_session_info, length))
        info->length = nn_cache_length(session->cache);
    if (MORE_HAS(info, more_session_info, floor))
        info->floor = floor_of(session);
}

void nn_session_destroy(more_session *session)
{
    if (!session)
        return;
    nn_cache_destroy(session->cache);
    free(session);
}

/* ---- Checking what is asked ------------------------------------------------------------------------------------- */

static more_status check_ids(const nn_language *language, const int32_t *ids, int64_t count, more_error *error)
{
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= language->vocabulary)
            return more_fail(error, MORE_ERROR_ARGUMENT, "token id %d at row %lld is outside the vocabulary of %lld",
                             (int)ids[i], (long long)i, (long long)language->vocabulary);
    return MORE_OK;
}

static more_status check_positions(const nn_language *language, const more_segment *segment, more_error *error)
{
    for (int64_t i = 0; segment->positions && i < segment->count; i++)
        if (segment->positions[i] < 0 || segment->positions[i] >= language->context_length)
            return more_fail(error, MORE_ERROR_LIMIT, "position %lld at row %lld is outside the context of %lld",
                             (long long)segment->positions[i], (long long)i, (long long)language->context_length);
    return MORE_OK;
}

/* *rows: of all segments together. */
static more_status check_segments(const nn_language *language, const more_advance *item, int64_t *rows,
                                  more_error *error)
{
    int64_t length = nn_cache_length(item->session->cache);
    more_status status = MORE_OK;

    *rows = 0;
    if (item->segment_count < 0 || (item->segment_count > 0 && !item->segments))
        return more_fail(error, MORE_ERROR_ARGUMENT, "%d segments without an array", (int)item->segment_count);
    for (int32_t i = 0; i < item->segment_count && !status; i++) {
        const more_segment *segment = &item->segments[i];
        int64_t shape[2] = {segment->count, language->width};
        if (segment->count < 0 || (segment->count > 0 && !segment->ids == !segment->rows))
            return more_fail(error, MORE_ERROR_ARGUMENT,
                             "segment %d of %lld rows needs either ids or embedding rows, not both", (int)i,
                             (long long)segment->count);
        if (segment->count > language->context_length - length - *rows)
            return more_fail(
                error, MORE_ERROR_LIMIT, "%lld rows more in a session of %lld pass the model's context of %lld",
                (long long)(*rows + segment->count), (long long)length, (long long)language->context_length);
        *rows += segment->count;
        if (segment->count > 0 && segment->ids)
            status = check_ids(language, segment->ids, segment->count, error);
        else if (segment->count > 0)
            status = nn_require_tensor(segment->rows, "rows of segment", i, 2, shape, error);
        if (!status)
            status = check_positions(language, segment, error);
    }
    return status;
}

static more_status check_outputs(const nn_language *language, const more_advance *item, int64_t rows, more_error *error)
{
    int64_t logits_shape[2] = {item->logit_count, language->vocabulary}, hidden_shape[2] = {rows, language->width};
    int64_t states = language->layers + 1;
    more_status status = MORE_OK;

    if (item->logit_count < 0 || item->hidden_count < 0 || (item->logit_count > 0 && !item->logit_rows) ||
        (item->hidden_count > 0 && (!item->hidden_layers || !item->hidden)))
        return more_fail(error, MORE_ERROR_ARGUMENT, "%lld logit rows and %d hidden layers without their arrays",
                         (long long)item->logit_count, (int)item->hidden_count);
    for (int64_t i = 0; i < item->logit_count; i++)
        if (item->logit_rows[i] < -rows || item->logit_rows[i] >= rows)
            return more_fail(error, MORE_ERROR_ARGUMENT, "logits of row %lld were asked of a call of %lld rows",
                             (long long)item->logit_rows[i], (long long)rows);
    for (int32_t i = 0; i < item->hidden_count; i++)
        if (item->hidden_layers[i] < -states || item->hidden_layers[i] >= states)
            return more_fail(error, MORE_ERROR_ARGUMENT, "hidden state %d was asked of a model of %lld layers",
                             (int)item->hidden_layers[i], (long long)language->layers);
    if (item->logit_count > 0)
        status = nn_require_tensor(item->logits, "logits", -1, 2, logits_shape, error);
    for (int32_t i = 0; i < item->hidden_count && !status && rows > 0; i++)
        status = nn_require_tensor(&item->hidden[i], "hidden", i, 2, hidden_shape, error);
    return status;
}

/* Whether item `index` names a session that another item of the call names too. */
static bool is_duplicate(const more_advance *items, int32_t count, int32_t index)
{
    for (int32_t i = 0; i < count; i++)
        if (i != index && items[i].session == items[index].session)
            return true;
    return false;
}

/* Largest rotary position + 1 of the session once it has taken the item's rows. */
static int64_t reach_after(const more_advance *item, bool *given)
{
    int64_t row = nn_cache_length(item->session->cache), reach = item->session->reach;

    *given = item->session->given;
    for (int32_t i = 0; i < item->segment_count; i++) {
        const more_segment *segment = &item->segments[i];
        row += segment->count;
        if (segment->count > 0 && !segment->positions)
            reach = row > reach ? row : reach;
        for (int64_t k = 0; segment->positions && k < segment->count; k++) {
            reach = segment->positions[k] + 1 > reach ? segment->positions[k] + 1 : reach;
            *given = true;
        }
    }
    return reach;
}

/* Asks the plugin, where it wants to be asked, and sets what the session will be once the rows are in it. */
static more_status admit(const nn_language *language, more_advance *item, int64_t rows, nn_sequence *sequence)
{
    const more_session *session = item->session;
    nn_admission admission = {.length = nn_cache_length(session->cache),
                              .rows = rows,
                              .planned_length = session->planned_length,
                              .regime = session->regime};
    more_status status = MORE_OK;

    admission.reach = reach_after(item, &sequence->given);
    if (language->admit && rows > 0)
        status = language->admit(language, &admission, &item->error);
    sequence->reach = admission.reach;
    sequence->regime = admission.regime;
    return status;
}

static more_status check_item(const nn_language *language, more_advance *items, int32_t count, int32_t index,
                              int64_t *rows, nn_sequence *sequence)
{
    more_advance *item = &items[index];
    more_status status = require_weights(language, &item->error);

    if (status)
        return status;
    if (!item->session || item->session->language != language)
        return more_fail(&item->error, MORE_ERROR_ARGUMENT, "item %d has no session of this model", (int)index);
    if (is_duplicate(items, count, index))
        return more_fail(&item->error, MORE_ERROR_ARGUMENT, "item %d: its session stands in this call twice",
                         (int)index);
    status = check_segments(language, item, rows, &item->error);
    if (!status)
        status = check_outputs(language, item, *rows, &item->error);
    if (!status)
        status = admit(language, item, *rows, sequence);
    if (!status)
        status = nn_cache_reserve(item->session->cache, *rows, &item->error);
    return status;
}

/* ---- The forward pass ------------------------------------------------------------------------------------------- */

/* The sequences of all items that may run; their statuses are set. */
static void gather(const nn_language *language, more_advance *items, int32_t count, nn_sequence *sequences,
                   nn_batch *batch)
{
    for (int32_t i = 0; i < count; i++) {
        nn_sequence *sequence = &sequences[batch->count];
        int64_t rows = 0;
        items[i].status = check_item(language, items, count, i, &rows, sequence);
        if (items[i].status)
            continue;
        sequence->session = items[i].session;
        sequence->cache = items[i].session->cache;
        sequence->first = batch->rows;
        sequence->rows = rows;
        sequence->item = &items[i];
        batch->rows += rows;
        batch->count++;
    }
}

/* Embedding rows and positions of one sequence. */
static void embed_sequence(const nn_language *language, const nn_sequence *sequence, float *x, int64_t *positions)
{
    int64_t length = nn_cache_length(sequence->cache), row = 0;

    for (int32_t i = 0; i < sequence->item->segment_count; i++) {
        const more_segment *segment = &sequence->item->segments[i];
        float *rows = x + row * language->width;
        if (segment->count == 0)
            continue;
        if (segment->ids)
            nn_matrix_rows(language->context, language->embedding, segment->ids, segment->count, rows);
        else
            nn_copy(language->context, rows, more_tensor_data(segment->rows),
                    (size_t)(segment->count * language->width) * sizeof *rows);
        for (int64_t k = 0; k < segment->count; k++)
            positions[row + k] = segment->positions ? segment->positions[k] : length + row + k;
        row += segment->count;
    }
    if (language->embedding_scale < 1 || language->embedding_scale > 1)
        nn_scale(language->context, language->embedding_scale, row * language->width, x);
}

/* Takes x, positions and the buffers of hidden states from the arena and fills in the inputs; `positions`, on the host,
 * is room for those of all rows. */
static more_status prepare(const nn_language *language, nn_sequence *sequences, nn_batch *batch, int64_t *positions,
                           float **x, more_error *error)
{
    bool failed = !positions;

    *x = nn_arena_f32(batch->arena, batch->rows * language->width);
    failed |= !*x;
    for (int32_t i = 0; i < batch->count && !failed; i++) {
        int64_t size = sequences[i].item->hidden_count * sequences[i].rows * language->width;
        if (size == 0)
            continue;
        sequences[i].hidden = nn_arena_f32(batch->arena, size);
        failed |= !sequences[i].hidden;
    }
    if (failed)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for a forward pass over %lld rows: use smaller chunks",
                         (long long)batch->rows);
    for (int32_t i = 0; i < batch->count; i++)
        embed_sequence(language, &sequences[i], *x + sequences[i].first * language->width,
                       positions + sequences[i].first);
    batch->host_positions = positions;
    batch->positions = (const void *)nn_bring(batch->arena, (void *)positions, batch->rows * 2);
    return batch->positions ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "no memory for positions");
}

more_status nn_batch_state(const nn_batch *batch, int64_t state, nn_context *context, const float *x, more_error *error)
{
    const nn_language *language = batch->language;

    if (nn_cancelled(language->context))
        return more_fail(error, MORE_ERROR_CANCELLED, "stopped after %lld of %lld layers", (long long)state,
                         (long long)language->layers);
    for (int32_t i = 0; i < batch->count; i++) {
        const nn_sequence *sequence = &batch->sequences[i];
        int64_t size = sequence->rows * language->width;
        for (int32_t k = 0; k < sequence->item->hidden_count; k++) {
            int64_t layer = sequence->item->hidden_layers[k];
            if (layer == state || layer + language->layers + 1 == state)
                nn_move_f32(context, x + sequence->first * language->width, language->context,
                            sequence->hidden + k * size, size);
        }
    }
    return MORE_OK;
}

void nn_batch_attention(const nn_batch *batch, const float *key, const float *value, const nn_attention_args *arguments)
{
    for (int32_t i = 0; i < batch->count; i++) {
        const nn_sequence *sequence = &batch->sequences[i];
        nn_attention_args own = *arguments;
        int64_t offset = sequence->first * arguments->stride;
        nn_cache_write(sequence->cache, arguments->layer, sequence->rows, key + offset, value + offset,
                       arguments->stride);
        own.cache = sequence->cache;
        own.rows = sequence->rows;
        own.query += offset;
        own.y += sequence->first * arguments->heads * batch->language->cache.head_dimension;
        nn_attention_causal(nn_cache_place(sequence->cache, arguments->layer), &own);
    }
}

/* Logits of every asked row of every session in one pass over the head. */
static more_status give_logits(const nn_language *language, const nn_batch *batch, const float *x, more_error *error)
{
    int64_t rows = 0, row = 0, width = language->width, vocabulary = language->vocabulary;
    float *gathered, *logits;

    for (int32_t i = 0; i < batch->count; i++)
        rows += batch->sequences[i].item->logit_count;
    if (rows == 0)
        return MORE_OK;
    gathered = nn_arena_f32(batch->arena, rows * width);
    logits = nn_arena_f32(batch->arena, rows * vocabulary);
    if (!gathered || !logits)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for logits of %lld rows", (long long)rows);
    for (int32_t i = 0; i < batch->count; i++) {
        const nn_sequence *sequence = &batch->sequences[i];
        for (int64_t k = 0; k < sequence->item->logit_count; k++) {
            int64_t asked = sequence->item->logit_rows[k];
            int64_t source = sequence->first + (asked < 0 ? asked + sequence->rows : asked);
            nn_copy(language->context, gathered + row++ * width, x + source * width, (size_t)width * sizeof *x);
        }
    }
    language->head(language, gathered, rows, logits);
    for (int32_t i = 0; i < batch->count; i++) {
        const more_advance *item = batch->sequences[i].item;
        if (item->logit_count > 0)
            nn_copy(language->context, more_tensor_data(item->logits), logits,
                    (size_t)(item->logit_count * vocabulary) * sizeof *logits);
        logits += item->logit_count * vocabulary;
    }
    return MORE_OK;
}

static void give_hidden(const nn_language *language, const nn_batch *batch)
{
    for (int32_t i = 0; i < batch->count; i++) {
        const nn_sequence *sequence = &batch->sequences[i];
        int64_t size = sequence->rows * language->width;
        for (int32_t k = 0; k < sequence->item->hidden_count && size > 0; k++)
            nn_copy(language->context, more_tensor_data(&sequence->item->hidden[k]), sequence->hidden + k * size,
                    (size_t)size * sizeof(float));
    }
}

static void commit(const nn_batch *batch)
{
    for (int32_t i = 0; i < batch->count; i++) {
        const nn_sequence *sequence = &batch->sequences[i];
        nn_cache_commit(sequence->cache, sequence->rows);
        sequence->session->reach = sequence->reach;
        sequence->session->given = sequence->given;
        sequence->session->regime = sequence->regime;
    }
}

static more_status run(const nn_language *language, nn_sequence *sequences, nn_batch *batch, more_error *error)
{
    more_status status;
    int64_t *positions;
    float *x = NULL;

    if (batch->rows == 0)
        return MORE_OK;
    positions = calloc((size_t)batch->rows, sizeof *positions);
    batch->arena = nn_arena_begin(language->context);
    status = batch->arena ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "no memory for a forward pass");
    if (!status)
        status = nn_begin(language->context, error);
    if (!status)
        status = prepare(language, sequences, batch, positions, &x, error);
    if (!status)
        status = language->forward(language, batch, x, error);
    if (!status)
        status = give_logits(language, batch, x, error);
    if (!status)
        give_hidden(language, batch);
    status = nn_settled(language->context, status, error);
    if (!status)
        commit(batch);
    nn_arena_end(language->context, batch->arena);
    free(positions);
    return status;
}

more_status nn_sessions_advance(const nn_language *language, more_advance *items, int32_t count)
{
    nn_batch batch = {.language = language};
    nn_sequence *sequences;
    more_error error = {""};
    more_status status = MORE_OK;

    if (count <= 0 || !items)
        return count == 0 ? MORE_OK : MORE_ERROR_ARGUMENT;
    for (int32_t i = 0; i < count; i++)
        if (!MORE_HAS(&items[i], more_advance, error))
            return MORE_ERROR_ARGUMENT;
    sequences = calloc((size_t)count, sizeof *sequences);
    if (!sequences) {
        for (int32_t i = 0; i < count; i++)
            items[i].status = more_fail(&items[i].error, MORE_ERROR_MEMORY, "no memory for %d sessions", (int)count);
        return MORE_ERROR_MEMORY;
    }
    batch.sequences = sequences;
    gather(language, items, count, sequences, &batch);
    status = run(language, sequences, &batch, &error);
    for (int32_t i = 0; i < batch.count && status; i++) {
        sequences[i].item->status = status;
        sequences[i].item->error = error;
    }
    free(sequences);
    for (int32_t i = 0; i < count; i++)
        if (items[i].status)
            return items[i].status;
    return MORE_OK;
}

static more_status give_rows(const nn_language *language, const int32_t *ids, int64_t count, float *rows,
                             more_error *error)
{
    int64_t size = count * language->width;
    nn_arena *arena = nn_arena_begin(language->context);
    float *found = arena ? nn_stand_in(arena, rows, size) : NULL;
    more_status status = found ? MORE_OK : MORE_ERROR_MEMORY;

    if (status)
        more_fail(error, status, "no memory for %lld embedding rows", (long long)count);
    else
        nn_matrix_rows(language->context, language->embedding, ids, count, found);
    if (found && found != rows)
        nn_copy(language->context, rows, found, (size_t)size * sizeof *rows);
    nn_arena_end(language->context, arena);
    return nn_settled(language->context, status, error);
}

more_status nn_sessions_embed(const nn_language *language, const int32_t *ids, int64_t count, more_tensor *rows,
                              more_error *error)
{
    int64_t shape[2] = {count, language->width};
    more_status status = require_weights(language, error);

    if (!status && (count < 0 || (count > 0 && !ids)))
        status = more_fail(error, MORE_ERROR_ARGUMENT, "embedding rows of %lld ids without an array", (long long)count);
    if (!status && count > 0)
        status = check_ids(language, ids, count, error);
    if (!status && count > 0)
        status = nn_require_tensor(rows, "embedding rows", -1, 2, shape, error);
    if (!status && count > 0)
        status = nn_begin(language->context, error);
    return status || count <= 0 ? status : give_rows(language, ids, count, more_tensor_data(rows), error);
}
