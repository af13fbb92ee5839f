/* SPDX-License-Identifier: Apache-2.0
 *
 * The assembled pipeline: which plugin takes which part of which checkpoint, opened, with the text and image parts
 * around them. It knows no backbone: what it needs it asks through the ABI and the layout files.
 */
#ifndef CORE_ASSEMBLY_H
#define CORE_ASSEMBLY_H

#include "assembly/backbone.h"
#include "base/host.h"
#include "generate/sampler.h"
#include "generate/scales.h"
#include "image/preprocess.h"
#include "plugin/call.h"
#include "text/template.h"
#include "text/tokenizer.h"
#include "weights/layout.h"
#include <jansson.h>
#include <llavamore/language.h>
#include <llavamore/projector.h>
#include <llavamore/vision.h>
#include <pthread.h>

#define CORE_MAX_LAYERS 16 /* hidden states of the encoder that `layer =` may join */

/* Everything is constant once opened; owned by the assembly. */
typedef struct core_assembly {
    core_config *config; /* borrowed, as are the three below; they outlive the assembly */
    core_host *host;
    core_registry *registry;
    core_functions *functions;
    more_open_flags flags;

    char *language_path;     /* the folder that [llm] weights names */
    more_checkpoint *folder; /* it, opened whole */
    core_layout *layout;
    core_backbone language_part;
    const more_language_interface *language_api;
    more_language *language;
    more_language_info language_info;
    int64_t context; /* rows that a chat may hold: the smaller of the model's and [llm] context */
    core_tokenizer *tokenizer;
    core_template *conversation;
    core_ids stop_ids; /* of the template, the model and generation_config.json */

    pthread_mutex_t eyes;   /* encoder and projector take one call at a time, chats may come from several threads */
    char *vision_path;      /* NULL, as all of the rest, in an assembly without eyes */
    more_checkpoint *tower; /* it, opened whole */
    core_layout *tower_layout;
    core_backbone vision_part;
    const more_vision_interface *vision_api;
    more_vision *vision;
    more_vision_info vision_info;
    int32_t layers[CORE_MAX_LAYERS];
    int32_t layer_count;
    more_select select;
    core_scale scales[CORE_MAX_SCALES]; /* of [vision] scales, ascending; none = the picture as it is */
    int32_t scale_count;
    more_vision_plan nominal; /* what a square picture of the trained size becomes */
    char *steps;              /* preprocessing, as text */
    char *steps_source;       /* whose they are, for messages: a file, a line of the INI, a plugin */
    bool pads_square;         /* a step of it pads to a square */
    core_pipeline *preprocess;

    char *projector_path;
    core_backbone projector_part;
    const more_projector_interface *projector_api;
    more_projector *projector;

    struct core_recall *recall; /* of pictures seen; NULL in a dry run */

    core_calls sampler_calls; /* of [generate] sampler; empty = by the single values */
    double load_ms;
} core_assembly;

/* Every function that an INI file may call: the core's and those of the chosen plugins. The caller destroys *functions,
 * also after a failure. */
more_status core_functions_gather(core_registry *registry, core_functions **functions, more_error *error);

/* An assembly in which nothing is open yet, for who wants only some of its parts; the arguments are borrowed. NULL, and
 * *error says so, when out of memory. */
core_assembly *core_assembly_new(core_config *config, core_host *host, core_registry *registry,
                                 core_functions *functions, more_open_flags flags, more_error *error);
/* Opens what the config says. With MORE_OPEN_METADATA_ONLY no weights are loaded. *assembly is NULL on failure.
 * [one-thread-per-instance] */
more_status core_assembly_open(core_config *config, core_host *host, core_registry *registry, core_functions *functions,
                               more_open_flags flags, core_assembly **assembly, more_error *error);
void core_assembly_close(core_assembly *assembly); /* NULL is allowed */

/* The resolved assembly as JSON (a new reference): plugins, checkpoints, shapes, preprocessing, template, sampler,
 * memory in bytes. */
more_status core_assembly_describe(const core_assembly *assembly, json_t **json, more_error *error);

/* ---- Its parts, each in a file of its own ------------------------------------------------------------------------ */

/* `key` of the config where the user gave it, else what the layout reads from the checkpoint's own config (of a tower
 * that is cut to its projector, as GGUF files have it, before the language model's), else NULL.
 * `name` is "section.key". The caller frees it. */
char *core_assembly_setting(const core_assembly *assembly, const char *name);
/* Finds `[section] weights` as the user gave it, relative to the file that it stands in; *path is the caller's, and
 * NULL, with MORE_OK, when the key was not given. */
more_status core_assembly_locate(const core_assembly *assembly, const char *section, char **path, more_error *error);
more_status core_assembly_open_language(core_assembly *assembly, more_error *error);
more_status core_assembly_open_vision(core_assembly *assembly, more_error *error);
/* The steps, and what they deliver held against what the encoder takes; the encoder is open. */
more_status core_assembly_open_preprocessing(core_assembly *assembly, more_error *error);
/* Channels of a feature row: the encoder's, times the layers, times the scales. */
int64_t core_assembly_feature_width(const core_assembly *assembly);
more_status core_assembly_open_text(core_assembly *assembly, more_error *error);
/* Whether template, tokenizer and language model belong together; all are open. */
more_status core_assembly_check_text(const core_assembly *assembly, more_error *error);

#endif
