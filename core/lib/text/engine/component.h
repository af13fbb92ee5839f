/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading the parts of a tokenizer.json: objects with a "type", single or nested in Sequences.
 */
#ifndef CORE_COMPONENT_H
#define CORE_COMPONENT_H

#include "base/buffer.h"
#include "text/engine/pattern.h"
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a part stands: "tokenizer.json: decoder.Replace". */
typedef struct core_place {
    const char *file, *part, *type;
} core_place;

/* Calls `take` for a part, or for each one in a Sequence of them (its list under `list`, nested too), in order; not at
 * all when `json` is NULL or null. `part` is the member's name: "decoder". */
typedef more_status (*core_component_take)(void *context, json_t *json, const core_place *place, more_error *error);
more_status core_component_walk(json_t *json, const char *list, const char *file, const char *part,
                                core_component_take take, void *context, more_error *error);

/* MORE_ERROR_UNSUPPORTED with the part's type. */
more_status core_component_refuse(const core_place *place, more_error *error);
/* Members, each with what counts when it is absent; another type of value is MORE_ERROR_CORRUPT. */
more_status core_component_bool(json_t *json, const char *key, bool absent, const core_place *place, bool *value,
                                more_error *error);
more_status core_component_count(json_t *json, const char *key, const core_place *place, int64_t *value,
                                 more_error *error);
/* Appends a text that must be there. */
more_status core_component_text(json_t *json, const char *key, const core_place *place, core_buffer *value,
                                more_error *error);
/* A text that must be one character. */
more_status core_component_character(json_t *json, const char *key, const core_place *place, core_buffer *value,
                                     more_error *error);
/* Index of the text under `key` in `names`, which end with NULL; `absent` when it is not there. */
more_status core_component_choice(json_t *json, const char *key, const char *const *names, int absent,
                                  const core_place *place, int *value, more_error *error);
/* The member "pattern": {"String": ...} or {"Regex": ...}; the caller owns it. */
more_status core_component_pattern(json_t *json, const core_place *place, core_pattern **pattern, more_error *error);

#endif
