/* SPDX-License-Identifier: Apache-2.0
 *
 * Built for another version of the ABI.
 */
#include "functions_plugin.h"

static int32_t score(void)
{
    return 100;
}

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    static more_plugin plugin;
    plugin = functions_plugin("adder", score);
    (void)oldest;
    (void)newest;
    (void)error;
    plugin.abi_version = 9 << 16 | 7;
    return &plugin;
}
