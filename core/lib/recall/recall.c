/* SPDX-License-Identifier: Apache-2.0 */
#include "recall/recall.h"

#include "base/clock.h"
#include "base/file.h"
#include "image/image.h"
#include "recall/folder.h"
#include "recall/settings.h"
#include "recall/visual_memory.h"
#include <stdlib.h>
#include <string.h>

#define MEMORY_LIMIT ((size_t)64 << 20) /* bytes: some five pictures of the largest models */

struct core_recall {
    pthread_mutex_t lock; /* held while pictures are encoded, so that no two chats compute the same */
    core_visual_memory memory;
    core_visual_folder folder; /* path NULL = none */
};

/* The pictures of one question. */
typedef struct picture_list {
    int32_t count;
    core_buffer *files;      /* [count], what was read here */
    llavamore_image *images; /* [count], all with bytes */
    core_visual *visuals;    /* [count], the caller's */
} picture_list;

/* ---- Made and freed --------------------------------------------------------------------------------------------- */

static more_status open_folder(core_recall *recall, const core_assembly *assembly, const char *path, more_error *error)
{
    core_buffer text = {0};
    core_visual_folder *folder = &recall->folder;
    *folder = (core_visual_folder){.limit = core_config_int64(assembly->config, "runtime", "feature_cache_limit") << 20,
                                   .width = assembly->language_info.width,
                                   .host = core_host_abi(assembly->host)};
    core_recall_settings(assembly, &text);
    more_status status = text.failed ? more_fail(error, MORE_ERROR_MEMORY, "out of memory for the feature cache")
                                     : core_digest_of(text.data, text.size, &folder->settings, error);
    core_buffer_free(&text);
    return status == MORE_OK ? core_visual_folder_open(folder, path, error) : status;
}

more_status core_recall_create(const core_assembly *assembly, core_recall **result, more_error *error)
{
    const char *path = core_config_string(assembly->config, "runtime", "feature_cache");
    core_recall *recall = calloc(1, sizeof *recall);
    *result = NULL;
    if (!recall)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory");
    pthread_mutex_init(&recall->lock, NULL);
    recall->memory.limit = MEMORY_LIMIT;
    recall->memory.width = assembly->language_info.width;
    more_status status = path && *path ? open_folder(recall, assembly, path, error) : MORE_OK;
    if (status == MORE_OK)
        *result = recall;
    else
        core_recall_destroy(recall);
    return status;
}

void core_recall_destroy(core_recall *recall)
{
    if (!recall)
        return;
    core_visual_memory_clear(&recall->memory);
    core_visual_folder_close(&recall->folder);
    pthread_mutex_destroy(&recall->lock);
    free(recall);
}

/* ---- Pictures --------------------------------------------------------------------------------------------------- */

static void free_list(picture_list *list)
{
    for (int32_t i = 0; list->files && i < list->count; i++)
        core_buffer_free(&list->files[i]);
    free(list->files);
    free(list->images);
}

/* Brings all bytes into memory and takes their digests. */
static more_status read_list(picture_list *list, const llavamore_image *images, more_error *error)
{
    list->files = calloc((size_t)list->count, sizeof *list->files);
    list->images = calloc((size_t)list->count, sizeof *list->images);
    more_status status =
        list->files && list->images ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "out of memory for the pictures");
    for (int32_t i = 0; i < list->count && status == MORE_OK; i++) {
        llavamore_image *image = &list->images[i];
        *image = images[i];
        if (image->path) {
            status = core_file_read(image->path, CORE_IMAGE_MAX_BYTES, &list->files[i], error);
            *image =
                (llavamore_image){.bytes = list->files[i].data, .size = list->files[i].size, .name = images[i].path};
        }
        if (status == MORE_OK)
            status = core_digest_of(image->bytes, image->size, &list->visuals[i].content, error);
    }
    return status;
}

/* Index of the first picture of the same content. */
static int32_t first_of(const picture_list *list, int32_t index)
{
    int32_t i = 0;
    while (!core_digest_equal(&list->visuals[i].content, &list->visuals[index].content))
        i++;
    return i;
}

/* From memory, else from disk. */
static bool find(core_recall *recall, core_visual *visual)
{
    core_digest content = visual->content;
    if (core_visual_memory_find(&recall->memory, &content, visual))
        return true;
    if (!recall->folder.path || !core_visual_folder_read(&recall->folder, &content, visual)) {
        visual->content = content;
        return false;
    }
    core_visual_memory_keep(&recall->memory, visual);
    return true;
}

/* Encodes the pictures named in wanted[count] and remembers them. */
static more_status encode(core_assembly *assembly, const picture_list *list, const int32_t *wanted, int32_t count,
                          const char *dump_folder, bool dump_layers, core_visual_times *times, more_error *error)
{
    core_recall *recall = assembly->recall;
    llavamore_image *images = calloc((size_t)count + 1, sizeof *images);
    core_visual *visuals = calloc((size_t)count + 1, sizeof *visuals);
    more_status status =
        images && visuals ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "out of memory for the pictures");
    for (int32_t i = 0; i < count && status == MORE_OK; i++)
        images[i] = list->images[wanted[i]];
    if (status == MORE_OK)
        status = core_visual_encode(assembly, images, count, dump_folder, dump_layers, visuals, times, error);
    for (int32_t i = 0; visuals && i < count; i++) {
        core_visual *visual = &list->visuals[wanted[i]];
        visuals[i].content = visual->content;
        *visual = visuals[i];
        if (status == MORE_OK)
            core_visual_memory_keep(&recall->memory, visual);
        if (status == MORE_OK && recall->folder.path)
            core_visual_folder_write(&recall->folder, visual);
    }
    free(images);
    free(visuals);
    return status;
}

static more_status see(core_assembly *assembly, picture_list *list, const char *dump_folder, bool dump_layers,
                       core_visual_times *times, more_error *error)
{
    int32_t *wanted = calloc((size_t)list->count, sizeof *wanted), count = 0;
    if (!wanted)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the pictures");
    for (int32_t i = 0; i < list->count; i++)
        if (dump_folder || (first_of(list, i) == i && !find(assembly->recall, &list->visuals[i])))
            wanted[count++] = i;
    more_status status =
        count ? encode(assembly, list, wanted, count, dump_folder, dump_layers, times, error) : MORE_OK;
    for (int32_t i = 0; i < list->count && status == MORE_OK; i++)
        if (!list->visuals[i].rows)
            list->visuals[i] = core_visual_share(&list->visuals[first_of(list, i)]);
    free(wanted);
    return status;
}

more_status core_recall_pictures(core_assembly *assembly, const llavamore_image *images, int32_t image_count,
                                 const char *dump_folder, bool dump_layers, core_visual *visuals,
                                 core_visual_times *times, more_error *error)
{
    core_recall *recall = assembly->recall;
    picture_list list = {.count = image_count, .visuals = visuals};
    if (!recall || !image_count) /* nothing to see, or nothing to see with, which encoding tells */
        return core_visual_encode(assembly, images, image_count, dump_folder, dump_layers, visuals, times, error);
    *times = (core_visual_times){0};
    double start = core_now_ms();
    more_status status = read_list(&list, images, error);
    double read_ms = core_now_ms() - start;
    pthread_mutex_lock(&recall->lock);
    if (status == MORE_OK)
        status = see(assembly, &list, dump_folder, dump_layers, times, error);
    pthread_mutex_unlock(&recall->lock);
    times->preprocess_ms += read_ms;
    free_list(&list);
    return status;
}
