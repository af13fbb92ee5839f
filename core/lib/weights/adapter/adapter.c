/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/adapter/adapter.h"

#include "base/file.h"
#include "base/json.h"
#include "weights/adapter/delta.h"
#include "weights/convert.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_RANK 8192 /* far above what an adapter has; bounds the memory of a merge */
#define OTHERS "non_lora_trainables.bin"
#define WRAPPER "base_model.model." /* what PEFT puts before the model's own names */

struct core_merged {
    core_tensor_file *weights, *others; /* adapter_model and, in LLaVA's form, non_lora_trainables */
    core_tensor_entry *entries;         /* the base's in its order, then those that the adapter adds */
    core_tensor_entry **sorted;         /* the base's by name */
    int64_t base_count, count;
    char **names; /* of added entries */
    size_t name_count;
    core_delta *deltas;
    size_t delta_count;
};

/* adapter_config.json, and what of it says how pairs are scaled. */
typedef struct settings {
    char *path;
    const char *base; /* the model under the adapter, for messages */
    json_t *json;
    double alpha;
    int64_t rank;
    bool by_root; /* use_rslora */
    bool transposed;
} settings;

static more_status no_memory(const char *path, more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", path);
}

/* ---- adapter_config.json ---------------------------------------------------------------------------------------- */

static more_status load_config(const char *folder, settings *config, more_error *error)
{
    config->path = core_path_join(folder, CORE_ADAPTER_CONFIG);
    if (!config->path)
        return no_memory(folder, error);
    if (!core_file_exists(config->path))
        return more_fail(error, MORE_ERROR_NOT_FOUND, "%s: not an adapter: it has no " CORE_ADAPTER_CONFIG, folder);
    more_status status = core_json_load(config->path, &config->json, error);
    if (status == MORE_OK && !json_is_object(config->json))
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: is not a JSON object", config->path);
    return status;
}

static void free_config(settings *config)
{
    json_decref(config->json);
    free(config->path);
}

more_status core_adapter_base(const char *folder, char **name, more_error *error)
{
    settings config = {0};
    *name = NULL;
    more_status status = load_config(folder, &config, error);
    if (status == MORE_OK) {
        const char *base = json_string_value(json_object_get(config.json, "base_model_name_or_path"));
        *name = base && *base ? strdup(base) : NULL;
        if (!base || !*base)
            status = more_fail(error, MORE_ERROR_NOT_FOUND,
                               "%s: base_model_name_or_path is missing: name the base model as weights and this folder "
                               "as lora",
                               config.path);
        else if (!*name)
            status = no_memory(folder, error);
    }
    free_config(&config);
    return status;
}

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text), size = strlen(ending);
    return length >= size && !strcmp(text + length - size, ending);
}

/* Keys that switch on something beyond W + scale B A: PEFT names such switches use_... and ..._config. */
static bool is_beyond(const char *key, const json_t *value)
{
    bool on = json_is_true(value) || json_object_size(value) > 0;
    if (!strncmp(key, "use_", 4))
        return strcmp(key, "use_rslora") != 0 && on;
    if (ends_with(key, "_config"))
        return strcmp(key, "eva_config") != 0 && on; /* that one only sets where training begins */
    return (!strcmp(key, "lora_bias") && on) || (!strcmp(key, "layer_replication") && json_array_size(value) > 0);
}

/* Kinds of adapters whose sum with the base is not W + scale B A of the base as stored. */
static more_status refuse_kinds(const settings *config, more_error *error)
{
    static const char *const starts[] = {"pissa", "olora", "corda", "loftq"};
    const char *kind = json_string_value(json_object_get(config->json, "peft_type")), *key;
    const char *start = json_string_value(json_object_get(config->json, "init_lora_weights"));
    json_t *value;
    if (kind && strcmp(kind, "LORA") != 0)
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: peft_type is '%.60s'; only LORA is merged", config->path,
                         kind);
    json_object_foreach(config->json, key, value)
    {
        if (is_beyond(key, value))
            return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: %s is set; only plain LoRA is merged", config->path,
                             key);
    }
    for (size_t i = 0; start && i < sizeof starts / sizeof *starts; i++)
        if (!strncmp(start, starts[i], strlen(starts[i])))
            return more_fail(error, MORE_ERROR_UNSUPPORTED,
                             "%s: init_lora_weights is '%.60s', which changes the base's weights; save the adapter "
                             "converted to plain LoRA",
                             config->path, start);
    return MORE_OK;
}

