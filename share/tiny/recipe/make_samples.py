"""Draws share/images, and writes its questions.tsv and the reference's own runs over it, share/tiny/reference.json."""

import argparse
import json
from pathlib import Path

import torch
from PIL import Image

from model import Reference
from scenes import Scene, Thing, Word, render

SAMPLES = {
    "red-ball.png": (336, Scene((246, 246, 242), (1.0, 1.0), [
        Thing("blue", "star", "small", 2, 0.215, (-0.05, 0.05), 0.1), Thing("red", "ball", "big", 3, 0.32, (0.06, 0.02))]),
        {"What colour is the ball?": "Red", "How many objects are there?": "2",
         "Describe this image.": "A blue star and a red ball."}),
    "shapes.png": (400, Scene((232, 240, 246), (1.0, 0.75), [
        Thing("yellow", "heart", "big", 0, 0.32, (0.05, 0.05)), Thing("green", "square", "small", 5, 0.21, (0.0, -0.05), 0.08),
        Thing("purple", "triangle", "big", 7, 0.31, (-0.04, 0.0))]),
        {"How many objects are there?": "3", "Which shape is purple?": "Triangle",
         "How many shapes are in the picture?": "3"}),
    "stop.png": (400, Scene((250, 246, 236), (1.0, 0.8), [Thing("black", "cross", "small", 8, 0.21, (-0.06, 0.0))],
                            Word("STOP", "red", 1, 0.8)),
        {"What word is written?": "STOP", "What shape is the black object?": "Cross", "Is there a black cross?": "Yes"}),
}
# The first has to answer all of it rightly; the others are there so that every tower and family is, right or wrong.
PAIRS = {"tiny": ("clip", "llama"), "tiny-siglip-phi4": ("siglip", "phi4"), "tiny-siglip2-gemma2": ("siglip2", "gemma2"),
         "tiny-dinov2-phi4": ("dinov2", "phi4")}


def main():
    """Draws, asks, and refuses to write a wrong answer of the first pair."""
    tiny = Path(__file__).resolve().parent.parent
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=Path, default=tiny.parent / "images")
    options.add_argument("--root", type=Path, default=tiny, help="folder with the exported folders")
    options = options.parse_args()
    torch.set_num_threads(1)
    options.images.mkdir(parents=True, exist_ok=True)
    lines, runs = [], []
    for preset, pair in PAIRS.items():
        reference = Reference(options.root, *pair)
        for name, (longer, scene, expectations) in SAMPLES.items():
            if preset == "tiny":
                render(scene, longer, supersample=4).save(options.images / name, optimize=True)
            visual = reference.visual_tokens(Image.open(options.images / name))
            for question, expected in expectations.items():
                prompt, made, answer = reference.answer(visual, question)
                if answer != expected:
                    print(f"{preset}: {name}: {question} {answer}, not {expected}")
                    if preset == "tiny":
                        raise SystemExit(1)
                if preset == "tiny":
                    lines.append(f"{name}\t{question}\t{expected}\n")
                runs.append({"preset": preset, "image": f"../images/{name}", "question": question, "input_ids": prompt,
                             "generated_ids": made, "answer": answer})
    (options.images / "questions.tsv").write_text("".join(lines))
    rows = ",\n".join("  " + json.dumps(run) for run in runs)
    (options.root / "reference.json").write_text(f"[\n{rows}\n]\n")


if __name__ == "__main__":
    main()
