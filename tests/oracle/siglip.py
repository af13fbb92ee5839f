"""Writes models/siglip-*: tiny random SigLIP towers, and what transformers computes with them."""

import torch
from transformers import SiglipVisionConfig, SiglipVisionModel

from parts import TYPE_NAMES, TYPES, make_vision, prepare, randomise, stored_state

CASES = {
    # As so400m at 384 pixels: the patch does not divide the picture, 3 pixels of 24 are not looked at.
    "siglip-nested": ("f32", "nested", dict(hidden_size=30, num_attention_heads=3, num_hidden_layers=3, intermediate_size=44,
                                            patch_size=7, image_size=24, vision_use_head=False)),
    # As the base size's config: what is SiglipVisionConfig's default is left out (patches of 16, activation, epsilon).
    "siglip-defaults": ("f16", "nested", dict(hidden_size=36, num_attention_heads=9, num_hidden_layers=2, intermediate_size=50,
                                              image_size=32, vision_use_head=False)),
    # A tower alone, with its pooling head, which is not for us.
    "siglip-flat": ("f32", "flat", dict(hidden_size=20, num_attention_heads=5, num_hidden_layers=2, intermediate_size=36,
                                        patch_size=8, image_size=40)),
    "siglip-bf16": ("bf16", "flat", dict(hidden_size=34, num_attention_heads=1, num_hidden_layers=2, intermediate_size=70,
                                         patch_size=10, image_size=30, hidden_act="gelu", layer_norm_eps=1e-4,
                                         vision_use_head=False)),
}


def folder_config(shape, fields, weights, vocabulary):
    """config.json of a SigLIP model: Google's nested form, or the flat one of a vision tower alone."""
    vision = {"model_type": "siglip_vision_model", **fields}
    if shape == "flat":
        return {"architectures": ["SiglipVisionModel"], **vision, "torch_dtype": TYPE_NAMES[weights]}
    text = {"model_type": "siglip_text_model", "hidden_size": 24, "intermediate_size": 48, "num_attention_heads": 2,
            "num_hidden_layers": 1, "vocab_size": vocabulary}
    return {"architectures": ["SiglipModel"], "initializer_factor": 1.0, "model_type": "siglip", "text_config": text,
            "torch_dtype": TYPE_NAMES[weights], "vision_config": vision}


def make(name, plugin, weights, shape, fields, seed, vocabulary=32000):
    """One tower and its references for two or three pictures."""
    dtype, size = TYPES[weights], fields["image_size"]
    model = SiglipVisionModel(SiglipVisionConfig(**fields)).eval()
    randomise(model, seed, dtype)
    pixels = torch.randn(2 + seed % 2, 3, size, size, generator=torch.Generator().manual_seed(seed + 1))
    make_vision(name, plugin, weights, folder_config(shape, fields, weights, vocabulary), stored_state(model, dtype),
                SiglipVisionModel, pixels, seed)


def main():
    """Writes every case."""
    prepare()
    for seed, (name, case) in enumerate(CASES.items(), 500):
        make(name, "vision/siglip", *case, seed)


if __name__ == "__main__":
    main()
