/* SPDX-License-Identifier: Apache-2.0
 *
 * Files: mapped read-only, read whole, written whole or not at all; and paths.
 */
#ifndef CORE_FILE_H
#define CORE_FILE_H

#include "base/buffer.h"
#include <stdbool.h>

/* A read-only private mapping. Zero-initialise. */
typedef struct core_map {
    const unsigned char *data; /* NULL for an empty file */
    size_t size;
} core_map;

/* A pointer of Git LFS in a file's place is MORE_ERROR_CORRUPT, here and in core_file_read. */
more_status core_map_open(const char *path, core_map *map, more_error *error);
void core_map_close(core_map *map);

/* Appends the whole file; "-" is standard input. More than `limit` bytes is MORE_ERROR_MEMORY naming both. */
more_status core_file_read(const char *path, size_t limit, core_buffer *buffer, more_error *error);
/* Writes all bytes, in as many calls as the system takes; false with errno. [any-thread] */
bool core_write_all(int fd, const void *bytes, size_t size);
/* Writes a temporary file beside `path` and renames it, so that a failure leaves the old file whole. */
more_status core_file_write(const char *path, const void *bytes, size_t size, more_error *error);

bool core_file_exists(const char *path);
bool core_folder_exists(const char *path);
/* "folder/name", or name alone when it is absolute or folder is empty; the caller frees it. NULL = out of memory. */
char *core_path_join(const char *folder, const char *name);
/* The folder part of a path ("." when there is none); the caller frees it. NULL = out of memory. */
char *core_path_folder(const char *path);

#endif
