"""Writes GGUF files of small folders as llama.cpp's converters would, with what they must read back as.

gguf_files.py: into tests/parity/data/gguf and tests/fuzz/corpus/gguf. The inputs are folders under tests/parity/data; the
reference for quantised numbers is the gguf package's own dequantisation.
"""

import json
import lzma
import pathlib
import shutil

import gguf
import numpy as np
import sentencepiece
from safetensors.numpy import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "parity" / "data"
OUT = DATA / "gguf"
CORPUS = ROOT / "tests" / "fuzz" / "corpus" / "gguf"
BLOCK = "model.layers."

# Hugging Face's names of a layer and ours to write, without ".weight" and ".bias".
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
GEMMA2 = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def gguf_name(name, arch):
    """The name of a tensor in the file."""
    stem, kind = name.rsplit(".", 1)
    if stem in OUTSIDE:
        return OUTSIDE[stem] + "." + kind
    number, inner = stem[len(BLOCK):].split(".", 1)
    layer = {**LAYER, **GEMMA2} if arch == "gemma2" else {**LAYER, "post_attention_layernorm": "ffn_norm"}
    return "blk.%s.%s.%s" % (number, layer[inner], kind)


def interleave(array, heads):
    """Rows of each head as 0, n/2, 1, n/2 + 1, ..."""
    halves = array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
    return halves.swapaxes(1, 2).reshape(array.shape)


def store(writer, name, array, kind):
    """Matrices in the wanted format where their rows are whole blocks (else f16), vectors in f32."""
    if array.ndim < 2:
        kind = gguf.GGMLQuantizationType.F32
    elif kind.name.startswith("Q") and array.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
        kind = gguf.GGMLQuantizationType.F16
    stored = gguf.quants.quantize(np.ascontiguousarray(array.astype(np.float32)), kind)
    writer.add_tensor(name, stored, raw_dtype=kind)
    return gguf.quants.dequantize(stored, kind)


