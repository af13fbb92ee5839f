/* SPDX-License-Identifier: Apache-2.0 */
#include "perplexity.h"

#include "assembly/data.h"
#include "weights/checkpoint.h"

#include <string.h>

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

static more_status read_settings(const subject_config *config, subject *self, more_error *error)
{
    char *path = NULL;
    more_status status = core_config_create(&self->config, error);
    if (status == MORE_OK)
        status = core_preset_locate(config->ini, &path, error);
    if (status == MORE_OK)
        status = core_config_load(self->config, path, error);
    free(path);
    for (int i = 0; i < config->assignment_count && status == MORE_OK; i++)
        status = core_config_set(self->config, config->assignments[i], error);
    /* Text needs no conversation: a base model, whose checkpoint names no template, has a perplexity too. */
    if (status == MORE_OK && !config->eyes && !core_config_find(self->config, "llm", "template"))
        status = core_config_set(self->config, "llm.template=plain", error);
    return status;
}

/* The language model and its tokenizer alone: an encoder would take its time and memory for nothing. */
static more_status open_language(subject *self, more_error *error)
{
    self->assembly =
        core_assembly_new(self->config, self->host, self->registry, self->functions, MORE_OPEN_DEFAULT, error);
    if (!self->assembly)
        return MORE_ERROR_MEMORY;
    more_status status = core_assembly_open_language(self->assembly, error);
    return status == MORE_OK ? core_assembly_open_text(self->assembly, error) : status;
}

/* Loading tells how far it is: the moment to see that nobody waits any more. */
static void take_progress(void *user, const char *stage, int64_t done, int64_t total)
{
    subject *self = user;
    (void)stage;
    (void)done;
    (void)total;
    if (interrupt_seen(self->watcher))
        core_host_cancel(self->host, true);
}

more_status subject_open(const subject_config *config, interrupt *watcher, subject *self, more_error *error)
{
    *self = (subject){.watcher = watcher};
    more_status status = read_settings(config, self, error);
    if (status == MORE_OK)
        status =
            core_registry_create(core_config_string(self->config, "runtime", "plugin_path"), &self->registry, error);
    if (status == MORE_OK)
        status = core_functions_gather(self->registry, &self->functions, error);
    if (status == MORE_OK) {
        core_host_config host = {.threads = (int32_t)core_config_int64(self->config, "runtime", "threads"),
                                 .log_level = MORE_LOG_WARNING,
                                 .progress = take_progress,
                                 .user = self,
                                 .weights = core_weights_service()};
        status = core_host_create(&host, &self->host, error);
    }
    if (status != MORE_OK)
        return status;
    return config->eyes ? core_assembly_open(self->config, self->host, self->registry, self->functions,
                                             MORE_OPEN_DEFAULT, &self->assembly, error)
                        : open_language(self, error);
}

