/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/gguf/write.h"

#include "base/file.h"
#include "weights/gguf/values.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FORMAT_VERSION 3
#define NAME_LIMIT 63 /* GGML_MAX_NAME less its NUL */
#define MOST_DIMENSIONS 4

struct core_gguf_writer {
    char *path, *temporary;
    core_buffer pairs, infos; /* as they will lie in the file */
    uint64_t pair_count, info_count;
    char **names;       /* of tensors */
    uint64_t *ends;     /* of tensors, behind the header: where each one's bytes end, padding left out */
    uint64_t data_size; /* of all tensors, the last one's padding included */
    uint64_t done;      /* bytes of data written, padding included */
    uint64_t current;   /* tensor that the next byte belongs to */
    int fd;             /* -1 = closed */
    bool committed;
};

static more_status no_memory(const core_gguf_writer *writer, more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory for its header", writer->path);
}

static uint64_t aligned(uint64_t size)
{
    return (size + CORE_GGUF_ALIGNMENT - 1) / CORE_GGUF_ALIGNMENT * CORE_GGUF_ALIGNMENT;
}

core_gguf_writer *core_gguf_writer_create(const char *path)
{
    core_gguf_writer *writer = calloc(1, sizeof *writer);
    if (!writer)
        return NULL;
    writer->fd = -1;
    writer->path = strdup(path);
    if (writer->path)
        return writer;
    free(writer);
    return NULL;
}

void core_gguf_writer_free(core_gguf_writer *writer)
{
    if (!writer)
        return;
    if (writer->fd >= 0)
        close(writer->fd);
    if (writer->temporary && !writer->committed)
        unlink(writer->temporary);
    for (uint64_t i = 0; i < writer->info_count; i++)
        free(writer->names[i]);
    free(writer->names);
    free(writer->ends);
    core_buffer_free(&writer->pairs);
    core_buffer_free(&writer->infos);
    free(writer->temporary);
    free(writer->path);
    free(writer);
}

/* ---- Key-values ------------------------------------------------------------------------------------------------- */

static void append_number(core_buffer *buffer, uint64_t number, size_t width)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < width; i++)
        bytes[i] = (unsigned char)(number >> 8 * i);
    core_buffer_append(buffer, bytes, width);
}

static void append_text(core_buffer *buffer, const char *text, size_t size)
{
    append_number(buffer, size, 8);
    core_buffer_append(buffer, text, size);
}

static void begin_pair(core_gguf_writer *writer, const char *key, core_gguf_type type)
{
    append_text(&writer->pairs, key, strlen(key));
    append_number(&writer->pairs, (uint64_t)type, 4);
    writer->pair_count++;
}

void core_gguf_put_text(core_gguf_writer *writer, const char *key, const char *text)
{
    begin_pair(writer, key, CORE_GGUF_STRING);
    append_text(&writer->pairs, text, strlen(text));
}

void core_gguf_put_integer(core_gguf_writer *writer, const char *key, core_gguf_type type, int64_t value)
{
    begin_pair(writer, key, type);
    append_number(&writer->pairs, (uint64_t)value, core_gguf_width(type));
}

void core_gguf_add_real(core_gguf_writer *writer, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    append_number(&writer->pairs, bits, 4);
}

void core_gguf_put_real(core_gguf_writer *writer, const char *key, float value)
{
    begin_pair(writer, key, CORE_GGUF_F32);
    core_gguf_add_real(writer, value);
}

void core_gguf_put_array(core_gguf_writer *writer, const char *key, core_gguf_type type, uint64_t count)
{
    begin_pair(writer, key, CORE_GGUF_ARRAY);
    append_number(&writer->pairs, (uint64_t)type, 4);
    append_number(&writer->pairs, count, 8);
}

void core_gguf_add_text(core_gguf_writer *writer, const char *text, size_t size)
{
    append_text(&writer->pairs, text, size);
}

void core_gguf_add_integer(core_gguf_writer *writer, int32_t value)
{
    append_number(&writer->pairs, (uint32_t)value, 4);
}

