"""Writes models/projector-*: random LLaVA projectors, and what torch computes with them."""

from torch import nn

from parts import TYPE_NAMES, TYPES, make_projector, prepare, randomise

CASES = {"projector-mlp2x": ("f32", "mlp2x_gelu", 37, 52), "projector-mlp3x": ("f32", "mlp3x_gelu", 29, 35),
         "projector-linear": ("f32", "linear", 21, 30), "projector-mlp2x-f16": ("f16", "mlp2x_gelu", 48, 64)}


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


def make(name, weights, kind, wide_in, wide_out, seed):
    """One projector; its 17 rows lie as one row of patches behind a class token."""
    model = projector(kind, wide_in, wide_out)
    randomise(model, seed, TYPES[weights])
    config = {"model_type": "llava_llama", "mm_projector_type": kind, "mm_hidden_size": wide_in, "hidden_size": wide_out,
              "torch_dtype": TYPE_NAMES[weights]}
    make_projector(name, "projector/mlp", weights, config, projector_state(model, TYPES[weights]), model, wide_in, wide_out,
                   (16, 1), seed, prefix_tokens=1)


def main():
    """Writes every case."""
    prepare()
    for seed, (name, case) in enumerate(CASES.items(), 200):
        make(name, *case, seed)


if __name__ == "__main__":
    main()
