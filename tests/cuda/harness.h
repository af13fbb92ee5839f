/* SPDX-License-Identifier: Apache-2.0
 *
 * A device for the tests of kernels: the emulator's, or a real one where $LLAVAMORE_CUDA_DRIVER names none. Everything
 * fails the running test when the driver does.
 */
#ifndef TEST_CUDA_HARNESS_H
#define TEST_CUDA_HARNESS_H

#include <stddef.h>

/* Opens the driver, makes device 0 current and a stream; ends the program as skipped (exit 77) when there is none. */
void harness_open(void);
/* Fails when something was not freed. */
void harness_close(void);

/* Device memory of exactly so many bytes, aligned to 256 where they are a multiple of it and else to 16 (a real
 * device: always 256). 0 bytes is an address that nobody may touch. */
void *harness_upload(const void *host, size_t bytes);
void *harness_alloc(size_t bytes); /* filled with 0xFF: NaNs */
/* Waits for what is queued. */
void harness_download(void *host, const void *device, size_t bytes);
void harness_free(void *device); /* NULL is allowed */

/* What launchers are given. */
void *harness_stream(void);
/* Of a launcher: fails with the message when it is not 0. */
void harness_check(int error);

#endif
