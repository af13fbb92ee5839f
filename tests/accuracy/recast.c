/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes a .safetensors file again with its f16 tensors as f32 (exactly) or as bf16 (rounded to nearest even), for
 * comparing formats on models that are stored as f16.
 *
 *     recast f32|bf16 FROM TO
 */
#include "half.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct recast {
    const char *type; /* "F32" or "BF16" */
    size_t bytes;     /* of one of its elements */
    const unsigned char *data;
    size_t size;
    json_t *head; /* of the new file */
    FILE *body;   /* its data */
} recast;

static int fail(const char *path, const char *reason)
{
    fprintf(stderr, "recast: %s: %s\n", path, reason);
    return 1;
}

/* The whole file; NULL when it cannot be read. */
static unsigned char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    unsigned char *data = NULL;
    if (file && !fseek(file, 0, SEEK_END)) {
        long end = ftell(file);
        rewind(file);
        data = end > 0 ? malloc((size_t)end) : NULL;
        *size = data ? fread(data, 1, (size_t)end, file) : 0;
    }
    if (file)
        fclose(file);
    return data;
}

static int write_values(recast *self, size_t begin, size_t end)
{
    for (size_t at = begin; at < end; at += sizeof(uint16_t)) {
        uint16_t half;
        memcpy(&half, self->data + at, sizeof half);
        float value = nn_f16_to_f32(half);
        uint16_t rounded = nn_f32_to_bf16(value);
        if (fwrite(self->bytes == 4 ? (const void *)&value : &rounded, self->bytes, 1, self->body) != 1)
            return 1;
    }
    return 0;
}

static int add_tensor(recast *self, const char *name, json_t *about)
{
    size_t begin = (size_t)json_integer_value(json_array_get(json_object_get(about, "data_offsets"), 0));
    size_t end = (size_t)json_integer_value(json_array_get(json_object_get(about, "data_offsets"), 1));
    const char *type = json_string_value(json_object_get(about, "dtype"));
    if (!type || strcmp(type, "F16") || begin > end || end > self->size || (end - begin) % 2)
        return fail(name, "not a tensor of f16");
    size_t first = (size_t)ftell(self->body), bytes = (end - begin) / 2 * self->bytes;
    json_object_set_new(self->head, name,
                        json_pack("{s:s, s:O, s:[I, I]}", "dtype", self->type, "shape", json_object_get(about, "shape"),
                                  "data_offsets", (json_int_t)first, (json_int_t)(first + bytes)));
    return write_values(self, begin, end);
}

static int convert(recast *self, json_t *head)
{
    const char *name;
    json_t *about;
    json_object_foreach(head, name, about)
    {
        if (!strcmp(name, "__metadata__"))
            json_object_set(self->head, name, about);
        else if (add_tensor(self, name, about))
            return 1;
    }
    return 0;
}

static int write_file(const char *path, const json_t *head, const char *body, size_t size)
{
    char *text = json_dumps(head, JSON_COMPACT);
    uint64_t length = text ? strlen(text) : 0;
    FILE *file = text ? fopen(path, "wb") : NULL;
    int failed = !file || fwrite(&length, sizeof length, 1, file) != 1 || fwrite(text, length, 1, file) != 1 ||
                 fwrite(body, 1, size, file) != size;
    if (file && fclose(file))
        failed = 1;
    free(text);
    return failed ? fail(path, "cannot be written") : 0;
}

int main(int count, char **arguments)
{
    size_t size = 0, made = 0;
    uint64_t length = 0;
    char *body = NULL;
    int failed = 1;
    if (count != 4 || (strcmp(arguments[1], "f32") && strcmp(arguments[1], "bf16")))
        return fprintf(stderr, "usage: recast f32|bf16 FROM TO\n"), 2;
    bool wide = !strcmp(arguments[1], "f32");
    unsigned char *data = read_file(arguments[2], &size);
    if (data && size > sizeof length)
        memcpy(&length, data, sizeof length);
    json_t *head = length && length < size - sizeof length
                       ? json_loadb((const char *)data + sizeof length, length, 0, NULL)
                       : NULL;
    recast self = {.type = wide ? "F32" : "BF16", .bytes = wide ? 4 : 2, .head = json_object()};
    if (!head) {
        fail(arguments[2], "not a .safetensors file");
    } else {
        self.data = data + sizeof length + length;
        self.size = size - sizeof length - length;
        self.body = open_memstream(&body, &made);
        failed = !self.body || convert(&self, head);
        if (self.body && fclose(self.body))
            failed = 1;
        if (!failed)
            failed = write_file(arguments[3], self.head, body, made);
    }
    json_decref(self.head);
    json_decref(head);
    free(body);
    free(data);
    return failed;
}
