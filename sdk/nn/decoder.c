/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading and running decoders, and the interface functions that do not depend on the architecture.
 */
#include "decoder.h"

#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- Loading ---------------------------------------------------------------------------------------------------- */

#define LAYER "layers.*."

void nn_decoder_load_block(nn_loader *loader, const nn_decoder_config *config, int64_t i, nn_decoder_block *block)
{
    int64_t query = config->heads * config->head_dimension, width = config->width, inner = config->intermediate;
    int64_t key = config->key_value_heads * config->head_dimension;
    const nn_part attention[] = {{LAYER "attention.query.weight", query},
                                 {LAYER "attention.key.weight", key},
                                 {LAYER "attention.value.weight", key}};
    const nn_part attention_bias[] = {
        {LAYER "attention.query.bias", query}, {LAYER "attention.key.bias", key}, {LAYER "attention.value.bias", key}};
    const nn_part mlp[] = {{LAYER "mlp.gate.weight", inner}, {LAYER "mlp.up.weight", inner}};
    const nn_part mlp_bias[] = {{LAYER "mlp.gate.bias", inner}, {LAYER "mlp.up.bias", inner}};

    nn_load_vector(loader, LAYER "attention_norm.weight", i, width, &block->attention_norm);
    nn_load_stacked(loader, attention, 3, i, width, &block->query_key_value);
    nn_load_matrix(loader, LAYER "attention.output.weight", i, width, query, &block->output);
    nn_load_vector(loader, LAYER "mlp_norm.weight", i, width, &block->mlp_norm);
    nn_load_stacked(loader, mlp, 2, i, width, &block->gate_up);
    nn_load_matrix(loader, LAYER "mlp.down.weight", i, width, inner, &block->down);
    if (config->attention_bias) {
        nn_load_stacked_vector(loader, attention_bias, 3, i, &block->query_key_value_bias);
        nn_load_vector(loader, LAYER "attention.output.bias", i, width, &block->output_bias);
    }
    if (config->mlp_bias) {
        nn_load_stacked_vector(loader, mlp_bias, 2, i, &block->gate_up_bias);
        nn_load_vector(loader, LAYER "mlp.down.bias", i, width, &block->down_bias);
    }
}

/* Block `layer` into the memory of its place; true unless something failed before. */
static void load_block(more_language *decoder, nn_loader *loader, int64_t layer)
{
    int32_t place = decoder->layer_places[layer];
    const nn_source *source = loader->source;
    nn_source placed = *source;

    placed.context = decoder->places[place];
    loader->source = &placed;
    loader->bytes = 0;
    decoder->architecture->load_block(loader, &decoder->config, layer, &decoder->blocks[layer]);
    decoder->weight_bytes[place] += loader->bytes;
    loader->source = source;
}

static more_status load_weights(more_language *decoder, const nn_source *source, more_error *error)
{
    const nn_decoder_config *config = &decoder->config;
    nn_context *context = decoder->places[0];
    nn_loader loader = {.source = source, .error = error};
    char stage[64];

    snprintf(stage, sizeof stage, "loading %s", decoder->architecture->name);
    nn_load_matrix(&loader, "embedding.weight", 0, config->vocabulary, config->width, &decoder->embedding);
    decoder->weight_bytes[0] = loader.bytes;
    for (int64_t i = 0; i < config->layers && !loader.status; i++) {
        load_block(decoder, &loader, i);
        nn_progress(context, stage, i + 1, config->layers + 1);
        if (!loader.status && nn_cancelled(context))
            loader.status =
                more_fail(error, MORE_ERROR_CANCELLED, "loading of %s was stopped", decoder->architecture->name);
    }
    loader.bytes = 0;
    nn_load_vector(&loader, "norm.weight", 0, config->width, &decoder->norm);
    if (config->tied_head)
        decoder->head = decoder->embedding;
    else
        nn_load_matrix(&loader, "head.weight", 0, config->vocabulary, config->width, &decoder->head);
    nn_progress(context, stage, config->layers + 1, config->layers + 1);
    decoder->weight_bytes[0] += loader.bytes;
    return loader.status;
}

