/* SPDX-License-Identifier: Apache-2.0
 *
 * The sections of an assembly's INI file and the core's own keys in them. --help, the man page and llavamore-inspect
 * print these tables.
 */
#ifndef CORE_KEYS_H
#define CORE_KEYS_H

#include <llavamore/plugin.h>

/* How a key's text names files; such texts are resolved against the folder of the INI file in which they stand. */
typedef int32_t core_path_kind;
enum {
    CORE_PATH_NONE = 0,        /* no path */
    CORE_PATH_FILE = 1,        /* a file or folder */
    CORE_PATH_LIST = 2,        /* several, apart by colons */
    CORE_PATH_WEIGHTS = 3,     /* a file or folder, or a name "org/name" of the model hub, or "synthetic" */
    CORE_PATH_NAMED = 4,       /* a bare name (no '/' and no ending), or a file */
    CORE_PATH_WEIGHTS_LIST = 5 /* several of those of CORE_PATH_WEIGHTS, apart by colons */
};

typedef struct core_section {
    const char *name;        /* "vision" */
    const char *doc;         /* one sentence */
    const char *plugin_kind; /* further keys are options of the plugin of this kind; NULL = there are none */
    const more_option *keys;
    int32_t count;
} core_section;

/* The index-th section in the order of the pipeline; NULL when out of range. Constant data. */
const core_section *core_section_at(size_t index);
/* NULL when there is none of this name. */
const core_section *core_section_find(const char *name);
/* The section whose plugin is of this kind; NULL when none is. */
const core_section *core_section_of_kind(const char *kind);
core_path_kind core_key_path(const char *section, const char *key);

#endif
