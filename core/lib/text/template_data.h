/* SPDX-License-Identifier: Apache-2.0
 *
 * A loaded template.
 */
#ifndef CORE_TEMPLATE_DATA_H
#define CORE_TEMPLATE_DATA_H

#include "text/template.h"

typedef enum core_template_text {
    CORE_TEXT_DESCRIPTION,
    CORE_TEXT_BOS,
    CORE_TEXT_SYSTEM,
    CORE_TEXT_SYSTEM_PREFIX,
    CORE_TEXT_SYSTEM_SUFFIX,
    CORE_TEXT_USER_PREFIX,
    CORE_TEXT_USER_SUFFIX,
    CORE_TEXT_ASSISTANT_PREFIX,
    CORE_TEXT_ASSISTANT_SUFFIX,
    CORE_TEXT_GENERATION,
    CORE_TEXT_GENERATION_NO_IMAGE,
    CORE_TEXT_IMAGE_SUFFIX,
    CORE_TEXT_IMAGE_JOINT,
    CORE_TEXT_COUNT
} core_template_text;

/* Texts separated by NUL, one behind the other. */
typedef struct core_text_list {
    core_buffer texts;
} core_text_list;

struct core_template {
    char *name;
    char *texts[CORE_TEXT_COUNT]; /* NULL: the file does not give it */
    core_text_list stops, aliases;
    bool trim, discard_user_text;
    bool has_compat; /* it had the section that was asked for */
};

/* Text `index`; NULL past the last. */
const char *core_text_list_at(const core_text_list *list, size_t index);
/* The text, "" when the file does not give it. */
const char *core_template_get(const core_template *loaded, core_template_text which);

/* Reads INI text into a template that has its name; the values of the section [compat] replace those of [template].
 * `where` is the file for messages, `compat` may be NULL. */
more_status core_template_parse(const char *text, size_t size, const char *where, const char *compat,
                                core_template *loaded, more_error *error);
/* Frees what the template holds, not itself. */
void core_template_clear(core_template *loaded);

#endif
