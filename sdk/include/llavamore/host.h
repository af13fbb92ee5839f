/* SPDX-License-Identifier: Apache-2.0
 *
 * What the host gives a plugin. A plugin is handed one `const more_host *` when an instance is opened and looks the
 * services up by string id, once, and keeps the pointers. An id never changes its meaning; a new revision is a new id.
 * get_service returns NULL for an id that this host does not know: the plugin then does without, as each service
 * documents.
 *
 * Thread tags, used in all headers of this ABI:
 *   [any-thread]               any thread, at any time, also at the same time as other calls
 *   [one-thread-per-instance]  one call at a time on one instance; different instances at the same time
 *   [one-thread-per-session]   one call at a time on one session; different sessions of one instance at the same time
 */
#ifndef LLAVAMORE_HOST_H
#define LLAVAMORE_HOST_H

#include <llavamore/status.h>
#include <llavamore/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct more_host more_host;

/* Owned by the host; lives until every instance opened with it is closed. */
struct more_host {
    size_t struct_size;   /* bytes of this struct as the host knows it */
    uint32_t abi_version; /* MORE_ABI_VERSION of the host */
    /* A pointer to the service's table, NULL where unknown. The table lives as long as the host. [any-thread] */
    const void *(*get_service)(const more_host *host, const char *id);
};

/* ---- llavamore.log/1 ------------------------------------------------------------------------------------------ */
#define MORE_LOG_SERVICE "llavamore.log/1"

typedef int32_t more_log_level;
enum { MORE_LOG_ERROR = 0, MORE_LOG_WARNING = 1, MORE_LOG_INFO = 2, MORE_LOG_DEBUG = 3 };

typedef struct more_log_service {
    size_t struct_size;
    /* Writes one line (no newline at its end) under the component's name, e.g. "clip". The host filters by level and
     * copies the text. Never report a failed call here as well: its more_error is enough. [any-thread] */
    void (*write)(const more_host *host, more_log_level level, const char *component, const char *message);
} more_log_service;

/* ---- llavamore.threads/1 -------------------------------------------------------------------------------------- */
#define MORE_THREADS_SERVICE "llavamore.threads/1"

/* Handles items [begin, end); `worker` is in [0, count(host)) and unique among the bodies that run at one time in one
 * parallel_for, so that it can index scratch memory. */
typedef void (*more_range_function)(void *context, int64_t begin, int64_t end, int32_t worker);

typedef struct more_threads_service {
    size_t struct_size;
    /* Workers of the one shared pool, the calling thread included; at least 1, constant. [any-thread] */
    int32_t (*count)(const more_host *host);
    /* Splits [0, items) into chunks of at least `grain` items, runs them on the pool and returns when all are done.
     * Which worker takes which chunk is not fixed, so results must not depend on it. Calls from several threads are
     * served one after the other; a call from inside a body runs in that body's thread. [any-thread] */
    void (*parallel_for)(const more_host *host, int64_t items, int64_t grain, more_range_function body, void *context);
} more_threads_service;

/* ---- llavamore.progress/1 ------------------------------------------------------------------------------------- */
#define MORE_PROGRESS_SERVICE "llavamore.progress/1"

typedef struct more_progress_service {
    size_t struct_size;
    /* `done` of `total` units of `stage` ("loading clip", "encoding"): drives a progress bar. Cheap. [any-thread] */
    void (*update)(const more_host *host, const char *stage, int64_t done, int64_t total);
    /* True once the user asked to stop. Ask between layers and return MORE_ERROR_CANCELLED. [any-thread] */
    bool (*cancelled)(const more_host *host);
} more_progress_service;

/* ---- llavamore.memory/1 --------------------------------------------------------------------------------------- */
#define MORE_MEMORY_SERVICE "llavamore.memory/1"

typedef struct more_memory_service {
    size_t struct_size;
    /* `bytes` of uninitialised memory aligned to MORE_ALIGNMENT (large blocks on huge pages where the system has
     * them), or NULL. Counted for the peak that the host reports. [any-thread] */
    void *(*allocate)(const more_host *host, size_t bytes);
    /* Gives back what allocate gave; NULL is allowed. [any-thread] */
    void (*release)(const more_host *host, void *memory);
} more_memory_service;

/* ---- llavamore.weights/1 -------------------------------------------------------------------------------------- */
#define MORE_WEIGHTS_SERVICE "llavamore.weights/1"

/* A plugin's view of a checkpoint: its own tensors (a folder's part of them: a layout's prefix is already taken off)
 * and its metadata, whatever the file format and whatever is stacked on it (sharded safetensors, GGUF, a merged LoRA,
 * synthetic weights). In open(), tensors answer to the canonical names of the plugin's tensor_map; in recognise(), and
 * without a map, to the names that stand in the file. Owned by the host; valid until the instance is closed. */
