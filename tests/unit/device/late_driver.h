/* SPDX-License-Identifier: Apache-2.0
 *
 * What late_driver.so exports beside the driver's entry points; a test finds these by dlsym.
 */
#ifndef LATE_DRIVER_H
#define LATE_DRIVER_H

/* Sets what cuInit finds from now on: devices, and bytes of memory of each; and forgets misuses and failures. */
typedef void (*late_reset_function)(int devices, unsigned long long bytes);
/* Memory, pinned memory, streams, events and contexts that are not given back. */
typedef int (*late_live_function)(void);
/* Memory freed while queued work needed it, streams destroyed so, and handles that are none. */
typedef int (*late_misuses_function)(void);
/* Lets the next call of the entry point return this. */
typedef void (*late_fail_function)(const char *entry, int result);
/* Bytes of the device that are allocated now. */
typedef unsigned long long (*late_used_function)(int device);

#endif
