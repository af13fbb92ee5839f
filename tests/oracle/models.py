"""Writes models/: tiny random CLIP towers, projectors and LLaMAs, and what transformers computes with them."""

import logging

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPConfig, CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

import float64
from files import DATA, write_arrays, write_json

OUT = DATA / "models"
TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
TYPE_NAMES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
LEAST_MARGIN = 1.5e-3
LEAST_DISTINCT = 24
GREEDY_STEPS = 128
EXACT_ROWS = 8
TOKENS, PREFIX, ROWS, SUFFIX, BATCH = 40, 9, 5, 11, (7, 61)

CLIP_CASES = {
    # Nested config as openai's; hidden_act left to its default, quick_gelu.
    "clip-quick": ("f32", "nested", dict(hidden_size=48, num_attention_heads=3, num_hidden_layers=3, intermediate_size=80,
                                         patch_size=8, image_size=32)),
    "clip-gelu": ("f32", "nested", dict(hidden_size=36, num_attention_heads=3, num_hidden_layers=3, intermediate_size=75,
                                        patch_size=8, image_size=40, hidden_act="gelu", layer_norm_eps=1e-6)),
    # As old checkpoints: position_ids stored, and a text tower beside the vision tower.
    "clip-f16": ("f16", "nested+text", dict(hidden_size=60, num_attention_heads=3, num_hidden_layers=3, intermediate_size=100,
                                            patch_size=14, image_size=56, hidden_act="quick_gelu")),
    # 24 pixels in patches of 7: the last 3 rows and columns are not looked at.
    "clip-flat": ("f32", "flat", dict(hidden_size=40, num_attention_heads=5, num_hidden_layers=2, intermediate_size=72,
                                      patch_size=7, image_size=24, hidden_act="gelu")),
    "clip-bf16": ("bf16", "nested", dict(hidden_size=44, num_attention_heads=1, num_hidden_layers=2, intermediate_size=90,
                                         patch_size=10, image_size=30, hidden_act="quick_gelu", layer_norm_eps=1e-4)),
}

PROJECTOR_CASES = {"projector-mlp2x": ("f32", "mlp2x_gelu", 37, 52), "projector-mlp3x": ("f32", "mlp3x_gelu", 29, 35),
                   "projector-linear": ("f32", "linear", 21, 30), "projector-mlp2x-f16": ("f16", "mlp2x_gelu", 48, 64)}


def llama3_rope(original, factor=8.0):
    """LLaMA-3.1's rope_scaling with a small original context, so that short prompts cross all bands."""
    return {"factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": original, "rope_type": "llama3"}


LLAMA_CASES = {
    # As LLaMA-1's config: no num_key_value_heads, rope_theta, head_dim.
    "llama-mha": ("f32", dict(hidden_size=48, num_attention_heads=4, num_hidden_layers=2, intermediate_size=76,
                              vocab_size=131, rms_norm_eps=1e-6)),
    "llama-gqa2": ("f32", dict(hidden_size=48, num_attention_heads=6, num_key_value_heads=3, head_dim=16, num_hidden_layers=2,
                               intermediate_size=74, vocab_size=128, rms_norm_eps=1e-5, rope_theta=10000.0,
                               rope_scaling=llama3_rope(32))),
    "llama-gqa3-tied": ("f32", dict(hidden_size=48, num_attention_heads=6, num_key_value_heads=2, num_hidden_layers=2,
                                    intermediate_size=88, vocab_size=150, rms_norm_eps=1e-5, rope_theta=500000.0,
                                    tie_word_embeddings=True)),
    "llama-mqa-f16": ("f16", dict(hidden_size=60, num_attention_heads=5, num_key_value_heads=1, num_hidden_layers=2,
                                  intermediate_size=130, vocab_size=137, rms_norm_eps=1e-5, rope_theta=500000.0)),
    "llama-odd-bf16": ("bf16", dict(hidden_size=36, num_attention_heads=3, num_key_value_heads=3, head_dim=20,
                                    num_hidden_layers=4, intermediate_size=77, vocab_size=150, rms_norm_eps=1e-4,
                                    rope_theta=1000.0, rope_scaling=llama3_rope(64, 4.0))),
    "llama-31": ("f32", dict(hidden_size=48, num_attention_heads=8, num_key_value_heads=2, head_dim=8, num_hidden_layers=2,
                             intermediate_size=80, vocab_size=160, rms_norm_eps=1e-5, rope_theta=500000.0,
                             rope_scaling=llama3_rope(64))),
}


