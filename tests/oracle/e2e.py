"""Writes e2e/: tiny LLaVA-MORE folders, a picture, a question, and every stage of the answer.

The pipeline is put together here from transformers' classes and the rules of
LLAVA_MORE.md, section 3: pad or crop, tower, layer -2 without CLS, projector, splice at
-200, greedy decoding.
"""

import io

import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import CLIPVisionConfig, CLIPVisionModel

import float64
from clip import folder_config as clip_config
from files import DATA, write_arrays, write_bytes, write_json
from images import all_images, saved
from llama import folder_config as llama_config, llama3_rope, new_model as llama_model
from parts import LEAST_MARGIN, TYPES, array, greedy, prepare, randomise, report, save_folder, stored_state
from projector import projector, projector_state
from pixels import CLIP_MEAN, CLIP_STD, clip_old, preprocess, shortest
from prompts import IMAGE_TOKEN, S2, ids_with_images, llama_3_1

OUT = DATA / "e2e"
STEPS = 32
EXACT_STEPS = 8
LEAST_DISTINCT = 12
TOKENIZER = DATA / "tokens" / "small" / "llama3" / "tokenizer.json"
VISION = dict(hidden_size=48, num_attention_heads=3, num_hidden_layers=3, intermediate_size=72, patch_size=8, image_size=32,
              hidden_act="quick_gelu")

CASES = {
    # As released: f16, padded to a square, the tower's settings in openai's old form.
    "padded-f16": dict(
        weights="f16", aspect="pad", picture="cat.png", processor=clip_old(32), tower_inside=False,
        question="What is shown in this picture?",
        language=dict(hidden_size=40, num_attention_heads=6, num_key_value_heads=2, head_dim=8, num_hidden_layers=2,
                      intermediate_size=100, vocab_size=1024, rms_norm_eps=1e-5, rope_theta=500000.0, rope_scaling=llama3_rope(64))),
    # Centre crop instead of padding, and a copy of the tower inside the language folder.
    "cropped-bf16": dict(
        weights="bf16", aspect=None, picture="coffee_portrait.png",
        processor=shortest("CLIPImageProcessor", 32, 32, CLIP_MEAN, CLIP_STD), tower_inside=True,
        question="Describe this image.\nAnswer the question using a single word or phrase.",
        language=dict(hidden_size=36, num_attention_heads=3, num_key_value_heads=3, num_hidden_layers=3,
                      intermediate_size=70, vocab_size=1024, rms_norm_eps=1e-6, rope_theta=10000.0)),
}


def llava_config(case, bos, eos):
    """config.json of a LLaVA-MORE folder (LLAVA_MORE.md, section 2)."""
    config = {**llama_config(case["language"], case["weights"]), "architectures": ["LlavaLlamaForCausalLM"],
              "model_type": "llava_llama", "bos_token_id": bos, "eos_token_id": eos, "mm_vision_tower": "../clip",
              "mm_projector_type": "mlp2x_gelu", "mm_hidden_size": VISION["hidden_size"], "mm_vision_select_layer": -2,
              "mm_vision_select_feature": "patch", "mm_patch_merge_type": "flat", "mm_projector_lr": None,
              "mm_use_im_start_end": False, "mm_use_im_patch_token": False, "freeze_mm_mlp_adapter": False,
              "tune_mm_mlp_adapter": False, "use_mm_proj": True, "tokenizer_model_max_length": 2048,
              "tokenizer_padding_side": "right"}
    if case["aspect"]:
        config["image_aspect_ratio"] = case["aspect"]
    return config


