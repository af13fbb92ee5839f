/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening what is to be measured.
 */
#include "model.h"

#include "assembly/data.h"
#include "config/entries.h"
#include "weights/checkpoint.h"
#include <string.h>

/* ---- The config ------------------------------------------------------------------------------------------------- */

/* What an option stands for; --set, which comes later, has the last word. */
static more_status set(core_config *config, const char *option, const char *section, const char *key, const char *value,
                       more_error *error)
{
    const core_config_source source = {option, "", CORE_FROM_COMMAND};
    return core_config_put(config, &source, section, key, value, error);
}

/* --arithmetic goes to every part but a projector that multiplies nothing. */
static more_status set_arithmetic(bench_model *model, more_error *error)
{
    const char *name = model->b->options->arithmetic_name;
    bool bare = model->made.folder[0] && !model->made.llm;
    more_status status = MORE_OK;
    if (!name)
        return MORE_OK;
    if (!bare)
        status = set(model->config, "--arithmetic", "llm", "arithmetic", name, error);
    if (status == MORE_OK && (!model->made.folder[0] || model->made.vision))
        status = set(model->config, "--arithmetic", "vision", "arithmetic", name, error);
    if (status == MORE_OK && (!model->made.folder[0] || model->made.projector))
        status = set(model->config, "--arithmetic", "projector", "arithmetic", name, error);
    return status;
}

static more_status read_config(bench_model *model, more_error *error)
{
    const bench_options *options = model->b->options;
    char *path = NULL, threads[24];
    more_status status = core_config_create(&model->config, error);
    if (status == MORE_OK && options->synthetic)
        status = synthetic_make(options->synthetic, model->config, &model->made, error);
    if (status == MORE_OK && options->what)
        status = core_preset_locate(options->what, &path, error);
    if (status == MORE_OK && path)
        status = core_config_load(model->config, path, error);
    free(path);
    snprintf(threads, sizeof threads, "%lld", (long long)options->threads);
    if (status == MORE_OK && options->threads)
        status = set(model->config, "--threads", "runtime", "threads", threads, error);
    if (status == MORE_OK)
        status = set_arithmetic(model, error);
    if (status == MORE_OK && options->device)
        status = set(model->config, "--device", "runtime", "device", options->device, error);
    for (int i = 0; i < options->assignment_count && status == MORE_OK; i++)
        status = core_config_set(model->config, options->assignments[i], error);
    return status;
}

static more_log_level log_level(const core_config *config)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    const char *name = core_config_string(config, "runtime", "log");
    for (more_log_level level = MORE_LOG_ERROR; level <= MORE_LOG_DEBUG; level++)
        if (name && !strcmp(name, names[level]))
            return level;
    return MORE_LOG_WARNING;
}

nn_arithmetic bench_model_arithmetic(const bench_model *model, const char *section)
{
    const core_config_entry *entry = core_config_find(model->config, section, "arithmetic");
    if (entry && !strcmp(entry->value, "exact"))
        return NN_ARITHMETIC_EXACT;
    return entry && !strcmp(entry->value, "fast") ? NN_ARITHMETIC_FAST : NN_ARITHMETIC_AUTO;
}

/* ---- The parts -------------------------------------------------------------------------------------------------- */

/* The parts that a shape has; no tokenizer, and so no text. */
static more_status open_parts(bench_model *model, more_error *error)
{
    core_assembly *assembly =
        core_assembly_new(model->config, model->b->host, model->registry, model->functions, MORE_OPEN_DEFAULT, error);
    if (!assembly)
        return MORE_ERROR_MEMORY;
    model->assembly = assembly;
    more_status status = MORE_OK;
    if (model->made.llm)
        status = core_assembly_open_language(assembly, error);
    else /* what the projector of an encoder alone gives */
        assembly->language_info.width = model->made.vision_width;
    if (status == MORE_OK && model->made.vision)
        status = core_assembly_open_vision(assembly, error);
    return status;
}

more_status bench_model_open(bench *b, bench_model *model, more_error *error)
{
    *model = (bench_model){.b = b, .name = b->options->synthetic ? b->options->synthetic : b->options->what};
    more_status status = read_config(model, error);
    if (status == MORE_OK)
        status = bench_start(b, (int32_t)core_config_int64(model->config, "runtime", "threads"),
                             log_level(model->config), core_weights_service(), error);
    if (status == MORE_OK)
        status =
            core_registry_create(core_config_string(model->config, "runtime", "plugin_path"), &model->registry, error);
    if (status == MORE_OK)
        status = core_functions_gather(model->registry, &model->functions, error);
    double start = nn_probe_clock();
    if (status == MORE_OK && b->options->synthetic)
        status = open_parts(model, error);
    else if (status == MORE_OK)
        status = core_assembly_open(model->config, b->host, model->registry, model->functions, MORE_OPEN_DEFAULT,
                                    &model->assembly, error);
    model->load_seconds = nn_probe_clock() - start;
    synthetic_remove(&model->made);
    return status;
}

void bench_model_close(bench_model *model)
{
    core_assembly_close(model->assembly);
    core_functions_destroy(model->functions);
    core_registry_destroy(model->registry);
    core_config_destroy(model->config);
    synthetic_remove(&model->made);
}
