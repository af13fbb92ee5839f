/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/npy.h"

#include "base/file.h"
#include <stdlib.h>

#define NPY_ALIGNMENT 64 /* the data starts at a multiple of it */
#define NPY_PREAMBLE 10  /* magic, version and header length in bytes */

static void header(core_buffer *out, core_npy_type type, int rank, const int64_t *shape)
{
    core_buffer text = {0};
    core_buffer_format(&text, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                       type == CORE_NPY_F32 ? "<f4" : "<i4");
    for (int i = 0; i < rank; i++)
        core_buffer_format(&text, "%lld,%s", (long long)shape[i], i + 1 < rank ? " " : "");
    core_buffer_text(&text, "), }");
    while (!text.failed && (NPY_PREAMBLE + text.size + 1) % NPY_ALIGNMENT)
        core_buffer_text(&text, " ");
    core_buffer_text(&text, "\n");
    unsigned char length[2] = {(unsigned char)(text.size & 0xff), (unsigned char)(text.size >> 8)};
    core_buffer_append(out, "\x93NUMPY\x01\x00", 8);
    core_buffer_append(out, length, sizeof length);
    core_buffer_append(out, text.data, text.size);
    out->failed |= text.failed;
    core_buffer_free(&text);
}

more_status core_npy_write(const char *folder, const char *name, core_npy_type type, int rank, const int64_t *shape,
                           const void *data, more_error *error)
{
    size_t size = 4;
    for (int i = 0; i < rank; i++)
        size *= (size_t)shape[i];
    core_buffer file = {0};
    header(&file, type, rank, shape);
    core_buffer_append(&file, data, size);
    char *path = core_path_join(folder, name);
    more_status status = MORE_OK;
    if (file.failed || !path)
        status = more_fail(error, MORE_ERROR_MEMORY, "%s/%s: out of memory for %zu bytes", folder, name, size);
    else
        status = core_file_write(path, file.data, file.size, error);
    core_buffer_free(&file);
    free(path);
    return status;
}
