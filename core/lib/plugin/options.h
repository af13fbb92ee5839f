/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys of an INI section against a table of more_option: a plugin's own, or the core's.
 */
#ifndef CORE_OPTIONS_H
#define CORE_OPTIONS_H

#include "base/buffer.h"
#include <llavamore/plugin.h>

/* One key as the user wrote it. */
typedef struct core_option_text {
    const char *key, *text;
    const char *where; /* "run.ini:12" or "--set", for messages */
} core_option_text;

/* Zero-initialise; the owner frees it. */
typedef struct core_options {
    more_value *values; /* one a row of the table, in its order; strings live as long as this struct */
    int32_t count;
} core_options;

/* Every text's key must be in the table (else MORE_ERROR_NOT_FOUND with `where`, the section, the nearest valid name,
 * and what there is), at most once; what has no text gets its default. `also` are keys of the section that stand in
 * another table (the core's): only offered as the nearest name; NULL when also_count is 0. The table is a checked one.
 * On failure `options` is left empty. */
more_status core_options_parse(const char *section, const more_option *table, int32_t count,
                               const core_option_text *texts, size_t text_count, const more_option *also,
                               int32_t also_count, core_options *options, more_error *error);
void core_options_free(core_options *options);

/* Checks one value against its row: type, range, choices. A string is given unquoted into *plain, which the caller
 * frees; NULL for other types. The message is only the reason. */
more_status core_option_value(const more_option *option, const char *text, more_value *value, char **plain,
                              more_error *error);
/* Checks a table before use: names, types, ranges, choices, defaults that parse, no name twice. The message names the
 * row. */
more_status core_options_check(const more_option *table, int32_t count, more_error *error);
/* Row of a name; NULL when absent. */
const more_option *core_option_find(const more_option *table, int32_t count, const char *name);
/* "int64, 1 to 4096, default 128" */
void core_option_describe(const more_option *option, core_buffer *buffer);

#endif
