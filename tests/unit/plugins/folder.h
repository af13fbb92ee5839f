/* SPDX-License-Identifier: Apache-2.0
 *
 * Small checkpoint folders on disk for the plugin tests: a right config and the shapes of right tensors (their values
 * are synthetic), each of which a test may change before it writes them.
 */
#ifndef TEST_FOLDER_H
#define TEST_FOLDER_H

#include <jansson.h>

typedef struct test_folder {
    json_t *config, *shapes; /* {"name": ["f32", [dimensions]]} */
    char path[64];           /* of the folder, once written */
    char source[96];         /* what a checkpoint is opened from */
} test_folder;

/* A CLIP tower of 3 blocks of width 12, 4 heads, 28 pixels in patches of 7. */
test_folder folder_clip(void);
/* A LLaMA-3.1 of `layers` blocks of width 16, 4 heads over 2 key-value heads of dimension 4, 50 ids, 8192 rows. */
test_folder folder_llama(int layers);
/* LLaVA's mlp2x_gelu from 12 to 16 channels. */
test_folder folder_mlp(void);

/* Sets the value at a dotted key of the config to JSON text; NULL text removes it. */
void folder_config(test_folder *folder, const char *key, const char *text);
/* Sets a tensor's shape to JSON text such as "[12, 16]"; NULL removes the tensor. */
void folder_shape(test_folder *folder, const char *name, const char *text);
/* Writes config.json and shapes.json to a new temporary folder. */
void folder_write(test_folder *folder);
/* Removes it and frees what it holds. */
void folder_free(test_folder *folder);

/* Fails unless the message is one line with every part of `wanted`, which stand between '|'. */
void assert_names(const char *message, const char *wanted);

#endif