static more_status read_settings(settings *config, more_error *error)
{
    json_t *alpha = json_object_get(config->json, "lora_alpha"), *rank = json_object_get(config->json, "r");
    more_status status = refuse_kinds(config, error);
    if (status != MORE_OK)
        return status;
    if (!json_is_number(alpha) || !isfinite(json_number_value(alpha)))
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: lora_alpha is missing or not a number", config->path);
    if (!json_is_integer(rank) || json_integer_value(rank) < 1)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: r is missing or not a whole number above 0", config->path);
    config->alpha = json_number_value(alpha);
    config->rank = json_integer_value(rank);
    config->by_root = json_is_true(json_object_get(config->json, "use_rslora"));
    config->transposed = json_is_true(json_object_get(config->json, "fan_in_fan_out"));
    return MORE_OK;
}

/* The value of a {module name: number} pattern for a module: the first key that is its name or the end of it behind a
 * point. NULL = none; *special is a key that is more than a name. */
static json_t *pattern_value(const settings *config, const char *pattern, const char *module, const char **special)
{
    const char *key;
    json_t *value, *patterns = json_object_get(config->json, pattern);
    size_t length = strlen(module);
    *special = NULL;
    json_object_foreach(patterns, key, value)
    {
        size_t size = strlen(key);
        if (strpbrk(key, "\\[](){}*+?|^$")) {
            *special = key;
            return NULL;
        }
        if (length >= size && !strcmp(module + length - size, key) &&
            (length == size || module[length - size - 1] == '.'))
            return value;
    }
    return NULL;
}

static more_status scale_of(const settings *config, const char *module, int64_t rank, float *scale, more_error *error)
{
    const char *special, *ignored;
    json_t *own_alpha = pattern_value(config, "alpha_pattern", module, &special);
    json_t *own_rank = pattern_value(config, "rank_pattern", module, &ignored);
    if (special)
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s: alpha_pattern has the pattern '%.100s'; only names of modules are read", config->path,
                         special);
    /* A pattern of ranks that is more than names: the tensors tell the rank. */
    int64_t wanted = json_is_integer(own_rank) ? json_integer_value(own_rank) : ignored ? rank : config->rank;
    if (wanted != rank)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: rank %" PRId64 " for '%.200s', whose lora_A has %" PRId64,
                         config->path, wanted, module, rank);
    double alpha = json_is_number(own_alpha) ? json_number_value(own_alpha) : config->alpha;
    *scale = (float)(config->by_root ? alpha / sqrt((double)rank) : alpha / (double)rank);
    return MORE_OK;
}

/* ---- Names ------------------------------------------------------------------------------------------------------ */

/* A copy of an adapter's name as the base calls it: without PEFT's wrappers around the model and around modules. NULL
 * without memory. */
static char *own_name(const char *name)
{
    static const char *const wrappers[] = {".modules_to_save.default.", ".modules_to_save.", ".base_layer."};
    if (!strncmp(name, WRAPPER, strlen(WRAPPER)))
        name += strlen(WRAPPER);
    else if (!strncmp(name, "base_model.", 11))
        name += 11;
    char *copy = strdup(name);
    for (size_t i = 0; copy && i < sizeof wrappers / sizeof *wrappers; i++) {
        char *at = strstr(copy, wrappers[i]);
        if (at) /* the points at both ends become one */
            memmove(at, at + strlen(wrappers[i]) - 1, strlen(at + strlen(wrappers[i]) - 1) + 1);
    }
    return copy;
}

/* ---- Low-rank pairs --------------------------------------------------------------------------------------------- */

/* Where ".lora_A" or ".lora_embedding_A" begins in a name; NULL when it is not of a pair's first factor. */
static const char *find_mark(const char *name, bool *embedding)
{
    const char *plain = strstr(name, ".lora_A."), *table = strstr(name, ".lora_embedding_A");
    *embedding = !plain;
    return plain ? plain : table;
}

