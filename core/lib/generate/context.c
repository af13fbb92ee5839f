/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/context.h"

#include "base/memory.h"
#include "generate/npy.h"
#include <stdlib.h>
#include <string.h>

/* A place in ids and images: the next row to hand to the model. */
typedef struct cursor {
    const core_ids *ids;
    const core_visual *images; /* those of `ids`, in order */
    size_t id, image;
    int64_t image_row; /* within the current image */
} cursor;

/* Hidden states of a prompt, gathered chunk by chunk: [layers + 1][rows][width]. */
typedef struct hidden_states {
    float *data;
    int32_t *layers;
    int32_t count;
    int64_t rows, width, done;
} hidden_states;

static more_status out_of_memory(more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the conversation");
}

static more_status create_session(const core_assembly *assembly, int64_t planned, more_session **session,
                                  more_error *error)
{
    return assembly->language_api->session_create(assembly->language, planned, session, error);
}

more_status core_context_create(const core_assembly *assembly, core_context *context, more_error *error)
{
    *context = (core_context){.assembly = assembly};
    return create_session(assembly, 0, &context->session, error);
}

void core_context_destroy(core_context *context)
{
    if (context->assembly)
        context->assembly->language_api->session_destroy(context->session);
    for (size_t i = 0; i < context->image_count; i++)
        core_visual_free(&context->images[i]);
    free(context->images);
    core_ids_free(&context->history);
    *context = (core_context){0};
}

/* Makes room for `more` images and moves them in. */
static more_status take_images(core_context *context, core_visual *images, size_t more, more_error *error)
{
    if (!more)
        return MORE_OK;
    core_visual *grown = realloc(context->images, (context->image_count + more) * sizeof *grown);
    if (!grown)
        return out_of_memory(error);
    context->images = grown;
    memcpy(grown + context->image_count, images, more * sizeof *images);
    memset(images, 0, more * sizeof *images);
    context->image_count += more;
    return MORE_OK;
}

more_status core_context_fork(const core_context *context, core_context *fork, more_error *error)
{
    const core_assembly *assembly = context->assembly;
    *fork = (core_context){.assembly = assembly, .rows = context->rows, .planned = context->planned};
    more_status status = assembly->language_api->session_fork(context->session, &fork->session, error);
    core_ids_append(&fork->history, context->history.data, context->history.count);
    for (size_t i = 0; status == MORE_OK && i < context->image_count; i++) {
        core_visual shared = core_visual_share(&context->images[i]);
        status = take_images(fork, &shared, 1, error);
        core_visual_free(&shared);
    }
    if (status == MORE_OK && fork->history.failed)
        status = out_of_memory(error);
    if (status != MORE_OK)
        core_context_destroy(fork);
    return status;
}

int64_t core_context_rows(const core_ids *ids, const core_visual *images)
{
    int64_t rows = 0;
    size_t image = 0;
    for (size_t i = 0; i < ids->count; i++)
        rows += ids->data[i] == CORE_IMAGE_TOKEN ? images[image++].count : 1;
    return rows;
}

/* The next run of at most `limit` rows of one kind; moves the cursor behind it. */
static more_segment next_segment(cursor *at, int64_t width, int64_t limit, more_tensor *rows, int64_t *shape,
                                 int64_t *strides)
{
    more_segment segment = {0};
    if (at->ids->data[at->id] == CORE_IMAGE_TOKEN) {
        const core_visual *image = &at->images[at->image];
        segment.count = image->count - at->image_row < limit ? image->count - at->image_row : limit;
        shape[0] = segment.count;
        shape[1] = width;
        *rows = more_host_tensor(image->rows + at->image_row * width, more_f32(), 2, shape, strides);
        segment.rows = rows;
        at->image_row += segment.count;
        if (at->image_row == image->count) {
            at->image_row = 0;
            at->image++;
            at->id++;
        }
        return segment;
    }
    segment.ids = at->ids->data + at->id;
    while (segment.count < limit && at->id < at->ids->count && at->ids->data[at->id] != CORE_IMAGE_TOKEN) {
        segment.count++;
        at->id++;
    }
    return segment;
}

