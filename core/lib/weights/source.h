/* SPDX-License-Identifier: Apache-2.0
 *
 * The files behind a checkpoint, shared by all its views through a reference count. Internal to weights/.
 */
#ifndef CORE_WEIGHTS_SOURCE_H
#define CORE_WEIGHTS_SOURCE_H

#include "weights/tensor_file.h"
#include <jansson.h>
#include <stdatomic.h>

typedef struct core_source {
    atomic_int references;
    char *path;        /* as it was opened */
    char *folder;      /* where config.json and the other small files lie */
    char *config_path; /* folder/config.json, for messages */
    json_t *config;    /* of config.json, or a GGUF file's key-values; NULL when there is none */
    json_t *processor; /* of preprocessor_config.json; NULL when there is none, or none that can be read */
    core_tensor_file **files;
    size_t file_count;
    const core_tensor_entry **entries; /* all tensors, file by file in the order of their bytes */
    int64_t count;
    core_tensor_entry *synthetic; /* owned entries of a folder without weights, see synthetic.h */
    uint64_t seed;
    bool gguf; /* one GGUF file: names and transforms are that format's, config is its key-values, folder is not its own
                */
    struct core_source *base;   /* below an adapter, whose reference this is; NULL = there is none */
    struct core_merged *merged; /* owned entries of base and adapter together, see adapter/adapter.h */
} core_source;

/* Opens what core_checkpoint_open describes; metadata_only: a folder without weights is not refused. One reference.
 * A folder of nothing but an adapter is opened as its base model, found where adapter_config.json says, with the
 * adapter on top. */
more_status core_source_open(const char *path, bool metadata_only, core_source **source, more_error *error);
void core_source_retain(core_source *source);
/* Closes the files with the last reference; NULL is allowed. */
void core_source_release(core_source *source);

#endif
