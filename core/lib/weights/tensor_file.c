/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/tensor_file.h"

#include "weights/torch/torch.h"
#include <stdlib.h>
#include <string.h>

enum { HEAD_SIZE = 264 }; /* a tar archive has its mark at byte 257 */

/* One of the three is there. */
struct core_tensor_file {
    core_safetensors *safetensors;
    core_torch *torch;
    core_gguf *gguf;
};

/* The first bytes of the file; what is wrong with it, the format's own reader finds. */
static size_t read_head(const char *path, unsigned char head[HEAD_SIZE])
{
    FILE *file = fopen(path, "re");
    size_t size = file ? fread(head, 1, HEAD_SIZE, file) : 0;
    if (file)
        fclose(file);
    return size;
}

/* A safetensors file begins with a length of 8 bytes, little-endian, and '{'; this comes first, since such a length may
 * look like another format's mark. */
static bool is_safetensors(const unsigned char *head, size_t size)
{
    return size >= 9 && !head[6] && !head[7] && head[8] == '{';
}

/* What torch.save wrote before 1.6: a pickle, or in its first versions a tar archive. */
static bool is_old_torch(const unsigned char *head, size_t size)
{
    return (size >= 2 && head[0] == 0x80 && head[1] <= 5) || (size >= 262 && !memcmp(head + 257, "ustar", 5));
}

more_status core_tensor_file_open(const char *path, core_tensor_file **file, more_error *error)
{
    unsigned char head[HEAD_SIZE];
    size_t size = read_head(path, head);
    *file = NULL;
    if (!is_safetensors(head, size) && is_old_torch(head, size))
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s: refused: PyTorch's format from before 1.6, whose pickle would have to be executed; load "
                         "it in PyTorch and save it again",
                         path);
    core_tensor_file *opened = calloc(1, sizeof *opened);
    if (!opened)
        return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", path);
    bool zip = !is_safetensors(head, size) && size >= 4 && !memcmp(head, "PK\3\4", 4);
    bool gguf = !is_safetensors(head, size) && core_gguf_is(head, size);
    more_status status = zip    ? core_torch_open(path, &opened->torch, error)
                         : gguf ? core_gguf_open(path, &opened->gguf, error)
                                : core_safetensors_open(path, &opened->safetensors, error);
    if (status == MORE_OK)
        *file = opened;
    else
        free(opened);
    return status;
}

void core_tensor_file_close(core_tensor_file *file)
{
    if (!file)
        return;
    core_safetensors_close(file->safetensors);
    core_torch_close(file->torch);
    core_gguf_close(file->gguf);
    free(file);
}

const char *core_tensor_file_format(const core_tensor_file *file)
{
    return file->torch ? "PyTorch" : file->gguf ? "GGUF" : "safetensors";
}

const core_gguf *core_tensor_file_gguf(const core_tensor_file *file)
{
    return file->gguf;
}

const core_tensor_table *core_tensor_file_tensors(const core_tensor_file *file)
{
    return file->torch  ? core_torch_tensors(file->torch)
           : file->gguf ? core_gguf_tensors(file->gguf)
                        : core_safetensors_tensors(file->safetensors);
}
