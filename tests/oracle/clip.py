"""Writes models/clip-*: tiny random CLIP towers, and what transformers computes with them."""

import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

import float64
from parts import TYPE_NAMES, TYPES, make_vision, prepare, randomise, stored_state

CASES = {
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


def folder_config(shape, fields, weights):
    """config.json of a CLIP model: openai's nested form, or the flat one of a vision tower alone."""
    vision = {"model_type": "clip_vision_model", "projection_dim": 32, **fields}
    if shape == "flat":
        return {"architectures": ["CLIPVisionModel"], **vision, "torch_dtype": TYPE_NAMES[weights]}
    text = {"model_type": "clip_text_model", "hidden_size": 24, "intermediate_size": 48, "num_attention_heads": 2,
            "num_hidden_layers": 1, "vocab_size": 50, "projection_dim": 32}
    return {"architectures": ["CLIPModel"], "initializer_factor": 1.0, "logit_scale_init_value": 2.6592, "model_type": "clip",
            "projection_dim": 32, "text_config": text, "torch_dtype": TYPE_NAMES[weights], "vision_config": vision}


def extras(tokens, dtype):
    """Tensors of an old CLIP checkpoint that a vision tower has no use for."""
    generator = torch.Generator().manual_seed(1)
    return {"logit_scale": torch.tensor(4.6, dtype=dtype),
            "text_model.embeddings.token_embedding.weight": torch.randn(50, 24, generator=generator).to(dtype),
            "text_model.encoder.layers.0.layer_norm1.weight": torch.ones(24, dtype=dtype),
            "visual_projection.weight": torch.randn(32, 60, generator=generator).to(dtype),
            "vision_model.embeddings.position_ids": torch.arange(tokens)[None]}


def make(name, weights, shape, fields, seed):
    """One tower and its references for two or three pictures."""
    dtype, size = TYPES[weights], fields["image_size"]
    model = CLIPVisionModel(CLIPVisionConfig(**fields)).eval()
    randomise(model, seed, dtype)
    state = stored_state(model, dtype)
    if shape == "nested+text":
        state.update(extras(model.vision_model.embeddings.num_positions, dtype))
    pixels = torch.randn(2 + seed % 2, 3, size, size, generator=torch.Generator().manual_seed(seed + 1))
    make_vision(name, "vision/clip", weights, folder_config(shape, fields, weights), state, CLIPVisionModel, pixels, seed,
                float64.clip_hidden)


def main():
    """Writes every case."""
    prepare()
    for seed, (name, case) in enumerate(CASES.items(), 100):
        make(name, *case, seed)


if __name__ == "__main__":
    main()
