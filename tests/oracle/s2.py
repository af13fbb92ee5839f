"""Writes s2/: multi-scale features of small towers, and the arithmetic that they are made with.

The rules are those of LLAVA_MORE.md, section 3: PyTorch's bicubic from the largest size, tiles row by row with the tile's
number slower than the picture's, the tower on all tiles of a scale, maps stitched and averaged down to the smallest
scale's grid, channels one scale behind the other. Pictures are not stored: picture() makes them, here and in the test.
"""

import io
import json

import torch
from PIL import Image
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import CLIPVisionModel, Dinov2Model, Dinov2WithRegistersModel, SiglipVisionModel

import e2e
from files import DATA, write_arrays, write_bytes, write_json
from images import all_images, saved
from parts import LEAST_MARGIN, TYPES, array, greedy, prepare, randomise
from pixels import CLIP_MEAN, CLIP_STD, preprocess, shortest
from projector import projector
from prompts import S2, ids_with_images, llama_3_1

OUT = DATA / "s2"
TOWERS = {"clip_vision_model": CLIPVisionModel, "clip": CLIPVisionModel, "siglip": SiglipVisionModel,
          "siglip_vision_model": SiglipVisionModel, "dinov2": Dinov2Model,
          "dinov2_with_registers": Dinov2WithRegistersModel}

CASES = {
    # model folder, plugin, class and register tokens, scales as a config writes them, layers, pictures
    "clip-three": ("clip-quick", "vision/clip", 1, "32,64,96", [-2], 2),
    # Unsorted; a side of 24 pixels in patches of 7 leaves 3 pixels of every tile unseen.
    "clip-two-unsorted": ("clip-flat", "vision/clip", 1, "48, 24", [-1], 3),
    "clip-layers-f16": ("clip-f16", "vision/clip", 1, "56,112", [-2, 0, -1], 1),
    # Seven tiles a side, and a scale left out between.
    "clip-wide-bf16": ("clip-bf16", "vision/clip", 1, "30,210", [1], 1),
    "clip-one": ("clip-gelu", "vision/clip", 1, "40", [-2], 2),
    "dinov2-three": ("dinov2-plain", "vision/dinov2", 1, "24,48,72", [-2], 2),
    "dinov2-registers": ("dinov2-registers", "vision/dinov2", 5, "32,64", [-1, -2], 1),
    "siglip-three": ("siglip-nested", "vision/siglip", 0, "24,48,72", [-2], 2),
    "siglip2-two": ("siglip2-fixed", "vision/siglip2", 0, "32,64", [-1], 1),
    # Tiles of 21 pixels beside one of 28, whose maps of 6 and 4 a side do not divide evenly; positions interpolated twice.
    "dinov2-uneven": ("dinov2-small", "vision/dinov2", 1, "28,42", [-2], 2),
}

# side, out side, rows of the result that are kept (None = all)
SIZES = {"third": (96, 32, None), "two_thirds": (96, 64, None), "odd": (61, 37, None), "up": (9, 22, None),
         "same": (16, 16, None), "s2_672": (1008, 672, [0, 1, 300, 670, 671]), "s2_336": (1008, 336, [0, 17, 335]),
         "siglip_768": (1152, 768, [0, 383, 767]), "uneven": (1001, 448, [0, 3, 223, 446, 447])}

# tiles a side, patches a tile's side, grid of the result
JOINS = {"halved": (2, 4, 4), "thirds": (3, 5, 5), "as_is": (1, 3, 3), "uneven": (2, 3, 4), "wide": (3, 4, 5)}


def picture(count, channels, side):
    """Seeded noise [count, channels, side, side] in steps of 1/64, the same in any language."""
    axes = [torch.arange(n, dtype=torch.int64) for n in (count, channels, side, side)]
    i, c, y, x = torch.meshgrid(*axes, indexing="ij")
    mixed = (x * 73856093) ^ (y * 19349663) ^ (c * 83492791) ^ (i * 2654435761)
    return ((mixed % 2**32) >> 24).to(torch.float32) / 64 - 2


