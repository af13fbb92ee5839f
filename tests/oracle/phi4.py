"""Writes models/phi4-*: tiny random Phi-3s (Phi-4's class in transformers), and what transformers computes with them.

The cases of kind "longrope" are about the length at which LongRoPE's factors change. The reference for a sequence is one
forward call over all of it: transformers' generate() drops its cache there to the same end, but then recomputes it with the
causal mask of the last row alone (4.57.6: cache_position keeps one entry), so that what it says behind the edge follows from
keys that saw the future; and with inputs_embeds, as LLaVA calls it, it does not drop the cache at all.
"""

import math

import torch
from torch.nn import functional as F
from transformers import Phi3Config, Phi3ForCausalLM

from files import write_arrays
from float64 import linear, widened
from parts import LEAST_MARGIN, OUT, TYPE_NAMES, TYPES, array, make_language, prepare, random_ids, randomise
from parts import report, save_folder, stored_state, write_case


def longrope(count, kind="longrope", steepness=1.0):
    """rope_scaling of count pairs: short factors near 1, long ones that grow with the wavelength."""
    return {"type": kind, "short_factor": [1.0 + 0.03 * i for i in range(count)],
            "long_factor": [1.0 + steepness * i * i for i in range(count)]}


# Phi-4-mini is longrope, partial, tied; Phi-4 14B neither, Phi-3-mini has a window. All stay on one side of the edge.
CASES = {
    "phi4-mini": ("f32", dict(hidden_size=48, num_attention_heads=3, num_key_value_heads=1, num_hidden_layers=2,
                              intermediate_size=76, vocab_size=131, partial_rotary_factor=0.75, tie_word_embeddings=True,
                              original_max_position_embeddings=1024, rope_scaling=longrope(6), sliding_window=262144)),
    "phi4-14b": ("f32", dict(hidden_size=48, num_attention_heads=8, num_key_value_heads=2, num_hidden_layers=2,
                             intermediate_size=70, vocab_size=128, rope_theta=250000.0, original_max_position_embeddings=2048,
                             rope_scaling=None)),
    "phi4-window-f16": ("f16", dict(hidden_size=60, num_attention_heads=5, num_hidden_layers=2, intermediate_size=90,
                                    vocab_size=137, sliding_window=11, rms_norm_eps=1e-6)),
    # As the first Phi-3 of long context: the scaling's old name.
    "phi4-su-bf16": ("bf16", dict(hidden_size=60, num_attention_heads=3, num_key_value_heads=3, num_hidden_layers=2,
                                  intermediate_size=77, vocab_size=150, partial_rotary_factor=0.6, rope_theta=1000.0,
                                  original_max_position_embeddings=512, rope_scaling=longrope(6, "su"))),
}

EDGE_ROWS = 24  # of a continuation whose logits are kept

# Tiny: what is compared is the edge, at 32 rows and at Phi-4-mini's own 4,096.
SMALL_EDGE = dict(hidden_size=48, num_attention_heads=3, num_key_value_heads=1, num_hidden_layers=2, intermediate_size=64,
                  vocab_size=97, partial_rotary_factor=0.75, tie_word_embeddings=True, original_max_position_embeddings=32,
                  max_position_embeddings=512, rope_scaling=longrope(6))
REAL_EDGE = dict(hidden_size=32, num_attention_heads=2, num_key_value_heads=1, num_hidden_layers=2, intermediate_size=40,
                 vocab_size=64, partial_rotary_factor=0.75, tie_word_embeddings=False, original_max_position_embeddings=4096,
                 max_position_embeddings=131072, rope_scaling=longrope(6, steepness=2.0))
# Stored type, config, lengths of the prompts, that of the prompt that is continued, tokens that follow it.
EDGES = {
    "phi4-edge-32": ("f32", SMALL_EDGE, (1, 26, 32, 33, 34, 47), 26, 128),
    "phi4-edge-4096": ("f16", REAL_EDGE, (4090, 4096, 4097, 4110), 4090, 24),
}


