"""Writes models/gemma2-*: tiny random Gemma-2 models, and what transformers computes with them."""

import math

import torch
import torch.nn.functional as F
from transformers import Gemma2Config, Gemma2ForCausalLM

from float64 import linear, widened
from parts import TYPE_NAMES, TYPES, make_language, prepare, randomise

# Prompts have 40 and 61 rows: every window is smaller than both.
CASES = {
    # As the 9B's config, its caps where they bend the scores of so small a model.
    "gemma2-gqa2": ("f32", dict(hidden_size=32, num_attention_heads=4, num_key_value_heads=2, head_dim=12, num_hidden_layers=4,
                                intermediate_size=44, vocab_size=131, sliding_window=16, query_pre_attn_scalar=16,
                                attn_logit_softcapping=2.5, final_logit_softcapping=0.5)),
    # As the 27B's: the scores' scale is not the head's; the official caps.
    "gemma2-mha-scalar": ("f32", dict(hidden_size=36, num_attention_heads=3, num_key_value_heads=3, head_dim=20,
                                      num_hidden_layers=2, intermediate_size=58, vocab_size=128, sliding_window=33,
                                      query_pre_attn_scalar=12, attn_logit_softcapping=50.0, final_logit_softcapping=30.0)),
    # Windows where layer_types says, no caps, biases.
    "gemma2-plain-f16": ("f16", dict(hidden_size=48, num_attention_heads=6, num_key_value_heads=2, head_dim=10,
                                     num_hidden_layers=3, intermediate_size=66, vocab_size=137, sliding_window=5,
                                     query_pre_attn_scalar=12, attn_logit_softcapping=None, final_logit_softcapping=None,
                                     attention_bias=True, rope_theta=1000.0, rms_norm_eps=1e-5,
                                     layer_types=["full_attention", "sliding_attention", "sliding_attention"])),
    "gemma2-odd-bf16": ("bf16", dict(hidden_size=40, num_attention_heads=5, num_key_value_heads=1, head_dim=8,
                                     num_hidden_layers=3, intermediate_size=77, vocab_size=150, sliding_window=9,
                                     query_pre_attn_scalar=10, attn_logit_softcapping=4.0, final_logit_softcapping=0.4)),
}
DEFAULTS = dict(max_position_embeddings=2048, rms_norm_eps=1e-6, rope_theta=10000.0, attention_bias=False)


def new_model(fields, seed, dtype):
    """A random Gemma-2 in float32, eager attention, its weights rounded to dtype."""
    model = Gemma2ForCausalLM(Gemma2Config(**{**DEFAULTS, **fields}, attn_implementation="eager")).eval()
    randomise(model, seed, dtype, norm_mean=0.0)
    with torch.no_grad():  # scaled by sqrt(width), larger ones would drown what the blocks add: each token repeats itself
        model.model.embed_tokens.weight.mul_(0.25)
    return model


def folder_config(fields, weights):
    """config.json with the keys of an official folder."""
    return {"architectures": ["Gemma2ForCausalLM"], "bos_token_id": 2, "eos_token_id": [1, 107],
            "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "model_type": "gemma2",
            "torch_dtype": TYPE_NAMES[weights], "use_cache": True, **DEFAULTS, **fields}


def exact_logits(model, rows):
    """Logits [T,V] of embedding rows [T,width] in float64, which transformers' own norms leave."""
    state, config = widened(model.state_dict()), model.config
    groups = config.num_attention_heads // config.num_key_value_heads

    def norm(name, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + config.rms_norm_eps) * (1 + state[name + ".weight"])

    def capped(x, cap):
        return x if cap is None else cap * torch.tanh(x / cap)
    x = rows.double() * math.sqrt(config.hidden_size)
    positions = torch.arange(len(x))
    turns = torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim
    angles = torch.outer(positions.double(), config.rope_theta ** -turns)
    cos, sin = (torch.cat([f(angles)] * 2, -1) for f in (torch.cos, torch.sin))

    def rotate(y):
        first, second = y.chunk(2, -1)
        return y * cos + torch.cat([-second, first], -1) * sin
    back = positions[:, None] - positions[None]
    for layer, kind in enumerate(config.layer_types):
        at = "model.layers.%d." % layer
        hidden = (back < 0) | (back >= config.sliding_window) if kind == "sliding_attention" else back < 0
        y = norm(at + "input_layernorm", x)
        q, k, v = (linear(state, at + "self_attn.%s_proj" % c, y).unflatten(-1, (-1, config.head_dim)).transpose(0, 1)
                   for c in "qkv")
        q, k = rotate(q), rotate(k).repeat_interleave(groups, 0)
        scores = capped(q @ k.transpose(1, 2) / math.sqrt(config.query_pre_attn_scalar), config.attn_logit_softcapping)
        weights = torch.softmax(scores.masked_fill(hidden, -math.inf), -1)
        y = linear(state, at + "self_attn.o_proj", (weights @ v.repeat_interleave(groups, 0)).transpose(0, 1).flatten(1))
        x = x + norm(at + "post_attention_layernorm", y)
        y = norm(at + "pre_feedforward_layernorm", x)
        y = F.gelu(linear(state, at + "mlp.gate_proj", y), approximate="tanh") * linear(state, at + "mlp.up_proj", y)
        x = x + norm(at + "post_feedforward_layernorm", linear(state, at + "mlp.down_proj", y))
    return capped(F.linear(norm("model.norm", x), state["lm_head.weight"]), config.final_logit_softcapping)


def make(name, weights, fields):
    """One Gemma-2 and its references."""
    make_language(name, "llm/gemma2", weights, folder_config(fields, weights),
                  lambda seed: new_model(fields, seed, TYPES[weights]), Gemma2ForCausalLM, exact_logits)


def main():
    """Writes every case."""
    prepare()
    for name, case in CASES.items():
        make(name, *case)


if __name__ == "__main__":
    main()
