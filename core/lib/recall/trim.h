/* SPDX-License-Identifier: Apache-2.0
 *
 * Keeps a folder of features below its limit.
 */
#ifndef CORE_RECALL_TRIM_H
#define CORE_RECALL_TRIM_H

#include <stdint.h>

#define CORE_ENTRY_ENDING ".visual"         /* behind the 64 digits of a finished file */
#define CORE_ENTRY_UNFINISHED ".unfinished" /* before six letters of one that is being written */

/* Removes finished files, those longest unused first, until the others have at most `limit` bytes together; and
 * unfinished ones that nobody has written to for an hour. Other files are left alone. Several processes may do so at
 * one time. What cannot be read or removed stays. [any-thread] */
void core_folder_trim(const char *path, int64_t limit);

#endif
