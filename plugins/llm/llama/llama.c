/* SPDX-License-Identifier: Apache-2.0
 *
 * LLaMA: the table of names, loading, the forward pass, and the plugin's descriptor.
 */
#include "llama.h"

#include "require.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Names ------------------------------------------------------------------------------------------------------ */

#define LAYER "layers.*."
#define HF "model.layers.*."
#define GGUF "blk.*."

static const more_tensor_name names[] = {
    {"embedding.weight", "model.embed_tokens.weight", "token_embd.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "attention_norm.weight", HF "input_layernorm.weight", GGUF "attn_norm.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.query.weight", HF "self_attn.q_proj.weight", GGUF "attn_q.weight", MORE_TRANSFORM_PERMUTED_QUERY,
     false},
    {LAYER "attention.key.weight", HF "self_attn.k_proj.weight", GGUF "attn_k.weight", MORE_TRANSFORM_PERMUTED_KEY,
     false},
    {LAYER "attention.value.weight", HF "self_attn.v_proj.weight", GGUF "attn_v.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.output.weight", HF "self_attn.o_proj.weight", GGUF "attn_output.weight", MORE_TRANSFORM_NONE,
     false},
    {LAYER "attention.query.bias", HF "self_attn.q_proj.bias", GGUF "attn_q.bias", MORE_TRANSFORM_PERMUTED_QUERY, true},
    {LAYER "attention.key.bias", HF "self_attn.k_proj.bias", GGUF "attn_k.bias", MORE_TRANSFORM_PERMUTED_KEY, true},
    {LAYER "attention.value.bias", HF "self_attn.v_proj.bias", GGUF "attn_v.bias", MORE_TRANSFORM_NONE, true},
    {LAYER "attention.output.bias", HF "self_attn.o_proj.bias", GGUF "attn_output.bias", MORE_TRANSFORM_NONE, true},
    {LAYER "mlp_norm.weight", HF "post_attention_layernorm.weight", GGUF "ffn_norm.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.gate.weight", HF "mlp.gate_proj.weight", GGUF "ffn_gate.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.up.weight", HF "mlp.up_proj.weight", GGUF "ffn_up.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.down.weight", HF "mlp.down_proj.weight", GGUF "ffn_down.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.gate.bias", HF "mlp.gate_proj.bias", GGUF "ffn_gate.bias", MORE_TRANSFORM_NONE, true},
    {LAYER "mlp.up.bias", HF "mlp.up_proj.bias", GGUF "ffn_up.bias", MORE_TRANSFORM_NONE, true},
    {LAYER "mlp.down.bias", HF "mlp.down_proj.bias", GGUF "ffn_down.bias", MORE_TRANSFORM_NONE, true},
    {"norm.weight", "model.norm.weight", "output_norm.weight", MORE_TRANSFORM_NONE, false},
    {"head.weight", "lm_head.weight", "output.weight", MORE_TRANSFORM_NONE, true},
};

static const more_tensor_map *tensor_map(void)
{
    static const more_tensor_map map = {MORE_STRUCT_SIZE(more_tensor_map, count), names,
                                        (int32_t)(sizeof names / sizeof *names)};
    return &map;
}

/* ---- Loading ---------------------------------------------------------------------------------------------------- */

static void load_block(nn_loader *loader, const llama_config *config, int64_t i, llama_block *block)
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

static more_status load_weights(more_language *llama, const nn_source *source, more_error *error)
{
    const llama_config *config = &llama->config;
    nn_loader loader = {.source = source, .error = error};

    nn_load_matrix(&loader, "embedding.weight", 0, config->vocabulary, config->width, &llama->embedding);
    for (int64_t i = 0; i < config->layers && !loader.status; i++) {
        load_block(&loader, config, i, &llama->blocks[i]);
        nn_progress(llama->context, "loading llama", i + 1, config->layers + 1);
        if (!loader.status && nn_cancelled(llama->context))
            loader.status = more_fail(error, MORE_ERROR_CANCELLED, "loading of llama was stopped");
    }
    nn_load_vector(&loader, "norm.weight", 0, config->width, &llama->norm);
    if (config->tied_head)
        llama->head = llama->embedding;
    else
        nn_load_matrix(&loader, "head.weight", 0, config->vocabulary, config->width, &llama->head);
    nn_progress(llama->context, "loading llama", config->layers + 1, config->layers + 1);
    llama->weight_bytes = loader.bytes;
    return loader.status;
}

