/* SPDX-License-Identifier: Apache-2.0
 *
 * LoRA adapters on a checkpoint: folders of PEFT (adapter_config.json, adapter_model.safetensors or .bin) and LLaVA's
 * own form, which adds config.json and non_lora_trainables.bin. Low-rank pairs are added when rows are read; whole
 * tensors (modules_to_save, biases, non_lora_trainables) take the place of the base's or are added to them. Internal to
 * weights.
 */
#ifndef CORE_WEIGHTS_ADAPTER_H
#define CORE_WEIGHTS_ADAPTER_H

#include "weights/source.h"

#define CORE_ADAPTER_CONFIG "adapter_config.json"

/* What an adapter gives a source: its files, and entries and deltas that point into them and into the base. */
typedef struct core_merged core_merged;

/* The base model that FOLDER/adapter_config.json names, base_model_name_or_path; the caller frees it. */
more_status core_adapter_base(const char *folder, char **name, more_error *error);

/* A new source, with one reference, of the base's tensors under the adapter of `folder`. The metadata is the adapter's
 * config.json where it has one with a model_type (LLaVA's form), else the base's; small files stay the base's. A tensor
 * that nothing in the base answers to, shapes that do not fit, and what the merge would get wrong (DoRA, biases of
 * LoRA, patterns in alpha_pattern) are refused by name. The base may have adapters already. */
more_status core_source_add_adapter(core_source *base, const char *folder, core_source **merged, more_error *error);
/* NULL is allowed. */
void core_merged_free(core_merged *merged);

#endif
