/* SPDX-License-Identifier: Apache-2.0 */
#include "synthetic.h"

#include "../program.h"
#include "assembly/data.h"
#include "base/file.h"
#include "base/json.h"
#include "base/suggest.h"
#include "nn.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENDING ".json"

static const char *const parts[] = {"vision", "projector", "llm"};
enum { VISION, PROJECTOR, LLM, PARTS };

static more_status no_memory(more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "out of memory for a synthetic model");
}

/* ---- The shapes there are --------------------------------------------------------------------------------------- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_shape(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > strlen(ENDING) && !strcmp(entry->d_name + length - strlen(ENDING), ENDING);
}

/* Calls `take` with each name, its ending off. */
static void each_name(void (*take)(void *argument, const char *name), void *argument)
{
    struct dirent **entries = NULL;
    char *folder = core_data_folder("shapes");
    int count = folder ? scandir(folder, &entries, is_shape, by_name) : 0;
    for (int i = 0; i < count; i++) {
        entries[i]->d_name[strlen(entries[i]->d_name) - strlen(ENDING)] = '\0';
        take(argument, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    free(folder);
}

static more_status load_shape(const char *name, json_t **json, more_error *error)
{
    char *folder = core_data_folder("shapes");
    core_buffer file = {0};
    core_buffer_format(&file, "%s" ENDING, name);
    char *path = folder && !file.failed ? core_path_join(folder, file.data) : NULL;
    more_status status = path ? core_json_load(path, json, error) : no_memory(error);
    free(path);
    free(folder);
    core_buffer_free(&file);
    return status;
}

static void list_one(void *argument, const char *name)
{
    json_t *json = NULL;
    if (load_shape(name, &json, NULL) == MORE_OK)
        core_buffer_format(argument, "%-30s %s\n", name, json_string_value(json_object_get(json, "about")));
    json_decref(json);
}

char *synthetic_list(void)
{
    core_buffer text = {0};
    each_name(list_one, &text);
    core_buffer_text(&text, "");
    char *list = core_buffer_take(&text);
    core_buffer_free(&text);
    return list;
}

/* Whether a shape has this name, and the nearest name there is. */
typedef struct search {
    const char *name;
    bool found;
    core_suggest nearest;
    char best[CORE_SUGGEST_LENGTH + 1]; /* of nearest: names go away */
} search;

static void look(void *argument, const char *name)
{
    search *self = argument;
    self->found = self->found || !strcmp(self->name, name);
    core_suggest_offer(&self->nearest, name);
    if (self->nearest.best == name) {
        snprintf(self->best, sizeof self->best, "%s", name);
        self->nearest.best = self->best;
    }
}

static more_status check_name(const char *name, more_error *error)
{
    search self = {.name = name, .nearest = core_suggest_for(name)};
    each_name(look, &self);
    return self.found ? MORE_OK
                      : more_fail(error, MORE_ERROR_NOT_FOUND,
                                  "--synthetic: there is no shape '%s'%s; --list-shapes names those there are", name,
                                  core_suggest_text(&self.nearest));
}

/* ---- Parts ------------------------------------------------------------------------------------------------------ */

/* The part's object, in the shape itself or in the one that it names; a new reference, NULL where it has none. */
static more_status find_part(json_t *shape, const char *name, const char *part, json_t **found, more_error *error)
{
    json_t *member = json_object_get(shape, part), *other = NULL;
    *found = NULL;
    if (!member)
        return MORE_OK;
    if (json_is_string(member)) {
        more_status status = load_shape(json_string_value(member), &other, error);
        if (status != MORE_OK)
            return status;
        member = json_object_get(other, part);
    }
    if (json_is_object(json_object_get(member, "config")) && json_is_object(json_object_get(member, "tensors")))
        *found = json_incref(member);
    json_decref(other);
    return *found ? MORE_OK
                  : more_fail(error, MORE_ERROR_CORRUPT, "shape '%s': its part '%s' has no config or no tensors", name,
                              part);
}

static int64_t number_of(json_t *config, const char *key)
{
    char nested[64];
    json_t *value = core_json_at(config, key);
    if (!value) {
        snprintf(nested, sizeof nested, "vision_config.%s", key);
        value = core_json_at(config, nested);
    }
    return json_integer_value(value);
}

/* shapes.json of the part: each '*' written out. */
static json_t *expand(json_t *part, const char *type)
{
    json_t *shapes = json_object(), *shape;
    int64_t layers = number_of(json_object_get(part, "config"), "num_hidden_layers");
    const char *name;
    json_object_foreach(json_object_get(part, "tensors"), name, shape)
    {
        const char *star = strchr(name, '*');
        for (int64_t i = 0; shapes && i < (star ? layers : 1); i++) {
            char full[256];
            if (star)
                snprintf(full, sizeof full, "%.*s%lld%s", (int)(star - name), name, (long long)i, star + 1);
            else
                snprintf(full, sizeof full, "%s", name);
            json_object_set_new(shapes, full, json_pack("[s, O]", type, shape));
        }
    }
    return shapes;
}

static more_status write_json(const char *folder, const char *name, const json_t *json, more_error *error)
{
    char *path = core_path_join(folder, name), *text = json ? json_dumps(json, 0) : NULL;
    more_status status = path && text ? core_file_write(path, text, strlen(text), error) : no_memory(error);
    free(text);
    free(path);
    return status;
}

static more_status write_part(const synthetic *made, const char *name, json_t *part, const char *type,
                              more_error *error)
{
    char *folder = core_path_join(made->folder, name);
    json_t *shapes = expand(part, type), *processor = json_object_get(part, "preprocessor_config");
    more_status status = folder && shapes ? MORE_OK : no_memory(error);
    if (status == MORE_OK && mkdir(folder, 0700))
        status = more_fail(error, MORE_ERROR_IO, "%s: %s", folder, strerror(errno));
    if (status == MORE_OK)
        status = write_json(folder, "config.json", json_object_get(part, "config"), error);
    if (status == MORE_OK && processor)
        status = write_json(folder, "preprocessor_config.json", processor, error);
    if (status == MORE_OK)
        status = write_json(folder, "shapes.json", shapes, error);
    json_decref(shapes);
    free(folder);
    return status;
}

/* ---- The config that uses them ---------------------------------------------------------------------------------- */

/* "section.key=value", below what the command line sets. */
static more_status set(core_config *config, const char *section, const char *key, const char *value, more_error *error)
{
    core_buffer text = {0};
    char *safe = quoted(value); /* the temporary folder's name may hold anything */
    core_buffer_format(&text, "[%s]\n%s = %s\n", section, key, safe ? safe : "");
    more_status status = text.failed || !safe
                             ? no_memory(error)
                             : core_config_parse(config, text.data, text.size, "--synthetic", NULL, error);
    core_buffer_free(&text);
    free(safe);
    return status;
}

static more_status set_all(core_config *config, json_t *settings, more_error *error)
{
    const char *name;
    json_t *value;
    more_status status = MORE_OK;
    json_object_foreach(settings, name, value)
    {
        const char *dot = strchr(name, '.');
        char section[32];
        if (status != MORE_OK || !dot || !json_is_string(value))
            continue;
        snprintf(section, sizeof section, "%.*s", (int)(dot - name), name);
        status = set(config, section, dot + 1, json_string_value(value), error);
    }
    return status;
}

static more_status use_part(const synthetic *made, core_config *config, int part, nn_storage format, more_error *error)
{
    core_buffer place = {0};
    core_buffer_format(&place, "synthetic:%s/%s?seed=%d", made->folder, parts[part], part + 1);
    more_status status = place.failed ? no_memory(error) : set(config, parts[part], "weights", place.data, error);
    if (status == MORE_OK && format >= NN_FLOATS)
        status = set(config, parts[part], "quantize", nn_storage_name(format), error);
    core_buffer_free(&place);
    return status;
}

/* An encoder alone gets the projector that changes nothing, so that it is run as in an assembly. */
static more_status use_identity(const synthetic *made, core_config *config, more_error *error)
{
    core_buffer place = {0};
    core_buffer_format(&place, "synthetic:%s/%s?seed=1", made->folder, parts[VISION]);
    more_status status = place.failed ? no_memory(error) : set(config, "projector", "weights", place.data, error);
    if (status == MORE_OK)
        status = set(config, "projector", "plugin", "identity", error);
    core_buffer_free(&place);
    return status;
}

static more_status make_folder(synthetic *made, more_error *error)
{
    const char *temporary = getenv("TMPDIR");
    int length = snprintf(made->folder, sizeof made->folder, "%s/llavamore-bench-XXXXXX",
                          temporary && *temporary ? temporary : "/tmp");
    if (length < (int)sizeof made->folder && mkdtemp(made->folder))
        return MORE_OK;
    more_status status = more_fail(error, MORE_ERROR_IO, "%s: %s", made->folder,
                                   length < (int)sizeof made->folder ? strerror(errno) : "the path is too long");
    made->folder[0] = '\0';
    return status;
}

static more_status make_parts(const char *name, json_t *shape, nn_storage format, core_config *config, synthetic *made,
                              more_error *error)
{
    more_status status = make_folder(made, error);
    const char *type = nn_storage_name(format >= NN_FLOATS ? NN_F16 : format);
    for (int i = 0; i < PARTS && status == MORE_OK; i++) {
        json_t *part = NULL;
        status = find_part(shape, name, parts[i], &part, error);
        if (status == MORE_OK && part)
            status = write_part(made, parts[i], part, type, error);
        if (status == MORE_OK && part)
            status = use_part(made, config, i, format, error);
        if (part && i == VISION)
            made->vision_width = number_of(json_object_get(part, "config"), "hidden_size");
        made->vision = made->vision || (part && i == VISION);
        made->projector = made->projector || (part && i == PROJECTOR);
        made->llm = made->llm || (part && i == LLM);
        json_decref(part);
    }
    if (status == MORE_OK && made->vision && !made->projector)
        status = use_identity(made, config, error);
    return status == MORE_OK ? set_all(config, json_object_get(shape, "settings"), error) : status;
}

more_status synthetic_make(const char *text, core_config *config, synthetic *made, more_error *error)
{
    const char *colon = strrchr(text, ':');
    nn_storage format = NN_F16;
    char name[128];
    json_t *shape = NULL;
    *made = (synthetic){0};
    snprintf(name, sizeof name, "%.*s", colon ? (int)(colon - text) : (int)strlen(text), text);
    if (colon && !nn_storage_named(colon + 1, &format))
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "--synthetic %s: '%s' is no format of weights; want f32, f16, bf16, q8, q4 or q4_1", text,
                         colon + 1);
    more_status status = check_name(name, error);
    if (status == MORE_OK)
        status = load_shape(name, &shape, error);
    if (status == MORE_OK)
        status = make_parts(name, shape, format, config, made, error);
    json_decref(shape);
    return status;
}

void synthetic_remove(synthetic *made)
{
    static const char *const files[] = {"config.json", "preprocessor_config.json", "shapes.json"};
    if (!made->folder[0])
        return;
    for (int i = 0; i < PARTS; i++) {
        char *folder = core_path_join(made->folder, parts[i]);
        for (size_t k = 0; folder && k < sizeof files / sizeof *files; k++) {
            char *path = core_path_join(folder, files[k]);
            if (path)
                unlink(path);
            free(path);
        }
        if (folder)
            rmdir(folder);
        free(folder);
    }
    rmdir(made->folder);
    made->folder[0] = '\0';
}
