/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of the zip format (APPNOTE.TXT 6.3) that torch.save writes: stored entries, zip64, no encryption. The
 * central directory is what counts; every offset and size in it is checked against the file. Internal to weights/torch.
 */
#ifndef CORE_WEIGHTS_TORCH_ZIP_H
#define CORE_WEIGHTS_TORCH_ZIP_H

#include <llavamore/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct core_zip_entry {
    const char *name; /* in the archive, not NUL-terminated */
    size_t length;    /* bytes of the name */
    bool stored;      /* neither compressed nor encrypted; data and size are set for such entries alone */
    const unsigned char *data;
    size_t size;
} core_zip_entry;

/* Zero-initialise; freed by core_zip_free. Its pointers lie in the archive's bytes. */
typedef struct core_zip {
    core_zip_entry *entries; /* by name */
    size_t count;
} core_zip;

/* Reads the central directory of `bytes`, which the caller keeps alive; `path` names them in messages.
 * MORE_ERROR_CORRUPT says what does not fit. [any-thread] */
more_status core_zip_read(const unsigned char *bytes, size_t size, const char *path, core_zip *zip, more_error *error);
void core_zip_free(core_zip *zip);
/* The entry of this name; NULL when there is none. O(log n). [any-thread] */
const core_zip_entry *core_zip_find(const core_zip *zip, const char *name, size_t length);

#endif