typedef struct more_checkpoint more_checkpoint;

typedef struct more_weight_info {
    size_t struct_size;           /* set by the caller */
    const char *name;             /* name in the file, for messages; lives as long as the checkpoint */
    const char *format;           /* id of the stored format: "f32", "f16", "bf16", "i64", "gguf.q4_K", ... */
    int32_t rank;                 /* number of dimensions, at most MORE_MAX_RANK */
    int64_t shape[MORE_MAX_RANK]; /* outermost first, as PyTorch prints it */
    const void *data; /* raw stored bytes, mapped read-only and bounds-checked; NULL where only read_rows serves
                         (a transform, a merge or synthetic weights stand between) */
    size_t bytes;     /* size of data in bytes */
} more_weight_info;

typedef struct more_weights_service {
    size_t struct_size;
    /* MORE_OK, or MORE_ERROR_NOT_FOUND with the names looked for and the file in the message. [any-thread] */
    more_status (*info)(more_checkpoint *checkpoint, const char *name, more_weight_info *info, more_error *error);
    /* Number of tensors in the view. [any-thread] */
    int64_t (*count)(more_checkpoint *checkpoint);
    /* Name in the file of tensor `index` (0 <= index < count), in the file's order; NULL when out of range. Lives as
     * long as the checkpoint. [any-thread] */
    const char *(*name_at)(more_checkpoint *checkpoint, int64_t index);
    /* Converts rows [first, first + count) of the tensor, seen as [shape[0], product of the rest], to `dtype` (f32, f16
     * or bf16; round to nearest even) into `rows`, contiguous. A rank-0 or rank-1 tensor is one row of all its
     * elements. [any-thread] */
    more_status (*read_rows)(more_checkpoint *checkpoint, const char *name, int64_t first, int64_t count,
                             DLDataType dtype, void *rows, more_error *error);

    /* Metadata: the folder's config.json (or GGUF's key-values under the names that config.json uses), by dotted key,
     * e.g. "vision_config.hidden_size", "rope_scaling.factor", "eos_token_id.0"; keys that begin with
     * "preprocessor_config." are those of the file preprocessor_config.json beside it. The getters leave *value alone
     * and return MORE_ERROR_NOT_FOUND when the key is absent or null, and MORE_ERROR_CORRUPT when its type is another;
     * so a default is set before the call. Integers are accepted as doubles. Strings live as long as the checkpoint.
     * [any-thread] */
    more_status (*get_int64)(more_checkpoint *checkpoint, const char *key, int64_t *value, more_error *error);
    more_status (*get_double)(more_checkpoint *checkpoint, const char *key, double *value, more_error *error);
    more_status (*get_bool)(more_checkpoint *checkpoint, const char *key, bool *value, more_error *error);
    more_status (*get_string)(more_checkpoint *checkpoint, const char *key, const char **value, more_error *error);
    /* Number of elements of an array or object; -1 when the key is absent. [any-thread] */
    int64_t (*length)(more_checkpoint *checkpoint, const char *key);
    /* True when the folder has a file of this name, e.g. "tokenizer.json". [any-thread] */
    bool (*has_file)(more_checkpoint *checkpoint, const char *name);
    /* Where it is on disk, for messages: a folder or file; "synthetic" for none. Lives as long as the checkpoint.
     * [any-thread] */
    const char *(*path)(more_checkpoint *checkpoint);
    /* A hint that the stored bytes of the tensor (after packing, say) will not be read again soon, so that the memory
     * behind their map can serve others. Reading them later gives the same bytes, slowly. [any-thread] */
    void (*drop)(more_checkpoint *checkpoint, const char *name);
    /* Rows [first, first + count) of the tensor, seen as read_rows sees it, in the format that info names and with its
     * bits, into `rows`, contiguous; of "gguf.q4_K" and its kind the blocks of each row, one behind the other. It is
     * the rows that are asked for: the interleaved ones of a GGUF file's queries and keys come back in order.
     * MORE_ERROR_UNSUPPORTED where what is stored is not what is asked for (numbers that a transform changes, a
     * transposition, a merge, synthetic weights) or a row is no whole number of blocks: read_rows serves there. With
     * count 0 `rows` may be NULL and nothing is read: that asks whether it can. A host of before this function ends
     * its table earlier, see MORE_HAS. [any-thread] */
    more_status (*read_stored_rows)(more_checkpoint *checkpoint, const char *name, int64_t first, int64_t count,
                                    void *rows, more_error *error);
} more_weights_service;

#ifdef __cplusplus
}
#endif
#endif