def is_tied(model):
    """Whether a language model's head is its embedding."""
    return isinstance(model, LlamaForCausalLM) and model.config.tie_word_embeddings


def randomise(model, seed, dtype):
    """Fills a model so that its activations keep their size, rounded to what dtype can store."""
    generator = torch.Generator().manual_seed(seed)
    # A tied head would let every token predict itself, were the embedding as large as what the blocks add.
    embedding = 0.1 if is_tied(model) else 0.7

    def normal(like, deviation, mean=0.0):
        return mean + deviation * torch.randn(like.shape, generator=generator)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "norm" in name and name.endswith("weight"):
                value = normal(parameter, 0.2, 1.0)
            elif parameter.dim() == 1 or "embed" in name and "patch" not in name:
                value = normal(parameter, 0.2 if name.endswith("bias") else embedding)
            else:
                gain = 1.5 if "q_proj" in name or "k_proj" in name else 1.0
                value = normal(parameter, gain / parameter[0].numel() ** 0.5)
            parameter.copy_(value.to(dtype))


def stored_state(model, dtype):
    """A model's own tensors in the type in which they are stored; a tied head is left out."""
    return {name: tensor.to(dtype).contiguous() if tensor.is_floating_point() else tensor
            for name, tensor in model.state_dict().items() if not (is_tied(model) and name == "lm_head.weight")}


def save_folder(folder, config, state):
    """config.json and model.safetensors as a Hugging Face folder has them."""
    write_json(folder / "config.json", config, indent=2)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def array(tensor):
    """A tensor as a numpy array, ids as i32."""
    tensor = tensor.detach()
    return tensor.numpy() if tensor.is_floating_point() else tensor.to(torch.int32).numpy()


def clip_config(shape, fields, weights):
    """config.json of a CLIP model: openai's nested form, or the flat one of a vision tower alone."""
    vision = {"model_type": "clip_vision_model", "projection_dim": 32, **fields}
    if shape == "flat":
        return {"architectures": ["CLIPVisionModel"], **vision, "torch_dtype": TYPE_NAMES[weights]}
    text = {"model_type": "clip_text_model", "hidden_size": 24, "intermediate_size": 48, "num_attention_heads": 2,
            "num_hidden_layers": 1, "vocab_size": 50, "projection_dim": 32}
    return {"architectures": ["CLIPModel"], "initializer_factor": 1.0, "logit_scale_init_value": 2.6592, "model_type": "clip",
            "projection_dim": 32, "text_config": text, "torch_dtype": TYPE_NAMES[weights], "vision_config": vision}


def clip_extras(tokens, dtype):
    """Tensors of an old CLIP checkpoint that a vision tower has no use for."""
    generator = torch.Generator().manual_seed(1)
    return {"logit_scale": torch.tensor(4.6, dtype=dtype),
            "text_model.embeddings.token_embedding.weight": torch.randn(50, 24, generator=generator).to(dtype),
            "text_model.encoder.layers.0.layer_norm1.weight": torch.ones(24, dtype=dtype),
            "visual_projection.weight": torch.randn(32, 60, generator=generator).to(dtype),
            "vision_model.embeddings.position_ids": torch.arange(tokens)[None]}