/* The second factor, whose name has B in place of A. NULL when there is none. */
static const core_tensor_entry *find_second(const core_tensor_file *file, const char *name, const char *mark,
                                            bool embedding)
{
    core_buffer other = {0};
    size_t letter = (size_t)(mark - name) + strlen(embedding ? ".lora_embedding_" : ".lora_");
    core_buffer_text(&other, name);
    const core_tensor_entry *found = NULL;
    if (!other.failed) {
        other.data[letter] = 'B';
        found = core_tensor_table_find(core_tensor_file_tensors(file), other.data);
    }
    core_buffer_free(&other);
    return found;
}

/* The adapter is another model's: both by name. */
static more_status refuse_base(const settings *config, const core_delta *delta, const char *problem, more_error *error)
{
    const char *own = json_string_value(json_object_get(config->json, "base_model_name_or_path"));
    return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s' %s; the base model is %s, the adapter was made for %s",
                     delta->a->path, delta->a->name, problem, config->base, own ? own : "one that it does not name");
}

static more_status check_shapes(const settings *config, const core_delta *delta, const core_tensor_entry *target,
                                const char *wanted, more_error *error)
{
    const core_tensor_entry *a = delta->a, *b = delta->b;
    char problem[512];
    snprintf(problem, sizeof problem, "is for '%.200s', which the base model does not have", wanted);
    if (!target)
        return refuse_base(config, delta, problem, error);
    if (!b)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: tensor '%s' has no second factor beside it", a->path, a->name);
    if (a->rank != 2 || b->rank != 2 || target->rank != 2)
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: tensor '%s' or its pair or target '%s' is no matrix",
                         a->path, a->name, wanted);
    if (a->shape[0] > MOST_RANK)
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: tensor '%s' has rank %" PRId64 ", at most %d are merged",
                         a->path, a->name, a->shape[0], MOST_RANK);
    bool swapped = delta->transposed;
    if (a->shape[0] != b->shape[1] || b->shape[0] != target->shape[swapped ? 1 : 0] ||
        a->shape[1] != target->shape[swapped ? 0 : 1]) {
        snprintf(problem, sizeof problem,
                 "of [%" PRId64 ", %" PRId64 "] and its pair of [%" PRId64 ", %" PRId64
                 "] do not fit '%.200s' of [%" PRId64 ", %" PRId64 "]",
                 a->shape[0], a->shape[1], b->shape[0], b->shape[1], wanted, target->shape[0], target->shape[1]);
        return refuse_base(config, delta, problem, error);
    }
    if (!core_format_is_float(a->format) || !core_format_is_float(b->format) || !core_format_is_float(target->format))
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: tensor '%s' or its pair or target is not of floats",
                         a->path, a->name);
    return MORE_OK;
}

/* Puts the pair that begins with `first` on its target. */
static more_status add_pair(core_merged *merged, const settings *config, const core_tensor_entry *first,
                            const char *mark, bool embedding, more_error *error)
{
    core_delta *delta = &merged->deltas[merged->delta_count];
    char *module = strndup(first->name, (size_t)(mark - first->name)), *own = module ? own_name(module) : NULL;
    core_buffer wanted = {0};
    core_buffer_format(&wanted, "%s.weight", own ? own : "");
    *delta = (core_delta){.a = first,
                          .b = find_second(merged->weights, first->name, mark, embedding),
                          .transposed = embedding || config->transposed};
    more_status status = own && !wanted.failed ? MORE_OK : no_memory(first->path, error);
    core_tensor_entry *target =
        status == MORE_OK ? core_tensor_search(merged->sorted, (size_t)merged->base_count, wanted.data) : NULL;
    if (status == MORE_OK)
        status = check_shapes(config, delta, target, wanted.data, error);
    if (status == MORE_OK)
        status = scale_of(config, own, first->shape[0], &delta->scale, error);
    if (status == MORE_OK) {
        delta->next = target->delta;
        target->delta = delta;
        merged->delta_count++;
    }
    core_buffer_free(&wanted);
    free(module);
    free(own);
    return status;
}

/* ---- Whole tensors ---------------------------------------------------------------------------------------------- */

