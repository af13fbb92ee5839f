/* SPDX-License-Identifier: Apache-2.0
 *
 * NumPy's .npy format, version 1.0, written: what `--dump` leaves for other implementations to be held against.
 */
#ifndef CORE_NPY_H
#define CORE_NPY_H

#include <llavamore/status.h>
#include <stddef.h>

typedef enum core_npy_type { CORE_NPY_F32, CORE_NPY_I32 } core_npy_type;

/* Writes a C-order array of little-endian elements to folder/name, whole or not at all. */
more_status core_npy_write(const char *folder, const char *name, core_npy_type type, int rank, const int64_t *shape,
                           const void *data, more_error *error);

#endif
