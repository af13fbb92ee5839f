/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening one plugin file, for the registry.
 */
#ifndef CORE_DESCRIPTOR_H
#define CORE_DESCRIPTOR_H

#include <llavamore/plugin.h>

/* As core_plugin_load, but the message has no path, and *plugin is what the entry gave also when a check fails, so that
 * the registry can say under which name it was refused. */
more_status core_plugin_open(const char *path, const more_plugin **plugin, more_error *error);
/* True when the descriptor, refused or not, is of this ABI and its kind and id can be read. */
bool core_plugin_is_named(const more_plugin *plugin);

#endif
