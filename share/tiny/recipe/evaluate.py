"""Measures pairs of the exported folders in float32 on held-out scenes and on blank pictures, into RESULTS.json."""

import argparse
import json
from collections import Counter
from pathlib import Path

import torch
from PIL import Image

import scenes
from languages import FAMILIES
from model import Reference
from prompt import write_json
from towers import TOWERS

BLANKS = {"blank_grey": (128, 128, 128), "blank_white": (255, 255, 255)}


def share(right, asked):
    """A share with four digits."""
    return round(right / asked, 4)


def measure(reference, count):
    """Exact-match shares over the first `count` held-out scenes, in all and by question family; the mistakes."""
    blanks = {name: reference.visual_tokens(Image.new("RGB", (224, 224), colour)) for name, colour in BLANKS.items()}
    asked, right, mistakes, known = Counter(), {name: Counter() for name in ("picture", *BLANKS)}, [], {}
    for seed, picture, rows in scenes.held_out(count):
        visual = reference.visual_tokens(picture)
        for family, question, expected in rows:
            answer = reference.answer(visual, question)[2]
            asked[family] += 1
            right["picture"][family] += answer == expected
            if answer != expected:
                mistakes.append({"seed": seed, "question": question, "expected": expected, "answer": answer})
            for name, blank in blanks.items():
                if (name, question) not in known:
                    known[name, question] = reference.answer(blank, question)[2]
                right[name][family] += known[name, question] == expected
    total = asked.total()
    return {"questions": total, "exact_match": share(right["picture"].total(), total),
            **{name: share(right[name].total(), total) for name in BLANKS},
            "families": {family: share(right["picture"][family], asked[family]) for family in sorted(asked)}}, mistakes


def main():
    """Evaluates, adds sizes and training time, writes the results."""
    here = Path(__file__).resolve().parent
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--root", type=Path, default=here.parent, help="folder with the exported folders")
    options.add_argument("--work", type=Path, default=here / "work", help="train.py's, for the training time")
    options.add_argument("--scenes", type=int, default=500)
    options.add_argument("--results", type=Path, default=here / "RESULTS.json")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("pairs", nargs="*", help="TOWER-FAMILY; all of them without one. Others' results are kept")
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    results = json.loads(options.results.read_text()) if options.results.exists() else {}
    pairs = results.get("pairs", {})
    for pair in options.pairs or [f"{tower}-{family}" for family in FAMILIES for tower in TOWERS]:
        reference = Reference(options.root, *pair.split("-"))
        measured, mistakes = measure(reference, options.scenes)
        pairs[pair] = {"scenes": options.scenes, **measured}
        print(pair, json.dumps(pairs[pair]), *mistakes, sep="\n", flush=True)
    minutes = {}
    for path in sorted(options.work.glob("cpu-*.json")):
        minutes.update({stage: round(s / 60, 2) for stage, s in json.loads(path.read_text()).items()})
    folders = [*TOWERS, *(family.folder for family in FAMILIES.values()), "projectors"]
    files = {name: sum(p.stat().st_size for p in (options.root / name).rglob("*") if p.is_file()) for name in folders}
    write_json(options.results, {"pairs": pairs, "training_cpu_minutes": {**minutes, "total": round(sum(minutes.values()), 2)},
                                 "bytes": {**files, "total": sum(files.values())}})


if __name__ == "__main__":
    main()
