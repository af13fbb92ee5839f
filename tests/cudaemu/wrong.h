/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels that are wrong, each beside one that is right: y = 2 x of `count` numbers by one block of 128 threads.
 */
#ifndef CUDAEMU_WRONG_H
#define CUDAEMU_WRONG_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wrong_kernel {
    const char *name;
    int (*launch)(void *stream, bool right, const float *x, int count, float *y);
    int count;           /* 100 numbers end at a guard page, 99 leave room for one */
    const char *message; /* part of what the emulator says; NULL: nothing, but numbers are NaN */
} wrong_kernel;

extern const wrong_kernel wrong_kernels[];
extern const int wrong_kernel_count;

/* The wrong ones give NaNs where threads run backward, and where asynchronous copies are early. */
int wrong_order(void *stream, bool right, const float *x, int count, float *y);
int wrong_copy(void *stream, bool right, const float *x, int count, float *y);

/* Through a structure, whose pointers nobody looks at when it is launched. */
int wrong_double(void *stream, const float *x, int count, float *y);

#ifdef __cplusplus
}
#endif
#endif
