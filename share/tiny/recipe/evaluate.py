"""Measures the exported folders in float32 on held-out scenes and on blank pictures, and writes RESULTS.json."""

import argparse
import json
from collections import Counter
from pathlib import Path

import torch
from PIL import Image

import scenes
from model import Reference
from prompt import write_json

BLANKS = {"blank_grey": (128, 128, 128), "blank_white": (255, 255, 255)}


def share(right, asked):
    """A share with four digits."""
    return round(right / asked, 4)


def measure(reference, count):
    """Exact-match shares over the first `count` held-out scenes, in all and by question family."""
    blanks = {name: reference.visual_tokens(Image.new("RGB", (224, 224), colour)) for name, colour in BLANKS.items()}
    asked, right, mistakes = Counter(), {name: Counter() for name in ("picture", *BLANKS)}, []
    for seed, picture, rows in scenes.held_out(count):
        visuals = {"picture": reference.visual_tokens(picture), **blanks}
        for family, question, expected in rows:
            asked[family] += 1
            for name, visual in visuals.items():
                answer = reference.answer(visual, question)[2]
                right[name][family] += answer == expected
                if name == "picture" and answer != expected:
                    mistakes.append({"seed": seed, "question": question, "expected": expected, "answer": answer})
    total = asked.total()
    return {"scenes": count, "questions": total,
            "exact_match": share(right["picture"].total(), total),
            **{name: share(right[name].total(), total) for name in BLANKS},
            "families": {family: {"questions": asked[family], "exact_match": share(right["picture"][family], asked[family]),
                                  **{name: share(right[name][family], asked[family]) for name in BLANKS}}
                         for family in sorted(asked)}}, mistakes


def main():
    """Evaluates, adds sizes and training time, writes the results."""
    here = Path(__file__).resolve().parent
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--root", type=Path, default=here.parent, help="folder with clip/ and llava/")
    options.add_argument("--work", type=Path, default=here / "work", help="train.py's, for the training time")
    options.add_argument("--scenes", type=int, default=500)
    options.add_argument("--results", type=Path, default=here / "RESULTS.json")
    options.add_argument("--threads", type=int, default=1)
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    reference = Reference(options.root)
    held_out, mistakes = measure(reference, options.scenes)
    parts = {"tower": reference.tower, "projector": reference.projector, "language": reference.language}
    seconds = json.loads((options.work / "cpu.json").read_text())
    files = [path for part in ("clip", "llava") for path in (options.root / part).iterdir()]
    write_json(options.results, {
        "held_out": held_out,
        "training_cpu_minutes": {**{stage: round(s / 60, 2) for stage, s in seconds.items()},
                                 "total": round(sum(seconds.values()) / 60, 2)},
        "parameters": {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
        "bytes": sum(path.stat().st_size for path in files)})
    print(json.dumps(held_out, indent=2))
    for mistake in mistakes:
        print(mistake)


if __name__ == "__main__":
    main()
