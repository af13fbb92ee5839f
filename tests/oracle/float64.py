"""CLIP's tower and LLaMA written out in float64, to know the float32 reference's own noise.

transformers can't be asked for this: its norms, its softmax and its rotary tables are
float32 whatever the model's type. Written from the papers' formulas, so it also checks
that the reference was driven as meant.
"""

import math

import torch
from torch.nn import functional as F


def widened(state):
    """A state dict with every floating tensor in float64."""
    return {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def activation(name, x):
    """CLIP's two activations."""
    return x * torch.sigmoid(1.702 * x) if name == "quick_gelu" else F.gelu(x)


def linear(state, name, x):
    """x times a named weight, plus its bias if there is one."""
    return F.linear(x, state[name + ".weight"], state.get(name + ".bias"))


def clip_hidden(state, config, pixels):
    """All hidden states of a CLIP tower; state is its state dict, names `vision_model.*`."""
    state = {name.removeprefix("vision_model."): tensor for name, tensor in widened(state).items()}
    width, heads = config.hidden_size, config.num_attention_heads

    def norm(name, x):
        return F.layer_norm(x, (width,), state[name + ".weight"], state[name + ".bias"], config.layer_norm_eps)
    patches = F.conv2d(pixels.double(), state["embeddings.patch_embedding.weight"], stride=config.patch_size)
    x = patches.flatten(2).transpose(1, 2)
    cls = state["embeddings.class_embedding"].expand(len(x), 1, width)
    x = torch.cat([cls, x], 1) + state["embeddings.position_embedding.weight"]
    x = norm("pre_layrnorm", x)
    states = [x]
    for layer in range(config.num_hidden_layers):
        at = "encoder.layers.%d." % layer
        y = norm(at + "layer_norm1", x)
        q, k, v = (linear(state, at + "self_attn.%s_proj" % c, y).unflatten(-1, (heads, -1)).transpose(1, 2) for c in "qkv")
        weights = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(width // heads), -1)
        x = x + linear(state, at + "self_attn.out_proj", (weights @ v).transpose(1, 2).flatten(2))
        y = activation(config.hidden_act, linear(state, at + "mlp.fc1", norm(at + "layer_norm2", x)))
        x = x + linear(state, at + "mlp.fc2", y)
        states.append(x)
    return states


def rotary_frequencies(config, head_dim):
    """Inverse frequencies, with LLaMA-3.1's scaling by bands of wavelength where it is asked for."""
    inverse = config.rope_theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    scaling = config.rope_scaling
    if scaling is None:
        return inverse
    low, high, factor = scaling["low_freq_factor"], scaling["high_freq_factor"], scaling["factor"]
    turns = scaling["original_max_position_embeddings"] * inverse / (2 * math.pi)
    smooth = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 - smooth) * inverse / factor + smooth * inverse


def llama_logits(state, config, rows):
    """Logits [T,V] for embedding rows [T,width]; state is a LlamaForCausalLM state dict."""
    state = widened(state)
    head_dim, kv = config.head_dim, config.num_key_value_heads
    groups = config.num_attention_heads // kv

    def norm(name, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + config.rms_norm_eps) * state[name + ".weight"]

    x = rows.double()
    angles = torch.outer(torch.arange(len(x), dtype=torch.float64), rotary_frequencies(config, head_dim))
    cos, sin = (torch.cat([f(angles)] * 2, -1) for f in (torch.cos, torch.sin))

    def rotate(y):
        first, second = y.chunk(2, -1)
        return y * cos + torch.cat([-second, first], -1) * sin
    future = torch.full((len(x), len(x)), -math.inf, dtype=torch.float64).triu(1)
    for layer in range(config.num_hidden_layers):
        at = "model.layers.%d." % layer
        y = norm(at + "input_layernorm", x)
        q, k, v = (linear(state, at + "self_attn.%s_proj" % c, y).unflatten(-1, (-1, head_dim)).transpose(0, 1) for c in "qkv")
        q, k = rotate(q), rotate(k)
        k, v = k.repeat_interleave(groups, 0), v.repeat_interleave(groups, 0)
        weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(head_dim) + future, -1)
        x = x + linear(state, at + "self_attn.o_proj", (weights @ v).transpose(0, 1).flatten(1))
        y = norm(at + "post_attention_layernorm", x)
        x = x + linear(state, at + "mlp.down_proj", F.silu(linear(state, at + "mlp.gate_proj", y)) * linear(state, at + "mlp.up_proj", y))
    return F.linear(norm("model.norm", x), state["lm_head.weight"])
