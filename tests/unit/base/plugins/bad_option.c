/* SPDX-License-Identifier: Apache-2.0
 *
 * A default outside its range.
 */
#include "functions_plugin.h"

static int32_t score(void)
{
    return 100;
}

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    static more_plugin plugin;
    plugin = functions_plugin("bad_option", score);
    (void)oldest;
    (void)newest;
    (void)error;
    static const more_option options[] = {{"size", MORE_INT64, "9", 0, 8, NULL, "A size."}};
    plugin.options = options;
    plugin.option_count = 1;
    return &plugin;
}