def make_clip(name, weights, shape, fields, seed):
    """One CLIP tower: its folder, and all of its hidden states for two or three pictures."""
    dtype = TYPES[weights]
    model = CLIPVisionModel(CLIPVisionConfig(**fields)).eval()
    randomise(model, seed, dtype)
    state = stored_state(model, dtype)
    if shape == "nested+text":
        state.update(clip_extras(model.vision_model.embeddings.num_positions, dtype))
    save_folder(OUT / name, clip_config(shape, fields, weights), state)

    model = CLIPVisionModel.from_pretrained(OUT / name, dtype=torch.float32, attn_implementation="eager").eval()
    size, count = fields["image_size"], 2 + (seed % 2)
    pixels = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed + 1))
    with torch.no_grad():
        hidden = model(pixel_values=pixels, output_hidden_states=True).hidden_states
        exact = float64.clip_hidden(model.state_dict(), model.config, pixels)
    arrays = {"hidden_%d" % i: array(h) for i, h in enumerate(hidden)}
    last = len(hidden) - 1
    write_arrays(OUT / name / "ref.safetensors", {"pixels": array(pixels), **arrays, "hidden_%d_f64" % last: array(exact[-1])})
    report(name, hidden[-1], exact[-1])
    return {"name": name, "kind": "clip", "weights": weights, "margin": None, "seed": seed}


def projector(kind, wide_in, wide_out):
    """LLaVA's projector of a kind such as mlp2x_gelu or linear."""
    if kind == "linear":
        return nn.Linear(wide_in, wide_out)
    layers = [nn.Linear(wide_in, wide_out)]
    for _ in range(int(kind[3]) - 1):
        layers += [nn.GELU(), nn.Linear(wide_out, wide_out)]
    return nn.Sequential(*layers)


def projector_state(model, dtype):
    """A projector's tensors under the names that they have in a LLaVA folder."""
    return {"model.mm_projector." + key: value.to(dtype) for key, value in model.state_dict().items()}


def make_projector(name, weights, kind, wide_in, wide_out, seed):
    """One projector and what it makes of random rows."""
    dtype = TYPES[weights]
    model = projector(kind, wide_in, wide_out)
    randomise(model, seed, dtype)
    config = {"model_type": "llava_llama", "mm_projector_type": kind, "mm_hidden_size": wide_in, "hidden_size": wide_out,
              "torch_dtype": TYPE_NAMES[weights]}
    save_folder(OUT / name, config, projector_state(model, dtype))
    rows = torch.randn(17, wide_in, generator=torch.Generator().manual_seed(seed + 1))
    with torch.no_grad():
        output = model(rows)
        exact = model.double()(rows.double())
    write_arrays(OUT / name / "ref.safetensors", {"input": array(rows), "output": array(output), "output_f64": array(exact)})
    report(name, output, exact)
    return {"name": name, "kind": "projector", "weights": weights, "margin": None, "seed": seed}


