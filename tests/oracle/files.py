"""Where things are, and the ways in which every script writes its files."""

import hashlib
import json
import lzma
import pathlib

import numpy as np
from safetensors.numpy import save

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "parity" / "data"
REAL_TOKENIZERS = ROOT.parent / "shared" / "tokenizers"
REAL_NAMES = ("llama3_1", "cl100k", "o200k", "gemma", "llama2")


def write_bytes(path, data):
    """Writes data to path, making the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write_json(path, value, indent=None):
    """Writes value as JSON in UTF-8, characters outside ASCII as they are."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    write_bytes(path, (text + "\n").encode("utf-8"))


def write_arrays(path, arrays):
    """Writes a dict of numpy arrays as safetensors, xz-compressed if path says so."""
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data = save(arrays)
    if path.suffix == ".xz":
        data = lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
    write_bytes(path, data)


def concatenate(sequences):
    """Packs lists of ids as (i32 array of all ids, i64 array of n+1 offsets)."""
    offsets = np.zeros(len(sequences) + 1, np.int64)
    np.cumsum([len(s) for s in sequences], out=offsets[1:])
    ids = np.array([i for s in sequences for i in s], np.int32)
    return ids, offsets


def sha256(array):
    """SHA-256 of an array's bytes, little-endian in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
