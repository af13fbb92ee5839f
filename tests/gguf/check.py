# SPDX-License-Identifier: Apache-2.0
"""Reads what llavamore-quantize wrote with the gguf package, and holds it against the folders that it came from.

check.py language MODEL.gguf FOLDER FORMAT      FORMAT as the package calls it: F32, F16, BF16, Q8_0, Q4_0, Q4_1
check.py mmproj MMPROJ.gguf TOWER FOLDER FORMAT

Names come from the package's own tables and transforms from what llama.cpp's converter does, so that nothing of the
program under test is trusted. One line a file, or what is wrong and exit code 1.
"""

import json
import pathlib
import sys

import gguf
import numpy as np

KIND = gguf.GGMLQuantizationType
DTYPES = {"F32": np.float32, "F16": np.float16}


def fail(text):
    """The end."""
    print(text)
    sys.exit(1)


def tensors_of(folder):
    """All tensors of a folder's safetensors files as float32."""
    found = {}
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        data = path.read_bytes()
        size = int.from_bytes(data[:8], "little")
        for name, about in json.loads(data[8:8 + size]).items():
            if name == "__metadata__":
                continue
            begin, end = (8 + size + offset for offset in about["data_offsets"])
            if about["dtype"] == "BF16":
                array = (np.frombuffer(data[begin:end], dtype=np.uint16).astype(np.uint32) << 16).view(np.float32)
            else:
                array = np.frombuffer(data[begin:end], dtype=DTYPES[about["dtype"]]).astype(np.float32)
            found[name] = array.reshape(about["shape"])
    return found


def value(reader, key):
    """A key's value; its absence is the end."""
    if key not in reader.fields:
        fail("key %s is missing" % key)
    return reader.fields[key].contents()


def wants(reader, key, wanted):
    """Numbers agree within what an f32 holds."""
    got = value(reader, key)
    same = np.allclose(got, wanted, rtol=1e-6, atol=0) if not isinstance(wanted, str) else got == wanted
    if not same:
        fail("key %s is %r, not %r" % (key, got, wanted))


def check_tensor(tensor, wanted, title, floats):
    """Shape, format, and numbers: those of the source rounded; of blocks no worse than the package's."""
    shape = tuple(int(side) for side in reversed(tensor.shape))
    if shape != wanted.shape:
        fail("%s: shape %s, not %s" % (tensor.name, shape, wanted.shape))
    expected = "F32" if wanted.ndim < 2 or floats == "F32" else title
    if floats == "FLOAT":
        expected = "F32" if title == "F32" else "F16"
    elif expected[0] == "Q" and shape[-1] % 32:
        expected = "F16"
    if tensor.tensor_type.name != expected:
        fail("%s: is %s, not %s" % (tensor.name, tensor.tensor_type.name, expected))
    got = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape)
    if expected[0] != "Q":
        exact = gguf.quants.dequantize(gguf.quants.quantize(wanted.astype(np.float32), KIND[expected]), KIND[expected])
        if not np.array_equal(got, exact):
            fail("%s: other numbers than the source's in %s" % (tensor.name, expected))
        return
    package = gguf.quants.quantize(wanted, KIND[expected])
    theirs = gguf.quants.dequantize(package, KIND[expected]).reshape(-1, 32)
    blocks, ours = wanted.reshape(-1, 32), got.reshape(-1, 32)
    squares, allowed = ((ours - blocks) ** 2).sum(axis=1), ((theirs - blocks) ** 2).sum(axis=1)
    if (squares > 1.02 * allowed + 1e-9).any() or squares.sum() > allowed.sum():
        worst = int((squares - allowed).argmax())
        fail("%s: squared error %g, of block %d %g; the package's own %s: %g and %g" % (
            tensor.name, squares.sum(), worst, squares[worst], expected, allowed.sum(), allowed[worst]))
    if expected == "Q8_0" and not np.array_equal(tensor.data, package):
        fail("%s: other bytes than the package's own Q8_0" % tensor.name)


def compare(reader, wanted, title, plain):
    """Every tensor is there, and none besides."""
    stored = {tensor.name: tensor for tensor in reader.tensors}
    if set(stored) != set(wanted):
        fail("missing: %s; too much: %s" % (sorted(set(wanted) - set(stored)), sorted(set(stored) - set(wanted))))
    for name, array in wanted.items():
        check_tensor(stored[name], array, title, plain.get(name, ""))
    return len(stored)


def permute(array, heads):
    """The order of rows for rotary embeddings of neighbours."""
    halves = array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
    return halves.swapaxes(1, 2).reshape(array.shape)


def llama3_factors(config, head):
    """By what LLaMA-3.1's scaling divides each frequency."""
    rope = config["rope_scaling"]
    low, high, old = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    turns = old / (2 * np.pi * config["rope_theta"] ** (np.arange(0, head, 2) / head))
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / rope["factor"] + smooth)).astype(np.float32)


def wanted_language(folder, config, arch, head):
    """The tensors that the file must have."""
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    heads, keys = config["num_attention_heads"], config.get("num_key_value_heads", config["num_attention_heads"])
    wanted = {}
    for name, array in tensors_of(folder).items():
        if "mm_projector" in name or (name == "lm_head.weight" and config["tie_word_embeddings"]):
            continue
        if arch == gguf.MODEL_ARCH.LLAMA and name.split(".")[-2] in ("q_proj", "k_proj"):
            array = permute(array, heads if "q_proj" in name else keys)
        if arch == gguf.MODEL_ARCH.GEMMA2 and name.endswith("norm.weight"):
            array = array + np.float32(1)
        wanted[names.get_name(name, try_suffixes=(".weight", ".bias"))] = array
    rope = config.get("rope_scaling") or {}
    if "long_factor" in rope:
        wanted["rope_factors_long.weight"] = np.array(rope["long_factor"], dtype=np.float32)
        wanted["rope_factors_short.weight"] = np.array(rope["short_factor"], dtype=np.float32)
    elif rope.get("rope_type") == "llama3":
        wanted["rope_freqs.weight"] = llama3_factors(config, head)
    return wanted


