"""Writes models/llama-*: tiny random LLaMAs, and what transformers computes with them."""

from transformers import LlamaConfig, LlamaForCausalLM

import float64
from parts import TYPE_NAMES, TYPES, make_language, prepare, randomise


def llama3_rope(original, factor=8.0):
    """LLaMA-3.1's rope_scaling with a small original context, so that short prompts cross all bands."""
    return {"factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": original, "rope_type": "llama3"}


CASES = {
    # As LLaMA-1's config: no num_key_value_heads, rope_theta, head_dim.
    "llama-mha": ("f32", dict(hidden_size=48, num_attention_heads=4, num_hidden_layers=2, intermediate_size=76,
                              vocab_size=131, rms_norm_eps=1e-6)),
    "llama-gqa2": ("f32", dict(hidden_size=48, num_attention_heads=6, num_key_value_heads=3, head_dim=16, num_hidden_layers=2,
                               intermediate_size=74, vocab_size=128, rms_norm_eps=1e-5, rope_theta=10000.0,
                               rope_scaling=llama3_rope(32))),
    "llama-gqa3-tied": ("f32", dict(hidden_size=48, num_attention_heads=6, num_key_value_heads=2, num_hidden_layers=2,
                                    intermediate_size=88, vocab_size=150, rms_norm_eps=1e-5, rope_theta=500000.0,
                                    tie_word_embeddings=True)),
    "llama-mqa-f16": ("f16", dict(hidden_size=60, num_attention_heads=5, num_key_value_heads=1, num_hidden_layers=2,
                                  intermediate_size=130, vocab_size=137, rms_norm_eps=1e-5, rope_theta=500000.0)),
    "llama-odd-bf16": ("bf16", dict(hidden_size=36, num_attention_heads=3, num_key_value_heads=3, head_dim=20,
                                    num_hidden_layers=4, intermediate_size=77, vocab_size=150, rms_norm_eps=1e-4,
                                    rope_theta=1000.0, rope_scaling=llama3_rope(64, 4.0))),
    "llama-31": ("f32", dict(hidden_size=48, num_attention_heads=8, num_key_value_heads=2, head_dim=8, num_hidden_layers=2,
                             intermediate_size=80, vocab_size=160, rms_norm_eps=1e-5, rope_theta=500000.0,
                             rope_scaling=llama3_rope(64))),
}


def new_model(fields, seed, dtype):
    """A random LLaMA in float32, eager attention, its weights rounded to dtype."""
    model = LlamaForCausalLM(LlamaConfig(**fields, attn_implementation="eager", max_position_embeddings=2048)).eval()
    randomise(model, seed, dtype)
    return model


def folder_config(fields, weights):
    """config.json with the keys of an official folder."""
    return {"architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
            "max_position_embeddings": 2048, "model_type": "llama", "tie_word_embeddings": False,
            "torch_dtype": TYPE_NAMES[weights], "use_cache": True, **fields}


def make(name, weights, fields):
    """One LLaMA and its references."""
    make_language(name, "llm/llama", weights, folder_config(fields, weights),
                  lambda seed: new_model(fields, seed, TYPES[weights]), LlamaForCausalLM,
                  lambda model, rows: float64.llama_logits(model.state_dict(), model.config, rows))


def main():
    """Writes every case."""
    prepare()
    for name, case in CASES.items():
        make(name, *case)


if __name__ == "__main__":
    main()
