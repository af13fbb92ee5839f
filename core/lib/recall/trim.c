/* SPDX-License-Identifier: Apache-2.0 */
#include "recall/trim.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NAME_DIGITS 64
#define ABANDONED 3600 /* seconds */

typedef struct finished {
    char name[NAME_DIGITS + sizeof CORE_ENTRY_ENDING];
    struct timespec used;
    int64_t bytes;
} finished;

typedef struct listing {
    finished *files;
    size_t count, capacity;
    int64_t bytes;
} listing;

static bool is_finished(const char *name)
{
    return strspn(name, "0123456789abcdef") == NAME_DIGITS && !strcmp(name + NAME_DIGITS, CORE_ENTRY_ENDING);
}

static bool is_unfinished(const char *name)
{
    return !strncmp(name, CORE_ENTRY_UNFINISHED, sizeof CORE_ENTRY_UNFINISHED - 1) &&
           strlen(name) == sizeof CORE_ENTRY_UNFINISHED - 1 + 6;
}

static int by_use(const void *a, const void *b)
{
    const struct timespec *first = &((const finished *)a)->used, *second = &((const finished *)b)->used;
    if (first->tv_sec != second->tv_sec)
        return first->tv_sec < second->tv_sec ? -1 : 1;
    return (first->tv_nsec > second->tv_nsec) - (first->tv_nsec < second->tv_nsec);
}

static bool add(listing *list, const char *name, const struct stat *about)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        finished *files = realloc(list->files, capacity * sizeof *files);
        if (!files)
            return false;
        list->files = files;
        list->capacity = capacity;
    }
    finished *file = &list->files[list->count++];
    memcpy(file->name, name, sizeof file->name);
    file->used = about->st_mtim;
    file->bytes = about->st_size;
    list->bytes += about->st_size;
    return true;
}

/* Lists the finished files, and removes what was never finished. */
static void list_folder(DIR *folder, listing *list)
{
    struct stat about;
    time_t now = time(NULL);
    for (struct dirent *entry; (entry = readdir(folder));) {
        bool done = is_finished(entry->d_name);
        if ((!done && !is_unfinished(entry->d_name)) ||
            fstatat(dirfd(folder), entry->d_name, &about, AT_SYMLINK_NOFOLLOW) || !S_ISREG(about.st_mode))
            continue;
        if (!done && about.st_mtim.tv_sec < now - ABANDONED)
            unlinkat(dirfd(folder), entry->d_name, 0);
        else if (done && !add(list, entry->d_name, &about))
            return;
    }
}

void core_folder_trim(const char *path, int64_t limit)
{
    listing list = {0};
    DIR *folder = opendir(path);
    if (!folder)
        return;
    list_folder(folder, &list);
    if (list.bytes > limit)
        qsort(list.files, list.count, sizeof *list.files, by_use);
    for (size_t i = 0; i < list.count && list.bytes > limit; i++) {
        unlinkat(dirfd(folder), list.files[i].name, 0);
        list.bytes -= list.files[i].bytes;
    }
    free(list.files);
    closedir(folder);
}
