/* SPDX-License-Identifier: Apache-2.0
 *
 * The assembly as the user wrote it: INI files, --set, and what follows from checkpoints.
 *
 * Syntax: `[section]`, `key = value` or `key: value`; `#` and `;` begin a comment at the start of a line, or behind a
 * blank outside double quotes; an indented line continues the value above it (joined by a newline); a value in double
 * quotes may hold \" \\ \n \t and anything that looks like a comment; UTF-8, with a byte order mark or without. Names
 * are lower case. `include = other.ini` reads that file at this place, relative to the file: what stands later wins.
 */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include "config/keys.h"
#include "plugin/options.h"
#include <stdbool.h>

#define CORE_CONFIG_LIMIT ((size_t)1 << 20) /* bytes of one INI file that we agree to read */
#define CORE_CONFIG_DEPTH 16                /* files that may include one another */
#define CORE_CONFIG_FILES 256               /* files read into one config */
#define CORE_CONFIG_KEYS 1024               /* keys in one config */

typedef struct core_config core_config;

/* One key in force. Owned by the config; valid until the config changes. */
typedef struct core_config_entry {
    const char *section, *key;
    const char *text;  /* as written (quotes kept, comment off) */
    const char *value; /* what it says: quotes off, paths resolved, but `weights` as written: core_weights_locate(value,
                          folder) finds it */
    const char *where; /* "run.ini:12", "--set", or the origin given to core_config_settings */
    const char *folder; /* what relative paths in it are relative to; "" = the current directory */
    int rank;           /* CORE_FROM_... */
} core_config_entry;

/* Higher ranks win over lower ones, in whatever order they arrive; of equal ones the later. */
enum { CORE_FROM_CHECKPOINT = 0, CORE_FROM_FILE = 1, CORE_FROM_COMMAND = 2 };

/* An empty config: every key has its default. */
more_status core_config_create(core_config **config, more_error *error);
void core_config_destroy(core_config *config);
/* Reads a file ("-" is standard input) and what it includes. Unknown sections, unknown keys, wrong values, a key twice
 * in one file, NUL bytes, larger files than CORE_CONFIG_LIMIT, circles and too deep chains of includes are refused with
 * file and line. Keys of plugins are checked later: core_config_plugin_options. A config that failed to load may only
 * be destroyed. */
more_status core_config_load(core_config *config, const char *path, more_error *error);
/* The same from memory. `name` stands for the file in messages; `folder` is what relative paths are relative to; NULL =
 * the current directory, and the text may include nothing. */
more_status core_config_parse(core_config *config, const char *text, size_t size, const char *name, const char *folder,
                              more_error *error);
/* One "section.key=value"; relative paths are relative to the current directory. */
more_status core_config_set(core_config *config, const char *assignment, more_error *error);
/* INI lines without a section header, as a plugin's recognise() gives them (backbone.h); what the user wrote wins.
 * `origin` names them ("recognised from /models/tower"). */
more_status core_config_settings(core_config *config, const char *section, const char *text, const char *origin,
                                 more_error *error);

/* The entry in force; NULL when nobody gave the key. */
const core_config_entry *core_config_find(const core_config *config, const char *section, const char *key);
/* Value of a core key, the default where nobody gave it. Type and range were checked at loading; strings (paths
 * resolved) are valid until the config changes. A key that is in no table gives a value of type 0. */
more_value core_config_value(const core_config *config, const char *section, const char *key);
/* Shorthands for the four types. */
const char *core_config_string(const core_config *config, const char *section, const char *key);
int64_t core_config_int64(const core_config *config, const char *section, const char *key);
double core_config_double(const core_config *config, const char *section, const char *key);
bool core_config_bool(const core_config *config, const char *section, const char *key);

/* The keys of the section that are not the core's, parsed against the table of the plugin chosen for it. */
more_status core_config_plugin_options(const core_config *config, const char *section, const more_plugin *plugin,
                                       core_options *options, more_error *error);
/* The whole config as INI text that parses to the same config: the keys that somebody gave, with where in a comment
 * behind each, and as comments the defaults of the core's other keys. The caller checks buffer->failed. */
void core_config_dump(const core_config *config, core_buffer *buffer);

#endif