void core_gguf_copy_array(core_gguf_writer *writer, const char *key, const core_gguf_array *array)
{
    const unsigned char *end = array->data;
    core_gguf_put_array(writer, key, array->type, array->count);
    for (uint64_t i = 0; i < array->count && array->type == CORE_GGUF_STRING; i++) {
        size_t size;
        core_gguf_next_text(&end, &size);
    }
    if (array->type != CORE_GGUF_STRING)
        end += array->count * core_gguf_width(array->type);
    core_buffer_append(&writer->pairs, array->data, (size_t)(end - array->data));
}

/* ---- Tensors ---------------------------------------------------------------------------------------------------- */

static more_status bad(const core_gguf_writer *writer, const char *name, const char *reason, more_error *error)
{
    return more_fail(error, MORE_ERROR_ARGUMENT, "%s: tensor '%.100s': %s", writer->path, name, reason);
}

static more_status check_tensor(const core_gguf_writer *writer, const char *name, const core_gguf_format *format,
                                int32_t rank, const int64_t *shape, more_error *error)
{
    if (!*name || strlen(name) > NAME_LIMIT)
        return bad(writer, name, "a name has 1 to 63 bytes in a GGUF file", error);
    for (uint64_t i = 0; i < writer->info_count; i++)
        if (!strcmp(writer->names[i], name))
            return bad(writer, name, "stands in the file already", error);
    if (rank < 1 || rank > MOST_DIMENSIONS)
        return bad(writer, name, "a tensor has 1 to 4 dimensions in a GGUF file", error);
    if (shape[rank - 1] % format->block)
        return bad(writer, name, "its rows are no whole blocks", error);
    return MORE_OK;
}

/* Room for one more tensor. */
static bool grow(core_gguf_writer *writer)
{
    uint64_t count = writer->info_count;
    if (count & (count - 1))
        return true;
    size_t room = count ? 2 * (size_t)count : 1;
    char **names = realloc(writer->names, room * sizeof *names);
    writer->names = names ? names : writer->names;
    uint64_t *ends = realloc(writer->ends, room * sizeof *ends);
    writer->ends = ends ? ends : writer->ends;
    return names && ends;
}

more_status core_gguf_add_tensor(core_gguf_writer *writer, const char *name, const core_gguf_format *format,
                                 int32_t rank, const int64_t *shape, more_error *error)
{
    int64_t elements = 1, bytes;
    more_status status = check_tensor(writer, name, format, rank, shape, error);
    if (status != MORE_OK)
        return status;
    for (int32_t i = 0; i < rank; i++)
        if (shape[i] < 1 || __builtin_mul_overflow(elements, shape[i], &elements))
            return bad(writer, name, "is empty, or too large", error);
    if (__builtin_mul_overflow(elements / format->block, (int64_t)format->bytes, &bytes))
        return bad(writer, name, "is too large", error);
    if (!grow(writer) || !(writer->names[writer->info_count] = strdup(name)))
        return no_memory(writer, error);
    append_text(&writer->infos, name, strlen(name));
    append_number(&writer->infos, (uint64_t)rank, 4);
    for (int32_t i = rank; i-- > 0;) /* the file has the innermost dimension first */
        append_number(&writer->infos, (uint64_t)shape[i], 8);
    append_number(&writer->infos, format->number, 4);
    append_number(&writer->infos, writer->data_size, 8);
    writer->ends[writer->info_count++] = writer->data_size + (uint64_t)bytes;
    writer->data_size = aligned(writer->data_size + (uint64_t)bytes);
    return MORE_OK;
}

static uint64_t header_size(const core_gguf_writer *writer)
{
    return aligned(4 + 4 + 8 + 8 + writer->pairs.size + writer->infos.size);
}

int64_t core_gguf_writer_bytes(const core_gguf_writer *writer)
{
    return (int64_t)(header_size(writer) + writer->data_size);
}

/* ---- The file --------------------------------------------------------------------------------------------------- */

static more_status system_error(const core_gguf_writer *writer, const char *what, more_error *error)
{
    return more_fail(error, errno == ENOENT || errno == ENOTDIR ? MORE_ERROR_NOT_FOUND : MORE_ERROR_IO,
                     "%s: can't %s: %s", writer->path, what, strerror(errno));
}

