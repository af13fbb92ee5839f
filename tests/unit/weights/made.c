/* SPDX-License-Identifier: Apache-2.0 */
#include "made.h"

#include "base/file.h"
#include <dirent.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *made_folder(void)
{
    const char *top = getenv("TMPDIR");
    char *folder = core_path_join(top && *top ? top : "/tmp", "llavamore-test-XXXXXX");
    if (!folder || !mkdtemp(folder)) {
        perror("a temporary folder");
        exit(99);
    }
    return folder;
}

static void remove_all(const char *path)
{
    DIR *folder = opendir(path);
    struct dirent *item;
    while (folder && (item = readdir(folder))) {
        if (!strcmp(item->d_name, ".") || !strcmp(item->d_name, ".."))
            continue;
        char *inner = core_path_join(path, item->d_name);
        if (core_folder_exists(inner))
            remove_all(inner);
        else
            unlink(inner);
        free(inner);
    }
    if (folder)
        closedir(folder);
    rmdir(path);
}

void made_remove(char *folder)
{
    remove_all(folder);
    free(folder);
}

void made_file(const char *folder, const char *name, const void *bytes, size_t size)
{
    more_error error = {{0}};
    char *path = core_path_join(folder, name);
    for (char *slash = strchr(path + strlen(folder) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0777);
        *slash = '/';
    }
    if (core_file_write(path, bytes, size, &error) != MORE_OK) {
        fprintf(stderr, "%s\n", error.message);
        exit(99);
    }
    free(path);
}

void made_text(const char *folder, const char *name, const char *text)
{
    made_file(folder, name, text, strlen(text));
}

core_buffer made_safetensors(const char *header, const void *data, size_t size)
{
    core_buffer file = {0};
    unsigned char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)strlen(header) >> (8 * i));
    core_buffer_append(&file, length, 8);
    core_buffer_text(&file, header);
    core_buffer_append(&file, data, size);
    return file;
}

void made_weights(const char *folder, const char *name, const char *header, const void *data, size_t size)
{
    core_buffer file = made_safetensors(header, data, size);
    made_file(folder, name, file.data, file.size);
    core_buffer_free(&file);
}
