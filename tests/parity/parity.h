/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parity tests share: the core's host and checkpoint reader, plugins opened through their one symbol, the
 * reference arrays under tests/parity/data, and the comparison that DESIGN.md asks for.
 */
#ifndef PARITY_H
#define PARITY_H

#include <jansson.h>
#include <llavamore/language.h>
#include <llavamore/projector.h>
#include <llavamore/vision.h>

/* Every function below fails the running cmocka test with the reason instead of returning an error. */

/* A host with `threads` workers; destroyed by parity_host_close. */
const more_host *parity_host(int32_t threads);
void parity_host_close(void);
/* Bytes that plugins now hold of the host's memory service, and sets or clears its cancellation flag. */
size_t parity_host_bytes(void);
void parity_host_cancel(bool cancelled);

/* The built plugin, "vision/clip", by dlopen and more_plugin_entry. */
const more_plugin *parity_plugin(const char *name);
/* Path of its .so. */
const char *parity_plugin_path(const char *name);

/* Files of tests/parity/data: "models/clip-f16/config.json". */
const char *parity_path(const char *relative);
json_t *parity_json(const char *relative);

/* The folders of data/models whose case.json is of a kind ("vision", "projector", "language"), sorted by name. */
typedef struct parity_cases {
    size_t count;
    char **names;
    json_t **facts; /* case.json: "plugin" is what parity_plugin takes */
} parity_cases;
parity_cases parity_cases_of(const char *kind);
void parity_cases_free(parity_cases *cases);

/* A folder opened for a plugin: `prefix` taken off (NULL = none), the plugin's map put on. */
typedef struct parity_checkpoint {
    more_checkpoint *files, *view;
} parity_checkpoint;
parity_checkpoint parity_checkpoint_open(const char *folder, const char *prefix, const more_tensor_map *map);
void parity_checkpoint_close(parity_checkpoint *checkpoint);

/* Arguments of open() for the host CPU, or for the CUDA device that LLAVAMORE_TEST_CUDA numbers, in exact arithmetic
 * and by the plugins under LLAVAMORE_TEST_PLUGINS, a folder of the build. The plugin's options have their defaults;
 * `option` = `value` changes one of them, NULL none. Valid until the next call. */
const more_open *parity_arguments(const more_plugin *plugin, const more_host *host, more_checkpoint *checkpoint,
                                  more_open_flags flags, const char *option, const char *value);
/* Changes one more option of the arguments that were made last, of the same plugin. */
void parity_set_option(const more_plugin *plugin, const char *option, const char *value);

/* A tensor of a reference file, as f32 or i32; free() it. shape (NULL = not wanted) gets MORE_MAX_RANK dimensions,
 * those behind the rank 1. */
float *parity_floats(more_checkpoint *file, const char *name, int64_t shape[MORE_MAX_RANK]);
int32_t *parity_ids(more_checkpoint *file, const char *name, int64_t *count);

/* An f32 tensor with its own memory, aligned and filled with a NaN, so that what is not written is seen. */
typedef struct parity_tensor {
    more_tensor view;
    float *data;
    int64_t shape[3], strides[3];
} parity_tensor;
parity_tensor *parity_tensor_create(int rank, int64_t a, int64_t b, int64_t c);
void parity_tensor_free(parity_tensor *tensor);

/* Largest errors of a comparison so far; zero-initialise. */
typedef struct parity_error {
    double absolute; /* largest difference over the largest magnitude of the tensor */
    double row;      /* largest relative RMS of a row */
} parity_error;

/* Compares [rows, width] and fails above 1e-4 of the largest magnitude or 1e-5 relative RMS a row. */
void parity_compare(const char *what, const float *got, const float *wanted, int64_t rows, int64_t width,
                    parity_error *worst);
/* The same numbers got in another way: bit for bit on the CPU. On a device calls of few rows and of many go through
 * different kernels, so that parity_compare's bounds hold. */
void parity_same(const float *got, const float *wanted, int64_t rows, int64_t width);
/* parity_compare without failing, for what is measured only. */
void parity_measure(const float *got, const float *wanted, int64_t rows, int64_t width, parity_error *worst);

/* Index of the largest of `count` numbers, the first of several. */
int32_t parity_argmax(const float *values, int64_t count);

#endif
