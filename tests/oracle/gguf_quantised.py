"""Writes quantised language models as GGUF, with the gguf package, and an mmproj file that fits one of them.

gguf_quantised.py: into tests/parity/data/quantised. The tests make the folders that these files came from themselves: they
read every tensor back as f32, which test_gguf compares with the package's own dequantisation format by format.
"""

import json
import shutil

import gguf
import numpy as np
from safetensors.numpy import save_file

from gguf_files import BLOCK, DATA, convert, merges_tokenizer, mmproj, store

OUT = DATA / "quantised"
KINDS = gguf.GGMLQuantizationType


def shapes(config):
    """Of every tensor, under Hugging Face's names."""
    width, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    query, key = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    found = {"model.embed_tokens.weight": (config["vocab_size"], width), "model.norm.weight": (width,)}
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = (config["vocab_size"], width)
    inside = {"input_layernorm": (width,), "post_attention_layernorm": (width,), "self_attn.o_proj": (width, query),
              "mlp.down_proj": (width, inner)}
    if config["model_type"] == "phi3":
        inside.update({"self_attn.qkv_proj": (query + 2 * key, width), "mlp.gate_up_proj": (2 * inner, width)})
    else:
        inside.update({"self_attn.q_proj": (query, width), "self_attn.k_proj": (key, width),
                       "self_attn.v_proj": (key, width), "mlp.gate_proj": (inner, width), "mlp.up_proj": (inner, width)})
    if config["model_type"] == "gemma2":
        inside.update({"pre_feedforward_layernorm": (width,), "post_feedforward_layernorm": (width,)})
    for layer in range(config["num_hidden_layers"]):
        for name, shape in inside.items():
            found["%s%d.%s.weight" % (BLOCK, layer, name)] = shape
    return found


def llama(**own):
    """A config."""
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2,
            "torch_dtype": "float16", "tie_word_embeddings": True, **own}


def tensors(config, generator):
    """Random numbers of a trained model's size."""
    return {name: np.ones(shape, np.float32) + generator.normal(0, 0.1, shape).astype(np.float32) if "norm" in name else
            generator.normal(0, 1.5 / np.sqrt(shape[1]), shape).astype(np.float32) for name, shape in shapes(config).items()}


def k_blocks(kind, shape, generator):
    """Blocks of any bits: the package reads the K formats but does not make them. Scales give numbers of about 0.1."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    rows, blocks = shape[0], shape[1] // block
    raw = generator.integers(0, 256, (rows, blocks, size), dtype=np.uint8)
    scale = generator.uniform(0.8, 1.2, (rows, blocks))

    def put(at, values):
        raw[:, :, at:at + 2] = values.astype(np.float16).view(np.uint8).reshape(rows, blocks, 2)

    if kind == KINDS.Q6_K:
        raw[:, :, 192:208] = generator.integers(-40, 41, (rows, blocks, 16)).astype(np.int8).view(np.uint8)
        put(208, scale * 2e-4)
    else:
        half = 1 if kind == KINDS.Q4_K else 2 # numbers reach 15, or 31
        put(0, scale * 4e-4 / half)
        put(2, scale * 4e-4 * 7.5)
    return raw.reshape(rows, blocks * size)


def keeper(generator, choose):
    """A writer of tensors in the format that `choose` says for a name."""

    def keep(writer, name, array, kind):
        if array.ndim > 1:
            kind = choose(name)
        if array.ndim < 2 or not kind.name.endswith("_K"):
            return store(writer, name, array, kind)
        if array.shape[1] % 256:
            return store(writer, name, array, KINDS.Q8_0)
        raw = k_blocks(kind, array.shape, generator)
        writer.add_tensor(name, raw, raw_dtype=kind)
        return gguf.quants.dequantize(raw, kind)

    return keep


def mixed(name):
    """As llama.cpp's Q4_K_M has it: more bits for values, half of the down projections and the head."""
    return KINDS.Q6_K if any(part in name for part in ("attn_v", "ffn_down", "output.weight")) and (
        "attn_output" not in name) else KINDS.Q4_K


def language_models():
    """One of each format: of 32 numbers a block with rows that end in half a step of our kernels; and of 256."""
    small = llama(hidden_size=96, num_attention_heads=3, num_key_value_heads=1, head_dim=32, num_hidden_layers=2,
                  intermediate_size=160, vocab_size=70)
    large = llama(hidden_size=256, num_attention_heads=2, num_key_value_heads=1, head_dim=32, num_hidden_layers=1,
                  intermediate_size=256, vocab_size=40, tie_word_embeddings=False)
    for number, name in enumerate(("Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q5_K", "Q6_K", "Q4_K_M")):
        generator = np.random.default_rng(20 + number)
        config = large if "K" in name else small
        choose = mixed if name == "Q4_K_M" else lambda _, kind=name: KINDS[kind]
        convert(OUT / ("llama-%s.gguf" % name), config, tensors(config, generator), "llama", KINDS.F32,
                keep=keeper(generator, choose))


def architectures():
    """Gemma-2 and Phi-3 in 8 bits, and their config.json, which says more than such a file."""
    for number, (name, like, arch, own) in enumerate((
            ("gemma2", "gemma2-gqa2", "gemma2", {"hidden_size": 64, "head_dim": 16, "query_pre_attn_scalar": 16}),
            ("phi4", "phi4-mini", "phi3", {"hidden_size": 96, "head_dim": 16, "num_attention_heads": 6,
                                           "num_key_value_heads": 2}))):
        config = json.loads((DATA / "models" / like / "config.json").read_text())
        config.update(own, intermediate_size=160, tie_word_embeddings=True)
        folder = OUT / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        convert(OUT / (name + "-Q8_0.gguf"), config, tensors(config, np.random.default_rng(40 + number)), arch,
                KINDS.Q8_0)


def pair():
    """Two files of a llama.cpp user: the language model in 8 bits, the tower of pairs/vision-clip in f16; and the folders
    of the projector and of the language model's config."""
    generator = np.random.default_rng(30)
    config = llama(hidden_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=16, num_hidden_layers=2,
                   intermediate_size=96, vocab_size=1024)
    config.update(architectures=["LlavaLlamaForCausalLM"], model_type="llava_llama", image_aspect_ratio="pad",
                  mm_projector_type="mlp2x_gelu", mm_vision_select_layer=-2, mm_vision_select_feature="patch")
    folder = OUT / "pair-llama"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    convert(OUT / "pair-llama-Q8_0.gguf", config, tensors(config, generator), "llama", KINDS.Q8_0,
            merges_tokenizer("llama3", "llama-bpe", "<|begin_of_text|>", "<|eot_id|>"))
    projector = OUT / "pair-projector"
    projector.mkdir()
    (projector / "config.json").write_text(json.dumps(
        {"mm_projector_type": "mlp2x_gelu", "mm_hidden_size": 48, "hidden_size": 64}, indent=1) + "\n")
    save_file({"model.mm_projector.%d.%s" % (layer, part): generator.normal(0, 0.2, shape).astype(np.float16)
               for layer, wide in ((0, 48), (2, 64)) for part, shape in (("weight", (64, wide)), ("bias", (64,)))},
              projector / "model.safetensors")
    mmproj(OUT / "pair-mmproj-f16.gguf", "vision-clip", "../quantised/pair-projector", False)


def main():
    """All of them."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    language_models()
    architectures()
    pair()


if __name__ == "__main__":
    main()
