/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the data files are (templates, layouts, presets, the embedded models): LLAVAMORE_DATA_DIR, else the folder of
 * the installation.
 */
#ifndef CORE_DATA_H
#define CORE_DATA_H

#include <llavamore/status.h>

#define CORE_DATA_VARIABLE "LLAVAMORE_DATA_DIR"

/* The data folder's subfolder `name` ("presets"); the caller frees it. NULL = out of memory. [any-thread] */
char *core_data_folder(const char *name);
/* What `name` means as a preset: itself when it is a file or has a '/', else presets/name.ini of the data folder. The
 * caller frees *path. MORE_ERROR_NOT_FOUND names the presets there are and the nearest. [any-thread] */
more_status core_preset_locate(const char *name, char **path, more_error *error);
/* JSON [{"name", "path", "description"}], the description being the file's first comment line; the caller frees it.
 * [any-thread] */
more_status core_preset_list(char **json, more_error *error);

#endif