/* Aligned tensors for the hidden states of one chunk. */
typedef struct chunk_states {
    more_tensor *tensors;
    int64_t shape[2], strides[2];
    float *data;
    int64_t layer_floats; /* from one layer's first float to the next one's */
} chunk_states;

static more_status begin_chunk(const hidden_states *states, int64_t rows, chunk_states *chunk, more_advance *item,
                               more_error *error)
{
    const int64_t unit = MORE_ALIGNMENT / (int64_t)sizeof(float);
    chunk->layer_floats = (rows * states->width + unit - 1) / unit * unit;
    chunk->shape[0] = rows;
    chunk->shape[1] = states->width;
    chunk->tensors = calloc((size_t)states->count, sizeof *chunk->tensors);
    chunk->data = core_floats(chunk->layer_floats, states->count);
    if (!chunk->tensors || !chunk->data)
        return out_of_memory(error);
    for (int32_t l = 0; l < states->count; l++)
        chunk->tensors[l] =
            more_host_tensor(chunk->data + l * chunk->layer_floats, more_f32(), 2, chunk->shape, chunk->strides);
    item->hidden_layers = states->layers;
    item->hidden_count = states->count;
    item->hidden = chunk->tensors;
    return MORE_OK;
}

static void end_chunk(hidden_states *states, int64_t rows, chunk_states *chunk)
{
    for (int32_t l = 0; chunk->tensors && chunk->data && l < states->count; l++)
        memcpy(states->data + (l * states->rows + states->done) * states->width, chunk->data + l * chunk->layer_floats,
               (size_t)(rows * states->width) * sizeof(float));
    states->done += rows;
    free(chunk->tensors);
    free(chunk->data);
}

#define CHUNK_SEGMENTS 16 /* runs that one call of advance takes; more go into the next call */

/* One chunk of a prompt: at most `limit` rows from the cursor on. */
static more_status advance_chunk(core_context *context, cursor *at, int64_t limit, hidden_states *states, float *logits,
                                 int64_t *taken, more_error *error)
{
    const core_assembly *assembly = context->assembly;
    more_segment segments[CHUNK_SEGMENTS];
    more_tensor rows[CHUNK_SEGMENTS];
    int64_t shapes[CHUNK_SEGMENTS][2], strides[CHUNK_SEGMENTS][2];
    int64_t last = -1, logit_shape[2] = {1, assembly->language_info.vocabulary}, logit_strides[2];
    more_tensor logit_tensor = more_host_tensor(logits, more_f32(), 2, logit_shape, logit_strides);
    more_advance item = {.struct_size = MORE_STRUCT_SIZE(more_advance, error),
                         .session = context->session,
                         .segments = segments,
                         .logit_rows = &last};
    *taken = 0;
    while (item.segment_count < CHUNK_SEGMENTS && *taken < limit && at->id < at->ids->count) {
        int32_t i = item.segment_count++;
        segments[i] = next_segment(at, assembly->language_info.width, limit - *taken, &rows[i], shapes[i], strides[i]);
        *taken += segments[i].count;
    }
    item.logit_count = logits && at->id == at->ids->count;
    item.logits = item.logit_count ? &logit_tensor : NULL;
    chunk_states chunk = {0};
    more_status status = states ? begin_chunk(states, *taken, &chunk, &item, error) : MORE_OK;
    if (status == MORE_OK)
        status = assembly->language_api->advance(assembly->language, &item, 1);
    if (status < 0 && item.error.message[0])
        more_fail(error, status, "%s", item.error.message);
    context->computed += status == MORE_OK ? *taken : 0;
    if (states)
        end_chunk(states, status == MORE_OK ? *taken : 0, &chunk);
    return status;
}

/* Everything from the cursor on. A plugin that asks for a replay is obeyed by the caller. */
static more_status advance_all(core_context *context, cursor *at, int64_t rows, hidden_states *states, float *logits,
                               more_error *error)
{
    const more_host *host = core_host_abi(context->assembly->host);
    const more_progress_service *progress = host->get_service(host, MORE_PROGRESS_SERVICE);
    int64_t limit = core_config_int64(context->assembly->config, "runtime", "batch"), done = 0, taken;
    more_status status = MORE_OK;
    while (status == MORE_OK && at->id < at->ids->count) {
        status = advance_chunk(context, at, limit, states, logits, &taken, error);
        done += taken;
        if (rows > 1)
            progress->update(host, "reading the prompt", done, rows);
    }
    return status;
}

