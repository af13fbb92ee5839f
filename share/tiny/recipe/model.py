"""The assemblies: projector, export to the official formats, and reference inference."""

import json

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from languages import CONTEXT, FAMILIES, HIDDEN
from prompt import IMAGE_INDEX, splice_ids, write_json, write_tokenizer
from towers import SELECT_LAYER, TOWERS, WIDTH

EMBEDDED = "clip"  # the tower whose projector lies in the language model's own folder
MARKER = "model.mm_projector."
PROJECTOR = {"mm_hidden_size": WIDTH, "mm_projector_type": "mlp2x_gelu"}


def new_projector():
    """An untrained mlp2x_gelu."""
    return torch.nn.Sequential(torch.nn.Linear(WIDTH, HIDDEN), torch.nn.GELU(), torch.nn.Linear(HIDDEN, HIDDEN))


# --- official folders ---------------------------------------------------------------------------


def write_tensors(path, tensors):
    """A safetensors file that everyone may read."""
    save_file(tensors, path, {"format": "pt"})
    path.chmod(0o644)


def half(state, prefix=""):
    """The state's tensors as contiguous f16 under `prefix`."""
    return {prefix + name: value.detach().half().contiguous() for name, value in state.items()
            if not name.endswith("position_ids")}


def export_tower(out, kind, tower):
    """Writes `out`/<tower> as a folder of the backbone's own kind."""
    folder = out / kind.name
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "model.safetensors", half(tower.state_dict()))
    for name, value in zip(("config", "preprocessor_config"), kind.folder()):
        write_json(folder / f"{name}.json", value)


def export_family(out, family, tokenizer, language, projector):
    """Writes `out`/<folder> as a LLaVA-MORE stage-2 folder."""
    folder, ids = out / family.folder, family.special_ids(tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(tokenizer, family.template, folder, CONTEXT)
    write_json(folder / "config.json", {
        **family.official, "vocab_size": tokenizer.get_vocab_size(), **family.shape, **ids, **PROJECTOR,
        "freeze_mm_mlp_adapter": False, "image_aspect_ratio": "pad", "mm_patch_merge_type": "flat",
        "mm_projector_lr": None, "mm_use_im_patch_token": False, "mm_use_im_start_end": False,
        "mm_vision_select_feature": "patch", "mm_vision_select_layer": SELECT_LAYER,
        "mm_vision_tower": f"../{EMBEDDED}", "tokenizer_model_max_length": CONTEXT, "tokenizer_padding_side": "right",
        "torch_dtype": "float16", "tune_mm_mlp_adapter": False, "use_mm_proj": True})
    write_json(folder / "generation_config.json", {
        "_from_model_config": True, "bos_token_id": ids["bos_token_id"], "eos_token_id": ids["eos_token_id"],
        "transformers_version": "4.43.1"})
    tensors = {**half(language.state_dict()), **half(projector.state_dict(), MARKER)}
    if family.shape["tie_word_embeddings"]:
        del tensors["lm_head.weight"]
    write_shards(folder, tensors)


def export_projector(out, kind, family, projector):
    """Writes `out`/projectors/<tower>-<family>."""
    folder = out / "projectors" / f"{kind.name}-{family.name}"
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "model.safetensors", half(projector.state_dict(), MARKER))
    write_json(folder / "config.json", {**PROJECTOR, "hidden_size": HIDDEN})


def write_shards(folder, tensors):
    """Two safetensors files and their index, split by size."""
    total = sum(t.nbytes for t in tensors.values())
    shards, seen = [{}, {}], 0
    for name, tensor in sorted(tensors.items()):
        shards[2 * seen >= total][name] = tensor
        seen += tensor.nbytes
    names = [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    for name, shard in zip(names, shards):
        write_tensors(folder / name, shard)
    write_json(folder / "model.safetensors.index.json", {
        "metadata": {"total_size": total},
        "weight_map": {tensor: name for name, shard in zip(names, shards) for tensor in sorted(shard)}})


class Reference:
    """One pair of the exported folders in float32, answering greedily."""

    def __init__(self, root, tower=EMBEDDED, family="llama"):
        """Loads the pair from the folders in `root`."""
        self.kind, self.family = TOWERS[tower], FAMILIES[family]
        folder = root / self.family.folder
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.stop = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        tensors = {}
        for name in sorted(set(index["weight_map"].values())):
            tensors.update(load_file(folder / name))
        own = {k: v for k, v in tensors.items() if k.startswith(MARKER)}
        if tower != EMBEDDED:
            own = load_file(root / "projectors" / f"{tower}-{family}" / "model.safetensors")
        self.projector, self.language, self.tower = new_projector(), self.family.new(self.tokenizer), self.kind.new()
        self.projector.load_state_dict({k[len(MARKER):]: v for k, v in own.items()})
        left = self.language.load_state_dict({k: v for k, v in tensors.items() if k not in own and MARKER not in k},
                                             strict=False)
        assert not left.unexpected_keys and set(left.missing_keys) <= {"lm_head.weight"}, left
        self.language.tie_weights()
        self.tower.load_state_dict(load_file(root / tower / "model.safetensors"))
        for part in (self.projector, self.language, self.tower):
            part.eval()

    @torch.no_grad()
    def visual_tokens(self, picture):
        """The picture's rows in the language model's embedding space."""
        pixels = self.kind.normalise(self.kind.preprocess(picture)[None])
        return self.projector(self.kind.see(self.tower, pixels)[0])[0]

    @torch.no_grad()
    def answer(self, visual, question, limit=64):
        """(prompt ids with -200, generated ids with the stop id, text)."""
        prompt = splice_ids(self.tokenizer, self.family.template, question)
        at = prompt.index(IMAGE_INDEX)
        embed = self.language.get_input_embeddings()
        rows = [embed(torch.tensor(prompt[:at])), visual, embed(torch.tensor(prompt[at + 1:]))]
        inputs, cache, made = torch.cat(rows)[None], None, []
        while len(made) < limit and (not made or made[-1] not in self.stop):
            step = self.language(inputs_embeds=inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = step.past_key_values
            made.append(int(step.logits[0, -1].argmax()))
            inputs = embed(torch.tensor([made[-1]]))[None]
        return prompt, made, self.tokenizer.decode(made)
