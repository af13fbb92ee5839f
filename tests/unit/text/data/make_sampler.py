"""Writes sampler.json: what transformers' logits processors keep, for test_sampler.c.

Needs torch and transformers; run it in this folder. Logits are multiples of 1/64, so that JSON holds them exactly.
"""

import json

import torch
from transformers import (MinPLogitsWarper, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper,
                          TopPLogitsWarper)

CHAINS = [
    {"temperature": 0.2}, {"temperature": 1.7}, {"top_k": 1}, {"top_k": 7}, {"top_p": 0.05}, {"top_p": 0.5},
    {"top_p": 0.9}, {"top_p": 0.999}, {"min_p": 0.02}, {"min_p": 0.3}, {"min_p": 1.0},
    {"repetition_penalty": 1.3}, {"repetition_penalty": 0.7},
    {"repetition_penalty": 1.1, "temperature": 0.7, "top_k": 20, "top_p": 0.9, "min_p": 0.05},
    {"temperature": 0.2, "top_p": 0.7}, {"temperature": 2.5, "top_k": 40, "min_p": 0.1},
]
MAKERS = {"repetition_penalty": RepetitionPenaltyLogitsProcessor, "temperature": TemperatureLogitsWarper,
          "top_k": TopKLogitsWarper, "top_p": TopPLogitsWarper, "min_p": MinPLogitsWarper}


def distinct_logits(generator, size, spread):
    """Random logits, all different: ties have no order in torch."""
    values = torch.randperm(size * 8, generator=generator)[:size].float() / 64
    return (values - values.mean().round()) * spread


def main():
    generator = torch.Generator().manual_seed(5)
    cases = []
    for index, chain in enumerate(CHAINS * 3):
        size = (24, 60, 200)[index // len(CHAINS)]
        logits = distinct_logits(generator, size, (2.0, 0.25, 0.0625)[index // len(CHAINS)])
        history = torch.randint(0, size, (20,), generator=generator)
        scores = logits[None]
        for name, value in chain.items():
            scores = MAKERS[name](value)(history[None], scores)
        kept = torch.isfinite(scores[0]).nonzero()[:, 0]
        cases.append({"chain": chain, "logits": logits.tolist(), "history": history.tolist(), "ids": kept.tolist(),
                      "scores": scores[0][kept].tolist(),
                      "probabilities": torch.softmax(scores[0], -1)[kept].tolist()})
    with open("sampler.json", "w", encoding="utf-8") as file:
        json.dump(cases, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
