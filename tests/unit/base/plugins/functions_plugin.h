/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole functions plugin; each test plugin includes it and spoils one thing.
 */
#ifndef FUNCTIONS_PLUGIN_H
#define FUNCTIONS_PLUGIN_H

#include <llavamore/functions.h>
#include <string.h>

static more_status add(more_error *error, int64_t a, int64_t b)
{
    return a + b > 100 ? more_fail(error, MORE_ERROR_LIMIT, "the sum is above 100") : (more_status)(a + b);
}

static const more_function functions[] = {
    {MORE_STAGE_PLAIN, "add", "int64 a, int64 b = 2", "Returns the sum as its status.", (void (*)(void))add},
};

static const more_functions_interface table = {
    .struct_size = MORE_STRUCT_SIZE(more_functions_interface, count), .functions = functions, .count = 1};

static inline const void *get_interface(const char *id)
{
    return strcmp(id, MORE_FUNCTIONS_INTERFACE) ? NULL : &table;
}

static inline more_plugin functions_plugin(const char *id, int32_t (*score)(void))
{
    more_plugin plugin = {.struct_size = MORE_STRUCT_SIZE(more_plugin, get_interface),
                          .abi_version = MORE_ABI_VERSION,
                          .kind = MORE_KIND_FUNCTIONS,
                          .id = id,
                          .version = "1.0.0",
                          .license = "Apache-2.0",
                          .description = "Functions of the tests.",
                          .score = score,
                          .get_interface = get_interface};
    return plugin;
}

#endif
