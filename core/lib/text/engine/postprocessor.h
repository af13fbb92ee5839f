/* SPDX-License-Identifier: Apache-2.0
 *
 * Post-processors: Sequence, TemplateProcessing, ByteLevel (which changes offsets only). What they amount to for one
 * text is ids in front and ids behind.
 */
#ifndef CORE_POSTPROCESSOR_H
#define CORE_POSTPROCESSOR_H

#include "text/engine/component.h"
#include "text/tokenizer.h"

/* Zero-initialise; free with core_postprocessor_free. */
typedef struct core_postprocessor {
    core_ids before, behind;
} core_postprocessor;

/* Reads the member "post_processor", NULL or null for none. */
more_status core_postprocessor_load(json_t *json, const char *file, core_postprocessor *postprocessor,
                                    more_error *error);
void core_postprocessor_free(core_postprocessor *postprocessor);

#endif
