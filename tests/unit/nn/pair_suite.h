/* SPDX-License-Identifier: Apache-2.0
 *
 * The tests of 16-bit products, the same for every kind of instruction.
 */
#ifndef TEST_NN_PAIR_SUITE_H
#define TEST_NN_PAIR_SUITE_H

#include "cpu/kernels.h"

/* The variants in plain C. */
extern const nn_kernels nn_kernels_plain_bf16;
extern const nn_kernels nn_kernels_plain_amx;

/* Runs the suite on a variant in plain C, and on the variant of name `variant` where the CPU has it; a main's result.
 */
int run_pair_suite(const nn_kernels *plain, const char *variant);

#endif
