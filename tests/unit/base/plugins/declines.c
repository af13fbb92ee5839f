/* SPDX-License-Identifier: Apache-2.0
 *
 * Declines every host, with a reason.
 */
#include <llavamore/plugin.h>

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    (void)oldest;
    (void)newest;
    more_fail(error, MORE_ERROR_UNSUPPORTED, "this plugin\nnever agrees");
    return NULL;
}
