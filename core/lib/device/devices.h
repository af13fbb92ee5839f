/* SPDX-License-Identifier: Apache-2.0
 *
 * The devices behind llavamore.cuda/1: found at the first question, each one's context made at its first use.
 */
#ifndef CORE_DEVICES_H
#define CORE_DEVICES_H

#include "device/driver.h"
#include <llavamore/cuda.h>
#include <pthread.h>

typedef struct core_devices core_devices;

/* Nothing is looked for yet; NULL when out of memory. `host` is whose service this is. */
core_devices *core_devices_create(const more_host *host);
/* Waits for the devices and gives back all that is theirs; NULL is allowed. */
void core_devices_destroy(core_devices *devices);
/* The table, which finds the devices by core_host_devices(). */
const more_cuda_service *core_cuda_service(void);

/* ---- Between the files of this folder ---------------------------------------------------------------------------- */

enum { DEVICE_BUCKETS = 256 };

typedef struct device_block device_block;

/* Memory of a device by the caching allocator, see allocator.c. */
typedef struct device_memory {
    pthread_mutex_t lock;
    device_block *used[DEVICE_BUCKETS]; /* by address */
    device_block *kept[DEVICE_BUCKETS]; /* by size */
    int64_t used_bytes, peak_bytes, cached_bytes;
} device_memory;

typedef struct device_piece device_piece;

/* Pinned memory, see staging.c. */
typedef struct device_staging {
    pthread_mutex_t lock;
    device_piece *pieces;
    int64_t uploads; /* so far */
} device_staging;

typedef struct core_device {
    core_devices *devices;
    const core_driver *driver;
    int32_t number; /* as users count */
    int handle;     /* as the driver counts */
    char name[128];
    int32_t capability, processors;
    int64_t total_bytes;
    pthread_mutex_t lock; /* of the context's making */
    void *context;        /* NULL until first use */
    device_memory memory;
    device_staging staging;
} core_device;

struct core_devices {
    const more_host *host;
    pthread_mutex_t lock; /* of what follows, which is constant once it is known */
    bool sought;
    core_driver driver;
    core_device *list;
    int32_t count;
    more_error reason;         /* why there is none */
    pthread_mutex_t blas_lock; /* of what follows */
    bool blas_sought;
    void *blas; /* NULL = not found */
};

/* Looks for driver and devices, once; returns how many there are. */
int32_t core_devices_count(core_devices *devices);
/* The device with its context current in this thread. */
more_status core_devices_use(core_devices *devices, int32_t number, core_device **device, more_error *error);
/* MORE_OK, or MORE_ERROR_INTERNAL: "cuda:0 (NVIDIA H100): WHAT: the driver's word". */
more_status core_device_check(const core_device *device, int result, const char *what, more_error *error);

/* The device's context is current in all of these. */
more_status core_device_allocate(core_device *device, more_cuda_stream stream, size_t bytes, const char *what,
                                 void **memory, more_error *error);
void core_device_release(core_device *device, void *memory);
/* Nothing is queued on the stream any more: its blocks are everyone's, and those that are kept are freed. */
void core_device_forget_stream(core_device *device, more_cuda_stream stream);
/* Frees every block, also those that nobody gave back. */
void core_device_free_memory(core_device *device);

more_status core_device_stage_begin(core_device *device, void **piece, size_t *bytes, more_error *error);
more_status core_device_stage_end(core_device *device, more_cuda_stream stream, void *piece, void *to, size_t bytes,
                                  more_error *error);
/* Queues the upload of pageable memory, whose bytes are taken on return. */
more_status core_device_upload(core_device *device, more_cuda_stream stream, void *to, const void *from, size_t bytes,
                               more_error *error);
void core_device_free_staging(core_device *device);

void *core_devices_blas(core_devices *devices, const char *name);

#endif
