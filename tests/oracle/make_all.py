"""Writes the references under tests/parity/data: make_all.py [--only files|tokens|pixels|models]."""

import argparse
import time

import adapters
import clip
import dinov2
import e2e
import gemma2
import gguf_files
import gguf_quantised
import interpolate
import llama
import naflex
import pairs
import phi4
import pixel_shuffle
import pixels
import projector
import s2
import siglip
import siglip2
import sentencepiece_models
import tokens
import torch_files

# In this order: the pictures and tokenizers of the first two are inputs of the last.
STEPS = {
    "files": [torch_files.main, adapters.main],
    "tokens": [tokens.main, sentencepiece_models.main],
    "pixels": [pixels.main],
    "models": [clip.main, dinov2.main, siglip.main, siglip2.main, projector.main, pixel_shuffle.main, interpolate.main,
               llama.main, gemma2.main, phi4.main, e2e.main, naflex.main, s2.main, pairs.main,
               gguf_files.main, gguf_quantised.main],
}


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