def greedy(model, rows, steps):
    """Greedy continuation of embedding rows [T,width], no end token: ids, the logits that chose them, least margin."""
    chosen, logits, cache = [], [], None
    with torch.no_grad():
        while True:
            output = model(inputs_embeds=rows[None], past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            logits.append(output.logits[0, -1])
            chosen.append(int(logits[-1].argmax()))
            if len(chosen) == steps:
                break
            rows = model.get_input_embeddings()(torch.tensor(chosen[-1:]))
    logits = torch.stack(logits)
    top = logits.topk(2).values
    margin = float(((top[:, 0] - top[:, 1]) / logits.abs().amax(1)).min())
    return torch.tensor(chosen), logits, margin


def llama_model(fields, seed, dtype):
    """A random LLaMA in float32, eager attention, its weights rounded to dtype."""
    model = LlamaForCausalLM(LlamaConfig(**fields, attn_implementation="eager", max_position_embeddings=2048)).eval()
    randomise(model, seed, dtype)
    return model


def llama_config(fields, weights):
    """config.json with the keys of an official folder."""
    return {"architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
            "max_position_embeddings": 2048, "model_type": "llama", "tie_word_embeddings": False,
            "torch_dtype": TYPE_NAMES[weights], "use_cache": True, **fields}


def random_ids(vocabulary, count, seed):
    """Seeded ids that leave out the first three."""
    return torch.randint(3, vocabulary, (count,), generator=torch.Generator().manual_seed(seed))


def make_llama(name, weights, fields):
    """One LLaMA, from the first seed whose greedy continuation is both varied and clear at every step."""
    dtype, vocabulary = TYPES[weights], fields["vocab_size"]
    for seed in range(300):
        model = llama_model(fields, seed, dtype)
        ids = random_ids(vocabulary, TOKENS, seed + 1)
        chosen, _, margin = greedy(model, model.get_input_embeddings()(ids), GREEDY_STEPS)
        if margin > LEAST_MARGIN and len(set(chosen.tolist())) >= LEAST_DISTINCT:
            break
    else:
        raise SystemExit("no seed with clear margins for " + name)
    save_folder(OUT / name, llama_config(fields, weights), stored_state(model, dtype))

    model = LlamaForCausalLM.from_pretrained(OUT / name, dtype=torch.float32, attn_implementation="eager").eval()
    embed = model.get_input_embeddings()
    raw = []
    hook = model.model.layers[-1].register_forward_hook(lambda module, inputs, output: raw.append(output))
    with torch.no_grad():
        output = model(input_ids=ids[None], output_hidden_states=True)
        hook.remove()
        exact = float64.llama_logits(model.state_dict(), model.config, embed(ids))
        again, _, margin = greedy(model, embed(ids), GREEDY_STEPS)
        assert torch.equal(again, chosen)
        prefix, suffix = random_ids(vocabulary, PREFIX, seed + 2), random_ids(vocabulary, SUFFIX, seed + 3)
        rows = 0.7 * torch.randn(ROWS, fields["hidden_size"], generator=torch.Generator().manual_seed(seed + 4))
        mixed = model(inputs_embeds=torch.cat([embed(prefix), rows, embed(suffix)])[None]).logits[0]
        arrays = {"input_ids": ids, "logits": output.logits[0], "logits_f64": exact[-EXACT_ROWS:], "greedy_ids": chosen,
                  "greedy_margin": torch.tensor([margin]), "mixed_prefix_ids": prefix, "mixed_rows": rows,
                  "mixed_suffix_ids": suffix, "mixed_logits": mixed}
        for number, length in enumerate(BATCH, 1):
            prompt = random_ids(vocabulary, length, seed + 10 + number)
            arrays["batch_%d_ids" % number] = prompt
            arrays["batch_%d_logits" % number] = model(input_ids=prompt[None]).logits[0, -1]
    arrays.update({"hidden_%d" % i: h[0] for i, h in enumerate(output.hidden_states)})
    raw = raw[0] if isinstance(raw[0], torch.Tensor) else raw[0][0]
    arrays["hidden_%d_raw" % (len(output.hidden_states) - 1)] = raw[0]
    write_arrays(OUT / name / "ref.safetensors", {key: array(value) for key, value in arrays.items()})
    report(name, output.logits[0], exact)
    print("    seed %d, margin %.2e, %d distinct ids" % (seed, margin, len(set(chosen.tolist()))))
    return {"name": name, "kind": "llama", "weights": weights, "margin": margin, "seed": seed}


def report(name, value, exact):
    """Prints how far float32 is from float64, by the two measures of the design."""
    error = (value.double() - exact).flatten(0, -2)
    worst = float(error.abs().max() / exact.abs().max())
    row = float((error.pow(2).mean(-1) / exact.flatten(0, -2).pow(2).mean(-1)).sqrt().max())
    print("%-22s noise: %.1e of the largest, %.1e RMS in the worst row; RMS of the values %.2f"
          % (name, worst, row, float(exact.pow(2).mean().sqrt())))


def prepare():
    """One thread and no notes from transformers, for runs that repeat."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    logging.getLogger("transformers").setLevel(logging.ERROR)


def main():
    """Writes everything under models/."""
    prepare()
    cases = [make_clip(name, *case, seed) for seed, (name, case) in enumerate(CLIP_CASES.items(), 100)]
    cases += [make_projector(name, *case, seed) for seed, (name, case) in enumerate(PROJECTOR_CASES.items(), 200)]
    cases += [make_llama(name, *case) for name, case in LLAMA_CASES.items()]
    write_json(OUT / "cases.json", cases, indent=1)


if __name__ == "__main__":
    main()
