"""What the oracles of all backbones share: random weights, official folders, references, greedy continuations."""

import copy
import logging

import numpy as np
import torch
from safetensors.torch import save_file

from files import DATA, write_arrays, write_json

OUT = DATA / "models"
TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
TYPE_NAMES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
LEAST_MARGIN = 1.5e-3
LEAST_DISTINCT = 24
GREEDY_STEPS = 128
EXACT_ROWS = 8
TOKENS, PREFIX, ROWS, SUFFIX, BATCH = 40, 9, 5, 11, (7, 61)


def is_tied(model):
    """Whether a language model's head is its embedding."""
    return getattr(model.config, "tie_word_embeddings", False) and hasattr(model, "lm_head")


def randomise(model, seed, dtype, norm_mean=1.0):
    """Fills a model so that its activations keep their size, rounded to what dtype can store.

    norm_mean: mean of the norms' weights, 0 for those that stand for 1 + w.
    """
    generator = torch.Generator().manual_seed(seed)
    # A tied head would let every token predict itself, were the embedding as large as what the blocks add.
    embedding = 0.1 if hasattr(model, "config") and is_tied(model) else 0.7

    def normal(like, deviation, mean=0.0):
        return mean + deviation * torch.randn(like.shape, generator=generator)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "norm" in name and name.endswith("weight"):
                value = normal(parameter, 0.2, norm_mean)
            elif parameter.dim() == 1 or "embed" in name and "patch" not in name:
                value = normal(parameter, 0.2 if name.endswith("bias") else embedding)
            else:
                gain = 1.5 if "q_proj" in name or "k_proj" in name else 1.0
                value = normal(parameter, gain / parameter[0].numel() ** 0.5)
            parameter.copy_(value.to(dtype))


def stored_state(model, dtype):
    """A model's own tensors in the type in which they are stored; a tied head is left out."""
    return {name: tensor.to(dtype).contiguous() if tensor.is_floating_point() else tensor
            for name, tensor in model.state_dict().items() if not (name == "lm_head.weight" and is_tied(model))}


def save_folder(folder, config, state):
    """config.json and model.safetensors as a Hugging Face folder has them."""
    write_json(folder / "config.json", config, indent=2)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def write_case(name, kind, plugin, weights, seed, margin=None, **more):
    """case.json, by which the C test finds the folder: kind is vision, projector or language, plugin as kind/name."""
    write_json(OUT / name / "case.json",
               {"kind": kind, "plugin": plugin, "weights": weights, "margin": margin, "seed": seed, **more}, indent=1)


def array(tensor):
    """A tensor as a numpy array, ids as i32."""
    tensor = tensor.detach()
    return tensor.numpy() if tensor.is_floating_point() else tensor.to(torch.int32).numpy()


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


def random_ids(vocabulary, count, seed):
    """Seeded ids that leave out the first three."""
    return torch.randint(3, vocabulary, (count,), generator=torch.Generator().manual_seed(seed))


def settled_seed(name, make_model, vocabulary):
    """The first seed whose greedy continuation is both varied and clear at every step: (seed, ids, continuation)."""
    for seed in range(300):
        model = make_model(seed)
        ids = random_ids(vocabulary, TOKENS, seed + 1)
        chosen, _, margin = greedy(model, model.get_input_embeddings()(ids), GREEDY_STEPS)
        if margin > LEAST_MARGIN and len(set(chosen.tolist())) >= LEAST_DISTINCT:
            return seed, ids, chosen
    raise SystemExit("no seed with clear margins for " + name)


def exact_logits(model, embedded):
    """Logits of embedding rows [T, width] in float64."""
    with torch.no_grad():
        return copy.deepcopy(model).double()(inputs_embeds=embedded[None].double()).logits[0]


