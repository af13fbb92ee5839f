"""Writes models/shuffle-*: random pixel-shuffle projectors, and what the modules of transformers compute with them."""

from types import SimpleNamespace

from torch import nn
from transformers.models.idefics3.modeling_idefics3 import Idefics3Connector
from transformers.models.internvl.modeling_internvl import InternVLModel, InternVLMultiModalProjector

from parts import TYPE_NAMES, TYPES, make_projector, prepare, randomise, write_case

# Form, storage, scale, channels of a patch, width of the language model, grid (width, height).
CASES = {
    "shuffle-idefics3": ("idefics3", "f32", 3, 7, 20, (6, 6)),
    "shuffle-idefics3-bf16": ("idefics3", "bf16", 2, 24, 33, (4, 4)),
    "shuffle-internvl": ("internvl", "f32", 2, 9, 26, (6, 4)),
    "shuffle-internvl-f16": ("internvl", "f16", 4, 5, 28, (4, 8)),
    "shuffle-mlp1": ("mlp1", "f32", 2, 12, 21, (2, 6)),
    "shuffle-llava": ("llava", "f16", 2, 13, 24, (4, 6)),
}


class Shuffled(nn.Module):
    """A projector behind InternVL's pixel_shuffle: rows [grid, channels] to rows [tokens, width]."""

    def __init__(self, projector, scale, grid):
        super().__init__()
        self.projector, self.scale, self.grid = projector, scale, grid

    def forward(self, rows):
        image = rows.view(1, self.grid[1], self.grid[0], rows.shape[1])
        squares = InternVLModel.pixel_shuffle(None, image, scale_factor=1 / self.scale)
        return self.projector(squares.reshape(-1, squares.shape[-1]))


class Connected(nn.Module):
    """Idefics3's connector: a square of rows to rows."""

    def __init__(self, config):
        super().__init__()
        self.connector = Idefics3Connector(config)

    def forward(self, rows):
        return self.connector(rows[None])[0]


def build(form, scale, channels, width, grid):
    """A projector of a form, its tensors' prefix, and what its config says beside the widths."""
    config = SimpleNamespace(vision_config=SimpleNamespace(hidden_size=channels), text_config=SimpleNamespace(hidden_size=width),
                             scale_factor=scale, downsample_ratio=1 / scale, projector_hidden_act="gelu")
    merged = scale * scale * channels
    if form == "idefics3":
        model = Connected(config)
        return model, model.connector, "model.connector.", {"model_type": "idefics3", "scale_factor": scale}
    layers = [nn.Linear(merged, width), nn.GELU(), nn.Linear(width, width)]
    if form == "internvl":
        projector, prefix = InternVLMultiModalProjector(config), "model.multi_modal_projector."
        facts = {"model_type": "internvl", "downsample_ratio": 1 / scale, "projector_hidden_act": "gelu"}
    elif form == "mlp1":
        projector, prefix = nn.Sequential(nn.LayerNorm(merged), *layers), "mlp1."
        facts = {"model_type": "internvl_chat", "downsample_ratio": 1 / scale, "ps_version": "v2"}
    else:
        projector, prefix = nn.Sequential(*layers), "model.mm_projector."
        facts = {"model_type": "llava_llama", "mm_projector_type": "pixel_shuffle"}
    return Shuffled(projector, scale, grid), projector, prefix, facts


def make(name, form, weights, scale, channels, width, grid, seed):
    """One projector and its reference."""
    model, projector, prefix, facts = build(form, scale, channels, width, grid)
    model.eval()
    randomise(model, seed, TYPES[weights])
    config = {**facts, "torch_dtype": TYPE_NAMES[weights]}
    state = {prefix + key: value.to(TYPES[weights]) for key, value in projector.state_dict().items()}
    make_projector(name, "projector/pixel_shuffle", weights, config, state, model, channels, width, grid, seed)
    write_case(name, "projector", "projector/pixel_shuffle", weights, seed, grid=list(grid), prefix_tokens=0, prefix=prefix)


def main():
    """Writes every case."""
    prepare()
    for seed, (name, case) in enumerate(CASES.items(), 450):
        make(name, *case, seed)


if __name__ == "__main__":
    main()