/* ---- The forward pass ------------------------------------------------------------------------------------------- */

/* Scratch of one pass: [rows, ...] each. */
typedef struct buffers {
    float *normed;          /* width */
    float *query_key_value; /* (heads + 2 key_value_heads) head_dimension */
    float *attended;        /* heads head_dimension */
    float *gate_up;         /* 2 intermediate */
    float *gated;           /* intermediate */
} buffers;

/* Floats of scratch a row, x included. */
static int64_t row_floats(const llama_config *config)
{
    int64_t query = config->heads * config->head_dimension, key = config->key_value_heads * config->head_dimension;
    return 2 * config->width + 2 * query + 2 * key + 3 * config->intermediate;
}

/* x += output(attention(rotary(query), rotary(key), value)), all of norm(x) */
static void attend(const more_language *llama, const nn_batch *batch, int64_t layer, const buffers *b, float *x)
{
    const llama_config *config = &llama->config;
    const llama_block *block = &llama->blocks[layer];
    int64_t dimension = config->head_dimension, query_width = config->heads * dimension;
    int64_t key_width = config->key_value_heads * dimension, stride = query_width + 2 * key_width;
    float *query = b->query_key_value, *key = query + query_width, *value = key + key_width;

    nn_rms_norm(llama->context, x, batch->rows, config->width, block->attention_norm, 0, (float)config->epsilon,
                b->normed);
    nn_linear(llama->context, &(nn_linear_args){.x = b->normed,
                                                .rows = batch->rows,
                                                .weight = block->query_key_value,
                                                .bias = block->query_key_value_bias,
                                                .y = query});
    /* Keys lie behind the queries of their row, so that they are more heads to turn. */
    nn_rotary(llama->context, query, batch->rows, stride, config->heads + config->key_value_heads, dimension, dimension,
              llama->frequencies, batch->positions, 1);
    nn_batch_attention(batch, key, value,
                       &(nn_attention_args){.layer = layer,
                                            .query = query,
                                            .stride = stride,
                                            .heads = config->heads,
                                            .scale = 1 / sqrtf((float)dimension),
                                            .y = b->attended});
    nn_linear(llama->context, &(nn_linear_args){.x = b->attended,
                                                .rows = batch->rows,
                                                .weight = block->output,
                                                .bias = block->output_bias,
                                                .residual = x,
                                                .y = x});
}

/* x += down(silu(gate) * up), both of norm(x) */
static void feed_forward(const more_language *llama, const nn_batch *batch, int64_t layer, const buffers *b, float *x)
{
    const llama_config *config = &llama->config;
    const llama_block *block = &llama->blocks[layer];

    nn_rms_norm(llama->context, x, batch->rows, config->width, block->mlp_norm, 0, (float)config->epsilon, b->normed);
    nn_linear(llama->context, &(nn_linear_args){.x = b->normed,
                                                .rows = batch->rows,
                                                .weight = block->gate_up,
                                                .bias = block->gate_up_bias,
                                                .y = b->gate_up});
    nn_glu(llama->context, NN_SILU, b->gate_up, batch->rows, config->intermediate, b->gated);
    nn_linear(llama->context, &(nn_linear_args){.x = b->gated,
                                                .rows = batch->rows,
                                                .weight = block->down,
                                                .bias = block->down_bias,
                                                .residual = x,
                                                .y = x});
}

static more_status forward(const nn_language *base, const nn_batch *batch, float *x, more_error *error)
{
    const more_language *llama = (const more_language *)base;
    const llama_config *config = &llama->config;
    int64_t query = config->heads * config->head_dimension, key = config->key_value_heads * config->head_dimension;
    buffers b = {.normed = nn_arena_f32(batch->arena, batch->rows * config->width),
                 .query_key_value = nn_arena_f32(batch->arena, batch->rows * (query + 2 * key)),
                 .attended = nn_arena_f32(batch->arena, batch->rows * query),
                 .gate_up = nn_arena_f32(batch->arena, batch->rows * 2 * config->intermediate),
                 .gated = nn_arena_f32(batch->arena, batch->rows * config->intermediate)};
    more_status status;

    if (!b.normed || !b.query_key_value || !b.attended || !b.gate_up || !b.gated)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for a forward pass over %lld rows: use smaller chunks",
                         (long long)batch->rows);
    status = nn_batch_state(batch, 0, x, error);
    for (int64_t layer = 0; layer < config->layers && !status; layer++) {
        attend(llama, batch, layer, &b, x);
        feed_forward(llama, batch, layer, &b, x);
        status = nn_batch_state(batch, layer + 1, x, error);
    }
    return status;
}

