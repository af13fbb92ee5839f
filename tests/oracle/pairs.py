"""Writes pairs/: each encoder with each language model, as an assembly of separate folders, and every stage of an answer.

The pipeline is put together here from transformers' classes and the rules of LLAVA_MORE.md, sections 3 and 4, so that it
shares nothing with the runtime: padding and processor, tower, layer -2 without prefix tokens, projector, prompt, splice at
-200, greedy decoding.
"""

import io

import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import (CLIPVisionConfig, CLIPVisionModel, Dinov2Config, Dinov2Model, Gemma2Config, Gemma2ForCausalLM,
                          LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM, SiglipVisionConfig, SiglipVisionModel)

from e2e import splice
from files import DATA, write_arrays, write_json
from images import all_images
from parts import (LEAST_MARGIN, TYPES, TYPE_NAMES, array, exact_logits, greedy, prepare, randomise, report, save_folder,
                   stored_state)
from pixels import BICUBIC, BILINEAR, CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, preprocess, shortest, stretch
from projector import projector, projector_state
from prompts import SYSTEMS, TEMPLATES, ids_with_images

OUT = DATA / "pairs"
STEPS, KEPT_LOGITS, LEAST_DISTINCT = 32, 4, 12
QUESTION = "What is shown in this picture?\nAnswer in one word."

# class, config class, fields, prefix tokens, processor, stored type
TOWERS = {
    "clip": (CLIPVisionModel, CLIPVisionConfig, dict(
        model_type="clip_vision_model", hidden_size=48, num_attention_heads=3, num_hidden_layers=3, intermediate_size=72,
        patch_size=8, image_size=32, hidden_act="quick_gelu"),
        1, shortest("CLIPImageProcessor", 32, 32, CLIP_MEAN, CLIP_STD), "f16"),
    "siglip": (SiglipVisionModel, SiglipVisionConfig, dict(
        model_type="siglip_vision_model", hidden_size=40, num_attention_heads=5, num_hidden_layers=3, intermediate_size=76,
        patch_size=7, image_size=30, hidden_act="gelu_pytorch_tanh", vision_use_head=False),
        0, stretch(30, 30, BICUBIC), "f32"),
    "siglip2": (SiglipVisionModel, SiglipVisionConfig, dict(
        model_type="siglip_vision_model", hidden_size=36, num_attention_heads=2, num_hidden_layers=3, intermediate_size=68,
        patch_size=8, image_size=40, hidden_act="gelu_pytorch_tanh", vision_use_head=False),
        0, stretch(40, 40, BILINEAR), "bf16"),
    # Positions of 6 x 6 patches for pictures of 4 x 4.
    "dinov2": (Dinov2Model, Dinov2Config, dict(
        model_type="dinov2", hidden_size=44, num_attention_heads=4, num_hidden_layers=3, mlp_ratio=2, patch_size=7,
        image_size=42, layerscale_value=1.0),
        1, shortest("BitImageProcessor", 32, 28, IMAGENET_MEAN, IMAGENET_STD), "f16"),
}

