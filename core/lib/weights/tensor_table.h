/* SPDX-License-Identifier: Apache-2.0
 *
 * The tensors of one file, of whatever format, in an order of the file's and by name.
 */
#ifndef CORE_WEIGHTS_TENSOR_TABLE_H
#define CORE_WEIGHTS_TENSOR_TABLE_H

#include <llavamore/tensor.h>
#include <stddef.h>

/* One stored tensor, of any source. Owned by what gave it out. */
typedef struct core_tensor_entry {
    char *name;                   /* name in the file */
    const char *path;             /* file that holds it, for messages */
    const char *format;           /* constant text: "f32", "f16", "bf16", "f64", "i64", ... */
    int32_t rank;                 /* 0 to MORE_MAX_RANK */
    int64_t shape[MORE_MAX_RANK]; /* outermost first; every dimension >= 0, the product fits int64 */
    int64_t elements;             /* product of the shape */
    const unsigned char *data;    /* stored little-endian bytes, not necessarily aligned; NULL = synthetic */
    size_t bytes;                 /* size of the stored form */
    bool mapped;                  /* data lies in a read-only file mapping, whose pages may be dropped and come back */
    const struct core_delta *delta; /* what an adapter adds when it is read, see adapter/delta.h; NULL = nothing */
} core_tensor_entry;

typedef struct core_tensor_table {
    core_tensor_entry *entries; /* [count], their names owned */
    core_tensor_entry **sorted; /* [count], by name, once indexed */
    size_t count;
} core_tensor_table;

/* Room for `most` zeroed entries, none of which counts yet; false when out of memory. Freed in either case by
 * core_tensor_table_free. [one-thread-per-instance], as all that changes a table */
bool core_tensor_table_create(core_tensor_table *table, size_t most);
void core_tensor_table_free(core_tensor_table *table);
/* Puts the entries in the order of their bytes. */
void core_tensor_table_order(core_tensor_table *table);
/* Makes find work; the entries must stay where they are from then on. Gives an entry whose name stands in the table
 * twice, NULL when there is none. */
const core_tensor_entry *core_tensor_table_index(core_tensor_table *table);

/* NULL when absent; O(log n). [any-thread] */
const core_tensor_entry *core_tensor_table_find(const core_tensor_table *table, const char *name);

/* The same for pointers alone: sorts by name, and finds in what is sorted so. */
void core_tensor_sort(core_tensor_entry **sorted, size_t count);
core_tensor_entry *core_tensor_search(core_tensor_entry *const *sorted, size_t count, const char *name);

#endif
