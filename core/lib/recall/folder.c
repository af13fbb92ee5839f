/* SPDX-License-Identifier: Apache-2.0 */
#include "recall/folder.h"

#include "base/file.h"
#include "recall/trim.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORM_VERSION 1
#define ELEMENTS_F32 0
#define MOST_BYTES ((int64_t)1 << 30) /* of one file; no picture has as many */

static const char magic[8] = {'l', 'l', 'a', 'v', 'a', 'm', 'o', 'r'};

typedef struct entry_header {
    char magic[8];
    uint32_t version, elements;
    int64_t rows, width;
    core_digest name;
} entry_header;

_Static_assert(sizeof(entry_header) == 64, "the header has no padding and keeps the rows aligned");

more_status core_visual_folder_open(core_visual_folder *folder, const char *path, more_error *error)
{
    if (mkdir(path, 0700) && errno != EEXIST)
        return more_fail(error, MORE_ERROR_IO, "[runtime] feature_cache: %s: %s", path, strerror(errno));
    if (!core_folder_exists(path))
        return more_fail(error, MORE_ERROR_IO, "[runtime] feature_cache: %s is no folder", path);
    folder->path = strdup(path);
    return folder->path ? MORE_OK : more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", path);
}

void core_visual_folder_close(core_visual_folder *folder)
{
    free(folder->path);
    *folder = (core_visual_folder){0};
}

/* Name and path of a picture's file; the caller frees the path. */
static char *entry_path(const core_visual_folder *folder, const core_digest *content, core_digest *name)
{
    char text[65];
    core_buffer path = {0};
    if (core_digest_of_both(folder->settings.bytes, sizeof folder->settings.bytes, content->bytes,
                            sizeof content->bytes, name, NULL) != MORE_OK)
        return NULL;
    core_digest_text(name, text);
    core_buffer_format(&path, "%s/%s" CORE_ENTRY_ENDING, folder->path, text);
    return core_buffer_take(&path);
}

static bool all_finite(const core_visual *visual, int64_t width)
{
    for (int64_t i = 0; i < visual->count * width; i++)
        if (!isfinite(visual->rows[i]))
            return false;
    return true;
}

/* ---- Reading ---------------------------------------------------------------------------------------------------- */

static bool read_all(int file, void *bytes, size_t size)
{
    for (char *to = bytes; size;) {
        ssize_t got = read(file, to, size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        to += got;
        size -= (size_t)got;
    }
    return true;
}

/* What is wrong with the header, or with a file of `size` bytes under it; NULL = nothing. */
static const char *header_fault(const core_visual_folder *folder, const entry_header *header, const core_digest *name,
                                int64_t size)
{
    int64_t bytes;
    if (memcmp(header->magic, magic, sizeof magic) != 0)
        return "is no file of features";
    if (header->version != FORM_VERSION || header->elements != ELEMENTS_F32)
        return "is in the form of another version";
    if (!core_digest_equal(&header->name, name))
        return "holds the features of another picture";
    if (header->width != folder->width)
        return "has rows of another width";
    if (header->rows < 1 || __builtin_mul_overflow(header->rows, header->width * (int64_t)sizeof(float), &bytes) ||
        bytes != size - (int64_t)(sizeof *header + sizeof(core_digest)))
        return "is not as long as its header says";
    return NULL;
}

/* Header, rows and checksum of an opened file. NULL, or what is wrong with it. */
static const char *read_entry(const core_visual_folder *folder, int file, const core_digest *name, core_visual *visual)
{
    struct stat about;
    entry_header header;
    core_digest stored, found;
    if (fstat(file, &about) || !S_ISREG(about.st_mode))
        return "is no ordinary file";
    if (about.st_size > MOST_BYTES || !read_all(file, &header, sizeof header))
        return "is not as long as its header says";
    const char *fault = header_fault(folder, &header, name, about.st_size);
    if (fault)
        return fault;
    if (!core_visual_create(visual, header.rows, header.width))
        return "finds no memory";
    size_t bytes = (size_t)(header.rows * header.width) * sizeof *visual->rows;
    if (!read_all(file, visual->rows, bytes) || !read_all(file, &stored, sizeof stored))
        return "cannot be read to its end";
    if (core_digest_of_both(&header, sizeof header, visual->rows, bytes, &found, NULL) != MORE_OK ||
        !core_digest_equal(&stored, &found))
        return "does not have the checksum that it says";
    return all_finite(visual, header.width) ? NULL : "has numbers that are not finite";
}

bool core_visual_folder_read(core_visual_folder *folder, const core_digest *content, core_visual *visual)
{
    core_digest name;
    char *path = entry_path(folder, content, &name);
    /* A pipe in its place must not hold us up, and a link must not lead elsewhere. */
    int file = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
    bool absent = file < 0 && (!path || errno == ENOENT);
    const char *fault = file < 0 ? strerror(errno) : read_entry(folder, file, &name, visual);
    if (file >= 0 && !fault)
        futimens(file, NULL); /* whoever may not do so still reads */
    if (file >= 0)
        close(file);
    if (fault) {
        core_visual_free(visual);
        if (!absent)
            core_log(folder->host, MORE_LOG_WARNING, "feature_cache", "%s %s: the picture is encoded again", path,
                     fault);
    } else {
        visual->content = *content;
    }
    free(path);
    return !fault;
}

/* ---- Writing ---------------------------------------------------------------------------------------------------- */

static void tell(core_visual_folder *folder, const char *path, const char *reason)
{
    if (!folder->told)
        core_log(folder->host, MORE_LOG_WARNING, "feature_cache", "%s: features are not kept: %s", path, reason);
    folder->told = true;
}

/* Writes the entry under a name of its own and gives it its place. errno says why it failed. */
static bool write_entry(const core_visual_folder *folder, const entry_header *header, const core_visual *visual,
                        const core_digest *checksum, const char *path)
{
    core_buffer name = {0};
    core_buffer_format(&name, "%s/" CORE_ENTRY_UNFINISHED "XXXXXX", folder->path);
    int file = name.failed ? -1 : mkostemp(name.data, O_CLOEXEC);
    bool done = file >= 0 && core_write_all(file, header, sizeof *header) &&
                core_write_all(file, visual->rows, (size_t)(header->rows * header->width) * sizeof *visual->rows) &&
                core_write_all(file, checksum, sizeof *checksum);
    if (file >= 0)
        done &= close(file) == 0;
    done = done && rename(name.data, path) == 0;
    int reason = errno;
    if (!done && file >= 0)
        unlink(name.data);
    core_buffer_free(&name);
    errno = reason;
    return done;
}

void core_visual_folder_write(core_visual_folder *folder, const core_visual *visual)
{
    entry_header header = {
        .version = FORM_VERSION, .elements = ELEMENTS_F32, .rows = visual->count, .width = folder->width};
    core_digest checksum;
    int64_t bytes = visual->count * folder->width * (int64_t)sizeof *visual->rows;
    int64_t size = bytes + (int64_t)(sizeof header + sizeof checksum);
    if (size > MOST_BYTES || (folder->limit && size > folder->limit) || !all_finite(visual, folder->width))
        return;
    memcpy(header.magic, magic, sizeof magic);
    char *path = entry_path(folder, &visual->content, &header.name);
    if (!path || core_digest_of_both(&header, sizeof header, visual->rows, (size_t)bytes, &checksum, NULL) != MORE_OK)
        tell(folder, folder->path, "out of memory");
    else if (!write_entry(folder, &header, visual, &checksum, path))
        tell(folder, folder->path, strerror(errno));
    else if (folder->limit)
        core_folder_trim(folder->path, folder->limit);
    free(path);
}
