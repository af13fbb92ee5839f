/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore.h over the core.
 */
#include <llavamore.h>

#include "assembly/assembly.h"
#include "assembly/data.h"
#include "base/json.h"
#include "generate/chat.h"
#include "weights/checkpoint.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Settings and the models made of them share config, host, registry and functions; the last one out frees them. */
struct llavamore_settings {
    atomic_int references;
    llavamore_callbacks callbacks;
    pthread_mutex_t calling; /* one callback at a time */
    bool used;               /* a model was opened */
    core_config *config;
    core_registry *registry;
    core_functions *functions;
    _Atomic(core_host *) host; /* made when the first of registry or model is asked for */
    atomic_bool cancelled;
};

struct llavamore_model {
    llavamore_settings *settings;
    core_assembly *assembly;
};

const char *llavamore_version(void)
{
    return LLAVAMORE_VERSION;
}

void llavamore_free(void *memory)
{
    free(memory);
}

/* ---- Settings ---------------------------------------------------------------------------------------------------- */

llavamore_settings *llavamore_settings_create(const llavamore_callbacks *callbacks)
{
    llavamore_settings *settings = calloc(1, sizeof *settings);
    if (!settings)
        return NULL;
    atomic_init(&settings->references, 1);
    pthread_mutex_init(&settings->calling, NULL);
    if (callbacks)
        settings->callbacks = *callbacks;
    if (core_config_create(&settings->config, NULL) != MORE_OK) {
        pthread_mutex_destroy(&settings->calling);
        free(settings);
        return NULL;
    }
    return settings;
}

void llavamore_settings_destroy(llavamore_settings *settings)
{
    if (!settings || atomic_fetch_sub(&settings->references, 1) > 1)
        return;
    core_functions_destroy(settings->functions);
    core_registry_destroy(settings->registry);
    core_host_destroy(atomic_load(&settings->host));
    core_config_destroy(settings->config);
    pthread_mutex_destroy(&settings->calling);
    free(settings);
}

static more_status refuse_if_used(const llavamore_settings *settings, more_error *error)
{
    if (settings->used)
        return more_fail(error, MORE_ERROR_ARGUMENT, "these settings belong to a model already: make new ones");
    return MORE_OK;
}

more_status llavamore_settings_load(llavamore_settings *settings, const char *name, more_error *error)
{
    char *path = NULL;
    more_status status = refuse_if_used(settings, error);
    if (status == MORE_OK)
        status = core_preset_locate(name, &path, error);
    if (status == MORE_OK)
        status = core_config_load(settings->config, path, error);
    free(path);
    return status;
}

more_status llavamore_settings_set(llavamore_settings *settings, const char *assignment, more_error *error)
{
    more_status status = refuse_if_used(settings, error);
    return status == MORE_OK ? core_config_set(settings->config, assignment, error) : status;
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

/* The host's workers call from any thread; the user's functions get one call at a time. */
static void log_one(void *user, more_log_level level, const char *component, const char *message)
{
    llavamore_settings *settings = user;
    pthread_mutex_lock(&settings->calling);
    settings->callbacks.log(settings->callbacks.user, level, component, message);
    pthread_mutex_unlock(&settings->calling);
}

static void progress_one(void *user, const char *stage, int64_t done, int64_t total)
{
    llavamore_settings *settings = user;
    pthread_mutex_lock(&settings->calling);
    settings->callbacks.progress(settings->callbacks.user, stage, done, total);
    pthread_mutex_unlock(&settings->calling);
}

static more_status make_host(llavamore_settings *settings, more_error *error)
{
    core_host *host = NULL;
    core_host_config config = {.threads = (int32_t)core_config_int64(settings->config, "runtime", "threads"),
                               .log_level = log_level(settings->config),
                               .log = settings->callbacks.log ? log_one : NULL,
                               .progress = settings->callbacks.progress ? progress_one : NULL,
                               .user = settings,
                               .weights = core_weights_service()};
    more_status status = core_host_create(&config, &host, error);
    if (status != MORE_OK)
        return status;
    core_host_cancel(host, atomic_load(&settings->cancelled));
    atomic_store(&settings->host, host);
    return MORE_OK;
}

static more_status prepare(llavamore_settings *settings, more_error *error)
{
    more_status status = MORE_OK;
    if (!settings->registry)
        status = core_registry_create(core_config_string(settings->config, "runtime", "plugin_path"),
                                      &settings->registry, error);
    if (status == MORE_OK && !settings->functions)
        status = core_functions_gather(settings->registry, &settings->functions, error);
    if (status != MORE_OK) {
        core_functions_destroy(settings->functions);
        settings->functions = NULL;
    }
    if (status == MORE_OK && !atomic_load(&settings->host))
        status = make_host(settings, error);
    return status;
}

more_status llavamore_list_presets(char **json, more_error *error)
{
    return core_preset_list(json, error);
}

more_status llavamore_list_plugins(llavamore_settings *settings, char **json, more_error *error)
{
    const core_plugin_file *files;
    size_t count;
    *json = NULL;
    more_status status = prepare(settings, error);
    if (status == MORE_OK)
        status = core_registry_list(settings->registry, &files, &count, error);
    if (status != MORE_OK)
        return status;
    json_t *plugins = json_array(), *refused = json_array();
    for (size_t i = 0; i < count; i++) {
        const more_plugin *plugin = files[i].plugin;
        if (plugin)
            json_array_append_new(plugins,
                                  json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:i, s:b}", "kind", plugin->kind, "id",
                                            plugin->id, "version", plugin->version, "license", plugin->license,
                                            "description", plugin->description, "path", core_json_text(files[i].path),
                                            "score", (int)files[i].score, "chosen",
                                            (int)core_registry_chosen(settings->registry, &files[i])));
        else
            json_array_append_new(refused, json_pack("{s:o, s:o}", "path", core_json_text(files[i].path), "reason",
                                                     core_json_text(files[i].reason)));
    }
    json_t *all = json_pack("{s:o, s:o}", "plugins", plugins, "refused", refused);
    if (all)
        *json = json_dumps(all, JSON_INDENT(2));
    json_decref(all);
    return *json ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "out of memory while listing plugins");
}

