/* SPDX-License-Identifier: Apache-2.0
 *
 * Declines without a reason.
 */
#include <llavamore/plugin.h>

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    (void)oldest;
    (void)newest;
    (void)error;
    return NULL;
}
