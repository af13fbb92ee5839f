/* SPDX-License-Identifier: Apache-2.0
 *
 * The way to a device: pieces of pinned memory, each with an event behind its last upload. A piece that somebody has is
 * nobody else's, and there are as many as are had at one time, so no thread waits for another's.
 */
#include "device/devices.h"

#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES ((size_t)4 << 20) /* a fifth of a millisecond over PCIe: long enough to fill it */
#define PIECES 4                      /* made before an upload is waited for */

struct device_piece {
    device_piece *next;
    void *memory;
    more_cuda_event event;
    int64_t upload; /* number of its last one, from 1; 0 = none yet */
    bool taken;
};

static void free_piece(const core_device *device, device_piece *piece)
{
    if (piece->event)
        device->driver->event_destroy(piece->event);
    if (piece->memory)
        device->driver->pinned_free(piece->memory);
    free(piece);
}

void core_device_free_staging(core_device *device)
{
    for (device_piece *piece = device->staging.pieces, *next; piece; piece = next) {
        next = piece->next;
        free_piece(device, piece);
    }
    device->staging.pieces = NULL;
}

static more_status make_piece(core_device *device, device_piece **made, more_error *error)
{
    const core_driver *driver = device->driver;
    device_piece *piece = calloc(1, sizeof *piece);
    if (!piece)
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory");
    int result = driver->pinned_allocate(&piece->memory, PIECE_BYTES, 0);
    if (!result)
        result = driver->event_create(&piece->event, DRIVER_EVENT_DISABLE_TIMING);
    if (result) {
        free_piece(device, piece);
        core_device_check(device, result, "no pinned memory of the host for uploading", error);
        return result == DRIVER_OUT_OF_MEMORY ? MORE_ERROR_MEMORY : MORE_ERROR_INTERNAL;
    }
    piece->next = device->staging.pieces;
    device->staging.pieces = piece;
    *made = piece;
    return MORE_OK;
}

/* One that nobody has and whose upload is over, else a new one while there are few, else the one whose upload began
 * first. */
static more_status take_piece(core_device *device, device_piece **taken, more_error *error)
{
    device_piece *oldest = NULL;
    int count = 0;
    more_status status = MORE_OK;
    for (device_piece *piece = device->staging.pieces; piece; piece = piece->next, count++)
        if (!piece->taken && (!oldest || piece->upload < oldest->upload))
            oldest = piece;
    *taken = oldest;
    bool ready = oldest && (!oldest->upload || !device->driver->event_query(oldest->event));
    if (!ready && (!oldest || count < PIECES))
        status = make_piece(device, taken, oldest ? NULL : error);
    if (status != MORE_OK && !oldest)
        return status;
    (*taken)->taken = true;
    return MORE_OK;
}

static void give_back(core_device *device, device_piece *piece)
{
    pthread_mutex_lock(&device->staging.lock);
    piece->taken = false;
    pthread_mutex_unlock(&device->staging.lock);
}

static device_piece *piece_of(core_device *device, const void *memory)
{
    pthread_mutex_lock(&device->staging.lock);
    device_piece *piece = device->staging.pieces;
    while (piece && piece->memory != memory)
        piece = piece->next;
    pthread_mutex_unlock(&device->staging.lock);
    return piece && piece->taken ? piece : NULL;
}

more_status core_device_stage_begin(core_device *device, void **piece, size_t *bytes, more_error *error)
{
    device_piece *taken;
    *piece = NULL;
    *bytes = 0;
    pthread_mutex_lock(&device->staging.lock);
    more_status status = take_piece(device, &taken, error);
    pthread_mutex_unlock(&device->staging.lock);
    if (status != MORE_OK)
        return status;
    if (taken->upload)
        status = core_device_check(device, device->driver->event_synchronize(taken->event), "uploading failed", error);
    if (status != MORE_OK) {
        give_back(device, taken);
        return status;
    }
    *piece = taken->memory;
    *bytes = PIECE_BYTES;
    return MORE_OK;
}

/* Without its event the upload is waited for: the piece must not be written to before. */
static int queue_upload(core_device *device, more_cuda_stream stream, device_piece *piece, void *to, size_t bytes)
{
    int result = device->driver->upload((uintptr_t)to, piece->memory, bytes, stream);
    if (result)
        return result;
    result = device->driver->event_record(piece->event, stream);
    if (result)
        device->driver->stream_synchronize(stream);
    return result;
}

more_status core_device_stage_end(core_device *device, more_cuda_stream stream, void *memory, void *to, size_t bytes,
                                  more_error *error)
{
    device_piece *piece = piece_of(device, memory);
    more_status status = MORE_OK;
    if (!piece)
        return more_fail(error, MORE_ERROR_ARGUMENT, "cuda:%d: no such piece was begun", (int)device->number);
    if (bytes > PIECE_BYTES)
        status = more_fail(error, MORE_ERROR_ARGUMENT, "cuda:%d: %zu bytes of a piece of %zu", (int)device->number,
                           bytes, PIECE_BYTES);
    else if (bytes)
        status = core_device_check(device, queue_upload(device, stream, piece, to, bytes), "uploading failed", error);
    pthread_mutex_lock(&device->staging.lock);
    if (bytes && status == MORE_OK)
        piece->upload = ++device->staging.uploads;
    piece->taken = false;
    pthread_mutex_unlock(&device->staging.lock);
    return status;
}

more_status core_device_upload(core_device *device, more_cuda_stream stream, void *to, const void *from, size_t bytes,
                               more_error *error)
{
    more_status status = MORE_OK;
    for (size_t done = 0; done < bytes && status == MORE_OK;) {
        void *piece;
        size_t room;
        status = core_device_stage_begin(device, &piece, &room, error);
        if (status != MORE_OK)
            break;
        size_t count = bytes - done < room ? bytes - done : room;
        memcpy(piece, (const char *)from + done, count);
        status = core_device_stage_end(device, stream, piece, (char *)to + done, count, error);
        done += count;
    }
    return status;
}
