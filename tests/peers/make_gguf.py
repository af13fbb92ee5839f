#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a GGUF file of a released model's exact shapes with random weights, for timing llama.cpp and its forks.

    make_gguf.py ../../share/shapes/gemma-2-2b.json Q8_0 gemma-2-2b-q8_0.gguf
    make_gguf.py ../../share/shapes/clip-vit-l-14-336.json F16 mmproj.gguf --width 2304

Language models get every matrix in the given type, a vocabulary of made words, and no sense at all. A vision encoder
becomes an mmproj file with a two-layer projector to --width channels. Needs numpy and gguf (0.19).
"""
import argparse
import json
import pathlib

import gguf
import numpy

ARCHITECTURES = {"llama": gguf.MODEL_ARCH.LLAMA, "gemma2": gguf.MODEL_ARCH.GEMMA2, "phi3": gguf.MODEL_ARCH.PHI3}
BLOCK = {"Q8_0": 34, "Q4_0": 18, "Q4_1": 20}  # bytes of 32 weights


def random_blocks(kind, count, random):
    """`count` blocks of 32 weights around zero, spread about 0.02."""
    size = BLOCK[kind]
    blocks = random.integers(0, 256, (count, size), dtype=numpy.uint8)
    scale = {"Q8_0": 0.02 / 74, "Q4_0": 0.02 / 4.6, "Q4_1": 0.02 / 4.6}[kind]
    blocks[:, :2] = numpy.full(count, scale, numpy.float16).view(numpy.uint8).reshape(count, 2)
    if kind == "Q4_1":
        blocks[:, 2:4] = numpy.full(count, -7.5 * scale, numpy.float16).view(numpy.uint8).reshape(count, 2)
    return blocks


class Pool:
    """Random bytes made once: tensors are slices of them, since what is in them does not matter to a clock."""

    def __init__(self, kind, most):
        random = numpy.random.default_rng(1)
        self.kind = kind
        self.most = min(most, 1 << 26)
        if kind == "F16":
            self.data = (random.standard_normal(self.most, dtype=numpy.float32) * 0.02).astype(numpy.float16)
        else:
            self.data = random_blocks(kind, self.most // 32, random)

    def matrix(self, rows, columns):
        if self.kind == "F16":
            return numpy.resize(self.data, rows * columns).reshape(rows, columns)
        return numpy.resize(self.data, (rows * columns // 32, BLOCK[self.kind])).reshape(rows, -1)


def tensors_of(part, layers):
    for name, shape in part["tensors"].items():
        for layer in range(layers) if "*" in name else [0]:
            yield name.replace("*", str(layer)), shape


def add_language(writer, part, kind):
    config = part["config"]
    layers, heads = config["num_hidden_layers"], config["num_attention_heads"]
    names = gguf.get_tensor_name_map(writer_arch(config), layers)
    pool = Pool(kind, max(numpy.prod(shape) for shape in part["tensors"].values()))
    for name, shape in tensors_of(part, layers):
        target = names.get_name(name, try_suffixes=(".weight",))
        if target is None:
            raise SystemExit(f"{name}: gguf has no name for it")
        if len(shape) == 1:
            writer.add_tensor(target, numpy.ones(shape, numpy.float32))
        else:
            writer.add_tensor(target, pool.matrix(*shape), raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(layers)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    dimension = config.get("head_dim", config["hidden_size"] // heads)
    writer.add_key_length(dimension)
    writer.add_value_length(dimension)
    if "attn_logit_softcapping" in config:
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
        writer.add_sliding_window(config["sliding_window"])
    if config["model_type"] == "llama":
        writer.add_rope_freq_base(config["rope_theta"])
        writer.add_rope_dimension_count(dimension)
        writer.add_vocab_size(config["vocab_size"])
    add_vocabulary(writer, config["vocab_size"])


def add_vocabulary(writer, size):
    tokens = [b"<unk>", b"<s>", b"</s>"] + [b"<0x%02X>" % byte for byte in range(256)]
    kinds = [gguf.TokenType.UNKNOWN] + 2 * [gguf.TokenType.CONTROL] + 256 * [gguf.TokenType.BYTE]
    tokens += [b"w%d" % index for index in range(size - len(tokens))]
    kinds += [gguf.TokenType.NORMAL] * (size - len(kinds))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(index) for index in range(size)])
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def writer_arch(config):
    return ARCHITECTURES[config["model_type"]]


def add_vision(writer, part, width):
    """llama.cpp's mmproj of the LLaVA kind: all blocks but the last, which nobody looks at."""
    config, random = part["config"].get("vision_config", part["config"]), numpy.random.default_rng(2)
    w, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    patch, side = config["patch_size"], config["image_size"]

    def f16(*shape):
        return (random.standard_normal(shape, dtype=numpy.float32) * 0.02).astype(numpy.float16)

    def biased(name, rows, columns):
        writer.add_tensor(name + ".weight", f16(rows, columns))
        writer.add_tensor(name + ".bias", numpy.zeros(rows, numpy.float32))

    def norm(name):
        writer.add_tensor(name + ".weight", numpy.ones(w, numpy.float32))
        writer.add_tensor(name + ".bias", numpy.zeros(w, numpy.float32))

    writer.add_tensor("v.class_embd", f16(w).astype(numpy.float32))
    writer.add_tensor("v.patch_embd.weight", f16(w, 3, patch, patch))
    writer.add_tensor("v.position_embd.weight", f16((side // patch) ** 2 + 1, w))
    norm("v.pre_ln")
    for layer in range(layers - 1):
        base = f"v.blk.{layer}."
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            biased(base + name, w, w)
        norm(base + "ln1")
        norm(base + "ln2")
        biased(base + "ffn_up", inner, w)
        biased(base + "ffn_down", w, inner)
    norm("v.post_ln")
    biased("mm.0", width, w)
    biased("mm.2", width, width)
    writer.add_bool("clip.has_text_encoder", False)
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_bool("clip.has_llava_projector", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", False)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    for key, value in (("image_size", side), ("patch_size", patch), ("embedding_length", w),
                       ("feed_forward_length", inner), ("projection_dim", 768), ("block_count", layers - 1),
                       ("attention.head_count", config["num_attention_heads"])):
        writer.add_uint32("clip.vision." + key, value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", config.get("layer_norm_eps", 1e-5))
    processor = part["preprocessor_config"]
    writer.add_array("clip.vision.image_mean", processor["image_mean"])
    writer.add_array("clip.vision.image_std", processor["image_std"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", type=pathlib.Path)
    parser.add_argument("kind", choices=["F16", *BLOCK])
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--width", type=int, default=4096, help="channels that the projector gives (default: 4096)")
    arguments = parser.parse_args()
    shape = json.loads(arguments.shapes.read_text())
    if "llm" in shape:
        config = shape["llm"]["config"]
        writer = gguf.GGUFWriter(None, gguf.MODEL_ARCH_NAMES[writer_arch(config)])
        writer.add_file_type(gguf.LlamaFileType["MOSTLY_" + arguments.kind])
        add_language(writer, shape["llm"], arguments.kind)
    else:
        writer = gguf.GGUFWriter(None, "clip")
        add_vision(writer, shape["vision"], arguments.width)
    writer.add_name(arguments.shapes.stem)
    writer.write_header_to_file(arguments.output)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main()
