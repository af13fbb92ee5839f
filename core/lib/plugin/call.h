/* SPDX-License-Identifier: Apache-2.0
 *
 * Typed functions that INI text calls (functions.h): a registry of them, and calls whose arguments are parsed, checked
 * and bound once and then invoked any number of times through libffi.
 */
#ifndef CORE_CALL_H
#define CORE_CALL_H

#include "base/buffer.h"
#include <llavamore/functions.h>

/* ---- The registry ----------------------------------------------------------------------------------------------- */

typedef struct core_functions core_functions;

more_status core_functions_create(core_functions **functions, more_error *error);
/* Calls keep no reference: destroy it after them or before. NULL is allowed. */
void core_functions_destroy(core_functions *functions);
/* Adds a table, all or nothing. `origin` ("core", or a plugin's path) is copied, for messages. Refused: what
 * core_functions_check refuses, and a stage and name that is there already, naming both origins. */
more_status core_functions_add(core_functions *functions, const more_functions_interface *table, const char *origin,
                               more_error *error);
/* Checks stages, names, declarations and defaults; the message names the function and the place. [any-thread] */
more_status core_functions_check(const more_functions_interface *table, more_error *error);
/* The index-th function in order of addition and its origin (may be NULL); NULL when out of range. [any-thread] */
const more_function *core_functions_at(const core_functions *functions, size_t index, const char **origin);
/* NULL when absent. [any-thread] */
const more_function *core_functions_find(const core_functions *functions, const char *stage, const char *name);
/* "resize(int64 width, int64 height, string filter = bicubic)" */
void core_call_describe(const more_function *function, core_buffer *buffer);

/* ---- Calls ------------------------------------------------------------------------------------------------------ */

/* A function with its arguments bound. Immutable: several threads may invoke one call at a time. */
typedef struct core_call core_call;

/* Zero-initialise; the owner frees it. */
typedef struct core_calls {
    core_call **items;
    size_t count;
} core_calls;

/* Parses "convert_rgb(), resize(336, 336, filter=bicubic)" (blanks and newlines between tokens, one comma at the end
 * allowed, empty text = no calls) and binds the arguments. `where` ("run.ini:12: steps") begins the messages, which
 * give the column (in characters, from 1) and the signature. On failure `calls` is left empty. [any-thread] */
more_status core_calls_parse(const core_functions *functions, const char *stage, const char *text, const char *where,
                             core_calls *calls, more_error *error);
void core_calls_free(core_calls *calls);
/* Exactly one call. The caller destroys *call; NULL on failure. [any-thread] */
more_status core_call_parse(const core_functions *functions, const char *stage, const char *text, const char *where,
                            core_call **call, more_error *error);
void core_call_destroy(core_call *call);

/* Calls the function. `leading` are the stage's first C parameters without the error: {in, out} for "preprocess",
 * {candidates} for "sampler", NULL for "plain". Gives back what the function returned. [any-thread] */
more_status core_call_invoke(const core_call *call, void *const *leading, more_error *error);

/* The function called; lives as long as its table. [any-thread] */
const more_function *core_call_function(const core_call *call);
/* The bound value of a parameter, defaults included; strings live as long as the call. MORE_ERROR_NOT_FOUND when there
 * is no such parameter. [any-thread] */
more_status core_call_argument(const core_call *call, const char *name, more_value *value, more_error *error);
/* The call with every argument by position, defaults included: parses back to the same call. */
void core_call_write(const core_call *call, core_buffer *buffer);

#endif
