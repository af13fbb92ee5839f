/* SPDX-License-Identifier: Apache-2.0
 *
 * Reports: JSON for programs, or the same laid out for people.
 */
#ifndef CMD_PRINT_H
#define CMD_PRINT_H

#include "program.h"
#include <jansson.h>

/* Lays a report out for people. */
typedef void (*layout_function)(FILE *file, const json_t *json);

/* The JSON, indented, and a newline. NULL counts as out of memory. */
more_status print_json(output *out, const json_t *json, more_error *error);
/* The JSON, or what `layout` makes of it, written at once. */
more_status print_report(output *out, const json_t *json, bool as_json, layout_function layout, more_error *error);
/* Any object or array as indented lines "key value"; numbers of bytes (keys that end so, and what is under "memory")
 * also in MiB. */
void print_tree(FILE *file, const json_t *json, int depth);

#endif
