"""The language families: shapes, construction, what their official folders say."""

from dataclasses import dataclass
from typing import Callable

from transformers import (Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM, Phi3Config, Phi3ForCausalLM)

import prompt

HIDDEN, CONTEXT = 192, 4096
SHAPE = dict(hidden_size=HIDDEN, num_hidden_layers=4, num_attention_heads=6, num_key_value_heads=2,
             intermediate_size=384, attention_bias=False, attention_dropout=0.0, initializer_range=0.05, use_cache=True)
LLAMA = dict(SHAPE, hidden_act="silu", rms_norm_eps=1e-5, max_position_embeddings=CONTEXT, rope_theta=500000.0,
             tie_word_embeddings=False, mlp_bias=False, pretraining_tp=1,
             rope_scaling={"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                           "original_max_position_embeddings": 512, "rope_type": "llama3"})
# Long conversations outgrow the window of every other layer.
GEMMA = dict(SHAPE, head_dim=32, hidden_activation="gelu_pytorch_tanh", hidden_act="gelu_pytorch_tanh",
             rms_norm_eps=1e-6, max_position_embeddings=CONTEXT, rope_theta=10000.0, tie_word_embeddings=True,
             query_pre_attn_scalar=32, sliding_window=128, attn_logit_softcapping=50.0, final_logit_softcapping=30.0)
# 12 frequencies: three quarters of a head's 32 places turn, two by two.
PHI = dict(SHAPE, hidden_act="silu", rms_norm_eps=1e-5, max_position_embeddings=4 * CONTEXT,
           original_max_position_embeddings=CONTEXT, rope_theta=10000.0, partial_rotary_factor=0.75,
           tie_word_embeddings=True, sliding_window=None, embd_pdrop=0.0, resid_pdrop=0.0,
           rope_scaling={"type": "longrope", "short_factor": [1.0] * 12,
                         "long_factor": [1, 1.05, 1.1, 1.2, 1.4, 1.8, 2.4, 3, 3.5, 3.8, 4, 4]})


@dataclass(frozen=True)
class Family:
    """One family: transformers classes, its template and tokenizer, and its name in an official config.json."""

    name: str
    shape: dict
    config: type
    model: type
    template: prompt.Template
    tokenizer: Callable
    space: str  # how its tokenizer writes a leading space
    lines: tuple  # text of the template, for the tokenizer's training
    folder: str
    official: dict

    def new(self, tokenizer):
        """An untrained model."""
        ids = self.special_ids(tokenizer)
        model = self.model(self.config(vocab_size=tokenizer.get_vocab_size(), **self.shape, **ids))
        model.set_attn_implementation("eager")  # faster than sdpa under a mask
        return model

    def special_ids(self, tokenizer):
        """bos, eos and pad of config.json."""
        template = self.template
        return {"bos_token_id": tokenizer.token_to_id(template.bos or template.pad),
                "eos_token_id": [tokenizer.token_to_id(s) for s in template.eos],
                "pad_token_id": tokenizer.token_to_id(template.pad)}


FAMILIES = {family.name: family for family in (
    Family("llama", LLAMA, LlamaConfig, LlamaForCausalLM, prompt.LLAMA, prompt.llama_tokenizer, "\u0120",
           (f"system\n\n{prompt.SYSTEM}", "user\n\n", "assistant\n\n"), "llava",
           {"architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava_llama", "model_architecture": "llama_3_1"}),
    Family("gemma2", GEMMA, Gemma2Config, Gemma2ForCausalLM, prompt.GEMMA, prompt.gemma_tokenizer, "\u2581",
           ("user\n", "model\n"), "llava-gemma2",
           {"architectures": ["LlavaGemmaForCausalLM"], "model_type": "llava_gemma", "model_architecture": "gemma_2"}),
    Family("phi4", PHI, Phi3Config, Phi3ForCausalLM, prompt.PHI, prompt.phi_tokenizer, "\u0120",
           ("You are a helpful AI assistant.",), "llava-phi4",
           {"architectures": ["LlavaPhiForCausalLM"], "model_type": "llava_phi", "model_architecture": "phi_4"}))}
