/* SPDX-License-Identifier: Apache-2.0
 *
 * All that a picture's visual tokens hang on besides the picture.
 */
#ifndef CORE_RECALL_SETTINGS_H
#define CORE_RECALL_SETTINGS_H

#include "assembly/assembly.h"

/* Appends it as text, of an assembly with eyes: this library and the plugins (versions, and their files' sizes and
 * times), the checkpoints of encoder and projector, their options, steps, layers, rows, scales, decoding, and the
 * processor and its libraries, whose roundings differ. The caller checks text->failed. */
void core_recall_settings(const core_assembly *assembly, core_buffer *text);

#endif
