/* SPDX-License-Identifier: Apache-2.0
 *
 * What the values in a layout stand for: plain text, or a form that is looked up in the checkpoint (llava-more.ini
 * explains them): config:KEY, rows:TENSOR, numbers:TENSOR, list:KEY KEY. Internal to weights/.
 */
#ifndef CORE_WEIGHTS_LAYOUT_VALUES_H
#define CORE_WEIGHTS_LAYOUT_VALUES_H

#include <jansson.h>
#include <llavamore/backbone.h>

/* A scalar as it would stand in an INI file, arrays of scalars joined by ", "; NULL for anything else and for NULL. The
 * caller frees it. */
char *core_layout_text(json_t *value);
/* The same of the checkpoint's config by its dotted key. */
char *core_layout_config_text(more_checkpoint *checkpoint, const char *key);
/* The first dimension of a tensor, a new reference; NULL where there is none. */
json_t *core_layout_rows(more_checkpoint *checkpoint, const char *name);
/* What `said` stands for: its plain text, or what a form and its table make of the files; NULL when they say nothing.
 * The caller frees it. */
char *core_layout_value_text(more_checkpoint *checkpoint, const char *said);
/* The same as JSON, a new reference: what the files say as it is, any text as a scalar or, where it is none, a string.
 */
json_t *core_layout_value_json(more_checkpoint *checkpoint, const char *said);

#endif