/* ---- The forward pass ------------------------------------------------------------------------------------------- */

/* Channels of a row of queries, keys and values side by side. */
static int64_t query_key_value_width(const nn_decoder_config *config)
{
    return (config->heads + 2 * config->key_value_heads) * config->head_dimension;
}

/* Floats of scratch a row, x included. */
static int64_t row_floats(const nn_decoder_config *config)
{
    return 2 * config->width + query_key_value_width(config) + config->heads * config->head_dimension +
           3 * config->intermediate;
}

void nn_decoder_norm(const more_language *decoder, nn_context *context, const float *x, int64_t rows,
                     const float *weight, float *y)
{
    nn_rms_norm(context, x, rows, decoder->config.width, weight, decoder->config.norm_offset,
                (float)decoder->config.epsilon, y);
}

/* Turns queries and keys, `heads` side by side, by each row's position; runs of sequences of one regime go together. */
static void rotate(const more_language *decoder, const nn_batch *batch, int64_t layer,
                   const nn_decoder_scratch *scratch, int64_t heads, int64_t stride, float *x)
{
    int32_t place = decoder->layer_places[layer];

    for (int32_t i = 0, end; i < batch->count; i = end) {
        const nn_sequence *sequences = batch->sequences;
        const nn_decoder_rotary *rotary = &decoder->rotary[sequences[i].regime];
        int64_t first = sequences[i].first, rows = 0;
        for (end = i; end < batch->count && sequences[end].regime == sequences[i].regime; end++)
            rows += sequences[end].rows;
        nn_rotary(scratch->context, x + first * stride, rows, stride, heads, decoder->config.head_dimension,
                  decoder->config.rotary_dimensions, rotary->frequencies[place], scratch->positions + first,
                  rotary->factor);
    }
}

void nn_decoder_attend(const more_language *decoder, const nn_batch *batch, int64_t layer,
                       const nn_decoder_scratch *scratch, const float *residual, float *y)
{
    const nn_decoder_config *config = &decoder->config;
    const nn_decoder_block *block = &decoder->blocks[layer];
    int64_t stride = query_key_value_width(config);
    float *query = scratch->query_key_value, *key = query + config->heads * config->head_dimension;

    nn_linear(scratch->context, &(nn_linear_args){.x = scratch->normed,
                                                  .rows = batch->rows,
                                                  .weight = block->query_key_value,
                                                  .bias = block->query_key_value_bias,
                                                  .y = query});
    /* Keys lie behind the queries of their row, so that they are more heads to turn. */
    rotate(decoder, batch, layer, scratch, config->heads + config->key_value_heads, stride, query);
    nn_batch_attention(batch, key, key + config->key_value_heads * config->head_dimension,
                       &(nn_attention_args){.layer = layer,
                                            .query = query,
                                            .stride = stride,
                                            .heads = config->heads,
                                            .scale = config->attention_scale,
                                            .softcap = config->attention_softcap,
                                            .y = scratch->attended});
    nn_linear(scratch->context, &(nn_linear_args){.x = scratch->attended,
                                                  .rows = batch->rows,
                                                  .weight = block->output,
                                                  .bias = block->output_bias,
                                                  .residual = residual,
                                                  .y = y});
}

void nn_decoder_feed_forward(const more_language *decoder, const nn_batch *batch, int64_t layer,
                             const nn_decoder_scratch *scratch, const float *residual, float *y)
{
    const nn_decoder_config *config = &decoder->config;
    const nn_decoder_block *block = &decoder->blocks[layer];

    nn_linear(scratch->context, &(nn_linear_args){.x = scratch->normed,
                                                  .rows = batch->rows,
                                                  .weight = block->gate_up,
                                                  .bias = block->gate_up_bias,
                                                  .y = scratch->gate_up});
    nn_glu(scratch->context, config->activation, scratch->gate_up, batch->rows, config->intermediate, scratch->gated);
    nn_linear(scratch->context, &(nn_linear_args){.x = scratch->gated,
                                                  .rows = batch->rows,
                                                  .weight = block->down,
                                                  .bias = block->down_bias,
                                                  .residual = residual,
                                                  .y = y});
}

