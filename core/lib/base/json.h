/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON through jansson, with errors that name the file and the place.
 */
#ifndef CORE_JSON_H
#define CORE_JSON_H

#include <jansson.h>
#include <llavamore/status.h>
#include <stddef.h>

#define CORE_JSON_LIMIT ((size_t)256 << 20) /* bytes of a JSON file that we agree to read */

/* A new reference (json_decref it). `path` names the text in messages. NUL inside strings is allowed (tokenizers have
 * it): use json_string_length. Of duplicate keys the last wins. */
more_status core_json_parse(const char *text, size_t size, const char *path, json_t **json, more_error *error);
more_status core_json_load(const char *path, json_t **json, more_error *error);
/* The value at a dotted key ("vision_config.hidden_size", "eos_token_id.0"), borrowed; NULL when absent or null. A key
 * that itself has dots is tried whole first. */
json_t *core_json_at(json_t *json, const char *key);
/* A JSON string of a C string of any bytes (paths have them): those that are not UTF-8 become '?'. A new reference;
 * NULL when out of memory. */
json_t *core_json_text(const char *text);
/* Appends a formatted line to a list of texts. */
MORE_PRINTF(2, 3) void core_json_note(json_t *list, const char *format, ...);

#endif
