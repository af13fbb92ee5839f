"""The tiny assembly: shapes, construction, export to the official formats, and reference inference."""

import json

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from prompt import IMAGE_INDEX, conversation, splice_ids, write_json, write_tokenizer

PIXELS, PATCH, SELECT_LAYER, CONTEXT = 112, 14, -2, 4096
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
PATCHES = (PIXELS // PATCH) ** 2
VISION = dict(hidden_size=128, num_hidden_layers=5, num_attention_heads=4, intermediate_size=512, image_size=PIXELS,
              patch_size=PATCH, num_channels=3, hidden_act="quick_gelu", layer_norm_eps=1e-5, projection_dim=128,
              attention_dropout=0.0, initializer_factor=1.0, initializer_range=0.02)
LANGUAGE = dict(hidden_size=192, num_hidden_layers=4, num_attention_heads=6, num_key_value_heads=2,
                intermediate_size=384, hidden_act="silu", rms_norm_eps=1e-5,
                max_position_embeddings=CONTEXT, rope_theta=500000.0, tie_word_embeddings=False, attention_bias=False,
                attention_dropout=0.0, mlp_bias=False, initializer_range=0.05, pretraining_tp=1, use_cache=True,
                rope_scaling={"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                              "original_max_position_embeddings": 512, "rope_type": "llama3"})


def new_tower():
    """An untrained vision tower."""
    return CLIPVisionModel(CLIPVisionConfig(**VISION))


def new_projector():
    """An untrained mlp2x_gelu."""
    inner, outer = VISION["hidden_size"], LANGUAGE["hidden_size"]
    return torch.nn.Sequential(torch.nn.Linear(inner, outer), torch.nn.GELU(), torch.nn.Linear(outer, outer))


def new_language(vocabulary):
    """An untrained language model."""
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **LANGUAGE))


def patch_features(tower, pixels):
    """Patch features of the selected layer, without the class token."""
    return tower(pixels, output_hidden_states=True).hidden_states[SELECT_LAYER][:, 1:]


def preprocess(picture):
    """LLaVA's pad-to-square and CLIP's resize: RGB bytes, PIXELS x PIXELS."""
    picture = picture.convert("RGB")
    side = max(picture.size)
    if picture.width != picture.height:
        canvas = Image.new("RGB", (side, side), tuple(int(m * 255) for m in MEAN))
        canvas.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        picture = canvas
    return np.asarray(picture.resize((PIXELS, PIXELS), Image.Resampling.BICUBIC))


def normalise(pixels):
    """Batch of RGB bytes (count, height, width, 3) to the tower's input."""
    values = torch.from_numpy(np.asarray(pixels, dtype=np.float32) / 255)
    return ((values - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2).contiguous()


# --- official folders ---------------------------------------------------------------------------


def write_tensors(path, tensors):
    """A safetensors file that everyone may read."""
    save_file(tensors, path, {"format": "pt"})
    path.chmod(0o644)


def half(state, prefix=""):
    """The state's tensors as contiguous f16 under `prefix`."""
    return {prefix + name: value.detach().half().contiguous() for name, value in state.items()
            if not name.endswith("position_ids")}


def export(out, tower, projector, language, tokenizer):
    """Writes `out`/clip as a CLIP folder and `out`/llava as a LLaVA-MORE stage-2 folder."""
    clip, llava = out / "clip", out / "llava"
    clip.mkdir(parents=True, exist_ok=True)
    llava.mkdir(exist_ok=True)
    write_tensors(clip / "model.safetensors", half(tower.state_dict()))
    write_json(clip / "config.json", {
        "architectures": ["CLIPVisionModel"], "model_type": "clip", "projection_dim": VISION["projection_dim"],
        "torch_dtype": "float16", "vision_config": {"model_type": "clip_vision_model", **VISION}})
    write_json(clip / "preprocessor_config.json", {
        "crop_size": {"height": PIXELS, "width": PIXELS}, "do_center_crop": True, "do_convert_rgb": True,
        "do_normalize": True, "do_rescale": True, "do_resize": True, "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": list(MEAN), "image_processor_type": "CLIPImageProcessor", "image_std": list(STD), "resample": 3,
        "rescale_factor": 1 / 255, "size": {"shortest_edge": PIXELS}})

    write_tokenizer(tokenizer, llava, CONTEXT)
    ids = {name: tokenizer.token_to_id(f"<|{name}|>") for name in
           ("begin_of_text", "end_of_text", "eom_id", "eot_id", "finetune_right_pad_id")}
    eos = [ids["end_of_text"], ids["eom_id"], ids["eot_id"]]
    write_json(llava / "config.json", {
        "architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava_llama", "model_architecture": "llama_3_1",
        "vocab_size": tokenizer.get_vocab_size(), **LANGUAGE, "bos_token_id": ids["begin_of_text"], "eos_token_id": eos,
        "pad_token_id": ids["finetune_right_pad_id"], "freeze_mm_mlp_adapter": False, "image_aspect_ratio": "pad",
        "mm_hidden_size": VISION["hidden_size"], "mm_patch_merge_type": "flat", "mm_projector_lr": None,
        "mm_projector_type": "mlp2x_gelu", "mm_use_im_patch_token": False, "mm_use_im_start_end": False,
        "mm_vision_select_feature": "patch", "mm_vision_select_layer": SELECT_LAYER, "mm_vision_tower": "../clip",
        "tokenizer_model_max_length": CONTEXT, "tokenizer_padding_side": "right", "torch_dtype": "float16",
        "tune_mm_mlp_adapter": False, "use_mm_proj": True})
    write_json(llava / "generation_config.json", {
        "_from_model_config": True, "bos_token_id": ids["begin_of_text"], "eos_token_id": eos,
        "transformers_version": "4.43.1"})
    tensors = {**half(language.state_dict()), **half(projector.state_dict(), "model.mm_projector.")}
    write_shards(llava, tensors)


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
    """The exported folders in float32, answering greedily."""

    def __init__(self, root):
        """Loads `root`/llava and the tower that its config names."""
        folder = root / "llava"
        config = json.loads((folder / "config.json").read_text())
        clip = folder / config["mm_vision_tower"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.stop = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        tensors = {}
        for name in sorted(set(index["weight_map"].values())):
            tensors.update(load_file(folder / name))
        marker = "model.mm_projector."
        self.projector, self.language, self.tower = new_projector(), new_language(config["vocab_size"]), new_tower()
        self.projector.load_state_dict({k[len(marker):]: v for k, v in tensors.items() if k.startswith(marker)})
        self.language.load_state_dict({k: v for k, v in tensors.items() if not k.startswith(marker)})
        self.tower.load_state_dict(load_file(clip / "model.safetensors"))
        for part in (self.projector, self.language, self.tower):
            part.eval()

    @torch.no_grad()
    def visual_tokens(self, picture):
        """The picture's rows in the language model's embedding space."""
        return self.projector(patch_features(self.tower, normalise(preprocess(picture)[None])))[0]

    @torch.no_grad()
    def answer(self, visual, question, limit=64):
        """(prompt ids with -200, generated ids with the stop id, text)."""
        prompt = splice_ids(self.tokenizer, conversation(question))
        at = prompt.index(IMAGE_INDEX)
        embed = self.language.get_input_embeddings()
        rows = [embed(torch.tensor(prompt[:at])), visual, embed(torch.tensor(prompt[at + 1:]))]
        inputs, cache, made = torch.cat(rows)[None], None, []
        while len(made) < limit and (not made or made[-1] not in self.stop):
            step = self.language(inputs_embeds=inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = step.past_key_values
            made.append(int(step.logits[0, -1].argmax()))
            inputs = embed(torch.tensor([made[-1:]]))
        return prompt, made, self.tokenizer.decode(made)