static int64_t planned_for(const core_context *context, int64_t rows)
{
    return rows < context->planned ? context->planned : rows;
}

/* A new session with the whole history of `rows` rows, for plugins whose positions or windows do not allow to go on.
 * The old one stays until the new one is whole. */
static more_status replay(core_context *context, int64_t rows, float *logits, more_error *error)
{
    more_session *old = context->session;
    more_status status = create_session(context->assembly, planned_for(context, rows), &context->session, error);
    if (status == MORE_OK) {
        cursor start = {.ids = &context->history, .images = context->images};
        status = advance_all(context, &start, rows, NULL, logits, error);
        if (status == MORE_NEEDS_REPLAY)
            status = more_fail(error, MORE_ERROR_INTERNAL, "plugin '%s' asks for a replay of a replay",
                               context->assembly->language_part.file->id);
    }
    more_session *done = status == MORE_OK ? old : context->session;
    if (status != MORE_OK)
        context->session = old;
    context->assembly->language_api->session_destroy(done);
    return status;
}

/* Before the first rows: a session planned for just these, so that a plugin whose positions depend on the length of the
 * sequence gets them right at once instead of asking for a replay half way. */
static more_status plan_session(core_context *context, int64_t rows, more_error *error)
{
    more_session *planned;
    more_status status = create_session(context->assembly, rows, &planned, error);
    if (status != MORE_OK)
        return status;
    context->assembly->language_api->session_destroy(context->session);
    context->session = planned;
    return MORE_OK;
}

static more_status begin_states(const core_context *context, int64_t rows, hidden_states *states, more_error *error)
{
    const more_language_info *info = &context->assembly->language_info;
    states->count = (int32_t)info->layers + 1;
    states->rows = rows;
    states->width = info->width;
    states->data = core_floats(states->count * rows, info->width);
    states->layers = calloc((size_t)states->count, sizeof *states->layers);
    if (!states->data || !states->layers)
        return out_of_memory(error);
    for (int32_t l = 0; l < states->count; l++)
        states->layers[l] = l;
    return MORE_OK;
}

static more_status write_states(const hidden_states *states, const char *folder, more_error *error)
{
    more_status status = MORE_OK;
    for (int32_t l = 0; status == MORE_OK && l < states->count; l++) {
        char name[32];
        int64_t shape[2] = {states->rows, states->width};
        snprintf(name, sizeof name, "hidden_layer_%02d.npy", l);
        status = core_npy_write(folder, name, CORE_NPY_F32, 2, shape, states->data + l * states->rows * states->width,
                                error);
    }
    return status;
}

/* Takes back what a failed append added. */
static void forget(core_context *context, size_t ids, size_t images)
{
    context->history.count = ids;
    while (context->image_count > images)
        core_visual_free(&context->images[--context->image_count]);
}

more_status core_context_append(core_context *context, const core_ids *ids, core_visual *images, size_t image_count,
                                const char *dump_folder, float *logits, more_error *error)
{
    int64_t rows = core_context_rows(ids, images), room = context->assembly->context - context->rows;
    size_t first_id = context->history.count, first_image = context->image_count;
    hidden_states states = {0};
    if (rows > room)
        return more_fail(error, MORE_ERROR_LIMIT,
                         "the prompt has %lld rows, but the context has room for %lld of %lld: shorten it, start anew, "
                         "or raise [llm] context where the model allows",
                         (long long)rows, (long long)room, (long long)context->assembly->context);
    core_ids_append(&context->history, ids->data, ids->count);
    more_status status = take_images(context, images, image_count, error);
    if (status == MORE_OK && context->history.failed)
        status = out_of_memory(error);
    if (status == MORE_OK && dump_folder)
        status = begin_states(context, rows, &states, error);
    if (status == MORE_OK && context->rows == 0 && rows > 0)
        status = plan_session(context, planned_for(context, rows), error);
    /* Either array may not exist yet, where nothing was added. */
    core_ids added = {.data = ids->count ? context->history.data + first_id : NULL, .count = ids->count};
    cursor at = {.ids = &added, .images = context->images ? context->images + first_image : NULL};
    if (status == MORE_OK)
        status = advance_all(context, &at, rows, dump_folder ? &states : NULL, logits, error);
    if (status == MORE_NEEDS_REPLAY)
        status = replay(context, context->rows + rows, logits, error);
    /* A replay runs other rows too: there are then no states of these alone. */
    if (status == MORE_OK && dump_folder && states.done == rows)
        status = write_states(&states, dump_folder, error);
    if (status == MORE_OK)
        context->rows += rows;
    else
        forget(context, first_id, first_image);
    free(states.data);
    free(states.layers);
    return status;
}

