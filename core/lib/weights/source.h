/* SPDX-License-Identifier: Apache-2.0
 *
 * The files behind a checkpoint, shared by all its views through a reference count. Internal to weights/.
 */
#ifndef CORE_WEIGHTS_SOURCE_H
#define CORE_WEIGHTS_SOURCE_H

#include "weights/safetensors.h"
#include <jansson.h>
#include <stdatomic.h>

typedef struct core_source {
    atomic_int references;
    char *path;        /* as it was opened */
    char *folder;      /* where config.json and the other small files lie */
    char *config_path; /* folder/config.json, for messages */
    json_t *config;    /* NULL when there is none */
    core_safetensors **files;
    size_t file_count;
    const core_tensor_entry **entries; /* all tensors, file by file in the order of their bytes */
    int64_t count;
    core_tensor_entry *synthetic; /* owned entries of a folder without weights, see synthetic.h */
    uint64_t seed;
} core_source;

/* Opens what core_checkpoint_open describes; metadata_only: a folder without weights is not refused. One reference. */
more_status core_source_open(const char *path, bool metadata_only, core_source **source, more_error *error);
void core_source_retain(core_source *source);
/* Closes the files with the last reference; NULL is allowed. */
void core_source_release(core_source *source);

#endif
