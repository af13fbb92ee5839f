/* SPDX-License-Identifier: Apache-2.0
 *
 * Pictures to visual tokens without computing any twice: what the process saw last is in memory, and under [runtime]
 * feature_cache what any process saw is on disk.
 */
#ifndef CORE_RECALL_H
#define CORE_RECALL_H

#include "generate/visual.h"

typedef struct core_recall core_recall;

/* For an assembly with eyes that is open but for this; nothing is read yet but the settings' text. MORE_ERROR_IO where
 * the folder of [runtime] feature_cache cannot be used. */
more_status core_recall_create(const core_assembly *assembly, core_recall **recall, more_error *error);
void core_recall_destroy(core_recall *recall); /* NULL is allowed */

/* As core_visual_encode, contents too; only pictures that are not remembered, each once, go through the encoder:
 * times->encoded of them. With a dump folder all do. An assembly with eyes has its recall by then. [any-thread] */
more_status core_recall_pictures(core_assembly *assembly, const llavamore_image *images, int32_t image_count,
                                 const char *dump_folder, bool dump_layers, core_visual *visuals,
                                 core_visual_times *times, more_error *error);

#endif