more_status core_context_try(core_context *context, const core_ids *ids, float *logits, more_error *error)
{
    const core_assembly *assembly = context->assembly;
    size_t before = context->history.count;
    int64_t count = (int64_t)ids->count, shape[2] = {count, assembly->language_info.vocabulary}, strides[2];
    int64_t *rows = calloc(ids->count, sizeof *rows);
    more_tensor tensor = more_host_tensor(logits, more_f32(), 2, shape, strides);
    more_segment segment = {.ids = ids->data, .count = count};
    more_advance item = {.struct_size = MORE_STRUCT_SIZE(more_advance, error),
                         .session = context->session,
                         .segments = &segment,
                         .segment_count = 1,
                         .logit_rows = rows,
                         .logit_count = count,
                         .logits = &tensor};
    core_ids_append(&context->history, ids->data, ids->count);
    more_status status = rows && !context->history.failed ? MORE_OK : out_of_memory(error);
    for (int64_t i = 0; rows && i < count; i++)
        rows[i] = i;
    if (status == MORE_OK)
        status = assembly->language_api->advance(assembly->language, &item, 1);
    if (status < 0 && item.error.message[0])
        more_fail(error, status, "%s", item.error.message);
    if (status == MORE_OK) {
        context->rows += count;
        context->computed += count;
    } else {
        context->history.count = before;
    }
    free(rows);
    return status;
}

core_prefix core_context_common(const core_context *context, const core_ids *ids, const core_visual *images)
{
    core_prefix prefix = {0};
    while (prefix.ids + 1 < ids->count && prefix.ids < context->history.count &&
           ids->data[prefix.ids] == context->history.data[prefix.ids]) {
        bool is_image = ids->data[prefix.ids] == CORE_IMAGE_TOKEN;
        if (is_image && !core_digest_equal(&images[prefix.images].content, &context->images[prefix.images].content))
            break;
        prefix.rows += is_image ? images[prefix.images].count : 1;
        prefix.images += is_image;
        prefix.ids++;
    }
    return prefix;
}

more_status core_context_cut(core_context *context, const core_prefix *prefix, more_error *error)
{
    more_status status = context->assembly->language_api->session_truncate(context->session, prefix->rows, error);
    if (status != MORE_OK)
        return status;
    forget(context, prefix->ids, prefix->images);
    context->rows = prefix->rows;
    context->planned = 0;
    return MORE_OK;
}

#define SLACK 64 /* rows of the smallest cache that is compared; no less than what plugins allocate at one time */

/* The interface has no word for it, but a cache that keeps every row takes as many bytes for n times the rows. */
bool core_context_lets_go(const core_assembly *assembly, int64_t rows)
{
    int64_t parts = rows / SLACK + 2, all;
    int64_t one = assembly->language_api->kv_bytes(assembly->language, SLACK);
    return !__builtin_mul_overflow(one, parts, &all) &&
           assembly->language_api->kv_bytes(assembly->language, parts * SLACK) < all;
}

more_status core_context_drop(core_context *context, size_t count, more_error *error)
{
    if (!count)
        return MORE_OK;
    context->history.count -= count;
    context->rows -= (int64_t)count;
    context->planned = 0;
    more_status status = context->assembly->language_api->session_truncate(context->session, context->rows, error);
    return status == MORE_NEEDS_REPLAY ? replay(context, context->rows, NULL, error) : status;
}