/* Takes a tensor of the base's place, or adds it. */
static more_status add_whole(core_merged *merged, const core_tensor_entry *entry, more_error *error)
{
    char *name = own_name(entry->name);
    if (!name)
        return no_memory(entry->path, error);
    core_tensor_entry *target = core_tensor_search(merged->sorted, (size_t)merged->base_count, name);
    if (target) {
        char *kept = target->name;
        *target = *entry;
        target->name = kept;
        free(name);
        return MORE_OK;
    }
    merged->names[merged->name_count++] = name;
    merged->entries[merged->count] = *entry;
    merged->entries[merged->count++].name = name;
    return MORE_OK;
}

/* A tensor of the adapter's own file that is no first factor. */
static more_status add_other(core_merged *merged, const core_tensor_entry *entry, more_error *error)
{
    bool second = strstr(entry->name, ".lora_embedding_B") ||
                  (strstr(entry->name, ".lora_B.") && ends_with(entry->name, ".weight"));
    if (second || strstr(entry->name, ".original_module."))
        return MORE_OK; /* second factors come with the first ones; counted by add_pairs */
    if (strstr(entry->name, ".lora_") || strstr(entry->name, ".token_adapter."))
        return more_fail(error, MORE_ERROR_UNSUPPORTED, "%s: tensor '%s': only plain LoRA is merged", entry->path,
                         entry->name);
    return add_whole(merged, entry, error);
}

/* ---- All of it -------------------------------------------------------------------------------------------------- */

static more_status open_file(const char *folder, const char *const *names, core_tensor_file **file, more_error *error)
{
    more_status status = MORE_OK;
    for (; *names && !*file && status == MORE_OK; names++) {
        char *path = core_path_join(folder, *names);
        if (!path)
            return no_memory(folder, error);
        if (core_file_exists(path))
            status = core_tensor_file_open(path, file, error);
        free(path);
    }
    return status;
}

static more_status open_files(core_merged *merged, const char *folder, more_error *error)
{
    static const char *const weights[] = {"adapter_model.safetensors", "adapter_model.bin", NULL};
    static const char *const others[] = {OTHERS, NULL};
    more_status status = open_file(folder, weights, &merged->weights, error);
    if (status == MORE_OK && !merged->weights)
        status = more_fail(error, MORE_ERROR_NOT_FOUND,
                           "%s: neither adapter_model.safetensors nor adapter_model.bin is in this folder", folder);
    return status == MORE_OK ? open_file(folder, others, &merged->others, error) : status;
}

static more_status make_room(core_merged *merged, const core_source *base, more_error *error)
{
    size_t own = core_tensor_file_tensors(merged->weights)->count +
                 (merged->others ? core_tensor_file_tensors(merged->others)->count : 0);
    merged->entries = calloc((size_t)base->count + own + 1, sizeof *merged->entries);
    merged->sorted = calloc((size_t)base->count + 1, sizeof *merged->sorted);
    merged->names = calloc(own + 1, sizeof *merged->names);
    merged->deltas = calloc(own + 1, sizeof *merged->deltas);
    if (!merged->entries || !merged->sorted || !merged->names || !merged->deltas)
        return no_memory(base->path, error);
    for (int64_t i = 0; i < base->count; i++) {
        merged->entries[i] = *base->entries[i];
        merged->sorted[i] = &merged->entries[i];
    }
    merged->base_count = merged->count = base->count;
    core_tensor_sort(merged->sorted, (size_t)base->count);
    return MORE_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static more_status check_added(const core_merged *merged, const settings *config, more_error *error)
{
    qsort(merged->names, merged->name_count, sizeof *merged->names, by_text);
    for (size_t i = 1; i < merged->name_count; i++)
        if (!strcmp(merged->names[i - 1], merged->names[i]))
            return more_fail(error, MORE_ERROR_CORRUPT, "%s: the adapter holds the tensor '%.400s' twice", config->path,
                             merged->names[i]);
    return MORE_OK;
}

static more_status add_pairs(core_merged *merged, const settings *config, more_error *error)
{
    const core_tensor_table *table = core_tensor_file_tensors(merged->weights);
    more_status status = MORE_OK;
    size_t seconds = 0;
    bool embedding;
    for (size_t i = 0; i < table->count && status == MORE_OK; i++) {
        const core_tensor_entry *entry = &table->entries[i];
        const char *mark = find_mark(entry->name, &embedding);
        seconds += strstr(entry->name, ".lora_B.") || strstr(entry->name, ".lora_embedding_B");
        if (mark)
            status = add_pair(merged, config, entry, mark, embedding, error);
    }
    if (status == MORE_OK && seconds != merged->delta_count)
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: %zu second factors (lora_B) for %zu first ones (lora_A)",
                           config->path, seconds, merged->delta_count);
    return status;
}

