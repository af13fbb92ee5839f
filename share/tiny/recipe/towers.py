"""The vision towers: shapes, construction, warm start, image processing, what their official folders say."""

from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from transformers import (CLIPVisionConfig, CLIPVisionModel, Dinov2Config, Dinov2Model, SiglipVisionConfig,
                          SiglipVisionModel)

GRID, WIDTH, HEADS, BLOCKS, INNER, SELECT_LAYER = 8, 128, 4, 5, 512, -2
PATCHES = GRID * GRID
COMMON = dict(hidden_size=WIDTH, num_hidden_layers=BLOCKS, num_attention_heads=HEADS)
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Tower:
    """One vision backbone at GRID x GRID patches."""

    name: str
    patch: int
    mean: tuple
    std: tuple
    filter: Image.Resampling
    config: type
    model: type
    shape: dict
    first: int  # rows in front of the patches
    official: dict = field(hash=False)  # of config.json; the vision config comes under its "vision_config", if any
    processor: dict = field(hash=False)

    @property
    def pixels(self):
        """Side of the picture."""
        return GRID * self.patch

    def new(self):
        """An untrained tower."""
        tower = self.model(self.config(**COMMON, **self.shape))
        tower.set_attn_implementation("eager")  # faster than sdpa for so few tokens
        return tower

    def see(self, tower, pixels):
        """(features of every patch at the selected layer, one row for the whole picture)."""
        seen = tower(pixels, output_hidden_states=True)
        whole = seen.pooler_output if seen.pooler_output is not None else seen.last_hidden_state.mean(1)
        return seen.hidden_states[SELECT_LAYER][:, self.first:], whole

    def preprocess(self, picture):
        """LLaVA's pad-to-square and the processor's resize: RGB bytes, pixels x pixels."""
        picture = picture.convert("RGB")
        side = max(picture.size)
        if picture.width != picture.height:
            canvas = Image.new("RGB", (side, side), tuple(int(m * 255) for m in self.mean))
            canvas.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
            picture = canvas
        return np.asarray(picture.resize((self.pixels, self.pixels), self.filter))

    def normalise(self, pixels):
        """Batch of RGB bytes (count, height, width, 3) to the tower's input."""
        values = torch.from_numpy(np.asarray(pixels, dtype=np.float32) / 255)
        return ((values - torch.tensor(self.mean)) / torch.tensor(self.std)).permute(0, 3, 1, 2).contiguous()

    def folder(self):
        """(config.json, preprocessor_config.json) of the official format."""
        inner = {**COMMON, **self.shape}
        config = dict(self.official, torch_dtype="float16")
        if "vision_config" in config:
            config["vision_config"] = {**config["vision_config"], **inner}
        else:
            config.update(inner)
        return config, {"do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": list(self.mean),
                        "image_std": list(self.std), "resample": int(self.filter), "rescale_factor": 1 / 255,
                        **self.processor}


def cropping(side, kind):
    """The processor entries of towers that resize the shorter edge and crop."""
    return {"crop_size": {"height": side, "width": side}, "do_center_crop": True, "do_convert_rgb": True,
            "image_processor_type": kind, "size": {"shortest_edge": side}}


def stretching(side):
    """The processor entries of SigLIP's kind."""
    return {"image_processor_type": "SiglipImageProcessor", "processor_class": "SiglipProcessor",
            "size": {"height": side, "width": side}}


def siglip(name, patch, resample, vocabulary):
    """SigLIP, or SigLIP 2 in its fixed form, which differs in its files by vocabulary and filter only."""
    shape = dict(intermediate_size=INNER, image_size=GRID * patch, patch_size=patch, num_channels=3,
                 hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-6, attention_dropout=0.0, vision_use_head=False)
    return Tower(name, patch, HALF, HALF, resample, SiglipVisionConfig, SiglipVisionModel, shape, 0,
                 {"architectures": ["SiglipModel"], "model_type": "siglip",
                  "text_config": {"model_type": "siglip_text_model", "vocab_size": vocabulary},
                  "vision_config": {"model_type": "siglip_vision_model"}}, stretching(GRID * patch))


