/* SPDX-License-Identifier: Apache-2.0
 *
 * How a checkpoint folder splits into its vision, projector and language parts, and which of its config keys set what.
 * That is data, not code: one INI file a layout in share/layouts, whose comments in llava-more.ini explain the keys.
 */
#ifndef CORE_WEIGHTS_LAYOUT_H
#define CORE_WEIGHTS_LAYOUT_H

#include <llavamore/backbone.h>

typedef struct core_layout core_layout;

/* Reads every *.ini of `folder` and gives the layout that fits the checkpoint, the highest [layout] score of several.
 * MORE_ERROR_NOT_FOUND names the checkpoint's model_type and the layouts tried; MORE_ERROR_CORRUPT names file and line
 * of a layout that can't be read. The caller frees it. */
more_status core_layout_find(const char *folder, more_checkpoint *checkpoint, core_layout **layout, more_error *error);
/* Reads one layout file. */
more_status core_layout_read(const char *path, core_layout **layout, more_error *error);
void core_layout_free(core_layout *layout);

const char *core_layout_name(const core_layout *layout);
/* One line for people, "" where the file has none. */
const char *core_layout_description(const core_layout *layout);
/* True when one of its [match] sections fits the checkpoint. */
bool core_layout_matches(const core_layout *layout, more_checkpoint *checkpoint);
/* True when the layout says that such checkpoints hold this part ("vision", "projector", "language"). */
bool core_layout_has_part(const core_layout *layout, const char *part);
/* The part as a checkpoint of its own (release it). MORE_ERROR_NOT_FOUND when the layout has no such part or the files
 * hold no tensor of it (LLaVA checkpoints may leave the tower out). */
more_status core_layout_part(const core_layout *layout, more_checkpoint *checkpoint, const char *part,
                             more_checkpoint **view, more_error *error);
/* What the checkpoint's config says for a setting of ours ("vision.layer", "vision.weights", "preprocess.pad", ...),
 * translated by the layout; the caller frees it. NULL when the layout or the config says nothing. */
char *core_layout_setting(const core_layout *layout, more_checkpoint *checkpoint, const char *key);

#endif
