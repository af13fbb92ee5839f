/* SPDX-License-Identifier: Apache-2.0
 *
 * INI files: whatever the bytes, they are read or refused with one line; what was read is dumped as a text that reads
 * to the same values. The same bytes also go through --set and through a checkpoint's settings.
 */
#include "config/config.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static core_config *create(void)
{
    core_config *config = NULL;
    require(core_config_create(&config, NULL) == MORE_OK);
    return config;
}

static void check_refusal(more_status status, const more_error *error)
{
    require(status == MORE_OK || (error->message[0] && !strchr(error->message, '\n')));
}

static void check_dump(const core_config *config)
{
    core_buffer text = {0};
    more_error error = {{0}};
    core_config *again = create();
    const core_section *section;
    core_config_dump(config, &text);
    require(!text.failed);
    require(core_config_parse(again, text.data, text.size, "dump.ini", NULL, &error) == MORE_OK);
    for (size_t i = 0; (section = core_section_at(i)); i++)
        for (int32_t k = 0; k < section->count; k++) {
            const char *key = section->keys[k].name;
            const core_config_entry *a = core_config_find(config, section->name, key);
            const core_config_entry *b = core_config_find(again, section->name, key);
            require(!a == !b);
            /* a dump makes a home folder's weights absolute */
            if (a && strncmp(a->value, "~/", 2))
                require(!strcmp(a->value, b->value));
        }
    core_config_destroy(again);
    core_buffer_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    more_error error = {{0}};
    core_config *config = create();
    more_status status = core_config_parse(config, (const char *)data, size, "fuzz.ini", NULL, &error);
    check_refusal(status, &error);
    if (status == MORE_OK)
        check_dump(config);
    core_config_destroy(config);

    char *text = malloc(size + 1);
    require(text != NULL);
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    config = create();
    status = core_config_set(config, text, &error);
    check_refusal(status, &error);
    if (status == MORE_OK)
        check_dump(config);
    check_refusal(core_config_settings(config, "llm", text, "fuzz", &error), &error);
    core_config_destroy(config);
    free(text);
    return 0;
}
