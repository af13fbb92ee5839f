/* SPDX-License-Identifier: Apache-2.0
 *
 * The plugin registry: finds shared objects, checks their descriptors before use, and gives out the best of a kind and
 * id. Searched in this order: `paths` ([runtime] plugin_path), the environment's LLAVAMORE_PLUGIN_PATH, the folder of
 * the installation. Each path is one file, or a folder: every *.so in it, in its subfolders down to two levels, and in
 * the ".libs" of each (where libtool puts what is built but not installed). Nothing is scanned before it is asked for.
 * A file that is refused is remembered with the reason and harms nobody else. Nothing is ever dlclosed.
 */
#ifndef CORE_LOADER_H
#define CORE_LOADER_H

#include "base/buffer.h"
#include <llavamore/plugin.h>

#define CORE_PLUGIN_PATH_VARIABLE "LLAVAMORE_PLUGIN_PATH"

typedef struct core_registry core_registry;

/* One file that was looked at. Everything lives as long as the registry. */
typedef struct core_plugin_file {
    const char *path;
    const more_plugin *plugin; /* NULL when refused */
    int32_t score;             /* of plugin; at least 1 */
    more_status status;        /* MORE_OK, or why it was refused */
    const char *reason;        /* NULL, or why it was refused: one line without the path */
    const char *kind, *id;     /* also of a refused file, where it came far enough to say so; else NULL */
} core_plugin_file;

/* paths: colon separated, NULL or "" for none; copied. *registry is NULL on failure. */
more_status core_registry_create(const char *paths, core_registry **registry, more_error *error);
/* The shared objects stay loaded. NULL is allowed. */
void core_registry_destroy(core_registry *registry);

/* The plugin of this kind and id with the highest score; of equal ones the first in search order. MORE_ERROR_NOT_FOUND
 * says why: what there is of the kind, the nearest id, and where it was looked for. Where a file was refused under this
 * name, the status is that of its refusal, and the message has the reason as well.
 * [any-thread] */
more_status core_registry_find(core_registry *registry, const char *kind, const char *id, const core_plugin_file **file,
                               more_error *error);
/* All files, in search order, refused and outdone ones too; *files lives as long as the registry. [any-thread] */
more_status core_registry_list(core_registry *registry, const core_plugin_file **files, size_t *count,
                               more_error *error);
/* True when the registry would give this file out for its kind and id. [any-thread] */
bool core_registry_chosen(core_registry *registry, const core_plugin_file *file);

/* Loads and checks one file by itself, as the registry does: *plugin is NULL on failure, and the message begins with
 * the path. [any-thread] */
more_status core_plugin_load(const char *path, const more_plugin **plugin, more_error *error);
/* Checks a descriptor (see plugin.h): sizes, versions, names, option table, interface. No path in the message.
 * [any-thread] */
more_status core_plugin_check(const more_plugin *plugin, more_error *error);
/* The interface table of a checked plugin's kind, with every function that is not optional; NULL for kinds without one.
 * [any-thread] */
const void *core_plugin_interface(const more_plugin *plugin);

#endif
