"""Writes held-out scenes as PNG files and their questions as questions.jsonl, for a program under test."""

import argparse
import json
from pathlib import Path

import scenes


def main():
    """Writes --scenes pictures and one JSON line a question into the folder."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--scenes", type=int, default=500)
    options.add_argument("--questions", type=int, default=2, help="about each scene")
    options = options.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with (options.folder / "questions.jsonl").open("w") as lines:
        for seed, picture, rows in scenes.held_out(options.scenes, options.questions):
            name = f"{seed}.png"
            picture.save(options.folder / name)
            for family, question, answer in rows:
                lines.write(json.dumps({"image": name, "question": question, "answer": answer, "family": family}) + "\n")


if __name__ == "__main__":
    main()
