/* SPDX-License-Identifier: Apache-2.0 */
#include "config/keys.h"

#include <string.h>

static const more_option vision_keys[] = {
    {"plugin", MORE_STRING, "auto", 0, 0, NULL, "Id of the vision plugin; auto = the one that knows the weights best."},
    {"weights", MORE_STRING, "", 0, 0, NULL,
     "Checkpoint of the vision encoder: a folder, a file, or org/name in the Hugging Face cache; empty = the one that "
     "the language model's folder names."},
    {"layer", MORE_STRING, "auto", 0, 0, NULL,
     "Hidden states that go to the projector, apart by commas; 0 = the embeddings, -1 = the last block's output, -2 = "
     "the one before it; auto = the checkpoint's choice, else -2."},
    {"select", MORE_STRING, "auto", 0, 0, "auto|patch|cls_patch",
     "Rows that go to the projector: patch = those of patches, cls_patch = class and register tokens too; auto = the "
     "checkpoint's choice, else patch."},
    {"scales", MORE_STRING, "auto", 0, 0, NULL,
     "Sides in pixels, apart by commas, at which the encoder looks at each picture in tiles of the smallest (S2), such "
     "as 336,672,1008: features are as many times wider; none = one look; auto = the checkpoint's choice, else none."},
};

static const more_option preprocess_keys[] = {
    {"steps", MORE_STRING, "", 0, 0, NULL,
     "Calls that make pixels of an image, apart by commas; empty = what the vision checkpoint's "
     "preprocessor_config.json says, else what the vision plugin says."},
    {"pad", MORE_STRING, "auto", 0, 0, "auto|none|square",
     "Padding before the steps: square = to a square, filled with the mean colour; auto = the language model's "
     "image_aspect_ratio, else none."},
    /* Pillow warns of a decompression bomb from here on: 1/4 GiB of RGB */
    {"max_pixels", MORE_INT64, "89478485", 1, 4294967296.0, NULL,
     "Largest image in pixels, width times height, that is decoded; the default is Pillow's warning limit."},
    {"exif", MORE_BOOL, "false", 0, 0, NULL, "Turn the image as its EXIF orientation says."},
};

static const more_option projector_keys[] = {
    {"plugin", MORE_STRING, "auto", 0, 0, NULL,
     "Id of the projector plugin; auto = the one that knows the weights best."},
    {"weights", MORE_STRING, "", 0, 0, NULL,
     "Checkpoint of the projector: a folder, a file, or org/name in the Hugging Face cache; empty = the one inside the "
     "language model's checkpoint."},
};

static const more_option llm_keys[] = {
    {"plugin", MORE_STRING, "auto", 0, 0, NULL,
     "Id of the language model's plugin; auto = the one that knows the weights best."},
    {"weights", MORE_STRING, "", 0, 0, NULL,
     "Checkpoint of the language model: a folder, a file, or org/name in the Hugging Face cache."},
    {"lora", MORE_STRING, "", 0, 0, NULL,
     "LoRA adapters that are merged into the weights as they are read, apart by colons: folders with an "
     "adapter_config.json, or org/name in the Hugging Face cache."},
    {"tokenizer", MORE_STRING, "", 0, 0, NULL,
     "Folder of tokenizer.json or of a SentencePiece tokenizer.model, or the file itself; empty = the language model's "
     "folder."},
    {"template", MORE_STRING, "auto", 0, 0, NULL,
     "Conversation template: a name from the template folder or an INI file; auto = what follows from the checkpoint."},
    {"prompt_compat", MORE_STRING, "none", 0, 0, "none|lmms_eval",
     "Prompts byte for byte as another program makes them, where they differ: lmms_eval = the study's evaluation."},
    {"system", MORE_STRING, "", 0, 0, NULL, "System text in place of the template's own; given but empty = none."},
    {"gpu_layers", MORE_INT64, "-1", -1, 1024, NULL,
     "Layers, from the first on, that are on the GPU where the model runs on one; the others are on the CPU, for models "
     "larger than the card; -1 = all."},
    {"context", MORE_INT64, "0", 0, 1073741824.0, NULL,
     "Most rows (tokens of text and image) of a conversation; 0 = what the model was trained for."},
};

