/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/torch/zip.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    END_SIZE = 22,       /* end of central directory record, its comment left out */
    LOCATOR_SIZE = 20,   /* zip64 end of central directory locator */
    END64_SIZE = 56,     /* zip64 end of central directory record */
    DIRECTORY_SIZE = 46, /* entry of the central directory, its name, extra and comment left out */
    LOCAL_SIZE = 30,     /* local header, the same */
    LONGEST_COMMENT = 65535
};

/* Where the archive's bytes are, and what its end says of the central directory. */
typedef struct archive {
    const unsigned char *bytes;
    uint64_t size;
    const char *path;
    uint64_t count, directory, directory_size;
} archive;

static uint64_t number(const unsigned char *at, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

static bool has_signature(const archive *zip, uint64_t offset, const char *signature)
{
    return offset <= zip->size && zip->size - offset >= 4 && !memcmp(zip->bytes + offset, signature, 4);
}

static more_status bad(const archive *zip, const char *what, more_error *error)
{
    return more_fail(error, MORE_ERROR_CORRUPT, "%s: zip archive: %s: the file is truncated or damaged", zip->path,
                     what);
}

/* The zip64 record, where the locator before the end record leads to one. */
static more_status read_end64(archive *zip, uint64_t end, more_error *error)
{
    if (end < LOCATOR_SIZE || !has_signature(zip, end - LOCATOR_SIZE, "PK\6\7"))
        return MORE_OK;
    uint64_t record = number(zip->bytes + end - LOCATOR_SIZE + 8, 8);
    if (record > end - LOCATOR_SIZE || end - LOCATOR_SIZE - record < END64_SIZE ||
        !has_signature(zip, record, "PK\6\6"))
        return bad(zip, "its zip64 locator leads nowhere", error);
    zip->count = number(zip->bytes + record + 32, 8);
    zip->directory_size = number(zip->bytes + record + 40, 8);
    zip->directory = number(zip->bytes + record + 48, 8);
    return MORE_OK;
}

static more_status read_end(archive *zip, more_error *error)
{
    uint64_t end = zip->size,
             last = zip->size > END_SIZE + LONGEST_COMMENT ? zip->size - END_SIZE - LONGEST_COMMENT : 0;
    bool found = false;
    while (!found && end-- > last)
        found = zip->size - end >= END_SIZE && has_signature(zip, end, "PK\5\6") &&
                number(zip->bytes + end + 20, 2) == zip->size - end - END_SIZE;
    if (!found)
        return bad(zip, "it has no end record", error);
    zip->count = number(zip->bytes + end + 10, 2);
    zip->directory_size = number(zip->bytes + end + 12, 4);
    zip->directory = number(zip->bytes + end + 16, 4);
    more_status status = read_end64(zip, end, error);
    if (status != MORE_OK)
        return status;
    if (zip->directory > end || zip->directory_size > end - zip->directory)
        return bad(zip, "its central directory lies outside the file", error);
    if (zip->count > zip->directory_size / DIRECTORY_SIZE)
        return bad(zip, "its central directory is too small for its entries", error);
    return MORE_OK;
}

/* Takes the 64-bit values out of the extra field for those that the entry leaves to it (all bits set). */
static bool read_extra64(const unsigned char *extra, size_t size, uint64_t *values[3])
{
    while (size >= 4) {
        size_t length = (size_t)number(extra + 2, 2);
        if (length > size - 4)
            return false;
        if (number(extra, 2) == 1) {
            const unsigned char *at = extra + 4;
            for (int i = 0; i < 3; i++) {
                if (*values[i] != UINT32_MAX)
                    continue;
                if ((size_t)(at - extra) + 8 > length + 4)
                    return false;
                *values[i] = number(at, 8);
                at += 8;
            }
            return true;
        }
        extra += 4 + length;
        size -= 4 + length;
    }
    return *values[0] != UINT32_MAX && *values[1] != UINT32_MAX && *values[2] != UINT32_MAX;
}

/* Finds the entry's bytes behind its local header, whose own sizes may be left open. */
static more_status find_data(const archive *zip, uint64_t header, core_zip_entry *entry, uint64_t size,
                             more_error *error)
{
    if (header > zip->directory || zip->directory - header < LOCAL_SIZE || !has_signature(zip, header, "PK\3\4"))
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: zip archive: entry '%.*s' has no header at byte %" PRIu64,
                         zip->path, (int)entry->length, entry->name, header);
    uint64_t data = header + LOCAL_SIZE + number(zip->bytes + header + 26, 2) + number(zip->bytes + header + 28, 2);
    if (data > zip->directory || size > zip->directory - data)
        return more_fail(error, MORE_ERROR_CORRUPT,
                         "%s: zip archive: entry '%.*s': its %" PRIu64 " bytes do not lie in the file: it is truncated "
                         "or lies",
                         zip->path, (int)entry->length, entry->name, size);
    entry->data = zip->bytes + data;
    entry->size = (size_t)size;
    return MORE_OK;
}

