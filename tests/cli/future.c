/* SPDX-License-Identifier: Apache-2.0
 *
 * A vision plugin of an ABI that no host of today speaks; it does not look at the range it is given.
 */
#include <llavamore/plugin.h>

static int32_t score(void)
{
    return 100;
}

static const void *get_interface(const char *id)
{
    (void)id;
    return NULL;
}

static const more_plugin plugin = {
    .struct_size = MORE_STRUCT_SIZE(more_plugin, get_interface),
    .abi_version = (uint32_t)(MORE_ABI_MAJOR << 16 | (MORE_ABI_MINOR + 7)),
    .kind = MORE_KIND_VISION,
    .id = "future",
    .version = "9.0.0",
    .license = "Apache-2.0",
    .description = "From the future",
    .score = score,
    .get_interface = get_interface,
};

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    (void)oldest;
    (void)newest;
    (void)error;
    return &plugin;
}
