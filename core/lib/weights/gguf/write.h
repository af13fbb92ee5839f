/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing GGUF files, version 3, little-endian: key-values and tensor infos are collected, then the file is made under
 * a temporary name beside its own, the tensors' bytes come in their order, in pieces of any size, and only a whole
 * file, safe on the disk, takes its name. Whatever fails before that leaves what was there as it was.
 */
#ifndef CORE_WEIGHTS_GGUF_WRITE_H
#define CORE_WEIGHTS_GGUF_WRITE_H

#include "weights/gguf/gguf.h"
#include "weights/gguf/quantised.h"

typedef struct core_gguf_writer core_gguf_writer;

/* An empty file in memory that is to become `path`; NULL when out of memory. [one-thread-per-instance], as all here */
core_gguf_writer *core_gguf_writer_create(const char *path);
/* NULL is allowed. What was written and has not taken its name is deleted. */
void core_gguf_writer_free(core_gguf_writer *writer);

/* ---- Key-values, in the order of the calls; running out of memory is told by core_gguf_writer_begin ----------------
 */

void core_gguf_put_text(core_gguf_writer *writer, const char *key, const char *text);
/* U8 to I32 and BOOL; `value` is cut to the type's width. */
void core_gguf_put_integer(core_gguf_writer *writer, const char *key, core_gguf_type type, int64_t value);
void core_gguf_put_real(core_gguf_writer *writer, const char *key, float value);
/* Begins an array of `count` elements of `type`, which core_gguf_add_... then give, exactly so many. */
void core_gguf_put_array(core_gguf_writer *writer, const char *key, core_gguf_type type, uint64_t count);
void core_gguf_add_text(core_gguf_writer *writer, const char *text, size_t size);
void core_gguf_add_integer(core_gguf_writer *writer, int32_t value);
void core_gguf_add_real(core_gguf_writer *writer, float value);
/* An array as it lies in another file. */
void core_gguf_copy_array(core_gguf_writer *writer, const char *key, const core_gguf_array *array);

/* ---- Tensors ------------------------------------------------------------------------------------------------------
 */

/* Announces a tensor of 1 to 4 dimensions, outermost first. MORE_ERROR_ARGUMENT: rows that are no whole blocks of the
 * format, a name of more than 63 bytes (what GGUF readers take) or one that was given before. */
more_status core_gguf_add_tensor(core_gguf_writer *writer, const char *name, const core_gguf_format *format,
                                 int32_t rank, const int64_t *shape, more_error *error);
/* Bytes of the whole file as announced so far. */
int64_t core_gguf_writer_bytes(const core_gguf_writer *writer);

/* ---- The file -----------------------------------------------------------------------------------------------------
 */

/* Makes the temporary file and writes the header; nothing may be announced from here on. */
more_status core_gguf_writer_begin(core_gguf_writer *writer, more_error *error);
/* The next bytes of the tensors' data, which may end and begin inside tensors; gaps between tensors are filled. */
more_status core_gguf_writer_data(core_gguf_writer *writer, const void *bytes, size_t size, more_error *error);
/* Bytes of the file that are written by now. */
int64_t core_gguf_writer_done(const core_gguf_writer *writer);
/* When every tensor has its bytes: brings them to the disk. */
more_status core_gguf_writer_end(core_gguf_writer *writer, more_error *error);
/* Where the file is until it has its name; NULL before core_gguf_writer_begin. */
const char *core_gguf_writer_temporary(const core_gguf_writer *writer);
/* Gives the ended file its name, in place of what had it. */
more_status core_gguf_writer_commit(core_gguf_writer *writer, more_error *error);

#endif