static void head(const nn_language *base, float *x, int64_t rows, float *logits)
{
    const more_language *llama = (const more_language *)base;

    nn_rms_norm(llama->context, x, rows, llama->config.width, llama->norm, 0, (float)llama->config.epsilon, x);
    nn_linear(llama->context, &(nn_linear_args){.x = x, .rows = rows, .weight = llama->head, .y = logits});
}

/* ---- Opening and closing ---------------------------------------------------------------------------------------- */

static void free_block(nn_context *context, llama_block *block)
{
    float *vectors[] = {block->attention_norm, block->mlp_norm,     block->query_key_value_bias,
                        block->output_bias,    block->gate_up_bias, block->down_bias};
    nn_matrix *matrices[] = {block->query_key_value, block->output, block->gate_up, block->down};

    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        nn_free(context, vectors[i]);
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++)
        nn_matrix_free(context, matrices[i]);
}

static void llama_close(more_language *llama)
{
    if (!llama)
        return;
    if (llama->context) { /* else nothing was loaded */
        for (int64_t i = 0; llama->blocks && i < llama->config.layers; i++)
            free_block(llama->context, &llama->blocks[i]);
        if (llama->head != llama->embedding)
            nn_matrix_free(llama->context, llama->head);
        nn_matrix_free(llama->context, llama->embedding);
        nn_free(llama->context, llama->norm);
        nn_free(llama->context, llama->frequencies);
        nn_context_destroy(llama->context);
    }
    free(llama->blocks);
    free(llama);
}

enum { OPTION_KV_CACHE, OPTION_COUNT };

static const more_option options[OPTION_COUNT] = {
    {"kv_cache", MORE_STRING, "f32", 0, 0, "f32|f16|bf16",
     "Number format of the key-value cache; the 16-bit ones halve its memory and round keys and values."},
};

static DLDataType cache_dtype(const more_open *arguments)
{
    const char *name = arguments->option_count > OPTION_KV_CACHE ? arguments->options[OPTION_KV_CACHE].as.s : "f32";
    return !strcmp(name, "f16") ? more_f16() : !strcmp(name, "bf16") ? more_bf16() : more_f32();
}

/* What the sessions need to know, once config and weights are in. */
static void describe_base(more_language *llama, DLDataType cache)
{
    const llama_config *config = &llama->config;
    llama->base = (nn_language){.context = llama->context,
                                .cache = {.layers = config->layers,
                                          .key_value_heads = config->key_value_heads,
                                          .head_dimension = config->head_dimension,
                                          .dtype = cache},
                                .vocabulary = config->vocabulary,
                                .width = config->width,
                                .layers = config->layers,
                                .context_length = config->context,
                                .embedding = llama->embedding,
                                .embedding_scale = 1,
                                .forward = forward,
                                .head = head};
}

static more_status llama_open(const more_open *arguments, more_language **language, more_error *error)
{
    more_language *llama = calloc(1, sizeof *llama);
    nn_source source;
    more_status status;

    *language = NULL;
    if (!llama)
        return more_fail(error, MORE_ERROR_MEMORY, "no memory for llama");
    status = nn_require_host(arguments, "llama", error);
    if (!status)
        status = nn_context_create(arguments->host, &llama->context, error);
    if (!status)
        status = nn_source_open(llama->context, arguments, &source, error);
    if (!status)
        status = llama_config_read(&source, &llama->config, error);
    if (!status)
        status = llama_frequencies(&source, &llama->config, &llama->frequencies, error);
    if (!status) {
        llama->blocks = calloc((size_t)llama->config.layers, sizeof *llama->blocks);
        status = llama->blocks ? load_weights(llama, &source, error)
                               : more_fail(error, MORE_ERROR_MEMORY, "no memory for %lld layers",
                                           (long long)llama->config.layers);
    }
    if (status) {
        llama_close(llama);
        return status;
    }
    describe_base(llama, cache_dtype(arguments));
    *language = llama;
    return MORE_OK;
}

