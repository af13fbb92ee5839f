/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoint files made by hand, in a folder that goes away with the test.
 */
#ifndef TESTS_WEIGHTS_MADE_H
#define TESTS_WEIGHTS_MADE_H

#include "base/buffer.h"

/* A new temporary folder; made_remove deletes it with all that is in it. */
char *made_folder(void);
void made_remove(char *folder);
/* Writes FOLDER/NAME. */
void made_file(const char *folder, const char *name, const void *bytes, size_t size);
void made_text(const char *folder, const char *name, const char *text);
/* A safetensors file of this header and these data bytes: 8 bytes of length first. The caller frees the buffer. */
core_buffer made_safetensors(const char *header, const void *data, size_t size);
/* The same, written to FOLDER/NAME. */
void made_weights(const char *folder, const char *name, const char *header, const void *data, size_t size);

#endif
