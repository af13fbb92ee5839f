/* SPDX-License-Identifier: Apache-2.0
 *
 * The plugin descriptor and the one symbol that a plugin exports.
 *
 * A plugin is a shared object with one exported function, more_plugin_entry; all else is hidden (the SDK ships a
 * linker version script, llavamore-plugin.map). The host dlopens it with RTLD_NOW | RTLD_LOCAL, asks the entry for the
 * descriptor, checks it, and asks the descriptor for interfaces by id. Reading the descriptor must load no weights and
 * take under 100 ms. A plugin is never dlclosed. It has no global mutable state: several instances of it live in one
 * process, used from different threads. It never exits or aborts the process, whatever a file contains.
 */
#ifndef LLAVAMORE_PLUGIN_H
#define LLAVAMORE_PLUGIN_H

#include <llavamore/host.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version of this ABI: major << 16 | minor. While the major is 0 every minor is incompatible with every other, and
 * host and plugin need the same; from 1.0 on a host serves every plugin of its major and of its own minor or older. */
#define MORE_ABI_MAJOR 0
#define MORE_ABI_MINOR 1
#define MORE_ABI_VERSION ((uint32_t)(MORE_ABI_MAJOR << 16 | MORE_ABI_MINOR))

/* Value for the struct_size field that begins every struct of this ABI which may grow: the end of its last field, so
 * that tail padding never counts. Readers take a field only when struct_size reaches its end, see MORE_HAS. */
#define MORE_STRUCT_SIZE(type, last) (offsetof(type, last) + sizeof(((type *)0)->last))
#define MORE_HAS(pointer, type, field) ((pointer)->struct_size >= MORE_STRUCT_SIZE(type, field))

#if defined(__GNUC__)
#define MORE_EXPORT __attribute__((visibility("default")))
#else
#define MORE_EXPORT
#endif

/* ---- Options: the plugin's own keys in its INI section ---------------------------------------------------------- */

typedef int32_t more_type;
enum { MORE_BOOL = 1, MORE_INT64 = 2, MORE_DOUBLE = 3, MORE_STRING = 4 };

/* One key. The table drives the parsing of the INI file, --help, llavamore-inspect, and the error that says which key
 * is wrong and what is allowed. Keys that every backbone of a kind has (plugin, weights, layer, ...) belong to the
 * host and stand in its manual, not here. */
typedef struct more_option {
    const char *name; /* lower case words joined by '_' */
    more_type type;
    const char *default_value; /* as it would stand in the INI file; never NULL */
    double minimum, maximum;   /* inclusive range of MORE_INT64 and MORE_DOUBLE; both 0 = unbounded */
    const char *choices;       /* MORE_STRING: allowed values, "auto|f32|f16"; NULL = any */
    const char *doc;           /* one sentence, with the unit */
} more_option;

/* A parsed value: `i` for MORE_BOOL (0 or 1) and MORE_INT64, `f` for MORE_DOUBLE, `s` for MORE_STRING. */
typedef struct more_value {
    more_type type;
    union {
        int64_t i;
        double f;
        const char *s; /* owned by the host, valid during the call that it is given to */
    } as;
} more_value;

/* ---- The descriptor --------------------------------------------------------------------------------------------- */

/* Kinds; a stranger's kind is prefixed with a reverse domain. */
#define MORE_KIND_VISION "vision"
#define MORE_KIND_PROJECTOR "projector"
#define MORE_KIND_LANGUAGE "language"
#define MORE_KIND_FUNCTIONS "functions"

/* Constant data of the plugin; every pointer in it lives as long as the process. */
typedef struct more_plugin {
    size_t struct_size;         /* MORE_STRUCT_SIZE(more_plugin, get_interface) */
    uint32_t abi_version;       /* MORE_ABI_VERSION that the plugin was compiled with */
    const char *kind;           /* MORE_KIND_... */
    const char *id;             /* what `plugin = ` in the INI names: "clip"; a stranger's: "org.example.merge2x2" */
    const char *version;        /* of the plugin, "1.2.0" */
    const char *license;        /* SPDX expression */
    const char *description;    /* one line */
    const more_option *options; /* the plugin's own INI keys; NULL when option_count is 0 */
    int32_t option_count;
    /* How well it suits this machine: 0 = it cannot run here; of several .so with one id the highest wins; a plain CPU
     * build says 100. [any-thread] */
    int32_t (*score)(void);
    /* The interface's table, e.g. `const more_vision_interface *` for "llavamore.vision/1"; NULL for an id that the
     * plugin does not offer (also for ids with anything before or behind). [any-thread] */
    const void *(*get_interface)(const char *id);
} more_plugin;

/* The exported symbol. `oldest` to `newest` are the ABI versions that the host serves. Returns the descriptor, or NULL
 * with the reason written into error. Called once, before anything else of the plugin. [any-thread] */
MORE_EXPORT const more_plugin *more_plugin_entry(uint32_t oldest, uint32_t newest, more_error *error);

typedef const more_plugin *(*more_plugin_entry_function)(uint32_t oldest, uint32_t newest, more_error *error);
#define MORE_PLUGIN_ENTRY "more_plugin_entry"

/* The body of a usual entry: the descriptor when the host serves this header's version, else NULL and the reason. */
static inline const more_plugin *more_plugin_offer(const more_plugin *plugin, uint32_t oldest, uint32_t newest,
                                                   more_error *error)
{
    if (MORE_ABI_VERSION >= oldest && MORE_ABI_VERSION <= newest)
        return plugin;
    more_fail(error, MORE_ERROR_VERSION, "plugin '%s' speaks ABI %d.%d, this host ABI %u.%u to %u.%u", plugin->id,
              MORE_ABI_MAJOR, MORE_ABI_MINOR, oldest >> 16, oldest & 0xffff, newest >> 16, newest & 0xffff);
    return NULL;
}

#ifdef __cplusplus
}
#endif
#endif