# class, config class, fields, tokenizer, template, BOS as printed, mean of the norms' weights, stored type
LANGUAGES = {
    "llama": (LlamaForCausalLM, LlamaConfig, dict(
        model_type="llava_llama", hidden_size=40, num_attention_heads=6, num_key_value_heads=2, head_dim=8,
        num_hidden_layers=2, intermediate_size=100, vocab_size=1024, rope_theta=500000.0,
        rope_scaling={"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                      "original_max_position_embeddings": 64, "rope_type": "llama3"}),
        "llama3", "llama_3_1", "<|begin_of_text|>", 1.0, "f16"),
    "gemma2": (Gemma2ForCausalLM, Gemma2Config, dict(
        model_type="llava_gemma", hidden_size=36, num_attention_heads=4, num_key_value_heads=2, head_dim=12,
        num_hidden_layers=3, intermediate_size=84, vocab_size=1678, query_pre_attn_scalar=10, sliding_window=20,
        attn_logit_softcapping=50.0, final_logit_softcapping=30.0, hidden_activation="gelu_pytorch_tanh",
        tie_word_embeddings=True),
        "gemma", "gemma_2", "<bos>", 0.0, "bf16"),
    "phi4": (Phi3ForCausalLM, Phi3Config, dict(
        model_type="llava_phi", hidden_size=48, num_attention_heads=6, num_key_value_heads=2, num_hidden_layers=2,
        intermediate_size=90, vocab_size=1307, partial_rotary_factor=0.75, original_max_position_embeddings=24,
        tie_word_embeddings=True, pad_token_id=0, sliding_window=None,
        rope_scaling={"type": "longrope", "short_factor": [1.0, 1.1, 1.3], "long_factor": [1.2, 2.5, 6.0]}),
        "phi4mini", "phi_4", "", 1.0, "f16"),
}
PICTURES = ("cat.png", "coffee_portrait.png", "rgba.png", "noise_53x47.png")


def new_model(model_class, config_class, fields, seed, dtype, norm_mean=1.0):
    """A random model, eager attention, its weights rounded to dtype."""
    own = {key: value for key, value in fields.items() if key != "model_type"}
    model = model_class(config_class(**own, attn_implementation="eager")).eval()
    randomise(model, seed, dtype, norm_mean)
    return model


def write_tower(name):
    """pairs/vision-<name>, and the tower itself."""
    model_class, config_class, fields, _, processor, weights = TOWERS[name]
    model = new_model(model_class, config_class, fields, 1, TYPES[weights])
    folder = OUT / ("vision-" + name)
    save_folder(folder, {"architectures": [model_class.__name__], **fields, "torch_dtype": TYPE_NAMES[weights]},
                stored_state(model, TYPES[weights]))
    write_json(folder / "preprocessor_config.json", processor, indent=2)
    return model


def write_language(name):
    """pairs/llm-<name>, and the model itself with its tokenizer and question."""
    model_class, config_class, fields, tokenizer_name, template, bos, norm_mean, weights = LANGUAGES[name]
    fields = {**fields, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5}
    model = new_model(model_class, config_class, fields, 2, TYPES[weights], norm_mean)
    config = {"architectures": ["Llava%sForCausalLM" % name.capitalize()], **fields, "image_aspect_ratio": "pad",
              "mm_projector_type": "mlp2x_gelu", "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch",
              "tokenizer_model_max_length": 2048, "torch_dtype": TYPE_NAMES[weights]}
    save_folder(OUT / ("llm-" + name), config, stored_state(model, TYPES[weights]))
    tokenizer = Tokenizer.from_file(str(DATA / "tokens" / "small" / tokenizer_name / "tokenizer.json"))
    text = TEMPLATES[template](SYSTEMS[template], [("<image>\n" + QUESTION, None)])
    return model, text, ids_with_images(tokenizer, text, bos)


def answer(language, ids, features, wide_in, wide_out, dtype):
    """Projector and continuation of the first seed whose answer is varied and clear at every step."""
    for seed in range(300):
        mapper = projector("mlp2x_gelu", wide_in, wide_out)
        randomise(mapper, seed, dtype)
        with torch.no_grad():
            visual = mapper(features)
            rows = splice(language, ids, visual)
        chosen, logits, margin = greedy(language, rows, STEPS)
        if margin > LEAST_MARGIN and len(set(chosen.tolist())) >= LEAST_DISTINCT:
            return seed, mapper, visual, rows, chosen, logits, margin
    raise SystemExit("no seed with clear margins")


def make(vision, tower, llm, language, text, ids, picture):
    """One pair."""
    prefix, processor, weights = TOWERS[vision][3], TOWERS[vision][4], TYPES[LANGUAGES[llm][7]]
    wide_in, wide_out = TOWERS[vision][2]["hidden_size"], LANGUAGES[llm][2]["hidden_size"]
    image = Image.open(io.BytesIO(all_images()[picture])).convert("RGB")
    pixels, _ = preprocess(image, processor, True)
    with torch.no_grad():
        hidden = tower(pixel_values=torch.tensor(pixels)[None], output_hidden_states=True).hidden_states
        features = hidden[-2][0, prefix:]
    seed, mapper, visual, rows, chosen, logits, margin = answer(language, ids, features, wide_in, wide_out, weights)
    folder = OUT / ("%s-%s" % (vision, llm))
    save_folder(folder, {"mm_projector_type": "mlp2x_gelu", "mm_hidden_size": wide_in, "hidden_size": wide_out},
                projector_state(mapper, weights))
    write_json(folder / "case.json", {
        "question": QUESTION, "image": "pixels/images/" + picture, "prompt": text, "margin": margin, "seed": seed,
        "settings": {"llm.plugin": llm, "llm.weights": "pairs/llm-" + llm, "llm.template": LANGUAGES[llm][4],
                     "llm.tokenizer": "tokens/small/%s/tokenizer.json" % LANGUAGES[llm][3],
                     "vision.plugin": vision, "vision.weights": "pairs/vision-" + vision,
                     "projector.weights": "pairs/%s-%s" % (vision, llm)}}, indent=1)
    arrays = {"pixels": torch.tensor(pixels), "features": features, "visual_tokens": visual, "input_ids": torch.tensor(ids),
              "logits": logits[:KEPT_LOGITS], "greedy_ids": chosen}
    write_arrays(folder / "ref.safetensors", {key: array(value) for key, value in arrays.items()})
    report("pairs/%s-%s" % (vision, llm), logits[:1], exact_logits(language, rows)[-1:])
    print("    seed %d, margin %.2e, %d rows" % (seed, margin, len(rows)))


def main():
    """Writes everything under pairs/."""
    prepare()
    towers = {name: write_tower(name) for name in TOWERS}
    for llm in LANGUAGES:
        parts = write_language(llm)
        for picture, (vision, tower) in zip(PICTURES, towers.items()):
            make(vision, tower, llm, *parts, picture)


if __name__ == "__main__":
    main()
