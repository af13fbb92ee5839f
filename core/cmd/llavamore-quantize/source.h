/* SPDX-License-Identifier: Apache-2.0
 *
 * What is to be written, opened as llavamore-run opens it, but without loading weights and without needing a template.
 */
#ifndef QUANTIZE_SOURCE_H
#define QUANTIZE_SOURCE_H

#include "arguments.h"
#include "assembly/assembly.h"

/* What several assemblies share. Zero-initialise; freed by workshop_clear after them. */
typedef struct workshop {
    core_host *host;
    core_registry *registry;
    core_functions *functions;
} workshop;

more_status workshop_open(workshop *shop, core_config *config, more_error *error);
void workshop_clear(workshop *shop);

/* Sets a path of any characters; `key` is "section.key". */
more_status source_set_path(core_config *config, const char *key, const char *path, more_error *error);
/* The config that SOURCE and --set make; the caller destroys it. */
more_status source_config(const arguments *args, core_config **config, more_error *error);
/* Opens language model, tokenizer, template and, with `eyes` and where the source has them, tower and projector, each
 * checked against its config. Without a tokenizer or a template that is known, these stay NULL, but not where one is
 * wrong. The caller closes *assembly. */
more_status source_open(const workshop *shop, core_config *config, bool eyes, core_assembly **assembly,
                        more_error *error);

#endif
