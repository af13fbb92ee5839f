/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernel tables of plain C in the shapes of the variants whose instructions a machine may lack: their tiling and
 * packing run everywhere.
 */
#ifndef TEST_NN_PLAIN_TABLES_H
#define TEST_NN_PLAIN_TABLES_H

#include "cpu/kernels.h"

enum { PLAIN_TABLES = 1 };
extern const nn_kernels *const plain_tables[PLAIN_TABLES];

#endif
