/* SPDX-License-Identifier: Apache-2.0
 *
 * What a more_checkpoint is made of. Internal to weights/.
 */
#ifndef CORE_WEIGHTS_VIEW_H
#define CORE_WEIGHTS_VIEW_H

#include "base/buffer.h"
#include "weights/source.h"
#include <llavamore/backbone.h>

typedef struct core_named {
    const char *name; /* in this view: the entry's name without the view's prefixes, or renamed */
    const core_tensor_entry *entry;
} core_named;

struct more_checkpoint {
    atomic_int references;
    core_source *source;     /* of the tensors; one reference */
    more_checkpoint *parent; /* whose names this one's may be parts of; one reference, NULL = none */
    char **renamed;          /* names that a layout's renames made; owned */
    size_t renamed_count;
    core_source *facts;         /* of config.json and the other small files, mostly the same; one reference */
    json_t *config;             /* borrowed from facts or own_config; NULL when there is none */
    json_t *own_config;         /* config with a layout's defaults; NULL = nothing was added */
    json_t *own_processor;      /* of a layout; NULL = the folder's */
    char *root;                 /* where in config.json that is, for messages: "text_config."; NULL = its top */
    const more_tensor_map *map; /* NULL = tensors answer to `name` */
    core_named *tensors;        /* in the files' order */
    core_named **sorted;        /* by name */
    int64_t count;
};

/* What is left of a name without the prefix, "*x." being all up to the first "x."; NULL when it does not fit. */
const char *core_name_without(const char *name, const char *prefix);

/* Matches a name against a pattern in which every '*' is one and the same number, whose digits are given back (NULL
 * where the pattern has none). */
bool core_name_match(const char *pattern, const char *name, const char **digits, size_t *length);
/* Appends the pattern with the digits in place of its stars. */
void core_name_fill_in(core_buffer *buffer, const char *pattern, const char *digits, size_t length);
/* The view of the same tensors under the names that they are stored under. */
more_checkpoint *core_checkpoint_unmapped(more_checkpoint *checkpoint);

/* The tensors' part of the weights service. */
more_status core_tensor_info(more_checkpoint *checkpoint, const char *name, more_weight_info *info, more_error *error);
int64_t core_tensor_count(more_checkpoint *checkpoint);
const char *core_tensor_name_at(more_checkpoint *checkpoint, int64_t index);
more_status core_tensor_read_rows(more_checkpoint *checkpoint, const char *name, int64_t first, int64_t count,
                                  DLDataType dtype, void *rows, more_error *error);
more_status core_tensor_read_stored_rows(more_checkpoint *checkpoint, const char *name, int64_t first, int64_t count,
                                         void *rows, more_error *error);
void core_tensor_drop(more_checkpoint *checkpoint, const char *name);

#endif
