/* SPDX-License-Identifier: Apache-2.0 */
#include "loader.h"

#include "internal.h"

#include <string.h>

#define NAME_SIZE 128 /* bytes of the longest tensor name, the NUL included */

/* Writes `pattern` with its '*' replaced by the layer's number. */
static const char *expand(const char *pattern, int64_t layer, char name[NAME_SIZE])
{
    const char *star = strchr(pattern, '*');
    if (star)
        snprintf(name, NAME_SIZE, "%.*s%lld%s", (int)(star - pattern), pattern, (long long)layer, star + 1);
    else
        snprintf(name, NAME_SIZE, "%s", pattern);
    return name;
}

static void count_matrix(nn_loader *loader, int64_t rows, int64_t columns, nn_storage storage)
{
    loader->bytes += nn_on_host(loader->source->context) ? nn_matrix_bytes(rows, columns, storage)
                                                         : nn_device_matrix_bytes(rows, columns, storage);
}

static void count_vector(nn_loader *loader, int64_t count)
{
    loader->bytes += count * (int64_t)sizeof(float);
}

void nn_load_matrix(nn_loader *loader, const char *name, int64_t layer, int64_t rows, int64_t columns,
                    nn_matrix **matrix)
{
    nn_part part = {name, rows};
    nn_load_stacked(loader, &part, 1, layer, columns, matrix);
}

void nn_load_convolution(nn_loader *loader, const char *name, int64_t rows, int64_t columns, nn_matrix **matrix)
{
    const nn_source *source = loader->source;
    nn_source as_stored = *source;

    as_stored.quantise = NN_F32;
    loader->source = &as_stored;
    nn_load_matrix(loader, name, 0, rows, columns, matrix);
    loader->source = source;
}

void nn_load_stacked(nn_loader *loader, const nn_part *parts, int32_t count, int64_t layer, int64_t columns,
                     nn_matrix **matrix)
{
    char names[NN_MAX_PARTS][NAME_SIZE];
    const char *pointers[NN_MAX_PARTS];
    int64_t rows[NN_MAX_PARTS];
    int64_t total = 0;
    nn_storage storage;

    *matrix = NULL;
    if (loader->status)
        return;
    for (int32_t i = 0; i < count; i++) {
        pointers[i] = expand(parts[i].name, layer, names[i]);
        rows[i] = parts[i].rows;
        total += rows[i];
    }
    loader->status = nn_matrix_check(loader->source, count, pointers, rows, columns, &storage, loader->error);
    if (!loader->status)
        loader->status = nn_matrix_load_stacked(loader->source, count, pointers, rows, columns, matrix, loader->error);
    if (!loader->status)
        count_matrix(loader, total, columns, storage);
}

void nn_load_vector(nn_loader *loader, const char *name, int64_t layer, int64_t count, float **vector)
{
    char expanded[NAME_SIZE];

    *vector = NULL;
    if (loader->status)
        return;
    loader->status = nn_vector_load(loader->source, expand(name, layer, expanded), count, vector, loader->error);
    if (!loader->status)
        count_vector(loader, count);
}

void nn_load_stacked_vector(nn_loader *loader, const nn_part *parts, int32_t count, int64_t layer, float **vector)
{
    nn_context *context = loader->source->context;
    int64_t total = 0, first = 0;
    float *stack = NULL;

    *vector = NULL;
    for (int32_t i = 0; i < count; i++)
        total += parts[i].rows;
    if (!loader->status && !loader->source->metadata_only) {
        stack = nn_alloc_f32(context, total);
        if (!stack)
            loader->status = more_fail(loader->error, MORE_ERROR_MEMORY, "no memory for %lld values of %s",
                                       (long long)total, parts[0].name);
    }
    for (int32_t i = 0; i < count && !loader->status; i++) {
        float *part;
        nn_load_vector(loader, parts[i].name, layer, parts[i].rows, &part);
        if (part && stack)
            nn_copy(context, stack + first, part, (size_t)parts[i].rows * sizeof(float));
        nn_free(context, part);
        first += parts[i].rows;
    }
    if (loader->status) {
        nn_free(context, stack);
        return;
    }
    *vector = stack;
}

void nn_load_table(nn_loader *loader, const char *name, int64_t rows, int64_t columns, float **table)
{
    nn_storage storage;

    *table = NULL;
    if (!loader->status)
        loader->status = nn_matrix_check(loader->source, 1, &name, &rows, columns, &storage, loader->error);
    nn_load_vector(loader, name, 0, rows * columns, table);
}
