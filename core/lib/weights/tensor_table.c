/* SPDX-License-Identifier: Apache-2.0 */
#include "weights/tensor_table.h"

#include <stdlib.h>
#include <string.h>

static int by_place(const void *a, const void *b)
{
    const core_tensor_entry *left = a, *right = b;
    if (left->data != right->data)
        return left->data < right->data ? -1 : 1;
    if (left->bytes != right->bytes)
        return left->bytes < right->bytes ? -1 : 1;
    return strcmp(left->name, right->name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(core_tensor_entry *const *)a)->name, (*(core_tensor_entry *const *)b)->name);
}

static int name_against_entry(const void *key, const void *member)
{
    return strcmp(key, (*(core_tensor_entry *const *)member)->name);
}

void core_tensor_sort(core_tensor_entry **sorted, size_t count)
{
    qsort(sorted, count, sizeof *sorted, by_name);
}

core_tensor_entry *core_tensor_search(core_tensor_entry *const *sorted, size_t count, const char *name)
{
    core_tensor_entry *const *found = bsearch(name, sorted, count, sizeof *sorted, name_against_entry);
    return found ? *found : NULL;
}

bool core_tensor_table_create(core_tensor_table *table, size_t most)
{
    *table = (core_tensor_table){.entries = calloc(most + 1, sizeof *table->entries),
                                 .sorted = calloc(most + 1, sizeof *table->sorted)};
    return table->entries && table->sorted;
}

void core_tensor_table_free(core_tensor_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->entries[i].name);
    free(table->entries);
    free(table->sorted);
    *table = (core_tensor_table){0};
}

void core_tensor_table_order(core_tensor_table *table)
{
    qsort(table->entries, table->count, sizeof *table->entries, by_place);
}

const core_tensor_entry *core_tensor_table_index(core_tensor_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        table->sorted[i] = &table->entries[i];
    core_tensor_sort(table->sorted, table->count);
    for (size_t i = 1; i < table->count; i++)
        if (!by_name(&table->sorted[i - 1], &table->sorted[i]))
            return table->sorted[i];
    return NULL;
}

const core_tensor_entry *core_tensor_table_find(const core_tensor_table *table, const char *name)
{
    return core_tensor_search(table->sorted, table->count, name);
}