static more_status write_all(const core_gguf_writer *writer, const void *bytes, size_t size, more_error *error)
{
    return core_write_all(writer->fd, bytes, size) ? MORE_OK : system_error(writer, "write", error);
}

static more_status write_zeros(core_gguf_writer *writer, uint64_t count, more_error *error)
{
    static const char zeros[CORE_GGUF_ALIGNMENT];
    return write_all(writer, zeros, (size_t)count, error);
}

/* A file of this process beside the one that it becomes. */
static more_status create(core_gguf_writer *writer, more_error *error)
{
    core_buffer name = {0};
    core_buffer_format(&name, "%s.%ld.tmp", writer->path, (long)getpid());
    writer->temporary = core_buffer_take(&name);
    if (!writer->temporary)
        return no_memory(writer, error);
    writer->fd = open(writer->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (writer->fd >= 0)
        return MORE_OK;
    more_status status = system_error(writer, "create", error);
    free(writer->temporary);
    writer->temporary = NULL;
    return status;
}

more_status core_gguf_writer_begin(core_gguf_writer *writer, more_error *error)
{
    core_buffer head = {0};
    core_buffer_text(&head, "GGUF");
    append_number(&head, FORMAT_VERSION, 4);
    append_number(&head, writer->info_count, 8);
    append_number(&head, writer->pair_count, 8);
    uint64_t used = head.size + writer->pairs.size + writer->infos.size;
    more_status status =
        head.failed || writer->pairs.failed || writer->infos.failed ? no_memory(writer, error) : create(writer, error);
    if (status == MORE_OK)
        status = write_all(writer, head.data, head.size, error);
    if (status == MORE_OK)
        status = write_all(writer, writer->pairs.data, writer->pairs.size, error);
    if (status == MORE_OK)
        status = write_all(writer, writer->infos.data, writer->infos.size, error);
    if (status == MORE_OK)
        status = write_zeros(writer, header_size(writer) - used, error);
    core_buffer_free(&head);
    return status;
}

more_status core_gguf_writer_data(core_gguf_writer *writer, const void *bytes, size_t size, more_error *error)
{
    const char *at = bytes;
    while (size) {
        if (writer->current >= writer->info_count)
            return more_fail(error, MORE_ERROR_INTERNAL, "%s: %zu bytes more than its tensors have", writer->path,
                             size);
        uint64_t end = writer->ends[writer->current], left = end - writer->done;
        size_t some = left < size ? (size_t)left : size;
        more_status status = write_all(writer, at, some, error);
        if (status == MORE_OK && some == left)
            status = write_zeros(writer, aligned(end) - end, error);
        if (status != MORE_OK)
            return status;
        writer->done = some == left ? aligned(end) : writer->done + some;
        writer->current += some == left;
        at += some;
        size -= some;
    }
    return MORE_OK;
}

int64_t core_gguf_writer_done(const core_gguf_writer *writer)
{
    return (int64_t)(header_size(writer) + writer->done);
}

more_status core_gguf_writer_end(core_gguf_writer *writer, more_error *error)
{
    if (writer->done != writer->data_size)
        return more_fail(error, MORE_ERROR_INTERNAL, "%s: %" PRIu64 " of %" PRIu64 " bytes of tensors were given",
                         writer->path, writer->done, writer->data_size);
    if (fsync(writer->fd) < 0)
        return system_error(writer, "write", error);
    int fd = writer->fd;
    writer->fd = -1;
    return close(fd) < 0 ? system_error(writer, "write", error) : MORE_OK;
}

const char *core_gguf_writer_temporary(const core_gguf_writer *writer)
{
    return writer->temporary;
}

more_status core_gguf_writer_commit(core_gguf_writer *writer, more_error *error)
{
    if (rename(writer->temporary, writer->path) < 0)
        return system_error(writer, "replace", error);
    writer->committed = true;
    char *folder = core_path_folder(writer->path);
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) { /* the name too should survive a loss of power; not every file system can promise it */
        fsync(fd);
        close(fd);
    }
    free(folder);
    return MORE_OK;
}
