"""Writes e2e/naflex*: the NaFlex tower of models/siglip2-naflex under a small LLaMA, end to end, as the picture is and padded."""

import io

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import Siglip2VisionModel

import e2e
from files import write_arrays, write_bytes, write_json
from images import all_images, saved
from llama import llama3_rope, new_model as llama_model
from parts import LEAST_MARGIN, OUT as MODELS, TYPES, array, exact_logits, greedy, prepare, randomise, report, save_folder, stored_state
from pixels import naflex, preprocess
from projector import projector, projector_state
from prompts import S2, ids_with_images, llama_3_1
from siglip2 import NAFLEX, hidden_states

TOWER, PICTURE, QUESTION = "siglip2-naflex", "coffee_portrait.png", "What is shown in this picture?"
CASES = {"naflex": ("none", False), "naflex-padded": ("square", True)}
CASE = dict(weights="f16", aspect=None,
            language=dict(hidden_size=40, num_attention_heads=5, num_key_value_heads=1, num_hidden_layers=2, intermediate_size=70,
                          vocab_size=1024, rms_norm_eps=1e-5, rope_theta=500000.0, rope_scaling=llama3_rope(64)))


def encode(pixels, patch, budget):
    """The tower's rows of the picture, layer -2."""
    tower = Siglip2VisionModel.from_pretrained(MODELS / TOWER, dtype=torch.float32, attn_implementation="eager").eval()
    states, counts = hidden_states(tower, [torch.from_numpy(np.ascontiguousarray(pixels))], patch, budget, torch.float32)
    return states[-2][0, :counts[0]]


def answer(mapper, language, ids, features):
    """Rows with the picture spliced in, and their greedy continuation."""
    with torch.no_grad():
        visual = mapper(features)
        rows = e2e.splice(language, ids, visual)
    return (visual, rows, *greedy(language, rows, e2e.STEPS))


def main():
    """Writes both cases: one language folder, from the first seed whose answers to both are varied and clear."""
    prepare()
    patch, budget = NAFLEX[TOWER][2]["patch_size"], NAFLEX[TOWER][3]
    dtype, width = TYPES[CASE["weights"]], NAFLEX[TOWER][2]["hidden_size"]
    tokenizer = Tokenizer.from_file(str(e2e.TOKENIZER))
    picture = Image.open(io.BytesIO(all_images()[PICTURE])).convert("RGB")
    text = llama_3_1(S2, [("<image>\n" + QUESTION, None)])
    ids = ids_with_images(tokenizer, text, "<|begin_of_text|>")
    pixels = {name: preprocess(picture, naflex(patch, budget), pad)[0] for name, (_, pad) in CASES.items()}
    features = {name: encode(value, patch, budget) for name, value in pixels.items()}
    for seed in range(300):
        mapper = projector("mlp2x_gelu", width, CASE["language"]["hidden_size"])
        randomise(mapper, seed + 1, dtype)
        language = llama_model(CASE["language"], seed + 2, dtype)
        answers = {name: answer(mapper, language, ids, features[name]) for name in CASES}
        if all(margin > LEAST_MARGIN and len(set(chosen.tolist())) >= e2e.LEAST_DISTINCT
               for _, _, chosen, _, margin in answers.values()):
            break
    else:
        raise SystemExit("no seed with clear margins")
    folder = e2e.OUT / "naflex" / "llava"
    bos, end = (tokenizer.token_to_id(t) for t in ("<|begin_of_text|>", "<|eot_id|>"))
    config = {**e2e.llava_config(CASE, bos, [end]), "mm_vision_tower": "../../../models/" + TOWER, "mm_hidden_size": width}
    save_folder(folder, config, {**stored_state(language, dtype), **projector_state(mapper, dtype)})
    write_bytes(folder / "tokenizer.json", e2e.TOKENIZER.read_bytes())
    write_bytes(e2e.OUT / "naflex" / "image.png", saved(picture, "PNG", optimize=True))
    for name, (pad, _) in CASES.items():
        visual, rows, chosen, logits, margin = answers[name]
        arrays = {"pixels": torch.tensor(pixels[name]), "features": features[name], "visual_tokens": visual,
                  "input_ids": torch.tensor(ids), "spliced_length": torch.tensor([len(rows)]), "logits": logits,
                  "greedy_ids": chosen, "greedy_margin": torch.tensor([margin])}
        write_arrays(e2e.OUT / name / "ref.safetensors", {key: array(value) for key, value in arrays.items()})
        write_json(e2e.OUT / name / "case.json",
                   {"question": QUESTION, "image": "e2e/naflex/image.png", "prompt": text, "margin": margin, "seed": seed,
                    "settings": {"llm.weights": "e2e/naflex/llava", "llm.template": "llama_3_1",
                                 "vision.weights": "models/" + TOWER, "preprocess.pad": pad}}, indent=1)
        exact = exact_logits(language, rows)[-1:]
        report("e2e/" + name, logits[:1], exact)
        print("    seed %d, margin %.2e, pixels %s" % (seed, margin, pixels[name].shape))


if __name__ == "__main__":
    main()
