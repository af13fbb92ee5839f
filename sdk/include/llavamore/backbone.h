/* SPDX-License-Identifier: Apache-2.0
 *
 * What the vision, projector and language interfaces share: how a plugin recognises a checkpoint, how it names its
 * tensors, how an instance is opened, and what it says of its memory.
 */
#ifndef LLAVAMORE_BACKBONE_H
#define LLAVAMORE_BACKBONE_H

#include <llavamore/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Recognising a checkpoint ----------------------------------------------------------------------------------- */

#define MORE_RECOGNITION_TEXT 1024 /* bytes, the terminating NUL included */

/* Filled by recognise(); the caller owns it and sets struct_size. */
typedef struct more_recognition {
    size_t struct_size;
    int32_t score; /* 1..100 = how sure: 50 the names fit, 100 the config names this very architecture; 0 = not mine:
                      even `plugin =` is refused where another plugin scores 100 */
    char reason[MORE_RECOGNITION_TEXT];   /* one line: what it went by, "model_type llama, 32 layers" */
    char settings[MORE_RECOGNITION_TEXT]; /* INI lines for the backbone's section that follow from the checkpoint, e.g.
                                             "template = llama_3_1\n"; what the user writes wins over them */
} more_recognition;

/* ---- Tensor names ----------------------------------------------------------------------------------------------- */

/* How a tensor of a GGUF file differs from the canonical one (a Hugging Face file always is canonical but for its
 * name and for what MORE_TENSOR_TRANSPOSED says). */
typedef int32_t more_transform;
enum {
    MORE_TRANSFORM_NONE = 0,
    MORE_TRANSFORM_PERMUTED_QUERY = 1, /* rows of each head interleaved for NORM-style rotary: 0, n/2, 1, n/2+1, ... */
    MORE_TRANSFORM_PERMUTED_KEY = 2,   /* the same with the number of key heads */
    MORE_TRANSFORM_MINUS_ONE = 3,      /* the file holds w + 1 (Gemma norms): subtract 1 */
    MORE_TRANSFORM_TRANSPOSED = 4      /* the file holds the transpose */
};

/* One row of a plugin's table. '*' stands for a layer number, the same in all three names. */
typedef struct more_tensor_name {
    const char *canonical;   /* what the plugin asks for: "layers.*.attention.query.weight" */
    const char *huggingface; /* "model.layers.*.self_attn.q_proj.weight" */
    const char *gguf;        /* "blk.*.attn_q.weight"; NULL where that format has none */
    more_transform transform;
    bool optional; /* absent from some checkpoints: tied heads, missing biases */
} more_tensor_name;

typedef struct more_tensor_map {
    size_t struct_size;
    const more_tensor_name *names;
    int32_t count;
} more_tensor_map;

/* ---- Opening ---------------------------------------------------------------------------------------------------- */

typedef int32_t more_open_flags;
enum {
    MORE_OPEN_DEFAULT = 0,
    /* Check config and every tensor's presence and shape, load nothing: describe, plan, kv_bytes and estimate work on
     * such an instance, everything else returns MORE_ERROR_ARGUMENT. For --dry-run and llavamore-inspect. */
    MORE_OPEN_METADATA_ONLY = 1
};

/* Arguments of every open(); owned by the caller, valid during the call but for host and checkpoint, which live until
 * the instance is closed. */
typedef struct more_open {
    size_t struct_size;
    const more_host *host;
    more_checkpoint *checkpoint;
    const more_value *options; /* one a row of the plugin's option table, in its order, checked and defaulted */
    int32_t option_count;
    more_open_flags flags;
    const DLDevice *devices; /* where to run; the first is the main one; never empty (the host CPU is a device) */
    int32_t device_count;
    const int32_t *layer_devices; /* language models: index into devices a layer; NULL = all on the first, which has all
                                     that is in no layer too */
    int32_t layer_count; /* entries of layer_devices; layers behind them are on the first device, entries behind the
                            model's last layer are ignored */
} more_open;

/* Bytes on one device, an entry of an array as long as open()'s devices; all are upper bounds but for weight_bytes,
 * which is exact, both without what a GPU's allocator rounds up. Frozen: it stands in arrays, so it never grows. */
typedef struct more_memory {
    int64_t weight_bytes;     /* packed weights */
    int64_t cache_bytes;      /* key-value cache for the asked batch and length; 0 outside language models */
    int64_t activation_bytes; /* tensors alive during a call */
    int64_t scratch_bytes;    /* kernel workspaces */
} more_memory;

#ifdef __cplusplus
}
#endif
#endif
