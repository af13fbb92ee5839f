/* SPDX-License-Identifier: Apache-2.0
 *
 * Values of share/layouts/gguf-write.json, which says how what a config has is written to GGUF files: numbers computed
 * from the config's keys. Internal to gguf/.
 *
 * Sums of products of numbers, names, -x, (x) and functions of numbers: sqrt(x), log(x), floor(x), pow(x, y), min(x,
 * y), max(x, y), equal(x, y). Functions of the config: is(KEY, 'TEXT') is 1 where it has that text (or true, false)
 * there, else 0; has(KEY) is 1 where it has a value there, else 0; length(KEY) is how many elements an array has.
 * Functions of a tensor by its canonical name: rows(TENSOR), columns(TENSOR), rank(TENSOR).
 *
 * A name is pi, i (the element of an array that is being computed), one of the file's "names", a fact of the one who
 * writes, or a dotted key of the config. What a missing name is in has no value.
 */
#ifndef CORE_WEIGHTS_GGUF_EXPORT_VALUES_H
#define CORE_WEIGHTS_GGUF_EXPORT_VALUES_H

#include <jansson.h>
#include <llavamore/backbone.h>

/* Where names are looked up; all borrowed. */
typedef struct core_export_scope {
    more_checkpoint *checkpoint; /* a part under its plugin's map */
    json_t *facts;               /* object that wins over the config; NULL = none */
    json_t *names;               /* {name: [expressions, of which the first with a value counts]} */
    const char *inside;          /* object of the config that is looked into first; NULL = none */
    const char *file;            /* whose expressions these are, for messages */
    double index;                /* what i is */
} core_export_scope;

/* MORE_ERROR_NOT_FOUND: something in it has no value (the message names it). MORE_ERROR_CORRUPT: it can't be read, or
 * is no finite number. [any-thread] */
more_status core_export_number(const core_export_scope *scope, const char *expression, double *value,
                               more_error *error);
/* What a name stands for as JSON: a fact or the config's value, borrowed; NULL when there is none. */
json_t *core_export_json(const core_export_scope *scope, const char *name);

#endif
