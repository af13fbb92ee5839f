/* SPDX-License-Identifier: Apache-2.0 */
#include "assembled.h"

#include "assembly/data.h"
#include "image/steps.h"
#include "weights/checkpoint.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

assembled_counts counts;
static const more_language_interface *own_language;
static const more_vision_interface *own_vision;

static more_status count_advance(more_language *language, more_advance *items, int32_t count)
{
    more_status status = own_language->advance(language, items, count);
    counts.advances++;
    for (int32_t i = 0; i < count; i++) {
        counts.refused += items[i].status == MORE_NEEDS_REPLAY;
        if (items[i].status != MORE_OK)
            continue;
        for (int32_t k = 0; k < items[i].segment_count; k++)
            counts.rows += items[i].segments[k].count;
        if (items[i].logit_count > 0)
            core_buffer_append(&counts.logits, more_tensor_data(items[i].logits),
                               (size_t)(items[i].logit_count * items[i].logits->dl.shape[1]) * sizeof(float));
    }
    return status;
}

static more_status count_encode(more_vision *vision, const more_vision_batch *batch, more_error *error)
{
    counts.images += batch->images;
    return own_vision->encode(vision, batch, error);
}

void assembled_forget(void)
{
    core_buffer_free(&counts.logits);
    counts = (assembled_counts){0};
}

static more_status load(assembled *self, const char *preset, const char *const *assignments, more_error *error)
{
    char *path = NULL;
    more_status status = core_config_create(&self->config, error);
    if (status == MORE_OK)
        status = core_preset_locate(preset, &path, error);
    if (status == MORE_OK)
        status = core_config_load(self->config, path, error);
    for (size_t i = 0; assignments && assignments[i] && status == MORE_OK; i++)
        status = core_config_set(self->config, assignments[i], error);
    free(path);
    return status;
}

static more_status prepare(assembled *self, more_error *error)
{
    core_host_config host = {.threads = 2, .log_level = MORE_LOG_ERROR, .weights = core_weights_service()};
    more_status status = core_host_create(&host, &self->host, error);
    if (status == MORE_OK)
        status = core_registry_create("", &self->registry, error);
    if (status == MORE_OK)
        status = core_functions_create(&self->functions, error);
    if (status == MORE_OK)
        status = core_functions_add(self->functions, core_image_steps(), "core", error);
    if (status == MORE_OK)
        status = core_functions_add(self->functions, core_sampler_functions(), "core", error);
    return status;
}

assembled *assembled_open(const char *preset, const char *const *assignments)
{
    assembled *self = calloc(1, sizeof *self);
    more_error error = {{0}};
    assert_non_null(self);
    if (load(self, preset, assignments, &error) != MORE_OK || prepare(self, &error) != MORE_OK ||
        core_assembly_open(self->config, self->host, self->registry, self->functions, MORE_OPEN_DEFAULT,
                           &self->assembly, &error) != MORE_OK)
        fail_msg("%s: %s", preset, error.message);
    own_language = self->assembly->language_api;
    self->language = *own_language;
    self->language.advance = count_advance;
    self->assembly->language_api = &self->language;
    own_vision = self->assembly->vision_api;
    self->vision = *own_vision;
    self->vision.encode = count_encode;
    self->assembly->vision_api = &self->vision;
    assembled_forget();
    return self;
}

void assembled_close(assembled *self)
{
    core_assembly_close(self->assembly);
    core_functions_destroy(self->functions);
    core_registry_destroy(self->registry);
    core_host_destroy(self->host);
    core_config_destroy(self->config);
    free(self);
    assembled_forget();
}

core_chat *assembled_chat(assembled *self)
{
    core_chat *chat = NULL;
    more_error error = {{0}};
    if (core_chat_create(self->assembly, &chat, &error) != MORE_OK)
        fail_msg("%s", error.message);
    return chat;
}

void assembled_ask(core_chat *chat, const char *question, const char *const *images, int32_t image_count,
                   llavamore_answer *answer)
{
    more_error error = {{0}};
    llavamore_image list[8] = {{0}};
    llavamore_question asked = {.text = question, .images = list, .image_count = image_count};
    assert_in_range(image_count, 0, 8);
    for (int32_t i = 0; i < image_count; i++)
        list[i].path = images[i];
    if (core_chat_ask(chat, &asked, answer, &error) != MORE_OK)
        fail_msg("%s: %s", question, error.message);
}

char *assembled_source(const char *relative)
{
    const char *source = getenv("srcdir");
    core_buffer path = {0};
    core_buffer_format(&path, "%s/%s", source ? source : ".", relative);
    return core_buffer_take(&path);
}

void assembled_phi4(char folder[64], int edge)
{
    static const char *const files[] = {
        "generation_config.json",       "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        "model.safetensors.index.json", "special_tokens_map.json",          "tokenizer.json",
        "tokenizer_config.json"};
    char from[4200], to[200];
    char *source = assembled_source("share/tiny/llava-phi4");
    snprintf(folder, 64, "/tmp/llavamore-phi4-XXXXXX");
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *whole = realpath(source, NULL);
        assert_non_null(whole);
        snprintf(from, sizeof from, "%s/%s", whole, files[i]);
        snprintf(to, sizeof to, "%s/%s", folder, files[i]);
        assert_int_equal(symlink(from, to), 0);
        free(whole);
    }
    snprintf(from, sizeof from, "%s/config.json", source);
    snprintf(to, sizeof to, "%s/config.json", folder);
    json_t *config = json_load_file(from, 0, NULL);
    json_object_set_new(config, "original_max_position_embeddings", json_integer(edge));
    assert_int_equal(json_dump_file(config, to, 0), 0);
    json_decref(config);
    free(source);
}

void assembled_remove(const char *folder)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}