void nn_decoder_block_prenorm(const more_language *decoder, const nn_batch *batch, int64_t layer,
                              const nn_decoder_scratch *scratch, float *x)
{
    const nn_decoder_block *block = &decoder->blocks[layer];

    nn_decoder_norm(decoder, scratch->context, x, batch->rows, block->attention_norm, scratch->normed);
    nn_decoder_attend(decoder, batch, layer, scratch, x, x);
    nn_decoder_norm(decoder, scratch->context, x, batch->rows, block->mlp_norm, scratch->normed);
    nn_decoder_feed_forward(decoder, batch, layer, scratch, x, x);
}

static bool has_blocks(const more_language *decoder, int32_t place)
{
    for (int64_t i = 0; i < decoder->config.layers; i++)
        if (decoder->layer_places[i] == place)
            return true;
    return false;
}

/* What the blocks of a place need, in that place's memory; `x` is taken there too unless it is given. */
static more_status take_scratch(const more_language *decoder, const nn_batch *batch, nn_arena *arena, float *x,
                                const int64_t *positions, nn_decoder_scratch *scratch, more_error *error)
{
    const nn_decoder_config *config = &decoder->config;
    int64_t rows = batch->rows;

    scratch->positions =
        positions ? positions : (const void *)nn_bring(arena, (const void *)batch->host_positions, 2 * rows);
    scratch->x = x ? x : nn_arena_f32(arena, rows * config->width);
    scratch->normed = nn_arena_f32(arena, rows * config->width);
    scratch->query_key_value = nn_arena_f32(arena, rows * query_key_value_width(config));
    scratch->attended = nn_arena_f32(arena, rows * config->heads * config->head_dimension);
    scratch->gate_up = nn_arena_f32(arena, rows * 2 * config->intermediate);
    scratch->gated = nn_arena_f32(arena, rows * config->intermediate);
    if (!scratch->positions || !scratch->x || !scratch->normed || !scratch->query_key_value || !scratch->attended ||
        !scratch->gate_up || !scratch->gated)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for a forward pass over %lld rows: use smaller chunks",
                         (long long)rows);
    return MORE_OK;
}

/* One forward pass through the places of the blocks. */
typedef struct pass {
    const more_language *decoder;
    const nn_batch *batch;
    nn_arena *arenas[NN_PLACES]; /* of all but the first, which has the batch's */
    nn_decoder_scratch scratch[NN_PLACES];
    int32_t here; /* where x is */
} pass;

/* Goes on in another place: x is copied there, by way of the host where both are devices. */
static more_status move(pass *p, int32_t to, more_error *error)
{
    nn_context *context = p->decoder->places[to], *from = p->decoder->places[p->here];
    nn_decoder_scratch *scratch = &p->scratch[to];
    int64_t size = p->batch->rows * p->decoder->config.width;
    more_status status = nn_begin(context, error);

    if (!status && !scratch->context) {
        scratch->context = context;
        p->arenas[to] = nn_arena_begin(context);
        status = p->arenas[to] ? take_scratch(p->decoder, p->batch, p->arenas[to], NULL, NULL, scratch, error)
                               : more_fail(error, MORE_ERROR_MEMORY, "no memory for a forward pass");
    }
    if (!status)
        nn_move_f32(from, p->scratch[p->here].x, context, scratch->x, size);
    p->here = to;
    return nn_settled(context, status, error);
}

static more_status run_blocks(pass *p, more_error *error)
{
    const more_language *decoder = p->decoder;
    more_status status = nn_batch_state(p->batch, 0, p->scratch[0].context, p->scratch[0].x, error);

    for (int64_t layer = 0; layer < decoder->config.layers && !status; layer++) {
        int32_t place = decoder->layer_places[layer];
        if (place != p->here)
            status = move(p, place, error);
        if (!status) /* what was called in between may have made another device current */
            status = nn_begin(decoder->places[place], error);
        if (status)
            break;
        decoder->architecture->block(decoder, p->batch, layer, &p->scratch[place], p->scratch[place].x);
        status = nn_batch_state(p->batch, layer + 1, decoder->places[place], p->scratch[place].x, error);
    }
    if (!status && p->here != 0)
        status = move(p, 0, error);
    return status;
}

