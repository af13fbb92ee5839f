/* SPDX-License-Identifier: Apache-2.0
 *
 * What a file, a folder or a plugin is. Each function gives a report as a JSON object (a new reference).
 */
#ifndef INSPECT_INSPECT_H
#define INSPECT_INSPECT_H

#include "../program.h"
#include "base/host.h"
#include "plugin/loader.h"
#include <jansson.h>
#include <llavamore/host.h>

#define PROGRAM "llavamore-inspect"

/* The kind of thing is seen from the content, not from the name alone. */
more_status inspect_path(const core_host *host, core_registry *registry, const char *path, json_t **report,
                         more_error *error);

/* A folder or file of weights: format, tensors, layout, and for each part which plugin takes it and why, and an INI
 * that runs it. `file_kind` says what a file is ("PyTorch file"), whose tensors are then listed; NULL for a folder. */
more_status inspect_checkpoint(const core_host *host, core_registry *registry, const char *path, const char *file_kind,
                               json_t **report, more_error *error);
/* Adds to the report what the checkpoint is, its layout and its parts. Gives the INI file that runs it as a JSON text,
 * NULL when no plugin takes any part; it names the checkpoint `weights`, and `lora` as its adapter unless that is NULL.
 */
json_t *inspect_parts(const core_host *host, core_registry *registry, more_checkpoint *checkpoint, const char *weights,
                      const char *lora, json_t *report);
/* A shared object: descriptor, option table, interfaces, functions. */
more_status inspect_plugin(const char *path, json_t **report, more_error *error);
/* An INI file: every key in force and where it was set. */
more_status inspect_config(const char *path, json_t **report, more_error *error);
/* An .ini file of any kind: an assembly's, a conversation template with the prompt that it prints, or a layout. */
more_status inspect_ini(const char *path, json_t **report, more_error *error);
/* A tokenizer.json or a SentencePiece model: its size and its BOS and EOS tokens. */
more_status inspect_tokenizer(const char *path, json_t **report, more_error *error);
/* A tokenizer.json, or another JSON file of a model's folder. */
more_status inspect_json(const char *path, json_t **report, more_error *error);
/* What is named and not pointed at: a plugin by its id, a preset, "org/name" in the Hugging Face cache. */
more_status inspect_named(const core_host *host, core_registry *registry, const char *name, json_t **report,
                          more_error *error);
/* A picture: its size as decoded. */
more_status inspect_image(const char *path, json_t **report, more_error *error);
/* A picture as coloured characters, at most 48 wide. */
more_status preview_image(const char *path, output *out, more_error *error);
/* The sections and keys of an assembly's INI file. */
json_t *inspect_keys(void);
/* The devices that [runtime] device may name, or why there is none. */
json_t *inspect_devices(const core_host *host);

#endif
