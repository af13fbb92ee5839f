"""Writes LoRA adapters and what PEFT merges them into, for the unit tests: adapters.py, into tests/unit/weights/data/lora.

Each case is a folder of base/ (a model), adapter/ (what PEFT saved, or LLaVA's own form) and merged.safetensors, which
merge_and_unload of PEFT made of the two in the base's own dtype.
"""

import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers.pytorch_utils import Conv1D

DATA = pathlib.Path(__file__).resolve().parents[2] / "tests" / "unit" / "weights" / "data" / "lora"


class Block(torch.nn.Module):
    """Two projections of different shapes."""

    def __init__(self, conv):
        super().__init__()
        self.q_proj = Conv1D(10, 6) if conv else torch.nn.Linear(6, 10, bias=False)
        self.up_proj = torch.nn.Linear(10, 20)


class Model(torch.nn.Module):
    """Named as a language model's are; 20 rows so that a merge takes more than one block."""

    def __init__(self, conv=False):
        super().__init__()
        self.embed_tokens = torch.nn.Embedding(21, 6)
        self.layers = torch.nn.ModuleList(Block(conv) for _ in range(2))
        self.lm_head = torch.nn.Linear(20, 7, bias=False)

    def forward(self, ids):
        """Only PEFT's checks want one."""
        return self.embed_tokens(ids)


def randomize(module, generator, scale=0.3):
    """Fills all parameters, zero-initialised ones of adapters too."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)


def write(folder, state, dtype):
    """Writes a model's tensors and a config.json."""
    folder.mkdir(parents=True)
    tensors = {name: tensor.detach().to(dtype).contiguous().clone() for name, tensor in state.items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "made", "vocab_size": 21}) + "\n")


def make(name, dtype, safe=True, conv=False, official=False, **settings):
    """One case."""
    from peft import LoraConfig, get_peft_model  # wanted by this step of make_all.py alone

    folder = DATA / name
    generator = torch.Generator().manual_seed(len(name) + 7)
    model = Model(conv)
    randomize(model, generator)
    model = model.to(dtype)
    write(folder / "base", model.state_dict(), dtype)
    targets = settings.pop("target_modules", ["q_proj", "up_proj"])
    wrapped = get_peft_model(model, LoraConfig(target_modules=targets, **settings))
    if settings.get("modules_to_save"):
        randomize(wrapped, generator)
    with torch.no_grad():
        for key, parameter in wrapped.named_parameters():
            if "lora_" in key:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
            elif "modules_to_save" not in key:
                # A base that randomize above has changed gets its own values back.
                own = key.removeprefix("base_model.model.").replace(".base_layer", "").replace(".original_module", "")
                parameter.copy_(load(folder / "base")[own])
    wrapped.save_pretrained(folder / "adapter", safe_serialization=safe)
    (folder / "adapter" / "README.md").unlink(missing_ok=True)
    config = folder / "adapter" / "adapter_config.json"
    known = json.loads(config.read_text())
    known["base_model_name_or_path"] = "../base"
    known["target_modules"] = sorted(known["target_modules"])  # PEFT keeps them as a set
    config.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    merged = wrapped.merge_and_unload().state_dict()
    if official:
        extra = {"model.mm_projector.0.weight": torch.arange(6.0).reshape(2, 3).to(dtype)}
        torch.save({"base_model.model." + k: v for k, v in extra.items()}, folder / "adapter" / "non_lora_trainables.bin")
        text = json.dumps({"model_type": "llava_made", "mm_projector_type": "linear", "vocab_size": 21})
        (folder / "adapter" / "config.json").write_text(text + "\n")
        merged |= extra
    tensors = {key: tensor.detach().to(dtype).contiguous().clone() for key, tensor in merged.items()}
    save_file(tensors, folder / "merged.safetensors")


def load(folder):
    """The tensors that write() wrote."""
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def main():
    """Writes everything anew."""
    shutil.rmtree(DATA, ignore_errors=True)
    make("plain-f32", torch.float32, r=4, lora_alpha=6)
    make("rank-stabilised-f16", torch.float16, safe=False, r=3, lora_alpha=5, use_rslora=True)
    make(
        "embedding-bf16",
        torch.bfloat16,
        r=2,
        lora_alpha=4,
        target_modules=["q_proj", "embed_tokens"],
        modules_to_save=["lm_head"],
    )
    make(
        "patterns-f32",
        torch.float32,
        r=4,
        lora_alpha=8,
        rank_pattern={"layers.1.q_proj": 2},
        alpha_pattern={"up_proj": 3},
    )
    make("transposed-f32", torch.float32, conv=True, target_modules=["q_proj"], r=2, lora_alpha=3, fan_in_fan_out=True)
    make("official-f16", torch.float16, safe=False, official=True, r=2, lora_alpha=4)


if __name__ == "__main__":
    main()