static more_status forward(const nn_language *base, const nn_batch *batch, float *x, more_error *error)
{
    const more_language *decoder = (const more_language *)base;
    pass p = {.decoder = decoder, .batch = batch, .scratch[0].context = decoder->places[0]};
    more_status status = MORE_OK;

    p.scratch[0].x = x;
    if (has_blocks(decoder, 0))
        status = take_scratch(decoder, batch, batch->arena, x, batch->positions, &p.scratch[0], error);

    if (!status)
        status = run_blocks(&p, error);
    for (int32_t i = 1; i < decoder->place_count; i++) {
        nn_context *place = decoder->places[i];
        nn_arena_end(place, p.arenas[i]);
        status = nn_settled(place, status, error);
    }
    return status;
}

static void head(const nn_language *base, float *x, int64_t rows, float *logits)
{
    const more_language *decoder = (const more_language *)base;
    nn_context *context = decoder->places[0];

    nn_decoder_norm(decoder, context, x, rows, decoder->norm, x);
    nn_linear(context, &(nn_linear_args){.x = x, .rows = rows, .weight = decoder->head, .y = logits});
    if (decoder->config.logit_softcap > 0)
        nn_softcap(context, decoder->config.logit_softcap, rows * decoder->config.vocabulary, logits);
}

/* ---- Opening and closing ---------------------------------------------------------------------------------------- */

static void free_block(nn_context *context, nn_decoder_block *block)
{
    float *vectors[] = {
        block->attention_norm,       block->attention_post_norm, block->mlp_norm,     block->mlp_post_norm,
        block->query_key_value_bias, block->output_bias,         block->gate_up_bias, block->down_bias};
    nn_matrix *matrices[] = {block->query_key_value, block->output, block->gate_up, block->down};

    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        nn_free(context, vectors[i]);
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++)
        nn_matrix_free(context, matrices[i]);
}

void nn_decoder_close(more_language *decoder)
{
    if (!decoder)
        return;
    for (int64_t i = 0; decoder->blocks && i < decoder->config.layers; i++)
        free_block(decoder->places[decoder->layer_places[i]], &decoder->blocks[i]);
    if (decoder->place_count > 0) { /* else nothing was loaded */
        if (decoder->head != decoder->embedding)
            nn_matrix_free(decoder->places[0], decoder->head);
        nn_matrix_free(decoder->places[0], decoder->embedding);
        nn_free(decoder->places[0], decoder->norm);
    }
    for (int32_t place = 0; place < decoder->place_count; place++) {
        for (int i = 0; i < NN_DECODER_REGIMES; i++)
            nn_free(decoder->places[place], decoder->rotary[i].frequencies[place]);
        nn_context_destroy(decoder->places[place]);
    }
    free(decoder->blocks);
    free(decoder);
}

enum { OPTION_KV_CACHE = NN_OPTION_COUNT };

const more_option nn_decoder_options[NN_DECODER_OPTION_COUNT] = {
    NN_OPTION_ROWS,
    {"kv_cache", MORE_STRING, "f32", 0, 0, "f32|f16|bf16|q8",
     "Number format of the key-value cache; the 16-bit ones halve its memory, q8 halves it again, and round keys and "
     "values."},
};

static nn_storage cache_storage(const more_open *arguments)
{
    const char *name = arguments->option_count > OPTION_KV_CACHE ? arguments->options[OPTION_KV_CACHE].as.s : "f32";
    nn_storage storage;
    return nn_storage_named(name, &storage) ? storage : NN_F32;
}

