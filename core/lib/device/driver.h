/* SPDX-License-Identifier: Apache-2.0
 *
 * The NVIDIA driver, found at run time. The few types and numbers of it that are needed stand here, since machines
 * without CUDA's headers build this too.
 */
#ifndef CORE_DRIVER_H
#define CORE_DRIVER_H

#include <llavamore/status.h>
#include <stddef.h>

/* Of CUresult; 0 is success. */
enum { DRIVER_OUT_OF_MEMORY = 2, DRIVER_NO_DEVICE = 100 };

enum {
    DRIVER_PROCESSORS = 16, /* of CUdevice_attribute, as the two below */
    DRIVER_CAPABILITY_MAJOR = 75,
    DRIVER_CAPABILITY_MINOR = 76,
    DRIVER_POINTER_MEMORY = 2, /* of CUpointer_attribute */
    DRIVER_MEMORY_DEVICE = 2,  /* of CUmemorytype */
    DRIVER_STREAM_NON_BLOCKING = 1,
    DRIVER_EVENT_DISABLE_TIMING = 2
};

typedef unsigned long long driver_address; /* CUdeviceptr */

/* Contexts, streams and events are pointers to what the driver alone knows. */
typedef struct core_driver {
    void *library; /* NULL = not loaded */
    int (*error_name)(int result, const char **name);
    int (*error_text)(int result, const char **text);
    int (*start)(unsigned flags);
    int (*device_count)(int *count);
    int (*device_at)(int *device, int index);
    int (*device_name)(char *name, int size, int device);
    int (*device_attribute)(int *value, int attribute, int device);
    int (*device_memory)(size_t *bytes, int device);
    int (*context_retain)(void **context, int device);
    int (*context_release)(int device);
    int (*context_use)(void *context);
    int (*context_synchronize)(void);
    int (*memory_info)(size_t *free, size_t *total);
    int (*memory_allocate)(driver_address *memory, size_t bytes);
    int (*memory_free)(driver_address memory);
    int (*memory_set)(driver_address to, unsigned char value, size_t count, void *stream);
    int (*pinned_allocate)(void **memory, size_t bytes, unsigned flags);
    int (*pinned_free)(void *memory);
    int (*pointer_attribute)(void *value, int attribute, driver_address pointer);
    int (*copy)(driver_address to, driver_address from, size_t bytes, void *stream);
    int (*upload)(driver_address to, const void *from, size_t bytes, void *stream);
    int (*download)(void *to, driver_address from, size_t bytes, void *stream);
    int (*stream_create)(void **stream, unsigned flags);
    int (*stream_destroy)(void *stream);
    int (*stream_synchronize)(void *stream);
    int (*stream_wait)(void *stream, void *event, unsigned flags);
    int (*event_create)(void **event, unsigned flags);
    int (*event_destroy)(void *event);
    int (*event_record)(void *event, void *stream);
    int (*event_query)(void *event);
    int (*event_synchronize)(void *event);
} core_driver;

/* Loads $LLAVAMORE_CUDA_DRIVER, else libcuda.so.1, and starts it. Nothing is ever unloaded: the driver has threads of
 * its own. MORE_ERROR_NOT_FOUND with the reason as one line. */
more_status core_driver_open(core_driver *driver, more_error *error);
/* "out of memory (CUDA_ERROR_OUT_OF_MEMORY)", of a failure's number. */
const char *core_driver_message(const core_driver *driver, int result, char *text, size_t size);

#endif