/* ---- The rest of the interface ---------------------------------------------------------------------------------- */

static void llama_describe(const more_language *llama, more_language_info *info)
{
    const llama_config *config = &llama->config;
    const more_language_info own = {.vocabulary = config->vocabulary,
                                    .width = config->width,
                                    .context = config->context,
                                    .layers = config->layers,
                                    .stop_ids = config->stop_ids,
                                    .stop_count = config->stop_count,
                                    .template_name = config->template_name,
                                    .weight_formats = "f32 f16 bf16"};
    size_t size = info->struct_size < sizeof own ? info->struct_size : sizeof own;
    memcpy((char *)info + sizeof size, (const char *)&own + sizeof size, size - sizeof size);
}

static int64_t llama_kv_bytes(const more_language *llama, int64_t rows)
{
    return nn_cache_bytes(&llama->base.cache, rows);
}

static more_status llama_estimate(const more_language *llama, int64_t sessions, int64_t length, int64_t batch,
                                  more_memory *memory, more_error *error)
{
    const llama_config *config = &llama->config;
    int64_t rows = batch < sessions * length ? batch : sessions * length;

    if (sessions < 0 || sessions > 1 << 16 || length < 0 || length > config->context || batch < 0)
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "no estimate for %lld sessions of %lld rows: at most %d sessions of %lld rows",
                         (long long)sessions, (long long)length, 1 << 16, (long long)config->context);
    *memory = (more_memory){.weight_bytes = llama->weight_bytes,
                            .cache_bytes = sessions * llama_kv_bytes(llama, length),
                            .activation_bytes = rows * row_floats(config) * (int64_t)sizeof(float),
                            .scratch_bytes = sessions * ((config->vocabulary + config->width) * (int64_t)sizeof(float) +
                                                         length * (int64_t)sizeof(int64_t))};
    return MORE_OK;
}

static more_status llama_session_create(more_language *llama, int64_t planned_length, more_session **session,
                                        more_error *error)
{
    return nn_session_create(&llama->base, planned_length, session, error);
}

static more_status llama_embed(more_language *llama, const int32_t *ids, int64_t count, more_tensor *rows,
                               more_error *error)
{
    return nn_sessions_embed(&llama->base, ids, count, rows, error);
}

static more_status llama_advance(more_language *llama, more_advance *items, int32_t count)
{
    return nn_sessions_advance(&llama->base, items, count);
}

static const more_language_interface language_interface = {
    .struct_size = MORE_STRUCT_SIZE(more_language_interface, decode),
    .recognise = llama_recognise,
    .tensor_map = tensor_map,
    .open = llama_open,
    .close = llama_close,
    .describe = llama_describe,
    .estimate = llama_estimate,
    .kv_bytes = llama_kv_bytes,
    .session_create = llama_session_create,
    .session_fork = nn_session_fork,
    .session_truncate = nn_session_truncate,
    .session_info = nn_session_info,
    .session_destroy = nn_session_destroy,
    .embed = llama_embed,
    .advance = llama_advance,
};

static int32_t score(void)
{
    return 100;
}

static const void *get_interface(const char *id)
{
    return strcmp(id, MORE_LANGUAGE_INTERFACE) ? NULL : &language_interface;
}

static const more_plugin plugin = {
    .struct_size = MORE_STRUCT_SIZE(more_plugin, get_interface),
    .abi_version = MORE_ABI_VERSION,
    .kind = MORE_KIND_LANGUAGE,
    .id = "llama",
    .version = "0.1.0",
    .license = "Apache-2.0",
    .description = "LLaMA language models: LLaMA-2, LLaMA-3.1, Vicuna, DeepSeek-R1-Distill-Llama",
    .options = options,
    .option_count = OPTION_COUNT,
    .score = score,
    .get_interface = get_interface,
};

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    return more_plugin_offer(&plugin, oldest, newest, error);
}
