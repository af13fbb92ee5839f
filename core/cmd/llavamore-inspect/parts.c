/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of a checkpoint, here or where its config says, which plugins take them, and an INI file that runs them.
 */
#include "assembly/backbone.h"
#include "assembly/data.h"
#include "base/file.h"
#include "base/json.h"
#include "inspect.h"
#include "weights/checkpoint.h"
#include "weights/layout.h"
#include "weights/locate.h"

#include <llavamore/language.h>
#include <llavamore/projector.h>
#include <llavamore/vision.h>
#include <stdlib.h>
#include <string.h>

/* The parts of an assembly: the layouts' name, the INI section, the plugins' kind and interface, and what stands in the
 * INI where a checkpoint has none. */
typedef struct part_kind {
    const char *name, *section, *kind, *interface, *hint;
} part_kind;

static const part_kind parts[] = {
    {"vision", "vision", MORE_KIND_VISION, MORE_VISION_INTERFACE, NULL},
    {"projector", "projector", MORE_KIND_PROJECTOR, MORE_PROJECTOR_INTERFACE, NULL},
    {"language", "llm", MORE_KIND_LANGUAGE, MORE_LANGUAGE_INTERFACE,
     "; weights = a language model: there is none here, and nothing says which belongs to it\n"},
};

/* One description under way. */
typedef struct inspection {
    const core_host *host;
    core_registry *registry;
    more_checkpoint *checkpoint;
    core_layout *layout; /* NULL = none fits */
    const char *weights; /* how the INI names the checkpoint */
    const char *lora;    /* an adapter on the language model; NULL = none */
    core_buffer ini;
    bool has_language; /* in the checkpoint itself */
} inspection;

/* ---- Plugins that take a part ----------------------------------------------------------------------------------- */

/* The candidates with score and reason; the best one's id and settings go to *best. */
static json_t *ask_plugins(const inspection *about, const part_kind *part, more_checkpoint *view,
                           const core_plugin_file **best, more_recognition *recognition)
{
    const core_plugin_file *files;
    size_t count;
    json_t *candidates = json_array();
    *best = NULL;
    recognition->score = 0;
    if (core_registry_list(about->registry, &files, &count, NULL) != MORE_OK)
        return candidates;
    for (size_t i = 0; i < count; i++) {
        if (!files[i].plugin || strcmp(files[i].kind, part->kind) != 0 ||
            !core_registry_chosen(about->registry, &files[i]))
            continue;
        const core_backbone_interface *table = files[i].plugin->get_interface(part->interface);
        more_recognition said = {.struct_size = sizeof said};
        if (!table || !table->recognise)
            continue;
        table->recognise(core_host_abi(about->host), view, &said);
        json_array_append_new(candidates, json_pack("{s:s, s:i, s:o}", "plugin", files[i].id, "score", said.score,
                                                    "reason", core_json_text(said.reason)));
        if (said.score > recognition->score) {
            *best = &files[i];
            *recognition = said;
        }
    }
    return candidates;
}

static void begin_section(core_buffer *ini, const char *section)
{
    core_buffer_format(ini, "%s[%s]\n", ini->size ? "\n" : "", section);
}

/* What the checkpoint's config says of the eyes is written out where the checkpoint is not the language model: from
 * there the program takes it by itself. */
static void write_settings(inspection *about)
{
    static const char *const names[] = {"vision.layer", "vision.select", "vision.scales", "preprocess.pad"};
    const char *section = "vision";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *value = core_layout_setting(about->layout, about->checkpoint, names[i]);
        const char *key = strchr(names[i], '.') + 1;
        if (value && strncmp(names[i], section, strlen(section)) != 0)
            begin_section(&about->ini, section = "preprocess");
        if (value)
            core_buffer_format(&about->ini, "%s = %s\n", key, value);
        free(value);
    }
}

/* One part: asks the plugins, and writes the part's section of the INI file. */
static json_t *describe_part(inspection *about, const part_kind *part, more_checkpoint *view, const char *weights)
{
    const core_plugin_file *best;
    more_recognition recognition = {.struct_size = sizeof recognition};
    json_t *candidates = ask_plugins(about, part, view, &best, &recognition);
    if (best) {
        begin_section(&about->ini, part->section);
        core_buffer_format(&about->ini, "plugin = %s\n", best->id);
        if (!about->lora || strcmp(part->name, "projector") != 0) /* an adapter's is in the two together alone */
            core_buffer_format(&about->ini, "weights = %s\n", weights);
        if (about->lora && !strcmp(part->name, "language"))
            core_buffer_format(&about->ini, "lora = %s\n", about->lora);
        core_buffer_text(&about->ini, recognition.settings);
        if (about->layout && !about->has_language && !strcmp(part->name, "vision"))
            write_settings(about);
    }
    return json_pack("{s:s, s:o, s:I, s:I, s:o}", "part", part->name, "weights", core_json_text(weights), "tensors",
                     (json_int_t)core_weights_service()->count(view), "bytes", (json_int_t)core_checkpoint_bytes(view),
                     "plugins", candidates);
}

/* ---- Where the parts are ---------------------------------------------------------------------------------------- */

static more_status find_layout(more_checkpoint *checkpoint, core_layout **layout, more_error *error)
{
    char *folder = core_data_folder("layouts");
    *layout = NULL;
    more_status status = folder ? core_layout_find(folder, checkpoint, layout, error)
                                : more_fail(error, MORE_ERROR_MEMORY, "out of memory");
    free(folder);
    return status;
}

