"""Writes the references under tests/parity/data: make_all.py [--only tokens|pixels|models]."""

import argparse
import time

import clip
import e2e
import llama
import pixels
import projector
import tokens

# In this order: the pictures and tokenizers of the first two are inputs of the last.
STEPS = {"tokens": [tokens.main], "pixels": [pixels.main], "models": [clip.main, projector.main, llama.main, e2e.main]}


def main():
    """Runs one step or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=STEPS, help="this step alone")
    only = parser.parse_args().only
    for name, parts in STEPS.items():
        if only in (None, name):
            start = time.monotonic()
            for part in parts:
                part()
            print("%s: done in %.0f s" % (name, time.monotonic() - start))


if __name__ == "__main__":
    main()
