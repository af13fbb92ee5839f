/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/functions.h"

#include "plugin/value.h"
#include <stdlib.h>
#include <string.h>

#define MANY_FUNCTIONS 1024 /* of one table */

more_status core_functions_create(core_functions **functions, more_error *error)
{
    *functions = calloc(1, sizeof **functions);
    return *functions ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "out of memory for the function registry");
}

static void free_entry(core_function_entry *entry)
{
    core_signature_free(entry->signature);
    free(entry->origin);
}

void core_functions_destroy(core_functions *functions)
{
    if (!functions)
        return;
    for (size_t i = 0; i < functions->count; i++)
        free_entry(&functions->entries[i]);
    free(functions->entries);
    free(functions);
}

static more_status check_function(const more_function *function, int32_t index, more_error *error)
{
    char shown[64];
    if (!function->name || !core_is_name(function->name))
        return more_fail(error, MORE_ERROR_CORRUPT, "function %d has the name '%s'; a-z, 0-9 and '_' are allowed",
                         index, function->name ? core_printable(function->name, shown, sizeof shown) : "NULL");
    if (!function->parameters || !function->doc || !function->function)
        return more_fail(error, MORE_ERROR_CORRUPT, "function '%s' lacks its %s", function->name,
                         !function->parameters ? "parameters"
                         : !function->doc      ? "doc"
                                               : "address");
    if (core_stage_leading(function->stage) < 0)
        return more_fail(error, MORE_ERROR_CORRUPT, "function '%s' is for the unknown stage '%s'", function->name,
                         function->stage ? core_printable(function->stage, shown, sizeof shown) : "NULL");
    return MORE_OK;
}

more_status core_functions_check(const more_functions_interface *table, more_error *error)
{
    if (!MORE_HAS(table, more_functions_interface, count))
        return more_fail(error, MORE_ERROR_CORRUPT, "function table says a size of %zu bytes; at least %zu are needed",
                         table->struct_size, MORE_STRUCT_SIZE(more_functions_interface, count));
    if (table->count < 0 || table->count > MANY_FUNCTIONS || (table->count && !table->functions))
        return more_fail(error, MORE_ERROR_CORRUPT, "function table of %d rows%s; 0 to %d are allowed", table->count,
                         table->functions ? "" : " at NULL", MANY_FUNCTIONS);
    for (int32_t i = 0; i < table->count; i++) {
        const more_function *function = &table->functions[i];
        more_status status = check_function(function, i, error);
        core_signature *signature = NULL;
        if (status == MORE_OK)
            status = core_signature_parse(function, &signature, error);
        core_signature_free(signature);
        for (int32_t j = 0; j < i && status == MORE_OK; j++)
            if (!strcmp(function->stage, table->functions[j].stage) &&
                !strcmp(function->name, table->functions[j].name))
                status = more_fail(error, MORE_ERROR_CORRUPT, "function '%s' is in the table twice", function->name);
        if (status != MORE_OK)
            return status;
    }
    return MORE_OK;
}

static more_status add_one(core_functions *functions, const more_function *function, const char *origin,
                           more_error *error)
{
    const core_function_entry *old = core_functions_entry(functions, function->stage, function->name);
    if (old)
        return more_fail(error, MORE_ERROR_ARGUMENT, "%s: the %s function '%s' is there already, from %s", origin,
                         function->stage, function->name, old->origin);
    core_function_entry entry = {.function = function, .origin = strdup(origin)};
    core_function_entry *entries = realloc(functions->entries, (functions->count + 1) * sizeof *entries);
    if (entries)
        functions->entries = entries;
    if (!entries || !entry.origin) {
        free(entry.origin);
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory for function '%s'", origin, function->name);
    }
    more_status status = core_signature_parse(function, &entry.signature, error);
    if (status != MORE_OK)
        free(entry.origin);
    else
        functions->entries[functions->count++] = entry;
    return status;
}

more_status core_functions_add(core_functions *functions, const more_functions_interface *table, const char *origin,
                               more_error *error)
{
    more_error reason = {{0}};
    size_t before = functions->count;
    more_status status = core_functions_check(table, &reason);
    if (status != MORE_OK)
        return more_fail(error, status, "%s: %s", origin, reason.message);
    for (int32_t i = 0; i < table->count && status == MORE_OK; i++)
        status = add_one(functions, &table->functions[i], origin, error);
    while (status != MORE_OK && functions->count > before)
        free_entry(&functions->entries[--functions->count]);
    return status;
}

const more_function *core_functions_at(const core_functions *functions, size_t index, const char **origin)
{
    if (index >= functions->count)
        return NULL;
    if (origin)
        *origin = functions->entries[index].origin;
    return functions->entries[index].function;
}

const core_function_entry *core_functions_entry(const core_functions *functions, const char *stage, const char *name)
{
    for (size_t i = 0; i < functions->count; i++) {
        const core_function_entry *entry = &functions->entries[i];
        if (!strcmp(entry->function->stage, stage) && !strcmp(entry->function->name, name))
            return entry;
    }
    return NULL;
}

const more_function *core_functions_find(const core_functions *functions, const char *stage, const char *name)
{
    const core_function_entry *entry = core_functions_entry(functions, stage, name);
    return entry ? entry->function : NULL;
}

void core_call_describe(const more_function *function, core_buffer *buffer)
{
    core_buffer_format(buffer, "%s(%s)", function->name, function->parameters);
}