TOWERS = {tower.name: tower for tower in (
    Tower("clip", 14, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711),
          Image.Resampling.BICUBIC, CLIPVisionConfig, CLIPVisionModel,
          dict(intermediate_size=INNER, image_size=14 * GRID, patch_size=14, num_channels=3, hidden_act="quick_gelu",
               layer_norm_eps=1e-5, projection_dim=WIDTH, attention_dropout=0.0, initializer_factor=1.0,
               initializer_range=0.02), 1,
          {"architectures": ["CLIPVisionModel"], "model_type": "clip", "projection_dim": WIDTH,
           "vision_config": {"model_type": "clip_vision_model"}},
          {**cropping(14 * GRID, "CLIPImageProcessor"), "feature_extractor_type": "CLIPFeatureExtractor"}),
    siglip("siglip", 14, Image.Resampling.BICUBIC, 32000),
    siglip("siglip2", 16, Image.Resampling.BILINEAR, 256000),
    # A 9 x 9 table of positions, which the model itself brings to 8 x 8.
    Tower("dinov2", 14, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), Image.Resampling.BICUBIC, Dinov2Config,
          Dinov2Model,
          dict(mlp_ratio=INNER // WIDTH, image_size=14 * (GRID + 1), patch_size=14, num_channels=3, hidden_act="gelu",
               layer_norm_eps=1e-6, qkv_bias=True, layerscale_value=1.0, drop_path_rate=0.0, use_swiglu_ffn=False,
               attention_probs_dropout_prob=0.0, hidden_dropout_prob=0.0, initializer_range=0.02), 1,
          {"architectures": ["Dinov2Model"], "model_type": "dinov2"}, cropping(14 * GRID, "BitImageProcessor")))}


# --- warm start ---------------------------------------------------------------------------------


DINO_NAMES = (("self_attn.q_proj", "attention.attention.query"), ("self_attn.k_proj", "attention.attention.key"),
              ("self_attn.v_proj", "attention.attention.value"), ("self_attn.out_proj", "attention.output.dense"),
              ("layer_norm1", "norm1"), ("layer_norm2", "norm2"))


def warm_start(tower, kind, clip, pixels):
    """Starts `tower` with the trained CLIP tower's blocks; `pixels`, CLIP's, show how strong its embeddings are.

    CLIP's norm behind the embeddings, which the others lack, goes into patch weights and positions as an average.
    """
    source = {k.removeprefix("vision_model."): v for k, v in clip.state_dict().items()}
    norm, shift = source["pre_layrnorm.weight"], source["pre_layrnorm.bias"]
    with torch.no_grad():
        gain = norm / clip.vision_model.embeddings(pixels).std(-1).mean()
    weight = source["embeddings.patch_embedding.weight"]
    table = source["embeddings.position_embedding.weight"]
    cls, cells = (source["embeddings.class_embedding"] + table[0]) * gain + shift, table[1:] * gain + shift
    if kind.patch != weight.shape[-1]:
        weight = F.interpolate(weight, size=(kind.patch, kind.patch), mode="bicubic") * (weight.shape[-1] / kind.patch) ** 2
    weight = weight * gain[:, None, None, None]
    if kind.name == "dinov2":
        cells = cells.T.reshape(1, WIDTH, GRID, GRID)
        cells = F.interpolate(cells, size=(GRID + 1, GRID + 1), mode="bicubic").flatten(2)[0].T
        state = {"embeddings.patch_embeddings.projection.weight": weight, "embeddings.cls_token": cls[None, None],
                 "embeddings.position_embeddings": torch.cat([torch.zeros(1, WIDTH), cells])[None],
                 "layernorm.weight": source["post_layernorm.weight"], "layernorm.bias": source["post_layernorm.bias"]}
        for name, value in source.items():
            if name.startswith("encoder.layers."):
                for old, new in DINO_NAMES:
                    name = name.replace(old, new)
                state[name.replace("encoder.layers.", "encoder.layer.")] = value
    else:
        state = {"embeddings.patch_embedding.weight": weight, "embeddings.position_embedding.weight": cells,
                 **{k: v for k, v in source.items() if k.startswith(("encoder.", "post_layernorm."))}}
        state = {"vision_model." + name: value for name, value in state.items()}
    left = tower.load_state_dict(state, strict=False)
    assert not left.unexpected_keys, left.unexpected_keys
