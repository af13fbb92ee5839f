/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing and binding one backbone: which plugin takes a checkpoint, by name or by asking all of its kind.
 */
#ifndef CORE_BACKBONE_H
#define CORE_BACKBONE_H

#include "config/config.h"
#include "plugin/loader.h"
#include <jansson.h>
#include <llavamore/backbone.h>

/* One part of an assembly before its interface is opened. Zero-initialise; freed by core_backbone_clear. */
typedef struct core_backbone {
    const core_plugin_file *file; /* the plugin chosen */
    const void *interface;        /* its table */
    more_checkpoint *checkpoint;  /* the part's view, under the plugin's tensor map */
    core_options options;         /* the plugin's own keys */
    more_recognition recognition; /* what the plugin said of the checkpoint */
    bool chosen_by_user;          /* `plugin =` was given */
    json_t *others;               /* [{"plugin", "score", "reason"}]: what else fits, the best first */
    DLDevice device;              /* where it was opened */
    bool split;                   /* the layers behind [llm] gpu_layers are on the CPU */
} core_backbone;

/* recognise and tensor_map of the three interfaces, which begin alike. */
typedef struct core_backbone_interface {
    size_t struct_size;
    void (*recognise)(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition);
    const more_tensor_map *(*tensor_map)(void);
} core_backbone_interface;

/* Chooses the plugin of config section `section`: `plugin = ` there, else the one of its kind that recognises `part`
 * best (equal scores: the first in search order, and a warning names both). A plugin asked for by name that does not
 * know a checkpoint whose config names another's architecture is MORE_ERROR_UNSUPPORTED. An info line says what was
 * taken, why, and what else fits. Takes over what recognise() says follows for the section, binds the tensor map and
 * parses the plugin's own keys. `part` is retained by the result. */
more_status core_backbone_choose(core_registry *registry, core_config *config, const more_host *host,
                                 const char *section, more_checkpoint *part, core_backbone *backbone,
                                 more_error *error);
/* Calls the open() of the part's interface; `user` is what core_backbone_open was given. */
typedef more_status (*core_open_function)(void *user, const more_open *arguments, more_error *error);
enum { CORE_BACKBONE_DEVICES = 2 /* most that a part is opened on: `device`, and the CPU where it is split */ };

/* Opens the part where [runtime] device and [llm] gpu_layers say. Under `auto` the CPU is taken where the plugin cannot
 * run on the device (MORE_ERROR_UNSUPPORTED) or finds no memory there; a line of the log says what was taken and why.
 * Where the user chose a plugin that does not know the checkpoint and another does, the error gets that said behind it,
 * and a success a warning. */
more_status core_backbone_open(core_backbone *backbone, const core_config *config, const more_host *host,
                               const char *section, more_open_flags flags, core_open_function open, void *user,
                               more_error *error);
void core_backbone_clear(core_backbone *backbone);

#endif