static const more_option generate_keys[] = {
    {"max_new_tokens", MORE_INT64, "128", 1, 1073741824.0, NULL, "Most tokens of an answer."},
    {"temperature", MORE_DOUBLE, "0", 0, 1000, NULL,
     "Divides the logits before drawing; 0 = no drawing: the most likely token (greedy)."},
    {"top_k", MORE_INT64, "0", 0, 2147483647.0, NULL, "Draw from the k most likely tokens only; 0 = from all."},
    {"top_p", MORE_DOUBLE, "1", 0, 1, NULL,
     "Draw from the smallest set of tokens whose probabilities sum to this; 1 = from all."},
    {"min_p", MORE_DOUBLE, "0", 0, 1, NULL,
     "Drop tokens less probable than this times the most probable one; 0 = none."},
    {"repetition_penalty", MORE_DOUBLE, "1", 0.01, 100, NULL,
     "Divides positive and multiplies negative logits of tokens that were there before; 1 = off."},
    {"seed", MORE_INT64, "0", 0, 0, NULL, "Seed of the random numbers: the same seed draws the same answer."},
    {"sampler", MORE_STRING, "", 0, 0, NULL,
     "Calls of sampler stages, apart by commas, in place of those made from the keys above; empty = those."},
    {"ignore_stop", MORE_BOOL, "false", 0, 0, NULL,
     "Go on past stop tokens until max_new_tokens: for benchmarks and comparisons with other implementations."},
    {"prompt_lookup", MORE_INT64, "0", 0, 32, NULL,
     "Most tokens that are guessed ahead from what stood behind the last words before, and checked in one call of the "
     "model: the same answer, sooner where it repeats the prompt or itself; 0 = none."},
    {"stop", MORE_STRING, "", 0, 0, NULL,
     "Text that ends the answer when it appears, and is left out; in double quotes \\n is a newline; empty = none."},
};

static const more_option runtime_keys[] = {
    {"threads", MORE_INT64, "0", 0, 1024, NULL, "Worker threads; 0 = one for each core that the process may use."},
    {"plugin_path", MORE_STRING, "", 0, 0, NULL,
     "Folders and files, apart by colons, that are searched for plugins first."},
    {"device", MORE_STRING, "auto", 0, 0, NULL,
     "Where the models run: cpu, cuda (the first NVIDIA device) or cuda:N; auto = the first NVIDIA device, and the CPU "
     "for each model that cannot run there or finds no memory there."},
    {"log", MORE_STRING, "warning", 0, 0, "error|warning|info|debug", "Least important messages that are shown."},
    {"batch", MORE_INT64, "512", 1, 1048576, NULL,
     "Rows of the prompt that the language model takes at one time: more is faster and needs more memory."},
    {"feature_cache", MORE_STRING, "", 0, 0, NULL,
     "Folder in which the visual tokens of pictures are kept for other processes, under all that they hang on: "
     "picture, checkpoints, plugins, settings, processor; it is made where its parent is there; empty = none are "
     "kept."},
    {"feature_cache_limit", MORE_INT64, "1024", 0, 1048576, NULL,
     "Most MiB in that folder: beyond, the files longest unused are removed; 0 = any number."},
};

#define KEYS(table) table, (int32_t)(sizeof table / sizeof *table)

static const core_section sections[] = {
    {"vision", "The vision encoder: pixels in, features out.", MORE_KIND_VISION, KEYS(vision_keys)},
    {"preprocess", "From an image file to the pixels that the encoder takes.", NULL, KEYS(preprocess_keys)},
    {"projector", "From features to rows of the language model's width.", MORE_KIND_PROJECTOR, KEYS(projector_keys)},
    {"llm", "The language model, its tokenizer and its conversation template.", MORE_KIND_LANGUAGE, KEYS(llm_keys)},
    {"generate", "How the answer is drawn and when it ends.", NULL, KEYS(generate_keys)},
    {"runtime", "Threads, plugins, devices and messages.", NULL, KEYS(runtime_keys)},
};

#define SECTIONS (sizeof sections / sizeof *sections)

static const struct {
    const char *section, *key;
    core_path_kind kind;
} paths[] = {
    {"vision", "weights", CORE_PATH_WEIGHTS},   {"projector", "weights", CORE_PATH_WEIGHTS},
    {"llm", "weights", CORE_PATH_WEIGHTS},      {"llm", "tokenizer", CORE_PATH_FILE},
    {"llm", "lora", CORE_PATH_WEIGHTS_LIST},    {"llm", "template", CORE_PATH_NAMED},
    {"runtime", "plugin_path", CORE_PATH_LIST}, {"runtime", "feature_cache", CORE_PATH_FILE},
};

const core_section *core_section_at(size_t index)
{
    return index < SECTIONS ? &sections[index] : NULL;
}

const core_section *core_section_find(const char *name)
{
    for (size_t i = 0; i < SECTIONS; i++)
        if (!strcmp(sections[i].name, name))
            return &sections[i];
    return NULL;
}

const core_section *core_section_of_kind(const char *kind)
{
    for (size_t i = 0; i < SECTIONS; i++)
        if (sections[i].plugin_kind && !strcmp(sections[i].plugin_kind, kind))
            return &sections[i];
    return NULL;
}

core_path_kind core_key_path(const char *section, const char *key)
{
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (!strcmp(paths[i].section, section) && !strcmp(paths[i].key, key))
            return paths[i].kind;
    return CORE_PATH_NONE;
}