/* ---- Model ------------------------------------------------------------------------------------------------------- */

more_status llavamore_model_open(llavamore_settings *settings, llavamore_open_flags flags, llavamore_model **model,
                                 more_error *error)
{
    *model = NULL;
    more_status status = refuse_if_used(settings, error);
    llavamore_model *made = calloc(1, sizeof *made);
    if (status == MORE_OK && !made)
        status = more_fail(error, MORE_ERROR_MEMORY, "out of memory");
    if (status == MORE_OK)
        status = prepare(settings, error);
    if (status == MORE_OK)
        status = core_assembly_open(
            settings->config, atomic_load(&settings->host), settings->registry, settings->functions,
            flags & LLAVAMORE_OPEN_DRY_RUN ? MORE_OPEN_METADATA_ONLY : MORE_OPEN_DEFAULT, &made->assembly, error);
    if (status != MORE_OK) {
        free(made);
        return status;
    }
    settings->used = true;
    atomic_fetch_add(&settings->references, 1);
    made->settings = settings;
    *model = made;
    return MORE_OK;
}

void llavamore_model_close(llavamore_model *model)
{
    if (!model)
        return;
    core_assembly_close(model->assembly);
    llavamore_settings_destroy(model->settings);
    free(model);
}

more_status llavamore_model_describe(const llavamore_model *model, char **text, more_error *error)
{
    json_t *json;
    *text = NULL;
    more_status status = core_assembly_describe(model->assembly, &json, error);
    if (status != MORE_OK)
        return status;
    *text = json_dumps(json, JSON_INDENT(2));
    json_decref(json);
    return *text ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "out of memory while describing the assembly");
}

void llavamore_settings_cancel(llavamore_settings *settings, bool cancelled)
{
    atomic_store(&settings->cancelled, cancelled);
    core_host *host = atomic_load(&settings->host);
    if (host)
        core_host_cancel(host, cancelled);
}

void llavamore_model_cancel(llavamore_model *model, bool cancelled)
{
    llavamore_settings_cancel(model->settings, cancelled);
}

double llavamore_model_load_ms(const llavamore_model *model)
{
    return model->assembly->load_ms;
}

int64_t llavamore_peak_memory(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? 0 : (int64_t)usage.ru_maxrss * 1024;
}

/* ---- Chat -------------------------------------------------------------------------------------------------------- */

more_status llavamore_chat_create(llavamore_model *model, llavamore_chat **chat, more_error *error)
{
    core_chat *made;
    more_status status = core_chat_create(model->assembly, &made, error);
    *chat = (llavamore_chat *)made;
    return status;
}

more_status llavamore_chat_fork(const llavamore_chat *chat, llavamore_chat **fork, more_error *error)
{
    core_chat *made;
    more_status status = core_chat_fork((const core_chat *)chat, &made, error);
    *fork = (llavamore_chat *)made;
    return status;
}

void llavamore_chat_destroy(llavamore_chat *chat)
{
    core_chat_destroy((core_chat *)chat);
}

more_status llavamore_chat_ask(llavamore_chat *chat, const llavamore_question *question, llavamore_answer *answer,
                               more_error *error)
{
    return core_chat_ask((core_chat *)chat, question, answer, error);
}

more_status llavamore_chat_reset(llavamore_chat *chat, more_error *error)
{
    return core_chat_reset((core_chat *)chat, error);
}

void llavamore_answer_clear(llavamore_answer *answer)
{
    free(answer->text);
    free(answer->token_ids);
    *answer = (llavamore_answer){0};
}
