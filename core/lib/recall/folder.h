/* SPDX-License-Identifier: Apache-2.0
 *
 * Visual tokens on disk: one file a picture, SETTINGS+CONTENT.visual, so that another process need not compute them.
 *
 * A file, in the machine's byte order: "llavamor", then as 32-bit numbers the version of this form (1) and of the
 * elements (0 = f32), as 64-bit numbers rows and width, the 32 bytes of its name; then the rows; then 32 bytes: the
 * SHA-256 of all before. Files are written beside and renamed, so that processes may share the folder; what is read is
 * checked whole, and what does not hold is told, computed again and written over. Whoever can write into the folder can
 * still put wrong features there: it is created for the user alone.
 */
#ifndef CORE_RECALL_FOLDER_H
#define CORE_RECALL_FOLDER_H

#include "generate/visual.h"

typedef struct core_visual_folder {
    char *path;           /* owned */
    int64_t limit;        /* bytes of all files; 0 = any number */
    int64_t width;        /* floats of a row */
    core_digest settings; /* of all that makes rows of pictures */
    const more_host *host;
    bool told; /* that nothing can be written */
} core_visual_folder;

/* Makes the folder where it is not there. `path` is copied. MORE_ERROR_IO when it cannot be made or is no folder. */
more_status core_visual_folder_open(core_visual_folder *folder, const char *path, more_error *error);
void core_visual_folder_close(core_visual_folder *folder);
/* The rows of the picture with this content; false when they are not there. A file that cannot be trusted is told as a
 * warning. Reading marks the file as used. */
bool core_visual_folder_read(core_visual_folder *folder, const core_digest *content, core_visual *visual);
/* Writes the picture's rows, and removes the files longest unused until the limit is kept. What fails is a warning, the
 * first time. Rows that are not all finite are not written. */
void core_visual_folder_write(core_visual_folder *folder, const core_visual *visual);

#endif