def check_tokenizer(reader, folder, rows):
    """Texts by id, kinds, merges or scores, ends."""
    made = json.loads((pathlib.Path(folder) / "tokenizer.json").read_text())
    said = json.loads((pathlib.Path(folder) / "tokenizer_config.json").read_text())
    ids = dict(made["model"]["vocab"])
    ids.update({item["content"]: item["id"] for item in made["added_tokens"]})
    special = {item["id"] for item in made["added_tokens"] if item["special"]}
    texts, types = value(reader, "tokenizer.ggml.tokens"), value(reader, "tokenizer.ggml.token_type")
    if len(texts) != rows or len(types) != rows or len(set(texts)) != rows:
        fail("%d tokens, %d kinds, %d texts for %d rows" % (len(texts), len(types), len(set(texts)), rows))
    pieces = value(reader, "tokenizer.ggml.model") == "llama"
    for text, number in ids.items():
        if texts[number] != text:
            fail("token %d is %r, not %r" % (number, texts[number], text))
        control = types[number] in ((gguf.TokenType.CONTROL, gguf.TokenType.UNKNOWN) if pieces else (gguf.TokenType.CONTROL,))
        if control != (number in special):
            fail("token %r has kind %d" % (text, types[number]))
    merges = [item if isinstance(item, str) else " ".join(item) for item in made["model"]["merges"]]
    if not pieces and value(reader, "tokenizer.ggml.merges") != merges:
        fail("other merges")
    if pieces:
        scores = value(reader, "tokenizer.ggml.scores")
        ranked = [scores[ids[merge.replace(" ", "", 1)]] for merge in merges]
        if ranked != sorted(ranked, reverse=True):
            fail("scores do not fall with the rank of the merges")
    wants(reader, "tokenizer.ggml.eos_token_id", ids[said["eos_token"]])
    if value(reader, "tokenizer.chat_template") != said["chat_template"]:
        fail("another chat template")


def language(path, folder, title):
    """A language model's file."""
    config = json.loads((pathlib.Path(folder) / "config.json").read_text())
    reader = gguf.GGUFReader(path)
    name = value(reader, "general.architecture")
    arch = next(key for key, text in gguf.MODEL_ARCH_NAMES.items() if text == name)
    head = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    rows = config["vocab_size"]
    for key, number in {"context_length": config["max_position_embeddings"], "embedding_length": config["hidden_size"],
                        "block_count": config["num_hidden_layers"], "feed_forward_length": config["intermediate_size"],
                        "attention.head_count": config["num_attention_heads"],
                        "attention.head_count_kv": config["num_key_value_heads"], "attention.key_length": head,
                        "attention.value_length": head, "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
                        "rope.freq_base": config["rope_theta"]}.items():
        wants(reader, "%s.%s" % (name, key), number)
    if name == "gemma2":
        for key in ("attn_logit_softcapping", "final_logit_softcapping"):
            wants(reader, "gemma2." + key, config[key])
        wants(reader, "gemma2.attention.sliding_window", config["sliding_window"])
    else:
        wants(reader, name + ".rope.dimension_count", int(head * config.get("partial_rotary_factor", 1)))
    check_tokenizer(reader, folder, rows)
    count = compare(reader, wanted_language(folder, config, arch, head), title, {})
    print("%s: %s, %d tensors, %d keys" % (path, name, count, len(reader.fields)))


def mmproj(path, tower, folder, title):
    """A tower cut behind the layer before its last, and the projector."""
    config = json.loads((pathlib.Path(tower) / "config.json").read_text())
    config = config.get("vision_config", config)
    processor = json.loads((pathlib.Path(tower) / "preprocessor_config.json").read_text())
    reader = gguf.GGUFReader(path)
    blocks = config["num_hidden_layers"] - 1
    wants(reader, "general.architecture", "clip")
    wants(reader, "clip.projector_type", "mlp")
    for key, number in {"image_size": config["image_size"], "patch_size": config["patch_size"],
                        "embedding_length": config["hidden_size"], "feed_forward_length": config["intermediate_size"],
                        "attention.head_count": config["num_attention_heads"], "block_count": blocks,
                        "image_mean": processor["image_mean"], "image_std": processor["image_std"],
                        "feature_layer": [blocks]}.items():
        wants(reader, "clip.vision." + key, number)
    wants(reader, "clip.use_gelu", config["hidden_act"] != "quick_gelu")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.MMPROJ, blocks)
    wanted = {}
    for name, array in tensors_of(tower).items():
        if "head." in name or "post_layernorm" in name or "position_ids" in name or ".layers.%d." % blocks in name:
            continue
        wanted[names.get_name("vision_tower." + name, try_suffixes=(".weight", ".bias"))] = array
    for name, array in tensors_of(folder).items():
        if "mm_projector." in name:
            wanted["mm." + name.split("mm_projector.")[1]] = array
    count = compare(reader, wanted, title, {"v.position_embd.weight": "F32", "v.patch_embd.weight": "FLOAT"})
    print("%s: clip, %d tensors, %d keys" % (path, count, len(reader.fields)))


if __name__ == "__main__":
    {"language": language, "mmproj": mmproj}[sys.argv[1]](*sys.argv[2:])
