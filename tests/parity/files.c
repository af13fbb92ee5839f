/* SPDX-License-Identifier: Apache-2.0 */
#include "files.h"

#include "assembly/data.h"
#include "base/file.h"
#include "weights/checkpoint.h"
#include "weights/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <unistd.h>

more_checkpoint *files_part(const char *path, const more_tensor_map *map)
{
    more_checkpoint *whole = NULL, *part = NULL, *view = NULL;
    core_view mapped = {.map = map};
    core_layout *layout = NULL;
    more_error error = {""};
    char *layouts = core_data_folder("layouts");

    if (core_checkpoint_open(path, &whole, &error) || core_layout_find(layouts, whole, &layout, &error) ||
        core_layout_part(layout, whole, "language", &part, &error) ||
        core_checkpoint_view(part, &mapped, &view, &error))
        fail_msg("%s: %s", path, error.message);
    core_layout_free(layout);
    core_checkpoint_release(part);
    core_checkpoint_release(whole);
    free(layouts);
    return view;
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

static void set_all(llavamore_settings *settings, const char *const *pairs)
{
    more_error error = {{0}};
    char text[4600];
    for (; *pairs; pairs += 2) {
        const char *slash = strchr(pairs[1], '/');
        snprintf(text, sizeof text, "%s=%s", pairs[0], slash && slash != pairs[1] ? parity_path(pairs[1]) : pairs[1]);
        if (llavamore_settings_set(settings, text, &error))
            fail_msg("%s: %s", text, error.message);
    }
}

static void empty(const char *folder)
{
    struct dirent *entry;
    char path[512];
    DIR *list = opendir(folder);
    while (list && (entry = readdir(list))) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        unlink(path);
    }
    if (list)
        closedir(list);
    rmdir(folder);
}

files_answer files_ask(const char *const *pairs)
{
    llavamore_settings *settings = llavamore_settings_create(NULL);
    llavamore_model *model = NULL;
    llavamore_chat *chat = NULL;
    files_answer result = {0};
    more_error error = {{0}};
    char image[4096], path[512], folder[] = "/tmp/llavamore-asked-XXXXXX";

    set_all(settings, pairs);
    assert_non_null(mkdtemp(folder));
    snprintf(image, sizeof image, "%s", parity_path("pixels/images/cat.png"));
    llavamore_image picture = {.path = image};
    llavamore_question question = {
        .text = "What is shown?", .images = &picture, .image_count = 1, .dump_folder = folder};
    if (llavamore_model_open(settings, LLAVAMORE_OPEN_DEFAULT, &model, &error) ||
        llavamore_chat_create(model, &chat, &error) || llavamore_chat_ask(chat, &question, &result.answer, &error))
        fail_msg("%s", error.message);
    snprintf(path, sizeof path, "%s/visual_tokens.npy", folder);
    if (core_file_read(path, (size_t)1 << 24, &result.tokens, &error))
        fail_msg("%s", error.message);
    empty(folder);
    llavamore_chat_destroy(chat);
    llavamore_model_close(model);
    llavamore_settings_destroy(settings);
    return result;
}

void files_answer_clear(files_answer *answer)
{
    llavamore_answer_clear(&answer->answer);
    core_buffer_free(&answer->tokens);
}

/* ---- Folders of f32 numbers -------------------------------------------------------------------------------------- */

typedef void (*named_function)(more_checkpoint *view, const char *canonical, const char *name, void *context);

/* Calls `body` for every tensor that the view has, in the map's order. */
static void each_tensor(more_checkpoint *view, const more_tensor_map *map, int64_t layers, named_function body,
                        void *context)
{
    for (int32_t i = 0; i < map->count; i++) {
        const char *patterns[2] = {map->names[i].canonical, map->names[i].huggingface};
        if (!patterns[1])
            continue;
        for (int64_t layer = 0; layer < (strchr(patterns[0], '*') ? layers : 1); layer++) {
            more_weight_info info = {.struct_size = sizeof info};
            char names[2][160];
            for (int k = 0; k < 2; k++) {
                const char *star = strchr(patterns[k], '*');
                int before = (int)(star ? star - patterns[k] : (long)strlen(patterns[k]));
                snprintf(names[k], sizeof names[k], star ? "%.*s%d%s" : "%.*s", before, patterns[k], (int)layer,
                         star ? star + 1 : "");
            }
            if (!core_weights_service()->info(view, names[0], &info, NULL))
                body(view, names[0], names[1], context);
        }
    }
}

typedef struct written {
    json_t *header;
    json_int_t bytes;
    FILE *file;
} written;

static void describe(more_checkpoint *view, const char *canonical, const char *name, void *context)
{
    written *out = context;
    more_weight_info info = {.struct_size = sizeof info};
    json_t *shape = json_array();
    json_int_t bytes = 4;
    core_weights_service()->info(view, canonical, &info, NULL);
    for (int32_t i = 0; i < info.rank; i++) {
        json_array_append_new(shape, json_integer(info.shape[i]));
        bytes *= info.shape[i];
    }
    json_object_set_new(out->header, name,
                        json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", shape, "data_offsets", out->bytes,
                                  out->bytes + bytes));
    out->bytes += bytes;
}

static void append(more_checkpoint *view, const char *canonical, const char *name, void *context)
{
    written *out = context;
    more_weight_info info = {.struct_size = sizeof info};
    more_error error = {""};
    (void)name;
    core_weights_service()->info(view, canonical, &info, NULL);
    int64_t rows = info.rank < 2 ? 1 : info.shape[0];
    size_t count = (size_t)(rows * info.shape[info.rank - 1]);
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    if (core_weights_service()->read_rows(view, canonical, 0, rows, more_f32(), values, &error))
        fail_msg("%s", error.message);
    assert_int_equal(fwrite(values, sizeof *values, count, out->file), count);
    free(values);
}

char *files_write_f32(more_checkpoint *view, const more_tensor_map *map, int64_t layers)
{
    written out = {.header = json_object()};
    char *folder = strdup("/tmp/llavamore-f32-XXXXXX"), path[512];

    assert_true(folder && mkdtemp(folder));
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_int_equal(json_dump_file(core_checkpoint_config(view), path, 0), 0);
    each_tensor(view, map, layers, describe, &out);
    char *header = json_dumps(out.header, JSON_COMPACT);
    uint64_t size = strlen(header);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    out.file = fopen(path, "wb");
    assert_non_null(out.file);
    assert_int_equal(fwrite(&size, sizeof size, 1, out.file), 1);
    assert_int_equal(fwrite(header, 1, size, out.file), size);
    each_tensor(view, map, layers, append, &out);
    assert_int_equal(fclose(out.file), 0);
    free(header);
    json_decref(out.header);
    return folder;
}

void files_remove(char *folder)
{
    empty(folder);
    free(folder);
}
