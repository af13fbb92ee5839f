/* SPDX-License-Identifier: Apache-2.0 */
#include "assembly/data.h"

#include "base/file.h"
#include "base/json.h"
#include "base/suggest.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#define PRESET_ENDING ".ini"

char *core_data_folder(const char *name)
{
    const char *base = getenv(CORE_DATA_VARIABLE);
    return core_path_join(base && base[0] ? base : LLAVAMORE_DATA_DIR, name);
}

static int is_preset(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name), ending = strlen(PRESET_ENDING);
    return length > ending && !strcmp(entry->d_name + length - ending, PRESET_ENDING);
}

/* By name, the ending left out: "a.ini" before "a-b.ini". */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    size_t ending = strlen(PRESET_ENDING), left = strlen((*a)->d_name) - ending, right = strlen((*b)->d_name) - ending;
    int order = strncmp((*a)->d_name, (*b)->d_name, left < right ? left : right);
    return order ? order : (left > right) - (left < right);
}

/* Names with their ending, sorted; 0 where the folder cannot be read. */
static int list_presets(const char *folder, struct dirent ***entries)
{
    int count = scandir(folder, entries, is_preset, by_name);
    if (count < 0)
        *entries = NULL;
    return count < 0 ? 0 : count;
}

static void free_entries(struct dirent **entries, int count)
{
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
}

static more_status unknown_preset(const char *name, const char *folder, more_error *error)
{
    struct dirent **entries;
    int count = list_presets(folder, &entries);
    core_suggest nearest = core_suggest_for(name);
    core_buffer names = {0};
    for (int i = 0; i < count; i++) {
        entries[i]->d_name[strlen(entries[i]->d_name) - strlen(PRESET_ENDING)] = '\0';
        core_suggest_offer(&nearest, entries[i]->d_name);
        core_buffer_format(&names, "%s%s", i ? ", " : "", entries[i]->d_name);
    }
    more_status status = more_fail(
        error, MORE_ERROR_NOT_FOUND, "%s: no such file, and no preset of this name in %s%s; there %s %s", name, folder,
        core_suggest_text(&nearest), count == 1 ? "is" : "are", count && !names.failed ? names.data : "none");
    core_buffer_free(&names);
    free_entries(entries, count);
    return status;
}

more_status core_preset_locate(const char *name, char **path, more_error *error)
{
    *path = NULL;
    if (core_folder_exists(name))
        return more_fail(error, MORE_ERROR_ARGUMENT,
                         "%s: is a folder, not an INI file; 'llavamore-inspect --ini %s >my.ini' writes one for it",
                         name, name);
    if (strchr(name, '/') || core_file_exists(name) || !strcmp(name, "-")) {
        *path = strdup(name);
        return *path ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", name);
    }
    char *folder = core_data_folder("presets");
    core_buffer file = {0};
    core_buffer_format(&file, "%s/%s%s", folder ? folder : "", name, PRESET_ENDING);
    more_status status = MORE_OK;
    if (!folder || file.failed)
        status = more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", name);
    else if (!core_file_exists(file.data))
        status = unknown_preset(name, folder, error);
    else
        *path = core_buffer_take(&file);
    core_buffer_free(&file);
    free(folder);
    return status;
}

/* The first comment line of an INI file without its mark, "" where it does not begin with one. */
static void read_description(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    text[0] = '\0';
    if (!file)
        return;
    while (fgets(text, (int)size, file) && (text[0] == '#' || text[0] == ';')) {
        const char *start = text + strspn(text, "#; ");
        size_t length = strcspn(start, "\n");
        memmove(text, start, length);
        text[length] = '\0';
        if (length && strncmp(text, "SPDX", 4) != 0)
            break;
        text[0] = '\0';
    }
    fclose(file);
}

more_status core_preset_list(char **json, more_error *error)
{
    *json = NULL;
    char *folder = core_data_folder("presets");
    json_t *list = json_array();
    struct dirent **entries = NULL;
    int count = folder ? list_presets(folder, &entries) : 0;
    for (int i = 0; i < count; i++) {
        char description[512];
        char *path = core_path_join(folder, entries[i]->d_name);
        if (!path)
            break;
        read_description(path, description, sizeof description);
        int length = (int)(strlen(entries[i]->d_name) - strlen(PRESET_ENDING));
        json_array_append_new(list, json_pack("{s:s#, s:o, s:o}", "name", entries[i]->d_name, length, "path",
                                              core_json_text(path), "description", core_json_text(description)));
        free(path);
    }
    free_entries(entries, count);
    free(folder);
    if (list)
        *json = json_dumps(list, JSON_INDENT(2));
    json_decref(list);
    return *json ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "out of memory while listing presets");
}
