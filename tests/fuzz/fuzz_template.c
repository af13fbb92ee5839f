/* SPDX-License-Identifier: Apache-2.0
 *
 * A template's INI text, a NUL, and a question: loads the one, renders conversations with the other, whose continuation
 * must be the end of the whole.
 */
#include "text/template.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void render(const core_template *t, const char *question)
{
    const core_message messages[] = {
        {CORE_ROLE_USER, question, 1}, {CORE_ROLE_ASSISTANT, question, 0}, {CORE_ROLE_USER, question, 0}};
    core_prompt whole = {0}, rest = {0};
    more_error error;
    if (core_template_render(t, messages, 3, NULL, true, &whole, &error) == MORE_OK) {
        if (core_template_continue(t, messages, 3, 2, true, &rest, &error) != MORE_OK ||
            rest.text.size > whole.text.size ||
            (rest.text.size &&
             memcmp(whole.text.data + whole.text.size - rest.text.size, rest.text.data, rest.text.size)))
            __builtin_trap();
        for (size_t i = 0; i < whole.image_count; i++)
            if (memcmp(whole.text.data + whole.images[i], CORE_IMAGE_MARK, sizeof CORE_IMAGE_MARK - 1))
                __builtin_trap();
    }
    core_prompt_free(&whole);
    core_prompt_free(&rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 2);
    core_template *t;
    more_error error;
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = text[size + 1] = '\0';
    /* Without a newline the text would be the name of a file. */
    if (strchr(text, '\n') && core_template_load(text, "", size % 2 ? "lmms_eval" : NULL, &t, &error) == MORE_OK) {
        render(t, strlen(text) < size ? text + strlen(text) + 1 : "");
        core_template_destroy(t);
    }
    free(text);
    return 0;
}