void subject_close(subject *self)
{
    core_visual_free(&self->visual);
    free(self->picture);
    core_assembly_close(self->assembly);
    core_functions_destroy(self->functions);
    core_registry_destroy(self->registry);
    core_host_destroy(self->host);
    core_config_destroy(self->config);
    *self = (subject){0};
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static more_status see(subject *self, const char *picture, more_error *error)
{
    core_visual_times times = {0};
    core_visual fresh = {0};
    llavamore_image image = {.path = picture};
    if (self->picture && !strcmp(self->picture, picture))
        return MORE_OK;
    if (!self->assembly->vision)
        return more_fail(error, MORE_ERROR_ARGUMENT, "%s: the model has no vision encoder to see it with", picture);
    more_status status = core_visual_encode(self->assembly, &image, 1, NULL, false, &fresh, &times, error);
    char *name = strdup(picture);
    if (status == MORE_OK && !name)
        status = more_fail(error, MORE_ERROR_MEMORY, "out of memory");
    if (status != MORE_OK) {
        core_visual_free(&fresh);
        free(name);
        return status;
    }
    core_visual_free(&self->visual);
    free(self->picture);
    self->visual = fresh;
    self->picture = name;
    return MORE_OK;
}

static more_status advance(reader *self, const more_segment *segment, float *logits, more_error *error)
{
    const core_assembly *assembly = self->subject->assembly;
    int64_t shape[2] = {segment->count, assembly->language_info.vocabulary}, strides[2];
    int64_t *rows = NULL;
    more_tensor tensor = more_host_tensor(logits, more_f32(), 2, shape, strides);
    more_advance item = {.struct_size = MORE_STRUCT_SIZE(more_advance, error),
                         .session = self->session,
                         .segments = segment,
                         .segment_count = 1};
    if (logits) {
        rows = calloc((size_t)segment->count, sizeof *rows);
        if (!rows)
            return more_fail(error, MORE_ERROR_MEMORY, "out of memory");
        for (int64_t i = 0; i < segment->count; i++)
            rows[i] = i;
        item.logit_rows = rows;
        item.logit_count = segment->count;
        item.logits = &tensor;
    }
    more_status status = assembly->language_api->advance(assembly->language, &item, 1);
    if (status == MORE_NEEDS_REPLAY)
        status = more_fail(error, MORE_ERROR_INTERNAL,
                           "plugin '%s' asks for a replay of a sequence whose length it was "
                           "told",
                           assembly->language_part.file->id);
    else if (status < 0)
        more_fail(error, status, "%s", item.error.message);
    free(rows);
    return status;
}

/* Ids from self->next up to `end`, images among them, no logits. */
static more_status read_up_to(reader *self, size_t end, more_error *error)
{
    const core_assembly *assembly = self->subject->assembly;
    const core_visual *visual = &self->subject->visual;
    const int32_t *ids = self->passage->ids.data;
    int64_t limit = core_config_int64(assembly->config, "runtime", "batch");
    more_status status = MORE_OK;
    while (status == MORE_OK && self->next < end) {
        more_segment run = {.ids = ids + self->next};
        if (ids[self->next] == CORE_IMAGE_TOKEN) {
            int64_t width = assembly->language_info.width;
            for (int64_t row = 0; row < visual->count && status == MORE_OK; row += limit) {
                int64_t shape[2] = {visual->count - row < limit ? visual->count - row : limit, width}, strides[2];
                more_tensor rows = more_host_tensor(visual->rows + row * width, more_f32(), 2, shape, strides);
                status = advance(self, &(more_segment){.rows = &rows, .count = shape[0]}, NULL, error);
            }
            self->next++;
            continue;
        }
        while (self->next < end && run.count < limit && ids[self->next] != CORE_IMAGE_TOKEN) {
            run.count++;
            self->next++;
        }
        status = advance(self, &run, NULL, error);
    }
    return status;
}

more_status reader_begin(subject *model, const passage *text, reader *self, more_error *error)
{
    const core_assembly *assembly = model->assembly;
    *self = (reader){.subject = model, .passage = text};
    more_status status = text->picture ? see(model, text->picture, error) : MORE_OK;
    if (status != MORE_OK)
        return status;
    int64_t rows = core_context_rows(&text->ids, &model->visual);
    if (rows > assembly->context)
        return more_fail(error, MORE_ERROR_LIMIT, "a passage has %lld rows, the model's context %lld: shorten it",
                         (long long)rows, (long long)assembly->context);
    status = assembly->language_api->session_create(assembly->language, rows, &self->session, error);
    return status == MORE_OK ? read_up_to(self, text->first - 1, error) : status;
}

more_status reader_next(reader *self, int64_t count, float *logits, more_error *error)
{
    more_segment run = {.ids = self->passage->ids.data + self->next, .count = count};
    self->next += (size_t)count;
    return advance(self, &run, logits, error);
}

void reader_end(reader *self)
{
    if (self->subject)
        self->subject->assembly->language_api->session_destroy(self->session);
    *self = (reader){0};
}