def resized(pictures, side):
    """PyTorch's bicubic of [n, c, h, h]."""
    return functional.interpolate(pictures, size=side, mode="bicubic")


def tiles_of(pictures, tiles):
    """[n, c, h, h] to [tiles * tiles * n, c, h / tiles, h / tiles]: row by row, each with all pictures."""
    size = pictures.shape[-1] // tiles
    return torch.cat([pictures[:, :, y * size:(y + 1) * size, x * size:(x + 1) * size]
                      for y in range(tiles) for x in range(tiles)])


def stitched(features, tiles, count):
    """[tiles * tiles * count, g * g, width] to maps [count, width, tiles * g, tiles * g]."""
    grid = round(features.shape[1] ** 0.5)
    maps = features.transpose(1, 2).unflatten(2, (grid, grid)).unflatten(0, (tiles * tiles, count))
    lines = [torch.cat([maps[y * tiles + x] for x in range(tiles)], dim=-1) for y in range(tiles)]
    return torch.cat(lines, dim=-2)


def averaged(maps, grid):
    """[count, width, m, m] to rows [count, grid * grid, width]."""
    return functional.interpolate(maps, size=grid, mode="area").flatten(2).transpose(1, 2)


def multiscale(tower, pictures, sides):
    """Feature rows [n, g * g, scales * width]; tower maps [n, 3, h, h] to patch rows, pictures are of the largest side."""
    sides, count, parts, grid = sorted(sides), len(pictures), [], None
    for side in sides:
        tiles = -(-side // sides[0])
        rows = tower(tiles_of(resized(pictures, side), tiles))
        grid = grid or round(rows.shape[1] ** 0.5)
        parts.append(averaged(stitched(rows, tiles, count), grid))
    return torch.cat(parts, dim=-1)


def tower_of(model, prefix, layers):
    """What LLaVA's towers give: the patch rows of the layers asked for, joined on the channels."""
    def forward(pixels):
        hidden = model(pixel_values=pixels, output_hidden_states=True).hidden_states
        return torch.cat([hidden[layer][:, prefix:] for layer in layers], dim=-1)
    return forward


def make_case(name, folder, plugin, prefix, scales, layers, count):
    """Features of one tower under one list of scales."""
    path = DATA / "models" / folder
    kind = json.loads((path / "config.json").read_text())["model_type"]
    model = TOWERS[kind].from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    sides = [int(side) for side in scales.split(",")]
    pictures = picture(count, 3, max(sides))
    with torch.no_grad():
        features = multiscale(tower_of(model, prefix, layers), pictures, sides)
        exact = multiscale(tower_of(model.double(), prefix, layers), pictures.double(), sides)
    error = float((features.double() - exact).abs().max() / exact.abs().max())
    write_arrays(OUT / name / "ref.safetensors", {"features": array(features)})
    write_json(OUT / name / "case.json", {"model": "models/" + folder, "plugin": plugin, "scales": scales,
                                          "layers": layers, "images": count}, indent=1)
    print("s2/%-20s %s, noise %.1e of the largest" % (name, list(features.shape), error))


def make_arithmetic():
    """Resized pictures, and joined maps of random features."""
    arrays = {}
    for name, (side, out, rows) in SIZES.items():
        result = resized(picture(1, 2, side), out)[0]
        arrays["resized_" + name] = array(result if rows is None else result[:, rows])
    for name, (tiles, grid, out) in JOINS.items():
        features = picture(tiles * tiles * 2, grid * grid, 4)[:, :, 0, :3]
        arrays["joined_" + name] = array(averaged(stitched(features, tiles, 2), out))
    write_arrays(OUT / "arithmetic.safetensors", arrays)
    sizes = {name: {"side": side, "out": out, "rows": rows} for name, (side, out, rows) in SIZES.items()}
    joins = {name: {"tiles": tiles, "grid": grid, "out": out} for name, (tiles, grid, out) in JOINS.items()}
    write_json(OUT / "arithmetic.json", {"resized": sizes, "joined": joins}, indent=1)


PIPELINE = dict(scales=[32, 64], layers=[-2, -1], picture="cat.png", question="What is shown in this picture?")


def s2_config(folder):
    """What the training code adds to the config of a folder with S2."""
    config = json.loads((folder / "config.json").read_text())
    sides = PIPELINE["scales"]
    config.update({"s2": True, "s2_scales": ",".join(map(str, sides)),
                   "mm_hidden_size": config["mm_hidden_size"] * len(sides)})
    write_json(folder / "config.json", config, indent=2)


def pipeline_features(tower, pixels):
    """Feature rows of one picture [3, h, h] as the projector gets them."""
    return multiscale(tower_of(tower, 1, PIPELINE["layers"]), pixels[None], PIPELINE["scales"])[0]


def make_pipeline():
    """A whole answer: a folder that asks for S2 beside a tower whose processor knows its own size only."""
    name, case, sides = "s2-layers-f16", e2e.CASES["padded-f16"], PIPELINE["scales"]
    width = e2e.VISION["hidden_size"] * len(sides) * len(PIPELINE["layers"])
    folder, tokenizer = e2e.OUT / name, Tokenizer.from_file(str(e2e.TOKENIZER))
    picture_file = Image.open(io.BytesIO(all_images()[PIPELINE["picture"]])).convert("RGB")
    processor = shortest("CLIPImageProcessor", sides[-1], sides[-1], CLIP_MEAN, CLIP_STD)
    pixels = torch.tensor(preprocess(picture_file, processor, True)[0])
    text = llama_3_1(S2, [("<image>\n" + PIPELINE["question"], None)])
    ids = ids_with_images(tokenizer, text, "<|begin_of_text|>")
    for seed in range(300):
        tower, _, language = e2e.build(case, seed)
        mapper = projector("mlp2x_gelu", width, case["language"]["hidden_size"])
        randomise(mapper, seed + 1, TYPES[case["weights"]])
        with torch.no_grad():
            features = pipeline_features(tower, pixels)
            visual = mapper(features)
            rows = e2e.splice(language, ids, visual)
        chosen, logits, margin = greedy(language, rows, e2e.STEPS)
        if margin > LEAST_MARGIN and len(set(chosen.tolist())) >= e2e.LEAST_DISTINCT:
            break
    else:
        raise SystemExit("no seed with clear margins for " + name)
    e2e.write_folders(folder, case, tower, mapper, language, tokenizer)
    s2_config(folder / "llava")
    write_bytes(folder / "image.png", saved(picture_file, "PNG", optimize=True))
    write_json(folder / "case.json", {"question": PIPELINE["question"], "image": "e2e/%s/image.png" % name, "prompt": text,
                                      "margin": margin, "seed": seed,
                                      "settings": {"llm.weights": "e2e/%s/llava" % name, "llm.template": "llama_3_1",
                                                   "vision.layer": ",".join(map(str, PIPELINE["layers"]))}}, indent=1)
    arrays = {"pixels": pixels, "features": features, "visual_tokens": visual, "input_ids": torch.tensor(ids),
              "logits": logits, "greedy_ids": chosen}
    write_arrays(folder / "ref.safetensors", {key: array(value) for key, value in arrays.items()})
    print("e2e/%s seed %d, margin %.2e, features %s" % (name, seed, margin, list(features.shape)))


def main():
    """Writes everything under s2/, and e2e/s2-layers-f16."""
    prepare()
    make_arithmetic()
    make_pipeline()
    for name, case in CASES.items():
        make_case(name, *case)


if __name__ == "__main__":
    main()