/* Whole tensors first: a pair may stand on one of them, wherever that lies in the file (PEFT writes the embedding that
 * an adapter is on behind the pairs). */
static more_status add_all(core_merged *merged, const settings *config, more_error *error)
{
    const core_tensor_table *weights = core_tensor_file_tensors(merged->weights);
    const core_tensor_table *others = merged->others ? core_tensor_file_tensors(merged->others) : NULL;
    more_status status = MORE_OK;
    bool embedding;
    for (size_t i = 0; others && i < others->count && status == MORE_OK; i++)
        status = add_whole(merged, &others->entries[i], error);
    for (size_t i = 0; i < weights->count && status == MORE_OK; i++) {
        const core_tensor_entry *entry = &weights->entries[i];
        if (!find_mark(entry->name, &embedding))
            status = add_other(merged, entry, error);
    }
    if (status == MORE_OK)
        status = add_pairs(merged, config, error);
    return status == MORE_OK ? check_added(merged, config, error) : status;
}

/* The adapter's own config.json where it describes the model. */
static more_status take_config(core_source *source, const core_source *base, const char *folder, more_error *error)
{
    char *path = core_path_join(folder, "config.json");
    json_t *config = NULL;
    more_status status = path ? MORE_OK : no_memory(folder, error);
    if (path && core_file_exists(path))
        status = core_json_load(path, &config, error);
    if (status == MORE_OK && json_is_string(json_object_get(config, "model_type"))) {
        source->config = config;
        source->config_path = path;
        return MORE_OK;
    }
    json_decref(config);
    free(path);
    if (status != MORE_OK)
        return status;
    source->config = json_incref(base->config);
    source->config_path = strdup(base->config_path);
    return source->config_path ? MORE_OK : no_memory(folder, error);
}

static more_status fill_source(core_source *source, core_source *base, const char *folder, more_error *error)
{
    core_source_retain(base);
    source->base = base;
    source->seed = base->seed;
    source->path = strdup(base->path);
    source->folder = strdup(base->folder);
    source->count = source->merged->count;
    source->entries = calloc((size_t)source->count + 1, sizeof *source->entries);
    if (!source->path || !source->folder || !source->entries)
        return no_memory(base->path, error);
    for (int64_t i = 0; i < source->count; i++)
        source->entries[i] = &source->merged->entries[i];
    return take_config(source, base, folder, error);
}

more_status core_source_add_adapter(core_source *base, const char *folder, core_source **merged, more_error *error)
{
    settings config = {.base = base->path};
    core_source *source = calloc(1, sizeof *source);
    *merged = NULL;
    if (base->gguf) {
        free(source);
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s: an adapter is merged into safetensors or PyTorch files, not into the GGUF file %s",
                         folder, base->path);
    }
    if (source)
        source->merged = calloc(1, sizeof *source->merged);
    if (!source || !source->merged) {
        free(source);
        return no_memory(folder, error);
    }
    atomic_init(&source->references, 1);
    more_status status = load_config(folder, &config, error);
    if (status == MORE_OK)
        status = read_settings(&config, error);
    if (status == MORE_OK)
        status = open_files(source->merged, folder, error);
    if (status == MORE_OK)
        status = make_room(source->merged, base, error);
    if (status == MORE_OK)
        status = add_all(source->merged, &config, error);
    if (status == MORE_OK)
        status = fill_source(source, base, folder, error);
    free_config(&config);
    if (status == MORE_OK)
        *merged = source;
    else
        core_source_release(source);
    return status;
}

void core_merged_free(core_merged *merged)
{
    if (!merged)
        return;
    for (size_t i = 0; i < merged->name_count; i++)
        free(merged->names[i]);
    free(merged->names);
    free(merged->deltas);
    free(merged->sorted);
    free(merged->entries);
    core_tensor_file_close(merged->weights);
    core_tensor_file_close(merged->others);
    free(merged);
}
