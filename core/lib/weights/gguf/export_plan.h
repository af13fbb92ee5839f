/* SPDX-License-Identifier: Apache-2.0
 *
 * An export under way. Internal to gguf/.
 */
#ifndef CORE_WEIGHTS_GGUF_EXPORT_PLAN_H
#define CORE_WEIGHTS_GGUF_EXPORT_PLAN_H

#include "weights/gguf/export.h"
#include "weights/gguf/export_values.h"

/* One tensor of the file. */
typedef struct core_export_tensor {
    char *name;                     /* in the file */
    char *canonical;                /* NULL = computed: `values` */
    const core_export_part *part;   /* whose it is */
    const char *stored;             /* its name in the source, borrowed from the checkpoint; NULL = computed */
    const core_gguf_format *format; /* in the file */
    more_transform transform;       /* what the file has done to it */
    int64_t head;                   /* rows of a head, where they are interleaved; else 0 */
    int32_t rank;
    int64_t shape[MORE_MAX_RANK]; /* in the file */
    float *values;                /* computed: [shape[0]], owned */
} core_export_tensor;

struct core_export {
    const core_export_request *request;
    json_t *rules, *model; /* the file, and the one of its models that was chosen (borrowed) */
    core_export_scope scope;
    core_gguf_writer *writer;
    core_export_tensor *tensors;
    size_t count;
    json_t *notes, *left_out;
};

/* The first of the expressions that has a value; MORE_ERROR_NOT_FOUND when none has. */
more_status core_export_first(const core_export *export, json_t *expressions, double *value, more_error *error);
/* Chooses the tensors and announces them to the writer. */
more_status core_export_plan_tensors(core_export *export, more_error *error);
void core_export_free_tensors(core_export *export);

#endif