/* One entry of the central directory at *at, which moves behind it. */
static more_status read_entry(const archive *zip, const unsigned char **at, const unsigned char *end,
                              core_zip_entry *entry, more_error *error)
{
    const unsigned char *record = *at;
    if (end - record < DIRECTORY_SIZE || memcmp(record, "PK\1\2", 4) != 0)
        return bad(zip, "an entry of its central directory is cut off", error);
    uint64_t packed = number(record + 20, 4), size = number(record + 24, 4), header = number(record + 42, 4);
    size_t name = (size_t)number(record + 28, 2), extra = (size_t)number(record + 30, 2);
    size_t comment = (size_t)number(record + 32, 2);
    if ((size_t)(end - record) < DIRECTORY_SIZE + name + extra + comment)
        return bad(zip, "an entry of its central directory is cut off", error);
    if (!read_extra64(record + DIRECTORY_SIZE + name, extra, (uint64_t *[3]){&size, &packed, &header}))
        return bad(zip, "an entry's zip64 sizes are missing", error);
    entry->name = (const char *)record + DIRECTORY_SIZE;
    entry->length = name;
    entry->stored = !(number(record + 8, 2) & 1) && number(record + 10, 2) == 0;
    *at = record + DIRECTORY_SIZE + name + extra + comment;
    if (!entry->stored)
        return MORE_OK;
    if (packed != size)
        return bad(zip, "a stored entry has two sizes", error);
    return find_data(zip, header, entry, size, error);
}

static int compare(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order ? order : (a_length > b_length) - (a_length < b_length);
}

static int by_name(const void *a, const void *b)
{
    const core_zip_entry *left = a, *right = b;
    return compare(left->name, left->length, right->name, right->length);
}

more_status core_zip_read(const unsigned char *bytes, size_t size, const char *path, core_zip *zip, more_error *error)
{
    archive file = {.bytes = bytes, .size = size, .path = path};
    *zip = (core_zip){0};
    more_status status = read_end(&file, error);
    if (status != MORE_OK)
        return status;
    zip->entries = calloc((size_t)file.count + 1, sizeof *zip->entries);
    if (!zip->entries)
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory for %" PRIu64 " entries", path, file.count);
    const unsigned char *at = bytes + file.directory, *end = at + file.directory_size;
    while (zip->count < file.count && status == MORE_OK)
        status = read_entry(&file, &at, end, &zip->entries[zip->count++], error);
    if (status == MORE_OK) {
        qsort(zip->entries, zip->count, sizeof *zip->entries, by_name);
        for (size_t i = 1; i < zip->count && status == MORE_OK; i++)
            if (!by_name(&zip->entries[i - 1], &zip->entries[i]))
                status = more_fail(error, MORE_ERROR_CORRUPT, "%s: zip archive: two entries are named '%.*s'", path,
                                   (int)zip->entries[i].length, zip->entries[i].name);
    }
    if (status != MORE_OK)
        core_zip_free(zip);
    return status;
}

void core_zip_free(core_zip *zip)
{
    free(zip->entries);
    *zip = (core_zip){0};
}

const core_zip_entry *core_zip_find(const core_zip *zip, const char *name, size_t length)
{
    size_t first = 0, behind = zip->count;
    while (first < behind) {
        size_t middle = first + (behind - first) / 2;
        int order = compare(name, length, zip->entries[middle].name, zip->entries[middle].length);
        if (!order)
            return &zip->entries[middle];
        if (order < 0)
            behind = middle;
        else
            first = middle + 1;
    }
    return NULL;
}
