"""Writes pixels/: image files, and what Pillow and the slow image processors make of them."""

import numpy as np
from PIL import Image
from transformers import BitImageProcessor, CLIPImageProcessor, Siglip2ImageProcessor, SiglipImageProcessor

from files import DATA, sha256, write_arrays, write_bytes, write_json
from images import all_images, saved

OUT = DATA / "pixels"

CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
HALF = [0.5, 0.5, 0.5]
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
BICUBIC, BILINEAR = 3, 2
PROCESSORS = {"CLIPImageProcessor": CLIPImageProcessor, "CLIPFeatureExtractor": CLIPImageProcessor,
              "SiglipImageProcessor": SiglipImageProcessor, "BitImageProcessor": BitImageProcessor,
              "Siglip2ImageProcessor": Siglip2ImageProcessor}

# Small pipelines on these (and clip28 without padding on all) have their arrays stored, not only their sums.
SHOWN = ("china.jpg", "astronaut.png", "cat.png", "tiny_2x3.png", "one_1x1.png", "noise_53x47.png", "black_white_31x64.png")


def clip_old(size):
    """preprocessor_config.json in openai's old form: sizes are bare numbers, no rescale keys."""
    return {"crop_size": size, "do_center_crop": True, "do_normalize": True, "do_resize": True,
            "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": CLIP_MEAN, "image_std": CLIP_STD,
            "resample": BICUBIC, "size": size}


def shortest(kind, edge, crop, mean, std):
    """The newer form: shortest edge, then a centre crop."""
    return {"crop_size": {"height": crop, "width": crop}, "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True,
            "do_rescale": True, "do_resize": True, "image_mean": mean, "image_processor_type": kind, "image_std": std,
            "resample": BICUBIC, "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": edge}}


def stretch(height, width, resample):
    """SigLIP's: stretched to a fixed size, no crop."""
    return {"do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": HALF,
            "image_processor_type": "SiglipImageProcessor", "image_std": HALF, "processor_class": "SiglipProcessor",
            "resample": resample, "rescale_factor": 0.00392156862745098, "size": {"height": height, "width": width}}


def naflex(patch, budget):
    """SigLIP 2 NaFlex's: a size of its own for each picture, as many patches as the budget allows."""
    return {"do_convert_rgb": None, "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": HALF,
            "image_processor_type": "Siglip2ImageProcessor", "image_std": HALF, "max_num_patches": budget, "patch_size": patch,
            "processor_class": "Siglip2Processor", "resample": BILINEAR, "rescale_factor": 0.00392156862745098}


PIPELINES = {
    "clip336": clip_old(336), "siglip384": stretch(384, 384, BICUBIC), "siglip2-384": stretch(384, 384, BILINEAR),
    "dinov2-224": shortest("BitImageProcessor", 256, 224, IMAGENET_MEAN, IMAGENET_STD),
    "clip28": clip_old(28), "clip-31-crop-28": shortest("CLIPImageProcessor", 31, 28, CLIP_MEAN, CLIP_STD),
    "clip-24-crop-29": shortest("CLIPImageProcessor", 24, 29, CLIP_MEAN, CLIP_STD),
    "siglip28": stretch(28, 28, BICUBIC), "siglip2-30x26": stretch(30, 26, BILINEAR),
    "dinov2-28": shortest("BitImageProcessor", 32, 28, IMAGENET_MEAN, IMAGENET_STD),
    "naflex-256": naflex(16, 256), "naflex-20": naflex(6, 20),
}


def pad_to_square(image, fill):
    """LLaVA's expand2square."""
    width, height = image.size
    if width == height:
        return image
    side = max(width, height)
    square = Image.new("RGB", (side, side), fill)
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return square


def joined_patches(patches, rows, columns, patch):
    """[3,H,W] of patches [at least rows * columns, patch * patch * 3], the padding behind them left out."""
    squares = patches[:rows * columns].reshape(rows, columns, patch, patch, 3)
    return np.ascontiguousarray(squares.transpose(4, 0, 2, 1, 3).reshape(3, rows * patch, columns * patch))


def preprocess(image, config, pad):
    """float32 [3,H,W] of an RGB image, and the padding colour.

    The channel axis is named, since the processors take a picture 1 or 3 pixels high for
    one whose channels come first.
    """
    fill = tuple(int(mean * 255) for mean in config["image_mean"])
    kind = config.get("image_processor_type") or config["feature_extractor_type"]
    processor = PROCESSORS[kind].from_dict(config)
    image = pad_to_square(image, fill) if pad else image
    output = processor(image, input_data_format="channels_last", return_tensors="np")
    pixels = output["pixel_values"][0]
    if "spatial_shapes" in output:
        pixels = joined_patches(pixels, *output["spatial_shapes"][0], config["patch_size"])
    assert pixels.dtype == np.float32
    return pixels, fill


def main():
    """Writes everything under pixels/."""
    listed, cases, arrays = [], [], {}
    for name, content in all_images().items():
        path = OUT / "images" / name
        write_bytes(path, content)
        image = Image.open(path).convert("RGB")
        twin = None
        if name.endswith(".jpg"):
            twin = name + ".ref.png"
            write_bytes(OUT / "images" / twin, saved(image, "PNG", optimize=True))
        listed.append({"file": name, "width": image.width, "height": image.height, "rgb_sha256": sha256(np.asarray(image)),
                       "twin": twin})
        for pipeline, config in PIPELINES.items():
            for pad in (False, True):
                pixels, fill = preprocess(image, config, pad)
                shown = pixels.shape[1] < 40 and (name in SHOWN or (pipeline, pad) == ("clip28", False))
                tensor = "%s/%s/%s" % (name, pipeline, "pad" if pad else "nopad") if shown else None
                if shown:
                    arrays[tensor] = pixels
                cases.append({"image": name, "pipeline": pipeline, "pad": pad, "pad_fill": fill, "shape": pixels.shape,
                              "sha256": sha256(pixels), "tensor": tensor})
    write_json(OUT / "cases.json", {"pipelines": PIPELINES, "images": listed, "cases": cases})
    write_arrays(OUT / "pixels.safetensors.xz", arrays)


if __name__ == "__main__":
    main()
