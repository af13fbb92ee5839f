/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints: what a plugin sees as `more_checkpoint`. One is opened from a folder (config.json and model.safetensors,
 * or model.safetensors.index.json with its shards) or from one file of tensors; views of it (a part's prefix taken
 * off, a plugin's tensor map put on) share its files by reference count. Everything is constant after opening, so all
 * functions are [any-thread]; of one object's last release and another use of it, the caller keeps the order.
 */
#ifndef CORE_WEIGHTS_CHECKPOINT_H
#define CORE_WEIGHTS_CHECKPOINT_H

#include <jansson.h>
#include <llavamore/backbone.h>

/* Opens a folder, a file of safetensors or of torch.save (a config.json beside it is read), a GGUF file (its key-values
 * are the metadata, under their own names until a layout adds those of config.json; nothing beside it is read), or an
 * adapter's folder (its base model, found where adapter_config.json says, with the adapter on it), or
 * "synthetic:FOLDER?seed=N": a folder of config.json and shapes.json ({name: [dtype, [dimensions]]}) without weights,
 * whose tensors are random numbers of that seed (see synthetic.h). Errors: MORE_ERROR_NOT_FOUND (says which names were
 * looked for), _CORRUPT, _UNSUPPORTED, _IO. *checkpoint has one reference. */
more_status core_checkpoint_open(const char *path, more_checkpoint **checkpoint, more_error *error);
/* Opens only the metadata of a folder: as above, but a folder without weights has no tensors instead of being refused
 * (an LLM's folder whose tokenizer alone is wanted; a dry run on a config). */
more_status core_checkpoint_open_metadata(const char *path, more_checkpoint **checkpoint, more_error *error);
/* A new object with one reference: `base`, which must be a whole folder or file, under a LoRA adapter: a folder of PEFT
 * or of LLaVA's form (see adapter/adapter.h). What it adds is summed in f32 when rows are read and rounded once to the
 * stored format, as merging it into the checkpoint's own dtype would. Errors: as core_checkpoint_open, _CORRUPT where
 * adapter and base do not fit. */
more_status core_checkpoint_add_adapter(const more_checkpoint *base, const char *folder, more_checkpoint **checkpoint,
                                        more_error *error);
void core_checkpoint_retain(more_checkpoint *checkpoint);
/* Drops one reference; NULL is allowed. */
void core_checkpoint_release(more_checkpoint *checkpoint);

/* What a view shows of its parent. Zero-initialise; every pointer may be NULL. All is copied but the map, which is a
 * plugin's constant data. */
typedef struct core_view {
    const char *const *prefixes; /* alternatives, the first that any tensor begins with is taken off; NULL or "" = keep
                                    the names and all tensors; "*x." = everything up to and with the first "x." */
    int32_t prefix_count;
    const char *const *excludes; /* tensors whose name in the parent begins with one of these ("*x.": has "x." in it)
                                    are left out */
    int32_t exclude_count;
    const char *const *renames; /* "from=to": a name that, its prefix off, begins with `from` begins with `to` instead;
                                   a '*' in both is a number */
    int32_t rename_count;
    const char *config_root;    /* dotted key of the object in config.json that becomes the metadata; where it is
                                   absent the view has no metadata at all (another part's numbers would mislead) */
    const more_tensor_map *map; /* tensors answer to canonical names, and to nothing else */
} core_view;

/* A new object with one reference that keeps its parent's files alive. MORE_ERROR_NOT_FOUND when no tensor begins with
 * any of the prefixes, which the message lists. The parent may be a view itself, but not a mapped one. */
more_status core_checkpoint_view(more_checkpoint *parent, const core_view *view, more_checkpoint **checkpoint,
                                 more_error *error);

/* Gives a view's metadata the members of `defaults` (an object, copied) whose keys it lacks or has as null; metadata
 * that is missing altogether begins empty. Before the view is shared. */
more_status core_checkpoint_add_defaults(more_checkpoint *view, json_t *defaults, more_error *error);

/* Gives a view an image processor, as preprocessor_config.json would describe it, where its files have another way to
 * say so; views of the view have it too. Before the view is shared. */
void core_checkpoint_set_processor(more_checkpoint *view, json_t *processor);

/* A new object with the tensors of one checkpoint and the metadata and folder of another: the released LLaVA-MORE
 * folders store their tower's weights, but its config.json lies in a repository of its own. Neither is mapped. */
more_status core_checkpoint_join(more_checkpoint *tensors, more_checkpoint *facts, more_checkpoint **checkpoint,
                                 more_error *error);

/* The service that the host hands to plugins. */
const more_weights_service *core_weights_service(void);

/* config.json as a whole (the view's root of it), borrowed; NULL when there is none. Read only. */
json_t *core_checkpoint_config(const more_checkpoint *checkpoint);
/* What core_checkpoint_set_processor gave it, borrowed; NULL = the folder's preprocessor_config.json counts. */
json_t *core_checkpoint_processor(const more_checkpoint *checkpoint);
/* What a tokenizer is loaded from: the folder, or the GGUF file itself, beside which nothing belongs to it. Lives as
 * long as the checkpoint. */
const char *core_checkpoint_tokenizer(const more_checkpoint *checkpoint);
/* True for one GGUF file. */
bool core_checkpoint_is_gguf(const more_checkpoint *checkpoint);
/* The folder that it lies in (the file's folder for a single file). Lives as long as the checkpoint. */
const char *core_checkpoint_folder(const more_checkpoint *checkpoint);
/* Bytes of all tensors of the view, as stored. */
int64_t core_checkpoint_bytes(const more_checkpoint *checkpoint);

#endif
