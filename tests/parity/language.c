/* SPDX-License-Identifier: Apache-2.0 */
#include "language.h"

#include "weights/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void parity_language_open(const more_host *host, const char *plugin_name, const char *name, const char *kv_cache,
                          parity_language *language)
{
    const more_plugin *plugin = parity_plugin(plugin_name);
    more_error error = {""};
    char relative[256];

    *language = (parity_language){.name = name, .interface = plugin->get_interface(MORE_LANGUAGE_INTERFACE)};
    assert_non_null(language->interface);
    snprintf(relative, sizeof relative, "models/%s", name);
    language->checkpoint = parity_checkpoint_open(parity_path(relative), NULL, language->interface->tensor_map());
    if (language->interface->open(
            parity_arguments(plugin, host, language->checkpoint.view, MORE_OPEN_DEFAULT, "kv_cache", kv_cache),
            &language->model, &error))
        fail_msg("%s: %s", name, error.message);
    snprintf(relative, sizeof relative, "models/%s/ref.safetensors", name);
    if (core_checkpoint_open(parity_path(relative), &language->reference, &error))
        fail_msg("%s", error.message);
    language->info.struct_size = MORE_STRUCT_SIZE(more_language_info, weight_formats);
    language->interface->describe(language->model, &language->info);
}

void parity_language_close(parity_language *language)
{
    language->interface->close(language->model);
    parity_checkpoint_close(&language->checkpoint);
    core_checkpoint_release(language->reference);
}

void parity_each_language(void (*body)(const parity_language *language))
{
    const more_host *host = parity_host(2);
    parity_cases cases = parity_cases_of("language");

    assert_true(cases.count >= 3);
    for (size_t i = 0; i < cases.count; i++) {
        parity_language language;
        const char *plugin = json_string_value(json_object_get(cases.facts[i], "plugin"));
        parity_language_open(host, plugin, cases.names[i], "f32", &language);
        body(&language);
        parity_language_close(&language);
    }
    parity_cases_free(&cases);
    parity_host_close();
}

more_session *parity_session(const parity_language *language)
{
    more_session *session;
    more_error error = {""};
    if (language->interface->session_create(language->model, 0, &session, &error))
        fail_msg("%s", error.message);
    return session;
}

void parity_drop(const parity_language *language, more_session *session)
{
    language->interface->session_destroy(session);
}

more_session *parity_fork(const parity_language *language, more_session *session)
{
    more_session *fork;
    more_error error = {""};
    if (language->interface->session_fork(session, &fork, &error))
        fail_msg("%s", error.message);
    return fork;
}

int64_t parity_length(const parity_language *language, const more_session *session)
{
    more_session_info info = {.struct_size = MORE_STRUCT_SIZE(more_session_info, floor)};
    language->interface->session_info(session, &info);
    assert_in_range(info.floor, 0, info.length);
    return info.length;
}

void parity_item_set(const parity_language *language, more_session *session, const int32_t *ids, int64_t count,
                     int64_t logit_rows, parity_item *item)
{
    memset(item, 0, sizeof *item);
    item->segment = (more_segment){.ids = ids, .count = count};
    assert_true(logit_rows <= (int64_t)(sizeof item->rows / sizeof *item->rows));
    for (int64_t i = 0; i < logit_rows; i++)
        item->rows[i] = i - logit_rows;
    if (logit_rows > 0)
        item->logits = parity_tensor_create(2, logit_rows, language->info.vocabulary, 1);
    item->item = (more_advance){.struct_size = MORE_STRUCT_SIZE(more_advance, error),
                                .session = session,
                                .segments = &item->segment,
                                .segment_count = 1,
                                .logit_rows = item->rows,
                                .logit_count = logit_rows,
                                .logits = logit_rows > 0 ? &item->logits->view : NULL};
}

void parity_item_clear(parity_item *item)
{
    parity_tensor_free(item->logits);
    item->logits = NULL;
}

void parity_advance(const parity_language *language, more_session *session, const int32_t *ids, int64_t count,
                    int64_t logit_rows, float *logits)
{
    parity_item item;

    parity_item_set(language, session, ids, count, logit_rows, &item);
    if (language->interface->advance(language->model, &item.item, 1))
        fail_msg("%s: %s", language->name, item.item.error.message);
    if (logit_rows > 0)
        memcpy(logits, item.logits->data, (size_t)(logit_rows * language->info.vocabulary) * sizeof *logits);
    parity_item_clear(&item);
}
