/* SPDX-License-Identifier: Apache-2.0
 *
 * A model to be measured: an assembly, or the parts of one that a synthetic shape has.
 */
#ifndef BENCH_MODEL_H
#define BENCH_MODEL_H

#include "assembly/assembly.h"
#include "bench.h"
#include "synthetic.h"

typedef struct bench_model {
    bench *b;
    const char *name;
    core_config *config;
    core_registry *registry;
    core_functions *functions;
    synthetic made;
    core_assembly *assembly; /* without a tokenizer where synthetic; language or vision may be NULL */
    double load_seconds;
} bench_model;

/* Reads the config, makes host and context, opens what there is. Close it after a failure too. */
more_status bench_model_open(bench *b, bench_model *model, more_error *error);
void bench_model_close(bench_model *model);
/* The arithmetic of a section's plugin as the config says. */
nn_arithmetic bench_model_arithmetic(const bench_model *model, const char *section);

/* Seconds of one run each; a negative number where nobody knows. prefill: `tokens` ids into a new session, which the
 * caller destroys; decode: one token after another into a session. Both with logits of the last row. */
more_status bench_prefill(const bench_model *model, int64_t tokens, more_session **session, double *seconds,
                          more_error *error);
more_status bench_generate(const bench_model *model, more_session *session, int64_t tokens, double *seconds,
                           more_error *error);
/* One picture through encoder and projector, without what comes before them. */
more_status bench_image(const bench_model *model, double *seconds, more_error *error);
/* A picture and 32 tokens of text to the first logits: preprocessing, encoding, projection, prefill. *rows is the
 * length of the prompt. */
more_status bench_first_token(const bench_model *model, double *seconds, int64_t *rows, more_error *error);

#endif