static more_status require_cache(const more_language *decoder, nn_storage cache, more_error *error)
{
    bool on_host = true;
    for (int64_t i = 0; i < decoder->config.layers; i++)
        on_host = on_host && nn_on_host(decoder->places[decoder->layer_places[i]]);
    if (on_host || cache < NN_FLOATS)
        return MORE_OK;
    return more_fail(error, MORE_ERROR_UNSUPPORTED,
                     "%s: kv_cache = %s is of the CPU alone: on a CUDA device use f16, bf16 or f32",
                     decoder->architecture->name, nn_storage_name(cache));
}

/* What the sessions need to know, once config and weights are in. */
static void describe_base(more_language *decoder, nn_storage cache)
{
    const nn_decoder_config *config = &decoder->config;
    decoder->base = (nn_language){.context = decoder->places[0],
                                  .cache = {.layers = config->layers,
                                            .key_value_heads = config->key_value_heads,
                                            .head_dimension = config->head_dimension,
                                            .storage = cache,
                                            .places = decoder->places,
                                            .layer_places = decoder->layer_places,
                                            .window = config->window,
                                            .windowed = config->windowed},
                                  .vocabulary = config->vocabulary,
                                  .width = config->width,
                                  .layers = config->layers,
                                  .context_length = config->context,
                                  .embedding = decoder->embedding,
                                  .embedding_scale = config->embedding_scale,
                                  .admit = decoder->architecture->admit,
                                  .forward = forward,
                                  .head = head};
}

/* What layer_devices says of the model's own layers. */
static more_status place_layers(more_language *decoder, const more_open *arguments, more_error *error)
{
    for (int64_t i = 0; i < decoder->config.layers && arguments->layer_devices && i < arguments->layer_count; i++) {
        int32_t device = arguments->layer_devices[i];
        if (device < 0 || device >= decoder->place_count)
            return more_fail(error, MORE_ERROR_ARGUMENT, "layer %lld was given device %d of %d", (long long)i,
                             (int)device, (int)decoder->place_count);
        decoder->layer_places[i] = device;
    }
    return MORE_OK;
}

static more_status place_rotary(more_language *decoder, more_error *error)
{
    int64_t count = decoder->config.rotary_dimensions / 2;

    for (int i = 0; i < NN_DECODER_REGIMES * decoder->place_count; i++) {
        nn_decoder_rotary *rotary = &decoder->rotary[i % NN_DECODER_REGIMES];
        nn_context *place = decoder->places[i / NN_DECODER_REGIMES];
        float *placed = nn_alloc_f32(place, count);
        if (!placed)
            return more_fail(error, MORE_ERROR_MEMORY, "no memory for %lld rotary frequencies", (long long)count);
        nn_copy(place, placed, rotary->values, (size_t)count * sizeof *placed);
        rotary->frequencies[i / NN_DECODER_REGIMES] = placed;
    }
    return MORE_OK;
}

static more_status open_parts(more_language *decoder, const more_open *arguments, more_error *error)
{
    const nn_decoder_architecture *architecture = decoder->architecture;
    nn_source source;
    more_status status =
        nn_open_places(arguments, architecture->name, decoder->places, &decoder->place_count, &source, error);

    if (!status)
        status = architecture->read_config(&source, &decoder->config, error);
    if (!status)
        status = architecture->read_rotary(&source, &decoder->config, decoder->rotary, error);
    if (status)
        return status;
    status = place_layers(decoder, arguments, error);
    if (!status)
        status = require_cache(decoder, cache_storage(arguments), error);
    if (!status)
        status = place_rotary(decoder, error);
    if (status)
        return status;
    decoder->blocks = calloc((size_t)decoder->config.layers, sizeof *decoder->blocks);
    if (!decoder->blocks)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for %lld layers", (long long)decoder->config.layers);
    return load_weights(decoder, &source, error);
}

