/* SPDX-License-Identifier: Apache-2.0
 *
 * Parts of checkpoints to GGUF files: which tensors under which names, turned as the format has them and in which
 * number format, and what the config becomes. What differs from model to model stands in the plugins' tensor maps and
 * in share/layouts/gguf-write.json.
 */
#ifndef CORE_WEIGHTS_GGUF_EXPORT_H
#define CORE_WEIGHTS_GGUF_EXPORT_H

#include "weights/gguf/write.h"
#include <jansson.h>
#include <llavamore/backbone.h>

#define CORE_EXPORT_PARTS 2

typedef struct core_export core_export;

/* A checkpoint's part under its plugin's map; borrowed. */
typedef struct core_export_part {
    more_checkpoint *checkpoint;
    const more_tensor_map *map;
    /* The plugin's own, asked which kind of model it takes. */
    void (*recognise)(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition);
    int64_t layers; /* tensors of layers from this number on are left out; -1 = none are */
} core_export_part;

/* What is to be written; all is borrowed and outlives the export. */
typedef struct core_export_request {
    const char *path;                          /* of the file to come */
    const char *rules;                         /* path of gguf-write.json */
    const char *kind;                          /* "language", "vision": which of its models */
    const char *name;                          /* general.name; NULL = none */
    const core_gguf_format *format;            /* of matrices */
    core_export_part parts[CORE_EXPORT_PARTS]; /* the first one's config gives the keys */
    int32_t part_count;
    json_t *facts;         /* object: names for the rules that no config has; NULL = none */
    const more_host *host; /* whose threads quantise */
    /* Quantises `count` values, whole blocks, to the format; NULL is allowed where it is none of blocks. [any-thread]
     */
    void (*quantise)(const core_gguf_format *format, const float *values, int64_t count, void *blocks);
    bool (*stopped)(void *user); /* asked between pieces of tensors: true ends it with MORE_ERROR_CANCELLED; NULL */
    void (*progress)(void *user, int64_t done, int64_t total); /* bytes of the file; NULL */
    void *user;
} core_export_request;

/* Chooses the rules and the tensors and collects the keys; writes nothing. MORE_ERROR_UNSUPPORTED where the format has
 * no place for something, named with its value. [one-thread-per-instance], as all here */
more_status core_export_create(const core_export_request *request, core_export **export, more_error *error);
/* NULL is allowed. */
void core_export_free(core_export *export);

/* For keys beside those of the rules (a tokenizer's), before core_export_write. */
core_gguf_writer *core_export_writer(core_export *export);
/* What a reader should know and cannot see in the file, as an array of lines, borrowed; the caller may add to it. */
json_t *core_export_notes(core_export *export);
/* {"path", "architecture", "bytes", "formats": {name: {"tensors", "bytes"}}, "notes", "tensors": [{"name", "from",
 * "format", "shape", "bytes"}], "left_out": [names]}, a new reference. */
json_t *core_export_report(const core_export *export);

/* Writes the file under its temporary name and brings it to the disk; memory stays below two pieces of 16 MiB.
 * MORE_ERROR_CORRUPT: a number that is none, MORE_ERROR_UNSUPPORTED: one that the format does not reach. */
more_status core_export_write(core_export *export, more_error *error);

#endif