def make_language(name, plugin, weights, config, make_model, model_class, exact=exact_logits):
    """A language model's folder and references.

    make_model(seed) gives the random float32 model (eager attention, weights rounded to the stored type), config what
    goes into config.json, exact(model, embedding rows) its logits in float64.
    """
    dtype, vocabulary, width = TYPES[weights], config["vocab_size"], config["hidden_size"]
    seed, ids, chosen = settled_seed(name, make_model, vocabulary)
    save_folder(OUT / name, config, stored_state(make_model(seed), dtype))
    model = model_class.from_pretrained(OUT / name, dtype=torch.float32, attn_implementation="eager").eval()
    embed = model.get_input_embeddings()
    raw = []
    hook = model.model.layers[-1].register_forward_hook(lambda module, inputs, output: raw.append(output))
    with torch.no_grad():
        output = model(input_ids=ids[None], output_hidden_states=True)
        hook.remove()
        reference = exact(model, embed(ids))
        again, _, margin = greedy(model, embed(ids), GREEDY_STEPS)
        assert torch.equal(again, chosen)
        prefix, suffix = random_ids(vocabulary, PREFIX, seed + 2), random_ids(vocabulary, SUFFIX, seed + 3)
        rows = 0.7 * torch.randn(ROWS, width, generator=torch.Generator().manual_seed(seed + 4))
        mixed = model(inputs_embeds=torch.cat([embed(prefix), rows, embed(suffix)])[None]).logits[0]
        arrays = {"input_ids": ids, "embedded": embed(ids), "logits": output.logits[0],
                  "logits_f64": reference[-EXACT_ROWS:], "greedy_ids": chosen, "greedy_margin": torch.tensor([margin]),
                  "mixed_prefix_ids": prefix, "mixed_rows": rows, "mixed_suffix_ids": suffix, "mixed_logits": mixed}
        for number, length in enumerate(BATCH, 1):
            prompt = random_ids(vocabulary, length, seed + 10 + number)
            arrays["batch_%d_ids" % number] = prompt
            arrays["batch_%d_logits" % number] = model(input_ids=prompt[None]).logits[0, -1]
    arrays.update({"hidden_%d" % i: h[0] for i, h in enumerate(output.hidden_states)})
    raw = raw[0] if isinstance(raw[0], torch.Tensor) else raw[0][0]
    arrays["hidden_%d_raw" % (len(output.hidden_states) - 1)] = raw[0]
    write_arrays(OUT / name / "ref.safetensors", {key: array(value) for key, value in arrays.items()})
    write_case(name, "language", plugin, weights, seed, margin)
    report(name, output.logits[0], reference)
    print("    seed %d, margin %.2e, %d distinct ids" % (seed, margin, len(set(chosen.tolist()))))


def make_vision(name, plugin, weights, config, state, model_class, pixels, seed, exact=None):
    """An encoder's folder and all of its hidden states for each picture of `pixels`, [3, height, width] each.

    exact(state dict, model config, pixels [1, 3, height, width]): hidden states in float64, where there is a reference of
    one's own; else the model itself in float64.
    """
    save_folder(OUT / name, config, state)
    model = model_class.from_pretrained(OUT / name, dtype=torch.float32, attn_implementation="eager").eval()
    arrays, worst = {}, None
    for number, picture in enumerate(pixels):
        with torch.no_grad():
            hidden = model(pixel_values=picture[None], output_hidden_states=True).hidden_states
            if exact:
                reference = exact(model.state_dict(), model.config, picture[None])[-1]
            else:
                twin = copy.deepcopy(model).double()
                reference = twin(pixel_values=picture[None].double(), output_hidden_states=True).hidden_states[-1]
        arrays["pixels_%d" % number] = array(picture)
        arrays.update({"image_%d_hidden_%d" % (number, i): array(h[0]) for i, h in enumerate(hidden)})
        worst = (hidden[-1], reference)
    write_arrays(OUT / name / "ref.safetensors", arrays)
    write_case(name, "vision", plugin, weights, seed, images=len(pixels))
    report(name, *worst)


def make_projector(name, plugin, weights, config, state, model, width_in, width_out, grid, seed, prefix_tokens=0):
    """A projector's folder and what `model` (its weights rounded to the stored type) makes of random rows of a grid.

    grid: (width, height) in patches, behind prefix_tokens other rows.
    """
    save_folder(OUT / name, config, state)
    count = prefix_tokens + grid[0] * grid[1]
    rows = torch.randn(count, width_in, generator=torch.Generator().manual_seed(seed + 1))
    with torch.no_grad():
        output = model(rows)
        exact = copy.deepcopy(model).double()(rows.double())
    assert output.shape[1] == width_out
    write_arrays(OUT / name / "ref.safetensors", {"input": array(rows), "output": array(output), "output_f64": array(exact)})
    write_case(name, "projector", plugin, weights, seed, grid=list(grid), prefix_tokens=prefix_tokens)
    report(name, output, exact)


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
