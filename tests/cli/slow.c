/* SPDX-License-Identifier: Apache-2.0
 *
 * A plugin of a sampler stage for the tests of llavamore-run: it takes its time, so that an answer lasts long enough to
 * be interrupted.
 */
#include <llavamore/functions.h>
#include <string.h>
#include <time.h>

static more_status pause_for(more_candidates *candidates, more_error *error, int64_t milliseconds)
{
    (void)candidates;
    (void)error;
    struct timespec wait = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000};
    nanosleep(&wait, NULL);
    return MORE_OK;
}

static const more_function functions[] = {
    {MORE_STAGE_SAMPLER, "pause_for", "int64 milliseconds", "Waits.", (void (*)(void))pause_for},
};

static const more_functions_interface table = {MORE_STRUCT_SIZE(more_functions_interface, count), functions, 1};

static int32_t score(void)
{
    return 100;
}

static const void *get_interface(const char *id)
{
    return strcmp(id, MORE_FUNCTIONS_INTERFACE) ? NULL : &table;
}

static const more_plugin plugin = {
    .struct_size = MORE_STRUCT_SIZE(more_plugin, get_interface),
    .abi_version = MORE_ABI_VERSION,
    .kind = MORE_KIND_FUNCTIONS,
    .id = "org.llavamore.tests.slow",
    .version = "1.0.0",
    .license = "Apache-2.0",
    .description = "A sampler stage that takes its time",
    .score = score,
    .get_interface = get_interface,
};

const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error)
{
    return more_plugin_offer(&plugin, oldest, newest, error);
}
