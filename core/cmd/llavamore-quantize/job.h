/* SPDX-License-Identifier: Apache-2.0
 *
 * The files to be written: planned, written under temporary names, read back, and named.
 */
#ifndef QUANTIZE_JOB_H
#define QUANTIZE_JOB_H

#include "source.h"
#include "weights/gguf/export.h"

enum { JOB_LANGUAGE, JOB_MMPROJ, JOB_FILES };

typedef struct job {
    const arguments *args;
    const workshop *shop;
    core_assembly *source; /* borrowed */
    char *name;            /* general.name */
    char *rules;           /* path of gguf-write.json */
    json_t *facts[JOB_FILES];
    core_export_request requests[JOB_FILES];
    core_export *exports[JOB_FILES]; /* NULL = not wanted */
    void (*progress)(const char *path, int64_t done, int64_t total);
} job;

/* Refuses outputs that are there already (but with --force), that are one of the source's files, or one another. */
more_status job_check_outputs(const job *work, more_error *error);
/* Collects what the files hold. `work` stays where it is. */
more_status job_plan(job *work, more_error *error);
/* Writes them, opens them as llavamore-run would, and when all is well gives them their names. */
more_status job_write(job *work, more_error *error);
/* Opens what was written, still under its temporary name, and compares it with the source: a file that no reader takes
 * must not get its name. Notes what the source does otherwise to pictures. */
more_status job_read_back(const job *work, more_error *error);
/* {"files": [core_export_report's]}, a new reference. */
json_t *job_report(const job *work);
void job_clear(job *work);

#endif