def write_folders(folder, case, tower, mapper, language, tokenizer):
    """llava/ and clip/ as they are downloaded."""
    dtype = TYPES[case["weights"]]
    bos, eos = (tokenizer.token_to_id(t) for t in ("<|begin_of_text|>", "<|eot_id|>"))
    ends = [tokenizer.token_to_id("<|end_of_text|>"), eos]
    state = {**stored_state(language, dtype), **projector_state(mapper, dtype)}
    if case["tower_inside"]:
        state.update({"model.vision_tower.vision_tower." + name: tensor for name, tensor in stored_state(tower, torch.float16).items()})
    save_folder(folder / "llava", llava_config(case, bos, ends), state)
    write_json(folder / "llava" / "generation_config.json",
               {"_from_model_config": True, "bos_token_id": bos, "eos_token_id": ends}, indent=2)
    write_bytes(folder / "llava" / "tokenizer.json", TOKENIZER.read_bytes())
    write_json(folder / "llava" / "tokenizer_config.json",
               {"bos_token": "<|begin_of_text|>", "clean_up_tokenization_spaces": True, "eos_token": "<|eot_id|>",
                "model_max_length": 2048, "tokenizer_class": "PreTrainedTokenizerFast"}, indent=2)
    save_folder(folder / "clip", clip_config("nested", VISION, case["weights"]), stored_state(tower, dtype))
    write_json(folder / "clip" / "preprocessor_config.json", case["processor"], indent=2)


def splice(language, ids, visual):
    """Embedding rows of ids with the picture's tokens where -200 stands."""
    at = ids.index(IMAGE_TOKEN)
    embed = language.get_input_embeddings()
    return torch.cat([embed(torch.tensor(ids[:at])), visual, embed(torch.tensor(ids[at + 1:]))])


def build(case, seed):
    """Tower, projector and language model of a seed."""
    dtype = TYPES[case["weights"]]
    tower = CLIPVisionModel(CLIPVisionConfig(**VISION, attn_implementation="eager")).eval()
    mapper = projector("mlp2x_gelu", VISION["hidden_size"], case["language"]["hidden_size"])
    randomise(tower, seed, dtype)
    randomise(mapper, seed + 1, dtype)
    return tower, mapper, llama_model(case["language"], seed + 2, dtype)


def make(name, case):
    """One case, from the first seed whose answer is varied and clear at every step."""
    folder = OUT / name
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    picture = Image.open(io.BytesIO(all_images()[case["picture"]])).convert("RGB")
    pixels, _ = preprocess(picture, case["processor"], case["aspect"] == "pad")
    text = llama_3_1(S2, [("<image>\n" + case["question"], None)])
    ids = ids_with_images(tokenizer, text, "<|begin_of_text|>")
    for seed in range(300):
        tower, mapper, language = build(case, seed)
        with torch.no_grad():
            hidden = tower(pixel_values=torch.tensor(pixels)[None], output_hidden_states=True).hidden_states
            features = hidden[-2][0, 1:]
            visual = mapper(features)
            rows = splice(language, ids, visual)
        chosen, logits, margin = greedy(language, rows, STEPS)
        if margin > LEAST_MARGIN and len(set(chosen.tolist())) >= LEAST_DISTINCT:
            break
    else:
        raise SystemExit("no seed with clear margins for " + name)

    with torch.no_grad():
        exact_features = float64.clip_hidden(tower.state_dict(), tower.config, torch.tensor(pixels)[None])[-2][0, 1:]
        exact_rows = splice(language.double(), ids, mapper.double()(exact_features))
        answer = language.get_input_embeddings()(chosen[:-1])
        exact = float64.llama_logits(language.state_dict(), language.config, torch.cat([exact_rows, answer]))[len(rows) - 1:]
    write_folders(folder, case, tower, mapper, language, tokenizer)
    write_bytes(folder / "image.png", saved(picture, "PNG", optimize=True))
    write_json(folder / "case.json", {"question": case["question"], "image": "e2e/%s/image.png" % name, "prompt": text,
                                      "margin": margin, "seed": seed,
                                      "settings": {"llm.weights": "e2e/%s/llava" % name, "llm.template": "llama_3_1"}}, indent=1)
    arrays = {"pixels": torch.tensor(pixels), "features": features, "visual_tokens": visual, "input_ids": torch.tensor(ids),
              "spliced_length": torch.tensor([len(rows)]), "logits": logits, "logits_f64": exact[:EXACT_STEPS], "greedy_ids": chosen,
              "greedy_margin": torch.tensor([margin])}
    write_arrays(folder / "ref.safetensors", {key: array(value) for key, value in arrays.items()})
    report("e2e/" + name, logits, exact)
    print("    seed %d, margin %.2e, %d distinct ids, %d rows" % (seed, margin, len(set(chosen.tolist())), len(rows)))


def main():
    """Writes everything under e2e/."""
    prepare()
    for name, case in CASES.items():
        make(name, case)


if __name__ == "__main__":
    main()