def llama3_factors(config):
    """By what LLaMA-3.1's scaling divides each frequency, as the converter writes it."""
    rope, dim = config["rope_scaling"], config["head_dim"]
    frequencies = 1.0 / (config["rope_theta"] ** (np.arange(0, dim, 2, dtype=np.float32) / dim))
    low = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
    high = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
    factors = []
    for length in 2 * np.pi / frequencies.astype(np.float64):
        smooth = (rope["original_max_position_embeddings"] / length - rope["low_freq_factor"]) / (
            rope["high_freq_factor"] - rope["low_freq_factor"])
        factors.append(1 if length < high else rope["factor"] if length > low else
                       1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


def write_keys(writer, config, arch):
    """What config.json says."""
    heads = config["num_attention_heads"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads", heads))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    head = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_rope_freq_base(config["rope_theta"])
    if arch == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
        writer.add_sliding_window(config["sliding_window"])
    else:
        writer.add_rope_dimension_count(int(head * config.get("partial_rotary_factor", 1)))
    if arch != "phi3":
        writer.add_key_length(head)
        writer.add_value_length(head)
    else:
        scale = config["max_position_embeddings"] / config["original_max_position_embeddings"]
        writer.add_rope_scaling_orig_ctx_len(config["original_max_position_embeddings"])
        writer.add_sliding_window(config.get("sliding_window") or 0)
        writer.add_rope_scaling_attn_factors(
            float(np.sqrt(1 + np.log(scale) / np.log(config["original_max_position_embeddings"]))))


def write_rope(writer, config, arch):
    """The scaling of rotary frequencies, which is stored as tensors."""
    rope = config.get("rope_scaling")
    if arch == "phi3" and rope:
        writer.add_tensor("rope_factors_long.weight", np.array(rope["long_factor"], dtype=np.float32))
        writer.add_tensor("rope_factors_short.weight", np.array(rope["short_factor"], dtype=np.float32))
    elif rope and rope.get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(config))


def finish(writer):
    """All of it to the file."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def convert(path, config, tensors, arch, kind, tokenizer=None, keep=store):
    """One language model, its tensors written by `keep`; gives back what was stored, under Hugging Face's names and in
    its order of rows."""
    writer = gguf.GGUFWriter(path, arch)
    write_keys(writer, config, arch)
    if tokenizer:
        tokenizer(writer)
    write_rope(writer, config, arch)
    heads = config["num_attention_heads"]
    turned = {"q_proj": heads, "k_proj": config.get("num_key_value_heads", heads)}
    stored = {}
    for name, array in tensors.items():
        if "mm_projector" in name:
            continue
        count = turned.get(name.split(".")[-2]) if arch == "llama" else None
        if count:
            array = interleave(array, count)
        if arch == "gemma2" and name.endswith("norm.weight"):
            array = array.astype(np.float32) + 1
        stored[name] = keep(writer, gguf_name(name, arch), array, kind)
        if count: # back again
            order = interleave(np.arange(array.shape[0]), count)
            stored[name] = stored[name][np.argsort(order)]
    finish(writer)
    return stored


def random_llama(folder):
    """A LLaMA whose rows are whole blocks of 32, as a folder of what Q8_0 makes of its numbers, in f16."""
    generator = np.random.default_rng(11)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "num_attention_heads": 4,
              "num_key_value_heads": 2, "head_dim": 16, "num_hidden_layers": 2, "intermediate_size": 96, "vocab_size": 70,
              "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
              "attention_bias": True, "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float16"}
    shapes = {"model.embed_tokens.weight": (70, 64), "model.norm.weight": (64,)}
    for layer in range(2):
        for name, shape in {"input_layernorm": (64,), "post_attention_layernorm": (64,), "self_attn.q_proj": (64, 64),
                            "self_attn.k_proj": (32, 64), "self_attn.v_proj": (32, 64), "self_attn.o_proj": (64, 64),
                            "mlp.gate_proj": (96, 64), "mlp.up_proj": (96, 64), "mlp.down_proj": (64, 96)}.items():
            shapes["%s%d.%s.weight" % (BLOCK, layer, name)] = shape
            if "self_attn" in name:
                shapes["%s%d.%s.bias" % (BLOCK, layer, name)] = shape[:1]
    tensors = {name: generator.normal(0, 0.2, shape).astype(np.float32) + (1 if "norm" in name else 0)
               for name, shape in shapes.items()}
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    stored = convert(folder.with_suffix(".gguf"), config, tensors, "llama", gguf.GGMLQuantizationType.Q8_0)
    save_file({name: array.astype(np.float16 if array.ndim > 1 else np.float32) for name, array in stored.items()},
              folder / "model.safetensors")


def language_models():
    """(folder, architecture, format): the file has the folder's name and the format's."""
    for name, arch, kind in (("llama-31", "llama", "F32"), ("llama-mqa-f16", "llama", "F16"),
                             ("phi4-mini", "phi3", "F32")):
        folder = DATA / "models" / name
        config = json.loads((folder / "config.json").read_text())
        convert(OUT / (name + ".gguf"), config, load_file(folder / "model.safetensors"), arch,
                gguf.GGMLQuantizationType[kind])
    # Gemma-2's file cannot say the scale of attention: the folder gets the one that follows from its heads.
    folder = OUT / "gemma2"
    shutil.copytree(DATA / "models" / "gemma2-gqa2", folder, ignore=shutil.ignore_patterns("ref.*", "case.*"))
    config = json.loads((folder / "config.json").read_text())
    config["query_pre_attn_scalar"] = config["head_dim"]
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    convert(OUT / "gemma2.gguf", config, load_file(folder / "model.safetensors"), "gemma2",
            gguf.GGMLQuantizationType.F32)
    random_llama(OUT / "llama-q8")


def quantised():
    """One tensor of each format, of blocks of any bytes, and what the package reads in them."""
    generator = np.random.default_rng(12)
    writer, expected = gguf.GGUFWriter(OUT / "formats.gguf", "formats"), {}
    for name in ("Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q5_K", "Q6_K", "F16", "BF16", "F32"):
        kind = gguf.GGMLQuantizationType[name]
        block, size = gguf.GGML_QUANT_SIZES[kind]
        if name[0] == "Q":
            raw = generator.integers(0, 256, (3, 512 // block, size), dtype=np.uint8)
            halves = {"Q6_K": [208]}.get(name, [0, 2] if name in ("Q4_1", "Q4_K", "Q5_K") else [0])
            for at in halves: # scales that are numbers, with some at the ends of an f16
                scales = generator.normal(0, 1, (3, 512 // block)).astype(np.float16)
                scales[0, 0], scales[1, 0], scales[2, 0] = 6e-8, -0.0, 500
                raw[:, :, at:at + 2] = scales.view(np.uint8).reshape(3, 512 // block, 2)
            raw = raw.reshape(3, -1)
        else:
            raw = gguf.quants.quantize(generator.normal(0, 1, (3, 512)).astype(np.float32), kind)
        writer.add_tensor(name, raw, raw_dtype=kind)
        expected[name] = gguf.quants.dequantize(raw, kind)
    finish(writer)
    save_file(expected, OUT / "formats.safetensors")


def merges_tokenizer(folder, pre, bos, eos):
    """A writer of the key-values of a byte-level tokenizer.json."""
    made = json.loads((DATA / "tokens" / "small" / folder / "tokenizer.json").read_text())
    added, ids = {item["content"]: item for item in made["added_tokens"]}, dict(made["model"]["vocab"])
    for text in added: # the tokenizers package overlooks the file's own ids
        ids.setdefault(text, max(ids.values()) + 1)
    texts = ["[PAD%d]" % i for i in range(max(ids.values()) + 1)]
    types = [gguf.TokenType.UNUSED] * len(texts)
    for text, number in ids.items():
        texts[number] = text
        types[number] = (gguf.TokenType.NORMAL if text not in added else gguf.TokenType.CONTROL
                         if added[text]["special"] else gguf.TokenType.USER_DEFINED)
    merges = [item if isinstance(item, str) else " ".join(item) for item in made["model"]["merges"]]

    def write(writer):
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(texts)
        writer.add_token_types(types)
        writer.add_token_merges(merges)
        if bos:
            writer.add_bos_token_id(ids[bos])
        writer.add_eos_token_id(ids[eos])

    return write


def pieces_tokenizer(folder):
    """The same of a SentencePiece model without pieces of its users."""
    path = DATA / "tokens" / "sentencepiece" / folder / "tokenizer.model.xz"
    model = sentencepiece.SentencePieceProcessor(model_proto=lzma.open(path).read())
    ids = range(model.get_piece_size())
    types = [2 if model.is_unknown(i) else 3 if model.is_control(i) else 5 if model.is_unused(i) else
             6 if model.is_byte(i) else 1 for i in ids]

    def write(writer):
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list([model.id_to_piece(i) for i in ids])
        writer.add_token_scores([model.get_score(i) for i in ids])
        writer.add_token_types(types)
        writer.add_bos_token_id(model.bos_id())
        writer.add_eos_token_id(model.eos_id())

    return write


def vocabularies():
    """Tokenizers without a model."""
    for name, write in {
        "vocab-llama3": merges_tokenizer("llama3", "llama-bpe", "<|begin_of_text|>", "<|end_of_text|>"),
        "vocab-o200k": merges_tokenizer("o200k", "gpt-4o", None, "<|endoftext|>"),
        "vocab-cl100k": merges_tokenizer("cl100k", "dbrx", None, "<|endoftext|>"),
        "vocab-pieces": pieces_tokenizer("llama2"),
    }.items():
        writer = gguf.GGUFWriter(OUT / (name + ".gguf"), "vocabulary")
        write(writer)
        finish(writer)


def mmproj(path, tower, projector, old_names):
    """A tower cut behind the layer before its last, with LLaVA's projector."""
    config = json.loads((DATA / "pairs" / tower / "config.json").read_text())
    processor = json.loads((DATA / "pairs" / tower / "preprocessor_config.json").read_text())
    writer, f16 = gguf.GGUFWriter(path, "clip"), gguf.GGMLQuantizationType.F16
    layers = config["num_hidden_layers"] - 1
    writer.add_bool("clip.has_text_encoder", False)
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_bool("clip.has_llava_projector", True)
    writer.add_string("clip.projector_type", "mlp")
    for key, value in (("image_size", "image_size"), ("patch_size", "patch_size"), ("embedding_length", "hidden_size"),
                       ("feed_forward_length", "intermediate_size"), ("attention.head_count", "num_attention_heads")):
        writer.add_uint32("clip.vision." + key, config[value])
    writer.add_uint32("clip.vision.projection_dim", 0)
    writer.add_uint32("clip.vision.block_count", layers)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon",
                       config.get("layer_norm_eps", 1e-5 if "clip" in tower else 1e-6))
    writer.add_array("clip.vision.image_mean", processor["image_mean"])
    writer.add_array("clip.vision.image_std", processor["image_std"])
    writer.add_bool("clip.use_gelu", config["hidden_act"] != "quick_gelu")
    inner = ("ffn_down", "ffn_up") if old_names else ("ffn_up", "ffn_down")
    for name, array in load_file(DATA / "pairs" / tower / "model.safetensors").items():
        if "head." in name or "post_layernorm" in name or ".layers.%d." % layers in name or "position_ids" in name:
            continue
        for old, new in (("vision_model.", "v."), ("encoder.layers.", "blk."), ("embeddings.", ""), ("_proj", ""),
                         ("self_attn.", "attn_"), ("layer_norm", "ln"), ("mlp.fc1", inner[0]), ("mlp.fc2", inner[1]),
                         ("embedding", "embd"), ("layrnorm", "ln")):
            name = name.replace(old, new)
        store(writer, name, array, f16 if array.dtype == np.float16 else gguf.GGMLQuantizationType.F32)
    for name, array in load_file(DATA / "pairs" / projector / "model.safetensors").items():
        store(writer, "mm." + name.split("mm_projector.")[1], array,
              f16 if array.dtype == np.float16 else gguf.GGMLQuantizationType.F32)
    finish(writer)