/* Opens the part in the folder or file at `path`; where that only describes it, with the tensors that are here. */
static more_status open_elsewhere(const inspection *about, const part_kind *part, const char *path,
                                  more_checkpoint **view, more_error *error)
{
    more_checkpoint *whole = NULL, *facts = NULL, *own = NULL;
    core_layout *layout = NULL;
    more_status status = core_checkpoint_open(path, &whole, error);
    if ((status == MORE_ERROR_NOT_FOUND || status == MORE_ERROR_UNSUPPORTED) &&
        core_checkpoint_open_metadata(path, &facts, NULL) == MORE_OK && core_checkpoint_config(facts) &&
        core_layout_part(about->layout, about->checkpoint, part->name, &own, NULL) == MORE_OK)
        status = core_checkpoint_join(own, facts, &whole, error);
    if (status == MORE_OK)
        status = find_layout(whole, &layout, error);
    if (status == MORE_OK)
        status = core_layout_part(layout, whole, part->name, view, error);
    core_layout_free(layout);
    core_checkpoint_release(own);
    core_checkpoint_release(facts);
    core_checkpoint_release(whole);
    return status;
}

/* A place that a config names, as an INI file anywhere can name it: a path whole, "org/name" as it is. */
static char *whole_place(const char *name, const char *folder)
{
    char *path = core_path_join(folder, name), *whole = NULL;
    if (path && (core_file_exists(path) || core_folder_exists(path)))
        whole = realpath(path, NULL);
    free(path);
    return whole ? whole : strdup(name);
}

/* A part that the config says is somewhere else. NULL where it says nothing of it. */
static json_t *describe_elsewhere(inspection *about, const part_kind *part, const char *name)
{
    const char *folder = core_checkpoint_folder(about->checkpoint);
    more_checkpoint *view = NULL;
    more_error reason = {{0}};
    char *path = NULL, *place = whole_place(name, folder);
    json_t *row;
    more_status status = core_weights_locate(name, folder, &path, &reason);
    if (status == MORE_OK)
        status = open_elsewhere(about, part, path, &view, &reason);
    if (status == MORE_OK && place) {
        row = describe_part(about, part, view, place);
    } else {
        begin_section(&about->ini, part->section);
        core_buffer_format(&about->ini, "; %s\nweights = %s\n", reason.message, place ? place : name);
        row = json_pack("{s:s, s:o, s:o, s:[]}", "part", part->name, "weights", core_json_text(name), "missing",
                        core_json_text(reason.message), "plugins");
    }
    core_checkpoint_release(view);
    free(path);
    free(place);
    return row;
}

/* What the checkpoint's config says of the part's place: NULL for nothing, and for "here". */
static char *named_place(const inspection *about, const part_kind *part)
{
    core_buffer key = {0};
    core_buffer_format(&key, "%s.weights", part->section);
    char *name = key.failed ? NULL : core_layout_setting(about->layout, about->checkpoint, key.data);
    core_buffer_free(&key);
    if (name && (!strcmp(name, ".") || !*name)) {
        free(name);
        name = NULL;
    }
    return name;
}

/* The program takes a tower from where the config says, even if it is stored here too; a model from here first. */
static json_t *find_part(inspection *about, const part_kind *part)
{
    more_checkpoint *view = NULL;
    char *name = named_place(about, part);
    bool first = name && !strcmp(part->name, "vision");
    json_t *row = NULL;
    if (!first && core_layout_has_part(about->layout, part->name) &&
        core_layout_part(about->layout, about->checkpoint, part->name, &view, NULL) == MORE_OK)
        row = describe_part(about, part, view, about->weights);
    else if (name)
        row = describe_elsewhere(about, part, name);
    core_checkpoint_release(view);
    free(name);
    return row;
}

static bool has_language(const inspection *about)
{
    more_checkpoint *view = NULL;
    bool has = core_layout_has_part(about->layout, "language") &&
               core_layout_part(about->layout, about->checkpoint, "language", &view, NULL) == MORE_OK;
    core_checkpoint_release(view);
    return has;
}

json_t *inspect_parts(const core_host *host, core_registry *registry, more_checkpoint *checkpoint, const char *weights,
                      const char *lora, json_t *report)
{
    inspection about = {.host = host, .registry = registry, .checkpoint = checkpoint, .weights = weights, .lora = lora};
    more_error reason = {{0}};
    json_t *list = json_array();
    bool fits = find_layout(checkpoint, &about.layout, &reason) == MORE_OK;
    about.has_language = fits && has_language(&about);
    if (fits) {
        json_object_set_new(report, "what", json_string(core_layout_description(about.layout)));
        json_object_set_new(report, "layout", json_string(core_layout_name(about.layout)));
    } else {
        json_object_set_new(report, "layout", json_pack("s+", "none: ", reason.message));
    }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        json_t *row = fits ? find_part(&about, &parts[i]) : describe_part(&about, &parts[i], checkpoint, weights);
        if (row)
            json_array_append_new(list, row);
        else if (parts[i].hint && about.ini.size)
            core_buffer_format(&about.ini, "\n[%s]\n%s", parts[i].section, parts[i].hint);
    }
    json_t *ini = about.ini.size && !about.ini.failed ? core_json_text(about.ini.data) : NULL;
    json_object_set_new(report, "parts", list);
    core_buffer_free(&about.ini);
    core_layout_free(about.layout);
    return ini;
}
