/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static more_status system_error(const char *path, const char *doing, more_error *error)
{
    int code = errno;
    more_status status = code == ENOENT || code == ENOTDIR ? MORE_ERROR_NOT_FOUND : MORE_ERROR_IO;
    return more_fail(error, status, "%s: cannot %s: %s", path, doing, strerror(code));
}

static more_status open_regular(const char *path, int *descriptor, size_t *size, more_error *error)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return system_error(path, "open", error);
    if (fstat(fd, &status) < 0) {
        more_status result = system_error(path, "read", error);
        close(fd);
        return result;
    }
    if (!S_ISREG(status.st_mode)) {
        close(fd);
        return more_fail(error, MORE_ERROR_IO, "%s: is %s, not a file", path,
                         S_ISDIR(status.st_mode) ? "a folder" : "a device or pipe");
    }
    *descriptor = fd;
    *size = (size_t)status.st_size;
    return MORE_OK;
}

/* What `git clone` leaves in a file's place where git-lfs is not installed: a few lines of text. */
static more_status refuse_pointer(const char *path, const void *data, size_t size, more_error *error)
{
    static const char mark[] = "version https://git-lfs.github.com/spec/";
    if (size < sizeof mark - 1 || memcmp(data, mark, sizeof mark - 1) != 0)
        return MORE_OK;
    return more_fail(error, MORE_ERROR_CORRUPT,
                     "%s: is a pointer of Git LFS, not the file itself: run 'git lfs pull' in its folder", path);
}

more_status core_map_open(const char *path, core_map *map, more_error *error)
{
    int fd = -1;
    more_status status = open_regular(path, &fd, &map->size, error);
    map->data = NULL;
    if (status != MORE_OK)
        return status;
    if (map->size) {
        void *data = mmap(NULL, map->size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status = system_error(path, "map", error);
        else
            map->data = data;
    }
    close(fd);
    if (status == MORE_OK && (status = refuse_pointer(path, map->data, map->size, error)) != MORE_OK)
        core_map_close(map);
    return status;
}

void core_map_close(core_map *map)
{
    if (map->data)
        munmap((void *)(uintptr_t)map->data, map->size);
    *map = (core_map){0};
}

static more_status read_descriptor(int fd, const char *path, size_t limit, core_buffer *buffer, more_error *error)
{
    char block[65536];
    size_t total = 0;
    for (;;) {
        ssize_t got = read(fd, block, sizeof block);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return system_error(path, "read", error);
        if (got == 0)
            break;
        total += (size_t)got;
        if (total > limit)
            return more_fail(error, MORE_ERROR_MEMORY, "%s: is larger than the %zu bytes allowed here", path, limit);
        core_buffer_append(buffer, block, (size_t)got);
    }
    core_buffer_append(buffer, "", 0);
    if (buffer->failed)
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory after %zu bytes", path, total);
    return MORE_OK;
}

more_status core_file_read(const char *path, size_t limit, core_buffer *buffer, more_error *error)
{
    if (!strcmp(path, "-"))
        return read_descriptor(STDIN_FILENO, "standard input", limit, buffer, error);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t before = buffer->size;
    if (fd < 0)
        return system_error(path, "open", error);
    more_status status = read_descriptor(fd, path, limit, buffer, error);
    close(fd);
    return status == MORE_OK ? refuse_pointer(path, buffer->data + before, buffer->size - before, error) : status;
}

bool core_write_all(int fd, const void *bytes, size_t size)
{
    for (const char *from = bytes; size;) {
        ssize_t put = write(fd, from, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        from += put;
        size -= (size_t)put;
    }
    return true;
}

more_status core_file_write(const char *path, const void *bytes, size_t size, more_error *error)
{
    core_buffer name = {0};
    core_buffer_format(&name, "%s.%ld.tmp", path, (long)getpid());
    if (name.failed) {
        core_buffer_free(&name);
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", path);
    }
    more_status status = MORE_OK;
    int fd = open(name.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        status = system_error(path, "create", error);
        core_buffer_free(&name);
        return status;
    }
    if (!core_write_all(fd, bytes, size))
        status = system_error(path, "write", error);
    if (close(fd) < 0 && status == MORE_OK)
        status = system_error(path, "write", error);
    if (status == MORE_OK && rename(name.data, path) < 0)
        status = system_error(path, "replace", error);
    if (status != MORE_OK)
        unlink(name.data);
    core_buffer_free(&name);
    return status;
}

bool core_file_exists(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

bool core_folder_exists(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

char *core_path_join(const char *folder, const char *name)
{
    core_buffer path = {0};
    if (name[0] != '/' && folder[0])
        core_buffer_format(&path, "%s%s", folder, folder[strlen(folder) - 1] == '/' ? "" : "/");
    core_buffer_text(&path, name);
    return core_buffer_take(&path);
}

char *core_path_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}