more_status nn_decoder_open(const nn_decoder_architecture *architecture, const more_open *arguments,
                            more_language **language, more_error *error)
{
    more_language *decoder = calloc(1, sizeof *decoder);
    more_status status;

    *language = NULL;
    if (!decoder)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for %s", architecture->name);
    decoder->architecture = architecture;
    for (int i = 0; i < NN_DECODER_REGIMES; i++)
        decoder->rotary[i].factor = 1;
    status = open_parts(decoder, arguments, error);
    for (int32_t i = 0; i < decoder->place_count; i++)
        status = nn_settled(decoder->places[i], status, error);
    if (status) {
        nn_decoder_close(decoder);
        return status;
    }
    describe_base(decoder, cache_storage(arguments));
    *language = decoder;
    return MORE_OK;
}

/* ---- The rest of the interface ---------------------------------------------------------------------------------- */

void nn_decoder_describe(const more_language *decoder, more_language_info *info)
{
    const nn_decoder_config *config = &decoder->config;
    const more_language_info own = {.vocabulary = config->vocabulary,
                                    .width = config->width,
                                    .context = config->context,
                                    .layers = config->layers,
                                    .stop_ids = config->stop_ids,
                                    .stop_count = config->stop_count,
                                    .template_name = config->template_name,
                                    .weight_formats = NN_WEIGHT_FORMATS};
    size_t size = info->struct_size < sizeof own ? info->struct_size : sizeof own;
    memcpy((char *)info + sizeof size, (const char *)&own + sizeof size, size - sizeof size);
}

int64_t nn_decoder_kv_bytes(const more_language *decoder, int64_t rows)
{
    return nn_cache_bytes(&decoder->base.cache, rows);
}

more_status nn_decoder_estimate(const more_language *decoder, int64_t sessions, int64_t length, int64_t batch,
                                more_memory *memory, more_error *error)
{
    const nn_decoder_config *config = &decoder->config;
    int64_t rows, share, cache, floats;

    if (sessions < 0 || sessions > 1 << 16 || length < 0 || length > config->context || batch < 0)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "no estimate for %lld sessions of %lld rows: at most %d sessions of %lld rows",
                         (long long)sessions, (long long)length, 1 << 16, (long long)config->context);
    rows = batch < sessions * length ? batch : sessions * length;
    share = rows / (sessions > 0 ? sessions : 1) + NN_PAGE; /* of one session, its last page included */
    for (int32_t i = 0; i < decoder->place_count; i++) {
        cache = nn_cache_bytes_at_work(&decoder->base.cache, i, length, share);
        bool blocks = has_blocks(decoder, i);
        int64_t floats_a_row = blocks ? row_floats(config) : i == 0 ? config->width : 0;
        if (__builtin_mul_overflow(sessions, cache, &cache) ||
            __builtin_mul_overflow(rows, floats_a_row * (int64_t)sizeof(float), &floats))
            return more_fail(error, MORE_ERROR_MEMORY,
                             "%lld sessions of %lld rows take more memory than can be counted", (long long)sessions,
                             (long long)length);
        /* A device rounds the activations of a product to 16 bits. */
        int64_t narrowed = blocks && !nn_on_host(decoder->places[i])
                               ? 2 * rows * nn_row_stride(nn_max(config->intermediate, query_key_value_width(config)))
                               : 0;
        memory[i] = (more_memory){.weight_bytes = decoder->weight_bytes[i],
                                  .cache_bytes = cache,
                                  .activation_bytes = floats,
                                  .scratch_bytes = narrowed};
    }
    memory[0].scratch_bytes +=
        sessions * ((config->vocabulary + config->width) * (int64_t)sizeof(float) + length * (int64_t)sizeof(int64_t));
    return MORE_OK;
}

more_status nn_decoder_session_create(more_language *decoder, int64_t planned_length, more_session **session,
                                      more_error *error)
{
    return nn_session_create(&decoder->base, planned_length, session, error);
}

more_status nn_decoder_embed(more_language *decoder, const int32_t *ids, int64_t count, more_tensor *rows,
                             more_error *error)
{
    return nn_sessions_embed(&decoder->base, ids, count, rows, error);
}

more_status nn_decoder_advance(more_language *decoder, more_advance *items, int32_t count)
{
    return nn_sessions_advance(&decoder->base, items, count);
}
