/* SPDX-License-Identifier: Apache-2.0
 *
 * Where `weights = ...` is on this machine.
 */
#ifndef CORE_WEIGHTS_LOCATE_H
#define CORE_WEIGHTS_LOCATE_H

#include <llavamore/status.h>

/* *path becomes a file or folder that exists (the caller frees it): `text` relative to `base_folder` (a leading ~/ is
 * the home folder), else, for "org/name" or "org/name@revision" (main by default), that model's snapshot in the Hugging
 * Face cache: HF_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub, under
 * models--org--name/. "synthetic:FOLDER?..." keeps its form, the folder made relative to base_folder.
 * MORE_ERROR_NOT_FOUND says where it looked. [any-thread] */
more_status core_weights_locate(const char *text, const char *base_folder, char **path, more_error *error);

#endif
