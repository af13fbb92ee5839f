"""Writes models/siglip2-*: tiny random SigLIP 2 towers, of fixed resolution and NaFlex, and what transformers computes."""

import copy

import torch
from transformers import Siglip2VisionConfig, Siglip2VisionModel
from transformers.models.siglip2.image_processing_siglip2 import (
    convert_image_to_patches, get_image_size_for_max_num_patches, pad_along_first_dim)

import siglip
from files import write_arrays, write_json
from parts import OUT, TYPE_NAMES, TYPES, array, prepare, randomise, report, save_folder, stored_state, write_case

FIXED = {
    "siglip2-fixed": ("f16", "nested", dict(hidden_size=42, num_attention_heads=7, num_hidden_layers=2, intermediate_size=64,
                                            patch_size=9, image_size=32, vision_use_head=False)),
    "siglip2-fixed-bf16": ("bf16", "flat", dict(hidden_size=32, num_attention_heads=4, num_hidden_layers=2,
                                                intermediate_size=60, patch_size=16, image_size=32, vision_use_head=False)),
}

# Weights, form of the config, its fields, most patches, and the pictures' own sizes (width, height). None becomes one column
# of patches: torch's antialiased resize then gives every row of positions the same value, see nn_resize_table.
NAFLEX = {
    "siglip2-naflex": ("f32", "nested", dict(hidden_size=24, num_attention_heads=3, num_hidden_layers=3, intermediate_size=44,
                                             patch_size=6, num_patches=16), 20, [(640, 480), (50, 200), (64, 64), (500, 1)]),
    # The table of 5 x 5 shrinks for the small pictures of one patch and grows for the long ones.
    "siglip2-naflex-f16": ("f16", "flat", dict(hidden_size=36, num_attention_heads=9, num_hidden_layers=2, patch_size=7,
                                               intermediate_size=52, num_patches=25), 24, [(300, 40), (33, 47), (2, 2), (40, 300)]),
    "siglip2-naflex-bf16": ("bf16", "nested", dict(hidden_size=28, num_attention_heads=1, num_hidden_layers=2, patch_size=8,
                                                   intermediate_size=40, num_patches=36, hidden_act="gelu", layer_norm_eps=1e-5),
                            24, [(1000, 300), (90, 91), (200, 333)]),
}


def folder_config(form, fields, weights):
    """config.json of a NaFlex model: Google's nested form, or the flat one of a vision tower alone."""
    vision = {"model_type": "siglip2_vision_model", **fields, "vision_use_head": False}
    if form == "flat":
        return {"architectures": ["Siglip2VisionModel"], **vision, "torch_dtype": TYPE_NAMES[weights]}
    return {"architectures": ["Siglip2Model"], "model_type": "siglip2", "text_config": {"model_type": "siglip2_text_model"},
            "torch_dtype": TYPE_NAMES[weights], "vision_config": vision}


def processor_config(patch, budget):
    """preprocessor_config.json as Google's."""
    return {"do_convert_rgb": None, "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5] * 3,
            "image_processor_type": "Siglip2ImageProcessor", "image_std": [0.5] * 3, "max_num_patches": budget,
            "patch_size": patch, "processor_class": "Siglip2Processor", "resample": 2,
            "rescale_factor": 0.00392156862745098}


def hidden_states(model, pixels, patch, budget, dtype):
    """All hidden states [pictures, budget, width] of pictures [3, height, width] in one padded and masked batch."""
    patches = [convert_image_to_patches(p.permute(1, 2, 0).numpy(), patch) for p in pixels]
    padded = [pad_along_first_dim(p, budget) for p in patches]
    shapes = [(p.shape[1] // patch, p.shape[2] // patch) for p in pixels]
    states, hooks = [], []
    for module in [model.vision_model.embeddings, *model.vision_model.encoder.layers]:
        hooks.append(module.register_forward_hook(
            lambda module, inputs, output: states.append(output if isinstance(output, torch.Tensor) else output[0])))
    with torch.no_grad():
        model(pixel_values=torch.stack([torch.from_numpy(p) for p, _ in padded]).to(dtype),
              pixel_attention_mask=torch.stack([torch.from_numpy(mask) for _, mask in padded]),
              spatial_shapes=torch.tensor(shapes))
    for hook in hooks:
        hook.remove()
    return states, [height * width for height, width in shapes]


def make_naflex(name, weights, form, fields, budget, sizes, seed):
    """One NaFlex tower and its references for pictures of several shapes in one batch."""
    dtype, patch = TYPES[weights], fields["patch_size"]
    model = Siglip2VisionModel(Siglip2VisionConfig(**fields, vision_use_head=False)).eval()
    randomise(model, seed, dtype)
    save_folder(OUT / name, folder_config(form, fields, weights), stored_state(model, dtype))
    write_json(OUT / name / "preprocessor_config.json", processor_config(patch, budget), indent=2)
    model = Siglip2VisionModel.from_pretrained(OUT / name, dtype=torch.float32,
                                               attn_implementation="eager").eval()
    generator = torch.Generator().manual_seed(seed + 1)
    planned = [get_image_size_for_max_num_patches(height, width, patch, budget) for width, height in sizes]
    pixels = [torch.randn(3, height, width, generator=generator) for height, width in planned]
    states, counts = hidden_states(model, pixels, patch, budget, torch.float32)
    exact, _ = hidden_states(copy.deepcopy(model).double(), pixels, patch, budget, torch.float64)
    arrays = {}
    for number, (picture, count) in enumerate(zip(pixels, counts)):
        arrays["pixels_%d" % number] = array(picture)
        arrays.update({"image_%d_hidden_%d" % (number, i): array(h[number, :count]) for i, h in enumerate(states)})
    write_arrays(OUT / name / "ref.safetensors", arrays)
    write_case(name, "vision", "vision/siglip2", weights, seed, images=len(pixels), sizes=sizes)
    report(name, states[-1][0, :counts[0]], exact[-1][0, :counts[0]])
    print("    grids", [(width // patch, height // patch) for height, width in planned])


def write_plans():
    """plans.json beside the first NaFlex case: [width, height, most patches, columns, rows] for pictures of many shapes."""
    generator = torch.Generator().manual_seed(1)
    patch = NAFLEX["siglip2-naflex"][2]["patch_size"]
    sizes = [(1, 1), (1, 100000), (100000, 1), (640, 480), (1920, 1080), (336, 336), (2, 3), (6, 6), (7, 6), (10000, 10000)]
    sizes += [tuple(int(2 ** float(x)) for x in 13 * torch.rand(2, generator=generator, dtype=torch.float64)) for _ in range(150)]
    plans = []
    for budget in (1, 20, 256, 1024, 4095):
        for width, height in sizes:
            rows, columns = (side // patch for side in get_image_size_for_max_num_patches(height, width, patch, budget))
            if rows * columns <= budget:
                plans.append([width, height, budget, columns, rows])
    write_json(OUT / "siglip2-naflex" / "plans.json", plans)


def main():
    """Writes every case."""
    prepare()
    for seed, (name, case) in enumerate(FIXED.items(), 520):
        siglip.make(name, "vision/siglip2", *case, seed, vocabulary=256000)
    for seed, (name, case) in enumerate(NAFLEX.items(), 540):
        make_naflex(name, *case, seed)
    write_plans()


if __name__ == "__main__":
    main()
