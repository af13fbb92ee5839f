"""Writes tokens/: strings, ids by every tokenizer, decoding references, chat prompts."""

import json
import lzma
import random

from tokenizers import Tokenizer

from files import DATA, REAL_NAMES, REAL_TOKENIZERS, concatenate, write_arrays, write_bytes, write_json
from prompts import all_prompts
from small_tokenizers import all_small
from text_samples import all_strings

OUT = DATA / "tokens"
WITH_SPECIALS = 200
DECODED = 300


def decode_sequences(tokenizer, encoded, rng):
    """Id sequences: whole encodings, pieces cut out of them, random ids, and special tokens among these."""
    by_id = sorted(set(tokenizer.get_vocab(with_added_tokens=True).values()))
    specials = sorted(tokenizer.get_added_tokens_decoder())[:40]
    wide = [ids for ids in encoded if len(ids) > 3]
    sequences = []
    for k in range(DECODED):
        if k % 5 < 2:
            ids = rng.choice(wide)
            start = rng.randrange(len(ids))
            sequence = list(ids[start:start + rng.randint(1, 24)])
        elif k % 5 < 4:
            sequence = [rng.choice(by_id) for _ in range(rng.randint(1, 12))]
        else:
            sequence = [rng.choice(by_id[:600]) for _ in range(rng.randint(1, 10))]
        if k % 3 == 0:
            for _ in range(rng.randint(1, 3)):
                sequence.insert(rng.randint(0, len(sequence)), rng.choice(specials))
        sequences.append(sequence)
    return sequences


def reference(tokenizer, strings):
    """Arrays and decoded texts of one tokenizer over all strings."""
    plain = [e.ids for e in tokenizer.encode_batch(strings, add_special_tokens=False)]
    special = [e.ids for e in tokenizer.encode_batch(strings[:WITH_SPECIALS], add_special_tokens=True)]
    sequences = decode_sequences(tokenizer, plain, random.Random(7))
    arrays = {}
    arrays["ids"], arrays["offsets"] = concatenate(plain)
    arrays["ids_special"], arrays["offsets_special"] = concatenate(special)
    arrays["decode_ids"], arrays["decode_offsets"] = concatenate(sequences)
    texts = {name: [tokenizer.decode(s, skip_special_tokens=skip) for s in sequences]
             for name, skip in (("keep", False), ("skip", True))}
    return arrays, texts


def main():
    """Writes everything under tokens/."""
    strings = all_strings()
    write_json(OUT / "strings.json", strings)
    tokenizers = {}
    for name, value in all_small().items():
        folder = OUT / "small" / name
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        write_bytes(folder / "tokenizer.json", (text + "\n").encode())
        tokenizers["small/" + name] = tokenizer = Tokenizer.from_str(text)
        arrays, texts = reference(tokenizer, strings)
        write_arrays(folder / "ids.safetensors.xz", arrays)
        write_json(folder / "decode.json", texts)
    for name in REAL_NAMES:
        packed = REAL_TOKENIZERS / name / "tokenizer.json.xz"
        if not packed.exists():
            print("tokens: no", packed, "so its references are left as they are")
            continue
        tokenizers[name] = tokenizer = Tokenizer.from_str(lzma.open(packed, "rt", encoding="utf-8").read())
        arrays, texts = reference(tokenizer, strings)
        write_arrays(OUT / (name + ".safetensors.xz"), arrays)
        write_json(OUT / (name + ".decode.json"), texts)
    write_json(OUT / "prompts.json", all_prompts(tokenizers))


if __name__ == "__main__":
    main()
