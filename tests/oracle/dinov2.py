"""Writes models/dinov2-*: tiny random DINOv2 towers, and what transformers computes with them."""

import torch
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from parts import TYPE_NAMES, TYPES, make_vision, prepare, randomise, stored_state

KINDS = {"dinov2": (Dinov2Config, Dinov2Model), "dinov2_with_registers": (Dinov2WithRegistersConfig, Dinov2WithRegistersModel)}

# Storage, fields of the config, and sizes (height, width) of the pictures, of which the first is mostly the trained one.
PLAIN = {
    "dinov2-plain": ("f32", dict(hidden_size=24, num_attention_heads=3, num_hidden_layers=3, patch_size=8, image_size=32),
                     [(32, 32), (24, 56), (16, 40)]),
    # As the large and small checkpoints use it: trained larger than it is used. No mask token, another epsilon.
    "dinov2-small": ("f16", dict(hidden_size=40, num_attention_heads=5, num_hidden_layers=2, mlp_ratio=2, patch_size=7,
                                 image_size=49, use_mask_token=False, layer_norm_eps=1e-4), [(28, 28), (49, 49), (49, 21)]),
    # The trained size is no multiple of the patch: a grid of 3 of 10 pixels, 4 left over.
    "dinov2-nobias": ("bf16", dict(hidden_size=44, num_attention_heads=1, num_hidden_layers=2, mlp_ratio=2.6, patch_size=10,
                                   image_size=34, qkv_bias=False, hidden_act="gelu_pytorch_tanh"),
                      [(30, 30), (10, 10), (40, 20)]),
}
SWIGLU = {
    "dinov2-swiglu": ("f32", dict(hidden_size=24, num_attention_heads=2, num_hidden_layers=3, patch_size=8, image_size=24),
                      [(24, 24), (40, 16)]),
    "dinov2-swiglu-f16": ("f16", dict(hidden_size=36, num_attention_heads=3, num_hidden_layers=2, mlp_ratio=3, patch_size=7,
                                      image_size=28), [(28, 28), (14, 35), (35, 14)]),
    "dinov2-swiglu-bf16": ("bf16", dict(hidden_size=35, num_attention_heads=7, num_hidden_layers=2, patch_size=9,
                                        image_size=45, qkv_bias=False), [(27, 27), (45, 45)]),
}
REGISTERS = {
    "dinov2-registers": ("f32", dict(hidden_size=24, num_attention_heads=3, num_hidden_layers=3, patch_size=8, image_size=32,
                                     num_register_tokens=4), [(32, 32), (24, 56), (16, 40)]),
    "dinov2-register": ("f16", dict(hidden_size=40, num_attention_heads=2, num_hidden_layers=2, patch_size=7, image_size=49,
                                    num_register_tokens=1, mlp_ratio=2), [(28, 28), (49, 49), (21, 63)]),
    "dinov2-registers-swiglu": ("bf16", dict(hidden_size=36, num_attention_heads=9, num_hidden_layers=2, patch_size=10,
                                             image_size=40, num_register_tokens=3, use_swiglu_ffn=True, qkv_bias=False),
                                [(40, 40), (30, 50)]),
}
CASES = {**{name: ("dinov2", *case) for name, case in PLAIN.items()},
         **{name: ("dinov2", weights, {**fields, "use_swiglu_ffn": True}, sizes)
            for name, (weights, fields, sizes) in SWIGLU.items()},
         **{name: ("dinov2_with_registers", *case) for name, case in REGISTERS.items()}}


def make(name, model_type, weights, fields, sizes, seed):
    """One tower and its references for a picture of each size."""
    config_class, model_class = KINDS[model_type]
    dtype = TYPES[weights]
    model = model_class(config_class(**fields)).eval()
    randomise(model, seed, dtype)
    generator = torch.Generator().manual_seed(seed + 1)
    pixels = [torch.randn(3, height, width, generator=generator) for height, width in sizes]
    config = {"architectures": [model_class.__name__], "model_type": model_type, **fields, "torch_dtype": TYPE_NAMES[weights]}
    make_vision(name, "vision/dinov2", weights, config, stored_state(model, dtype), model_class, pixels, seed)


def main():
    """Writes every case."""
    prepare()
    for seed, (name, case) in enumerate(CASES.items(), 400):
        make(name, *case, seed)


if __name__ == "__main__":
    main()
