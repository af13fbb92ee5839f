/* SPDX-License-Identifier: Apache-2.0
 *
 * Files and folders as a user has them: the language part of one under its layout, and a question asked of several.
 */
#ifndef PARITY_FILES_H
#define PARITY_FILES_H

#include "parity.h"

#include "base/buffer.h"

#include <llavamore.h>

/* The language part under its layout and the plugin's map; core_checkpoint_release it. */
more_checkpoint *files_part(const char *path, const more_tensor_map *map);

typedef struct files_answer {
    llavamore_answer answer;
    core_buffer tokens; /* visual_tokens.npy */
} files_answer;

/* Asks what pixels/images/cat.png shows. Settings are key, value, key, value, ..., NULL; a value with a '/' is a file
 * of the data unless it begins with one. */
files_answer files_ask(const char *const *pairs);
void files_answer_clear(files_answer *answer);

/* Writes what a view with a plugin's map holds as a folder of f32 numbers: config.json and model.safetensors under
 * Hugging Face's names, of `layers` layers. A new temporary folder; files_remove deletes and frees it. */
char *files_write_f32(more_checkpoint *view, const more_tensor_map *map, int64_t layers);
void files_remove(char *folder);

#endif
