#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a LLaVA-MORE checkpoint of the full released shapes with random f16 weights.

    make_checkpoint.py FOLDER [--tokenizer ../shared/tokenizers/llama3_1] [--layers 32]

FOLDER/llava gets LLaMA-3.1-8B plus the mlp2x_gelu projector in shards as the released
LLaVA_MORE-llama_3_1-8B-finetuning has them, FOLDER/clip gets CLIP ViT-L/14-336's vision tower. Needs numpy and 17 GB
of disk. The answer is noise; time, memory and every shape are those of the real model.
"""
import argparse
import json
import lzma
import pathlib

import numpy

LANGUAGE = {
    "architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava_llama", "hidden_size": 4096,
    "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "vocab_size": 128256, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                     "original_max_position_embeddings": 8192},
    "hidden_act": "silu", "attention_bias": False, "tie_word_embeddings": False, "torch_dtype": "float16",
    "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "image_aspect_ratio": "pad",
    "mm_vision_tower": "../clip", "mm_projector_type": "mlp2x_gelu", "mm_hidden_size": 1024,
    "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch", "mm_patch_merge_type": "flat",
    "mm_use_im_start_end": False, "mm_use_im_patch_token": False, "tokenizer_model_max_length": 4096,
    "tokenizer_padding_side": "right",
}
VISION = {
    "architectures": ["CLIPModel"], "model_type": "clip",
    "vision_config": {"model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096,
                      "num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 336, "patch_size": 14,
                      "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "projection_dim": 768},
}
PROCESSOR = {
    "crop_size": 336, "do_center_crop": True, "do_normalize": True, "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "size": 336,
}


def language_tensors(layers):
    """Name and shape of every tensor of the language model and the projector, in file order."""
    width, inner, head = 4096, 14336, 128
    yield "model.embed_tokens.weight", (128256, width)
    for n in range(layers):
        base = f"model.layers.{n}."
        yield base + "input_layernorm.weight", (width,)
        yield base + "self_attn.q_proj.weight", (32 * head, width)
        yield base + "self_attn.k_proj.weight", (8 * head, width)
        yield base + "self_attn.v_proj.weight", (8 * head, width)
        yield base + "self_attn.o_proj.weight", (width, 32 * head)
        yield base + "post_attention_layernorm.weight", (width,)
        yield base + "mlp.gate_proj.weight", (inner, width)
        yield base + "mlp.up_proj.weight", (inner, width)
        yield base + "mlp.down_proj.weight", (width, inner)
    yield "model.norm.weight", (width,)
    yield "lm_head.weight", (128256, width)
    yield "model.mm_projector.0.weight", (width, 1024)
    yield "model.mm_projector.0.bias", (width,)
    yield "model.mm_projector.2.weight", (width, width)
    yield "model.mm_projector.2.bias", (width,)


def vision_tensors():
    """Name and shape of every tensor of CLIP ViT-L/14-336's vision tower."""
    width, inner, root = 1024, 4096, "vision_model."
    yield root + "embeddings.class_embedding", (width,)
    yield root + "embeddings.patch_embedding.weight", (width, 3, 14, 14)
    yield root + "embeddings.position_embedding.weight", (577, width)
    for norm in ("pre_layrnorm", "post_layernorm"):
        yield root + norm + ".weight", (width,)
        yield root + norm + ".bias", (width,)
    for n in range(24):
        base = f"{root}encoder.layers.{n}."
        for part, rows, columns in (("self_attn.q_proj", width, width), ("self_attn.k_proj", width, width),
                                    ("self_attn.v_proj", width, width), ("self_attn.out_proj", width, width),
                                    ("mlp.fc1", inner, width), ("mlp.fc2", width, inner)):
            yield base + part + ".weight", (rows, columns)
            yield base + part + ".bias", (rows,)
        for norm in ("layer_norm1", "layer_norm2"):
            yield base + norm + ".weight", (width,)
            yield base + norm + ".bias", (width,)


def values(name, shape, random):
    """Norm weights near one, the rest small and normal-ish; f16."""
    count = int(numpy.prod(shape))
    noise = random.integers(-32768, 32767, count, dtype=numpy.int16).astype(numpy.float32) * numpy.float32(0.03 / 32768)
    if "norm" in name and name.endswith(".weight"):
        noise += 1
    return noise.astype(numpy.float16)


def write_shard(path, tensors, random):
    """One safetensors file, streamed tensor by tensor."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        size = 2 * int(numpy.prod(shape))
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in tensors:
            file.write(values(name, shape, random).tobytes())
    return offset


def write_folder(folder, tensors, shard_bytes, random):
    """Shards of at most shard_bytes and their index, as save_pretrained names them."""
    shards = [[]]
    size = 0
    for name, shape in tensors:
        more = 2 * int(numpy.prod(shape))
        if shards[-1] and size + more > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append((name, shape))
        size += more
    weight_map, total = {}, 0
    for number, shard in enumerate(shards, 1):
        file = "model.safetensors" if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        total += write_shard(folder / file, shard, random)
        weight_map.update({name: file for name, _ in shard})
        print(folder / file, flush=True)
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--tokenizer", type=pathlib.Path, default=pathlib.Path("../shared/tokenizers/llama3_1"))
    parser.add_argument("--layers", type=int, default=32)
    options = parser.parse_args()
    random = numpy.random.default_rng(1)
    llava, clip = options.folder / "llava", options.folder / "clip"
    llava.mkdir(parents=True, exist_ok=True)
    clip.mkdir(parents=True, exist_ok=True)
    (llava / "config.json").write_text(json.dumps(dict(LANGUAGE, num_hidden_layers=options.layers), indent=1))
    (llava / "generation_config.json").write_text(json.dumps({"eos_token_id": LANGUAGE["eos_token_id"]}))
    (llava / "tokenizer.json").write_bytes(lzma.decompress((options.tokenizer / "tokenizer.json.xz").read_bytes()))
    (llava / "tokenizer_config.json").write_bytes((options.tokenizer / "tokenizer_config.json").read_bytes())
    (clip / "config.json").write_text(json.dumps(VISION, indent=1))
    (clip / "preprocessor_config.json").write_text(json.dumps(PROCESSOR, indent=1))
    write_folder(clip, list(vision_tensors()), 5_000_000_000, random)
    write_folder(llava, list(language_tensors(options.layers)), 5_000_000_000, random)


if __name__ == "__main__":
    main()
