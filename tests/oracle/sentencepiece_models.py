"""Writes tokens/sentencepiece/: small SentencePiece models, ids and texts by the sentencepiece package, and the ids of
whole folders by transformers' slow tokenizers."""

import collections
import io
import lzma
import random
import struct

import sentencepiece
from transformers import GemmaTokenizer, LlamaTokenizer

from files import DATA, concatenate, write_arrays, write_bytes, write_json
from small_tokenizers import corpus
from text_samples import PROMPTS, all_strings

OUT = DATA / "tokens" / "sentencepiece"
DECODED = 300
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)

GEMMA_SYMBOLS = ["<start_of_turn>", "<end_of_turn>", "\n\n", "\n\n\n", "▁▁", "▁▁▁▁", "<table>", "<h1>", "</h1>", "</s>"]
LLAMA = {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity", "split_digits": True,
         "remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True}
RULES = [("41", "61"), ("C9", "65 301"), ("3C 3C", "AB"), ("3C 3C 3C", "2039 2039"), ("9", "20"), ("200B", ""),
         ("FF21", "41"), ("3000", "20"), ("BD", "31 2044 32"), ("1F600", "3A 29")]

# Every switch of normalizer and model is on in one and off in another.
MODELS = {
    "llama2": LLAMA | {"vocab_size": 900, "character_coverage": 0.9995},
    "gemma": LLAMA | {"vocab_size": 900, "add_dummy_prefix": False, "user_defined_symbols": GEMMA_SYMBOLS, "pad_id": 0,
                      "eos_id": 1, "bos_id": 2, "unk_id": 3, "bos_piece": "<bos>", "eos_piece": "<eos>"},
    "rules": {"model_type": "bpe", "vocab_size": 600, "user_defined_symbols": ["ing", " the ", "<sep>"],
              "control_symbols": ["<ctl>"], "character_coverage": 0.99},
    "unigram": {"model_type": "unigram", "vocab_size": 800, "normalization_rule_name": "nmt_nfkc",
                "user_defined_symbols": ["<image>", "ation", "  "], "character_coverage": 0.999},
    "unigram_bytes": LLAMA | {"model_type": "unigram", "vocab_size": 900, "treat_whitespace_as_suffix": True},
    "unescaped": {"model_type": "unigram", "vocab_size": 700, "normalization_rule_name": "nfkc_cf"},
}


def varint(value):
    """The number as protocol buffers write it."""
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def read_varint(data, at):
    """The number at an offset, and the offset behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    """A message as a list of (number, wire, value)."""
    at, found = 0, []
    while at < len(data):
        tag, at = read_varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = read_varint(data, at)
        else:
            size, at = read_varint(data, at) if wire == 2 else (8 if wire == 1 else 4, at)
            value, at = data[at:at + size], at + size
        found.append((tag >> 3, wire, value))
    return found


def message(found):
    """The bytes of such a list."""
    out = b""
    for number, wire, value in found:
        out += varint(number << 3 | wire) + (varint(value) if wire == 0 else
                                             varint(len(value)) + value if wire == 2 else value)
    return out


def with_flag(model, spec, number, value):
    """The model with one number of its trainer_spec (2) or normalizer_spec (3) set."""
    parts = [(n, w, message([f for f in fields(v) if f[0] != number] + [(number, 0, value)]) if n == spec else v)
             for n, w, v in fields(model)]
    return message(parts)


def with_unused(model, every):
    """The model with each so-many-th normal piece unused, as a restricted vocabulary has it."""
    parts, count = [], 0
    for number, wire, value in fields(model):
        if number == 1:
            piece = fields(value)
            kind = next((v for n, _, v in piece if n == 3), NORMAL)
            text = next(v for n, _, v in piece if n == 1).decode()
            count += kind == NORMAL and len(text) > 1
            if kind == NORMAL and len(text) > 1 and count % every == 0:
                value = message([f for f in piece if f[0] != 3] + [(3, 0, UNUSED)])
        parts.append((number, wire, value))
    return message(parts)


def build(pieces, prefix, model_type=2):
    """A model with bytes by hand from (text, score, kind): BPE (2) or unigram (1)."""
    parts = [(1, 2, message([(1, 2, t.encode()), (2, 5, struct.pack("<f", s)), (3, 0, k)])) for t, s, k in pieces]
    parts += [(2, 2, message([(3, 0, model_type), (35, 0, 1)])), (3, 2, message([(3, 0, int(prefix)), (4, 0, 0), (5, 0, 1)]))]
    return message(parts)


def by_hand(model_type):
    """What training never gives: pieces of equal score, and user-defined ones that others overlap."""
    counts = collections.Counter()
    for text in corpus():
        text = "▁" + text.replace(" ", "▁")
        for size in (1, 2, 3, 4):
            counts.update(text[i:i + size] for i in range(len(text) - size + 1))
    user = ["e", "ti", "the", "▁a", "▁▁"]
    texts = [t for t, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:900] if t not in user]
    pieces = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL)]
    pieces += [("<0x%02X>" % byte, 0.0, BYTE) for byte in range(256)] + [(t, 0.0, USER_DEFINED) for t in user]
    return build(pieces + [(t, -1.0 - index % 5 * 0.5, NORMAL) for index, t in enumerate(texts)], True, model_type)


def train(name, options):
    """The bytes of a model."""
    out = io.BytesIO()
    options = dict(options)
    if name == "rules":
        path = OUT.parent / "rules.tsv"
        path.write_text("".join("%s\t%s\n" % rule for rule in RULES))
        options["normalization_rule_tsv"] = str(path)
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus()), model_writer=out, num_threads=1,
                                             minloglevel=2, hard_vocab_limit=False, **options)
    if name == "rules":
        path.unlink()
    model = out.getvalue()
    if name == "rules":
        model = with_unused(model, 3)
    if name == "unescaped":
        model = with_flag(model, 3, 5, 0)
    return model


def decode_sequences(processor, encoded, rng):
    """Id sequences: parts of encodings, random ids, and ids of bytes, control and unknown pieces."""
    wide = [ids for ids in encoded if len(ids) > 3]
    size, sequences = processor.get_piece_size(), []
    for k in range(DECODED):
        if k % 3 == 0:
            ids = rng.choice(wide)
            start = rng.randrange(len(ids))
            sequence = list(ids[start:start + rng.randint(1, 24)])
        else:
            sequence = [rng.randrange(size if k % 3 == 1 else 300) for _ in range(rng.randint(1, 12))]
        sequences.append(sequence)
    return sequences


def reference(model, strings):
    """Arrays and texts of a model over all strings."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    plain = processor.encode(strings)
    sequences = decode_sequences(processor, plain, random.Random(11))
    arrays = {}
    arrays["ids"], arrays["offsets"] = concatenate(plain)
    arrays["decode_ids"], arrays["decode_offsets"] = concatenate(sequences)
    return arrays, {"keep": [processor.decode(s) for s in sequences]}


def folder_ids(kind, folder, config, strings):
    """Ids of a whole folder by the slow tokenizer; `legacy` false without protobuf's Python package."""
    added = {"added_tokens_decoder": config["added_tokens_decoder"]} if "added_tokens_decoder" in config else {}
    tokenizer = kind.from_pretrained(folder, legacy=True, **added)
    if config.get("legacy") is False:
        model = with_flag((folder / "tokenizer.model").read_bytes(), 3, 3, 0)
        tokenizer.sp_model = sentencepiece.SentencePieceProcessor(model_proto=model)
        tokenizer.legacy = False
    return [tokenizer.encode(s) for s in strings]


def entry(text, special=True, **flags):
    """A member of added_tokens_decoder."""
    return {"content": text, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
            "special": special} | flags


def write_folders(models, strings):
    """Folders with a tokenizer.model and no tokenizer.json."""
    specials = {str(i): entry(t) for i, t in enumerate(("<unk>", "<s>", "</s>"))}
    size = sentencepiece.SentencePieceProcessor(model_proto=models["llama2"]).get_piece_size()
    more = {str(size): entry("<image>"), str(size + 1): entry("<pad>", lstrip=True, rstrip=True),
            str(size + 2): entry("word", special=False, single_word=True)}
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    gemma = {str(i): entry(t) for i, t in enumerate(("<pad>", "<eos>", "<bos>", "<unk>"))}
    gemma |= {str(i + 4): entry(t, special=i < 2) for i, t in enumerate(GEMMA_SYMBOLS)}
    cases = {
        "folder_llama2": (LlamaTokenizer, "llama2", names | {"added_tokens_decoder": specials | more,
                                                             "tokenizer_class": "LlamaTokenizer"}),
        "folder_once": (LlamaTokenizer, "llama2", names | {"added_tokens_decoder": specials, "legacy": False,
                                                           "add_eos_token": True, "tokenizer_class": "LlamaTokenizer"}),
        "folder_gemma": (GemmaTokenizer, "gemma", {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>",
                                                   "pad_token": "<pad>", "added_tokens_decoder": gemma,
                                                   "tokenizer_class": "GemmaTokenizer"}),
    }
    for name, (kind, model, config) in cases.items():
        folder = OUT / name
        write_bytes(folder / "tokenizer.model", models[model])
        write_json(folder / "tokenizer_config.json", config, indent=1)
        arrays = {}
        arrays["ids"], arrays["offsets"] = concatenate(folder_ids(kind, folder, config, strings))
        write_arrays(folder / "ids.safetensors.xz", arrays)


def main():
    """Writes everything under tokens/sentencepiece."""
    strings = all_strings()
    models = {name: train(name, options) for name, options in MODELS.items()}
    models |= {"hand_bpe": by_hand(2), "hand_unigram": by_hand(1)}
    for name in models:
        arrays, texts = reference(models[name], strings)
        write_bytes(OUT / name / "tokenizer.model.xz", lzma.compress(models[name], preset=9 | lzma.PRESET_EXTREME))
        write_arrays(OUT / name / "ids.safetensors.xz", arrays)
        write_json(OUT / name / "decode.json", texts)
    lines = list(dict.fromkeys(PROMPTS + strings[:300]))
    write_json(OUT / "folder_strings.json", lines)
    write_folders(models, lines)


if __name__ == "__main__":
    main()
