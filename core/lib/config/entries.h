/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a config: its entries, and how one is checked, resolved and put in.
 */
#ifndef CORE_ENTRIES_H
#define CORE_ENTRIES_H

#include "config/config.h"

typedef struct core_entry {
    core_config_entry shown; /* every string in it but section is owned */
    more_value value;        /* of a core key, parsed; type 0 for a plugin's */
} core_entry;

struct core_config {
    core_entry *entries;
    size_t count;
    int files; /* read so far */
};

/* A key as it came: from a line of a file, from --set, from a checkpoint. */
typedef struct core_config_source {
    const char *where;  /* begins the messages */
    const char *folder; /* "" = the current directory */
    int rank;
} core_config_source;

/* Checks the key and its text and puts it in force if its rank allows. */
more_status core_config_put(core_config *config, const core_config_source *source, const char *section, const char *key,
                            const char *text, more_error *error);
/* The section's description, or MORE_ERROR_NOT_FOUND with the nearest name. */
more_status core_config_section(const char *where, const char *name, const core_section **section, more_error *error);
/* The path relative to folder ("" = none), "~/" being the home folder; the caller frees it. NULL = out of memory. */
char *core_config_resolve(const char *folder, const char *path);
void core_entry_free(core_entry *entry);

#endif