def pair():
    """Two files of a llama.cpp user."""
    folder = DATA / "pairs" / "llm-llama"
    config = json.loads((folder / "config.json").read_text())
    convert(OUT / "llm-llama.gguf", config, load_file(folder / "model.safetensors"), "llama",
            gguf.GGMLQuantizationType.F16, merges_tokenizer("llama3", "llama-bpe", "<|begin_of_text|>", "<|eot_id|>"))
    mmproj(OUT / "mmproj-clip.gguf", "vision-clip", "clip-llama", True)
    mmproj(OUT / "mmproj-siglip.gguf", "vision-siglip", "siglip-llama", False)


def corpus():
    """Small files of every kind for the fuzzer."""
    shutil.rmtree(CORPUS, ignore_errors=True)
    CORPUS.mkdir(parents=True)
    for name in ("empty", "values"):
        writer = gguf.GGUFWriter(CORPUS / name, "made")
        if name == "values":
            writer.add_custom_alignment(16)
            writer.add_float64("a.f64", 1.5)
            writer.add_int64("a.i64", -2)
            writer.add_array("a.texts", ["a", "b\u00e9"])
            writer.add_array("a.nested", [[1, 2], [3]])
            writer.add_tensor("t", np.zeros((2, 3), dtype=np.float32))
            writer.add_tensor("q", np.zeros((2, 34), dtype=np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        finish(writer)


def main():
    """All of them."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    language_models()
    quantised()
    vocabularies()
    pair()
    corpus()


if __name__ == "__main__":
    main()
