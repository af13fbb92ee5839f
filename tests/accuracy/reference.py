"""Writes sample/text.txt and sample/reference.json: what transformers in float32 makes of the sample.

    pip install -r share/tiny/recipe/requirements.txt; python tests/accuracy/reference.py

For each tiny language model: the perplexity of the text by llama.cpp's rule (windows of CONTEXT tokens, the BOS in front of
each, the tokens behind the first half count), the perplexity of the answers to the sample's questions, and the KL
divergence of the same model with its weights and its projector's rounded to bfloat16. It shares no code with the runtime.
"""

import json
import math
import sys
from pathlib import Path

import torch
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "share/tiny/recipe"))

import scenes  # noqa: E402
from model import Reference  # noqa: E402
from prompt import IMAGE_INDEX, splice_ids  # noqa: E402

SAMPLE = HERE / "sample"
SCENES, CONTEXT = 60, 192


def write_text():
    """What the held-out scenes show, a line each."""
    lines = [scenes.facts(scenes.make_scene(seed)) for seed in scenes.HELD_OUT_SEEDS[:SCENES]]
    (SAMPLE / "text.txt").write_text("".join(line + "\n" for line in lines if line))


def windows(reference, text):
    """(ids, index of the first token that counts) of each window."""
    ids = reference.tokenizer.encode(text).ids
    bos = reference.family.template.bos
    for at in range(0, len(ids) - CONTEXT + 1, CONTEXT):
        window = ids[at:at + CONTEXT]
        if bos is not None:
            window[0] = reference.tokenizer.token_to_id(bos)
        yield window, CONTEXT // 2 + 1


def conversations(reference):
    """(input rows, ids behind the picture, index in these of the first token that counts) of each question."""
    embed = reference.language.get_input_embeddings()
    seen = {}
    for line in (SAMPLE / "questions.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["image"] not in seen:
            seen[row["image"]] = reference.visual_tokens(Image.open(SAMPLE / row["image"]))
        prompt = splice_ids(reference.tokenizer, reference.family.template, row["question"])
        answer = reference.tokenizer.encode(row["answer"] + reference.family.template.end, add_special_tokens=False).ids
        at = prompt.index(IMAGE_INDEX)
        behind = prompt[at + 1:] + answer
        rows = torch.cat([embed(torch.tensor(prompt[:at])), seen[row["image"]], embed(torch.tensor(behind))])
        yield rows, behind, len(behind) - len(answer)


@torch.no_grad()
def text_scores(reference, text):
    """Log-probabilities [counted, vocabulary] and the tokens that came."""
    made, came = [], []
    for ids, first in windows(reference, text):
        logits = reference.language(torch.tensor([ids])).logits[0].double()
        made.append(torch.log_softmax(logits[first - 1:-1], -1))
        came += ids[first:]
    return torch.cat(made), torch.tensor(came)


@torch.no_grad()
def answer_scores(reference):
    """The same of the answers."""
    made, came = [], []
    for rows, behind, first in conversations(reference):
        logits = reference.language(inputs_embeds=rows[None]).logits[0].double()
        counted = len(behind) - first
        made.append(torch.log_softmax(logits[-counted - 1:-1], -1))
        came += behind[first:]
    return torch.cat(made), torch.tensor(came)


def perplexity(scores):
    """exp of the mean surprise."""
    made, came = scores
    return math.exp(-made.gather(1, came[:, None]).mean())


def main():
    """One object a family."""
    write_text()
    text, results = (SAMPLE / "text.txt").read_text(), []
    torch.set_num_threads(1)
    for family in ("llama", "gemma2", "phi4"):
        reference = Reference(ROOT / "share/tiny", "clip", family)
        reference.language.set_attn_implementation("eager")
        of_text, of_answers = text_scores(reference, text), answer_scores(reference)
        for part in (reference.language, reference.projector):
            for tensor in part.state_dict().values():
                tensor.copy_(tensor.bfloat16().float())
        rounded = answer_scores(reference)
        divergence = (of_answers[0].exp() * (of_answers[0] - rounded[0])).sum(-1)
        results.append({
            "family": family, "context": CONTEXT, "text_counted": len(of_text[1]), "text_perplexity": perplexity(of_text),
            "answers_counted": len(of_answers[1]), "answers_perplexity": perplexity(of_answers),
            "bf16_divergence": divergence.mean().item(), "bf16_divergence_median": divergence.median().item(),
            "bf16_change": perplexity(rounded) / perplexity(of_answers) - 1})
        print(results[-1])
    (SAMPLE / "reference.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
