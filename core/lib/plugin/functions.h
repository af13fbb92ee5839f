/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of the function registry, for call.c.
 */
#ifndef CORE_FUNCTIONS_H
#define CORE_FUNCTIONS_H

#include "plugin/call.h"
#include "plugin/signature.h"

typedef struct core_function_entry {
    const more_function *function;
    core_signature *signature;
    char *origin;
} core_function_entry;

struct core_functions {
    core_function_entry *entries;
    size_t count;
};

const core_function_entry *core_functions_entry(const core_functions *functions, const char *stage, const char *name);

#endif
