/* SPDX-License-Identifier: Apache-2.0
 *
 * What a checkpoint's values hang on, as text: two checkpoints with the same text give the same values, as far as files
 * can be told apart by path, size and time of change.
 */
#ifndef CORE_WEIGHTS_IDENTITY_H
#define CORE_WEIGHTS_IDENTITY_H

#include "base/buffer.h"
#include <llavamore/backbone.h>

/* Appends path (resolved), size and time of change of one file. A file that is not there gives its path alone. */
void core_file_identity(const char *path, core_buffer *text);
/* Appends every tensor of the view (its name, its file, what adapters add) and the metadata. The caller checks
 * text->failed. [any-thread] */
void core_checkpoint_identity(const more_checkpoint *checkpoint, core_buffer *text);

#endif