def folder_config(fields, weights):
    """config.json with the keys of an official folder."""
    return {"architectures": ["Phi3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 1,
            "embd_pdrop": 0.0, "eos_token_id": 2, "hidden_act": "silu", "max_position_embeddings": 2048, "model_type": "phi3",
            "pad_token_id": 2, "resid_pdrop": 0.0, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False,
            "torch_dtype": TYPE_NAMES[weights], "use_cache": True, **fields}


def new_model(fields, seed, weights):
    """A random Phi-3 in float32, eager attention, its weights rounded to the stored type."""
    config = {key: value for key, value in folder_config(fields, weights).items() if key != "torch_dtype"}
    if config.get("rope_scaling"):
        config["rope_scaling"] = dict(config["rope_scaling"])  # the class writes into it
    model = Phi3ForCausalLM(Phi3Config(**config, attn_implementation="eager")).eval()
    randomise(model, seed, TYPES[weights])
    with torch.no_grad():
        values = model.config.num_key_value_heads * (model.config.hidden_size // model.config.num_attention_heads)
        for layer in model.model.layers:  # queries and keys large enough for attention to depend on positions
            layer.self_attn.qkv_proj.weight[:-values] *= 2
    return model


def exact_angles(config, count):
    """Angles [count, pairs] of a sequence of count rows in float64, and the factor on their cosine and sine."""
    dimensions = int(config.hidden_size // config.num_attention_heads * config.partial_rotary_factor)
    inverse = config.rope_theta ** (-torch.arange(0, dimensions, 2, dtype=torch.float64) / dimensions)
    factor, original = 1.0, config.original_max_position_embeddings
    if config.rope_scaling:
        inverse = inverse / torch.tensor(config.rope_scaling["%s_factor" % ("long" if count > original else "short")]).double()
        factor = math.sqrt(1 + math.log(config.max_position_embeddings / original) / math.log(original))
    return torch.outer(torch.arange(count, dtype=torch.float64), inverse), factor


def exact_logits(model, embedded):
    """Logits [T, V] of embedding rows [T, width] in float64, written out from the formulas."""
    config, state, x = model.config, widened(model.state_dict()), embedded.double()
    heads, key_heads = config.num_attention_heads, config.num_key_value_heads
    size = config.hidden_size // heads
    angles, factor = exact_angles(config, len(x))
    pairs = angles.shape[1]
    distance = torch.arange(len(x))[:, None] - torch.arange(len(x))
    hidden = (distance < 0) | (distance >= (config.sliding_window or len(x)))

    def norm(name, y):
        return y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + config.rms_norm_eps) * state[name + ".weight"]

    def rotate(y):
        first, second, rest = y.split([pairs, pairs, size - 2 * pairs], -1)
        cos, sin = factor * angles.cos(), factor * angles.sin()
        return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], -1)
    for layer in range(config.num_hidden_layers):
        at = "model.layers.%d." % layer
        fused = linear(state, at + "self_attn.qkv_proj", norm(at + "input_layernorm", x)).unflatten(-1, (-1, size)).transpose(0, 1)
        q, k, v = fused.split([heads, key_heads, key_heads])
        k, v = (y.repeat_interleave(heads // key_heads, 0) for y in (rotate(k), v))
        scores = rotate(q) @ k.transpose(1, 2) / math.sqrt(size)
        attended = torch.softmax(scores.masked_fill(hidden, -math.inf), -1) @ v
        x = x + linear(state, at + "self_attn.o_proj", attended.transpose(0, 1).flatten(1))
        gate, up = linear(state, at + "mlp.gate_up_proj", norm(at + "post_attention_layernorm", x)).chunk(2, -1)
        x = x + linear(state, at + "mlp.down_proj", F.silu(gate) * up)
    return F.linear(norm("model.norm", x), state["lm_head.weight"])


def last_logits(model, ids):
    """Next-token logits after ids, by one forward call over all of them."""
    with torch.no_grad():
        return model(input_ids=ids[None], use_cache=False, logits_to_keep=1).logits[0, -1]


def continuation(model, ids, steps):
    """Greedy ids and the logits that chose them, none from keys of the other side of the edge; the least margin."""
    chosen, logits, cache = [], [], None
    for _ in range(steps):
        if len(ids) == model.config.original_max_position_embeddings + 1:
            cache = None
        with torch.no_grad():
            output = model(input_ids=ids[None, 0 if cache is None else -1:], past_key_values=cache, logits_to_keep=1)
        cache = output.past_key_values
        logits.append(output.logits[0, -1])
        chosen.append(logits[-1].argmax())
        ids = torch.cat([ids, chosen[-1][None]])
    whole = last_logits(model, ids[:-1])
    assert float((whole - logits[-1]).abs().max() / whole.abs().max()) < 1e-5
    logits = torch.stack(logits)
    top = logits.topk(2).values
    return torch.stack(chosen), logits, float(((top[:, 0] - top[:, 1]) / logits.abs().amax(1)).min())


def edge_seed(fields, weights, length, steps):
    """The first seed whose continuation is clear at every step and not the one that short factors alone would give."""
    for seed in range(300):
        model = new_model(fields, seed, weights)
        ids = random_ids(fields["vocab_size"], length, seed + 1)
        chosen, _, margin = continuation(model, ids, steps)
        if margin < LEAST_MARGIN or len(set(chosen.tolist())) < min(12, steps // 3):
            continue
        scaling = dict(fields["rope_scaling"], long_factor=fields["rope_scaling"]["short_factor"])
        short = new_model(dict(fields, rope_scaling=scaling), seed, weights)
        if not torch.equal(continuation(short, ids, steps)[0], chosen):
            return seed
    raise SystemExit("no seed with clear margins")


def make_edge(name, weights, fields, lengths, prompt, steps):
    """One model, the logits after prompts on both sides of the edge, and a continuation across it."""
    seed = edge_seed(fields, weights, prompt, steps)
    save_folder(OUT / name, folder_config(fields, weights), stored_state(new_model(fields, seed, weights), TYPES[weights]))
    model = Phi3ForCausalLM.from_pretrained(OUT / name, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.cat([random_ids(fields["vocab_size"], prompt, seed + 1),
                     random_ids(fields["vocab_size"], max(lengths) - prompt, seed + 2)])
    chosen, logits, margin = continuation(model, ids[:prompt], steps)
    # Rows that are few, at positions that pass the edge: the largest position decides.
    positions = torch.arange(12) + fields["original_max_position_embeddings"] - 5
    with torch.no_grad():
        far = model(input_ids=ids[None, :12], position_ids=positions[None]).logits[0]
    logits_at = torch.stack([last_logits(model, ids[:n]) for n in lengths])
    exact = torch.stack([exact_logits(model, model.get_input_embeddings()(ids[:n]).detach())[-1] for n in lengths])
    report(name, logits_at, exact)
    arrays = {"input_ids": ids, "lengths": torch.tensor(lengths),
              "logits": logits_at, "greedy_prompt": torch.tensor([prompt]),
              "greedy_ids": chosen, "greedy_logits": logits[:EDGE_ROWS], "far_positions": positions, "far_logits": far}
    write_arrays(OUT / name / "ref.safetensors", {key: array(value) for key, value in arrays.items()})
    write_case(name, "longrope", "llm/phi4", weights, seed, margin)
    print("    seed %d, margin %.2e, %d distinct ids" % (seed, margin, len(set(chosen.tolist()))))


def make(name, weights, fields):
    """One Phi-3 and its references."""
    make_language(name, "llm/phi4", weights, folder_config(fields, weights),
                  lambda seed: new_model(fields, seed, weights), Phi3ForCausalLM, exact_logits)


def main():
    """Writes every case."""
    prepare()
    for name, case in CASES.items():
        make(name, *case)
    for name, case in EDGES.items():
        make_edge(name, *case)


if __name__ == "__main__":
    main()
