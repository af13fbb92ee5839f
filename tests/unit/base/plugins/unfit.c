/* SPDX-License-Identifier: Apache-2.0
 *
 * A plugin that says it cannot run on this machine.
 */
#include "functions_plugin.h"

static int32_t score(void)
{
    return 0;
}

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    static more_plugin plugin;
    plugin = functions_plugin("unfit", score);
    return more_plugin_offer(&plugin, oldest, newest, error);
}
