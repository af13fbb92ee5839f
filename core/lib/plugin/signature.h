/* SPDX-License-Identifier: Apache-2.0
 *
 * Parsed parameter declarations ("int64 width, string filter = bicubic") and the tokens that they share with calls.
 */
#ifndef CORE_SIGNATURE_H
#define CORE_SIGNATURE_H

#include <llavamore/functions.h>

#define CORE_NAME_SIZE 41 /* bytes of a parameter's or function's name, the NUL included */

typedef struct core_parameter {
    char name[CORE_NAME_SIZE];
    more_type type;
    char *default_text; /* quotes off; NULL when the argument must be given */
} core_parameter;

typedef struct core_signature {
    int32_t count;
    core_parameter parameters[MORE_MAX_PARAMETERS];
} core_signature;

/* On failure *signature is NULL; the message names the function and the column of the declaration. */
more_status core_signature_parse(const more_function *function, core_signature **signature, more_error *error);
void core_signature_free(core_signature *signature);
/* Number of C parameters, the error not counted, that a stage puts before a function's own; -1 for no stage. */
int core_stage_leading(const char *stage);

/* Blanks and newlines. */
const char *core_skip_blanks(const char *at);
/* Copies a word of [A-Za-z0-9_] into name, which has CORE_NAME_SIZE bytes; returns what is behind it, or `at` itself
 * when there is no word or one too long. */
const char *core_scan_name(const char *at, char *name);
/* One value: text in quotes, or a word up to a blank, a quote, or one of ,()= . *text is the caller's to free, *behind
 * what follows. The message is only the reason. */
more_status core_scan_value(const char *at, char **text, const char **behind, more_error *error);
/* "column 12", or "line 2, column 5" when `at` is behind a newline of the text; in characters, from 1. Returns `out`.
 */
const char *core_column(const char *text, const char *at, char *out, size_t size);

#endif
