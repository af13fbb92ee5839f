"""Small tokenizers with the structure of the real ones, trained on text at hand.

Everything but the vocabulary (normalizer, pre-tokenizer, post-processor, decoder, model
flags, flags of the added tokens) is as in the file that a small one stands for, so the
tests that use them need nothing from outside the tree.
"""

import ast
import collections
import json
import pathlib
import sysconfig

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from text_samples import ADDED, CODE, PROSE, PROMPTS

# Files of the standard library, whose docstrings are the text to train on.
SOURCES = ("argparse", "calendar", "collections/__init__", "csv", "datetime", "_pydecimal", "difflib", "doctest",
           "email/message", "fractions", "functools", "heapq", "inspect", "json/__init__", "locale", "logging/__init__",
           "optparse", "os", "pathlib", "pprint", "random", "re/__init__", "shutil", "statistics", "string", "subprocess",
           "tarfile", "textwrap", "threading", "turtle", "typing", "unittest/case", "zipfile")

CL100K_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
                r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
O200K_SPLIT = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
               r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
               r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BYTE_DECODER = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
TO_SPACE = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
FROM_SPACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
STRIP_ONE = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
BYTES = ["<0x%02X>" % byte for byte in range(256)]


def corpus():
    """Docstrings of the standard library's sources, then this folder's own samples repeated."""
    texts = []
    library = pathlib.Path(sysconfig.get_path("stdlib"))
    for name in SOURCES:
        source = (library / (name + ".py")).read_text(encoding="utf-8")
        texts += [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(source))
                  if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))]
    return list(dict.fromkeys(texts)) + (PROSE + CODE + PROMPTS) * 4


def train(size, pre_tokenizer, alphabet, normalizer=None, **limits):
    """Trains BPE; gives the alphabet in order and the list of merges in order."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False, **limits)
    tokenizer.train_from_iterator(corpus(), trainer)
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m)
              for m in json.loads(tokenizer.to_str())["model"]["merges"]]
    made = {a + b for a, b in merges}
    vocab = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    return [token for token, _ in vocab if token not in made], merges


def train_bytes(size, split):
    """Byte-level BPE over a split expression: 256 bytes, then the merges."""
    return train(size, pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(split), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]), pre_tokenizers.ByteLevel.alphabet())


def train_pieces(size):
    """SentencePiece-like BPE: spaces are U+2581; runs of it and of newlines are pieces too."""
    counts = collections.Counter("".join(corpus()).replace(" ", "▁"))
    alphabet = sorted(counts, key=lambda char: (-counts[char], char))[:220]
    return train(size, pre_tokenizers.Split(Regex("▁*[^▁\n]+|▁+|\n+"), "isolated"), alphabet,
                 normalizers.Replace(" ", "▁"), limit_alphabet=len(alphabet))


def every_split(vocab, tokens):
    """All the ways to merge a token from two others, as converted SentencePiece files list them."""
    merges = []
    for token in tokens:
        ways = [(token[:i], token[i:]) for i in range(1, len(token)) if token[:i] in vocab and token[i:] in vocab]
        merges += sorted(ways, key=lambda way: (vocab[way[0]], vocab[way[1]]))
    return merges


def number(tokens):
    """Token to id, in order; the first of two equal tokens counts."""
    return {token: index for index, token in enumerate(dict.fromkeys(tokens))}


def added(index, content, special=True, normalized=False, single_word=False, lstrip=False, rstrip=False):
    """One entry of added_tokens."""
    return {"id": index, "content": content, "single_word": single_word, "lstrip": lstrip, "rstrip": rstrip,
            "normalized": normalized, "special": special}


def template(before, after=()):
    """A TemplateProcessing of special tokens, (token, id) each, before and after the text."""
    def one(kind, name, type_id):
        return {kind: {"id": name, "type_id": type_id}}

    def sequence(letter, type_id):
        return ([one("SpecialToken", t, type_id) for t, _ in before] + [one("Sequence", letter, type_id)]
                + [one("SpecialToken", t, type_id) for t, _ in after])
    return {"type": "TemplateProcessing", "single": sequence("A", 0), "pair": sequence("A", 0) + sequence("B", 1),
            "special_tokens": {t: {"id": t, "ids": [i], "tokens": [t]} for t, i in [*before, *after]}}


def document(model, added_tokens, normalizer=None, pre_tokenizer=None, post_processor=None, decoder=None):
    """A tokenizer.json as an object, keys in the order that the tokenizers package writes."""
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added_tokens,
            "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": post_processor,
            "decoder": decoder, "model": model}


def bpe(vocab, merges, pairs=False, **flags):
    """The model object; merges as "a b" strings (older files) or as pairs (newer)."""
    base = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False}
    base.update(flags)
    return {**base, "vocab": vocab, "merges": [list(m) if pairs else " ".join(m) for m in merges]}


def byte_splitter(split, behavior, invert):
    """The pre-tokenizer of the byte-level files."""
    return {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": split}, "behavior": behavior, "invert": invert},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}


def llama3_like(letters, merges, unmergeable, added_tokens, bos):
    """LLaMA-3's structure: ignore_merges, every split a merge, specials outside the vocabulary."""
    tokens = letters + [a + b for a, b in merges] + unmergeable
    vocab = number(tokens)
    post = {"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        template([bos])]}
    return document(bpe(vocab, every_split(vocab, tokens[len(letters):len(letters) + len(merges)]), ignore_merges=True),
                    added_tokens, None, byte_splitter(CL100K_SPLIT, "Isolated", False), post, BYTE_DECODER)


def make_llama3_family():
    """llama3, deepseek (its added tokens) and added_bytes (every flag of added tokens)."""
    letters, merges = train_bytes(994, CL100K_SPLIT)
    unmergeable = ["ĠASSISTANT", "Describe", "Ġinternational", "ĠÐ½Ð°", "ä½ł", "Ġcolour"]
    base = len(number(letters + [a + b for a, b in merges] + unmergeable))
    names = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>",
             "<|reserved_special_token_2|>", "<|reserved_special_token_3|>", "<|start_header_id|>", "<|end_header_id|>",
             "<|reserved_special_token_4|>", "<|eot_id|>"]
    names += ["<|reserved_special_token_%d|>" % n for n in range(5, 19)]
    llama3 = llama3_like(letters, merges, unmergeable, [added(base + i, n) for i, n in enumerate(names)], (names[0], base))

    deep = [("<｜begin▁of▁sentence｜>", True), ("<｜end▁of▁sentence｜>", True), ("<｜User｜>", False),
            ("<｜Assistant｜>", False), ("<think>", False), ("</think>", False), ("<|EOT|>", True)]
    deepseek = llama3_like(letters, merges, unmergeable,
                           [added(base + i, n, special=s) for i, (n, s) in enumerate(deep)], (deep[0][0], base))

    flags = {"[LEFT]": {"lstrip": True}, "[RIGHT]": {"rstrip": True}, "[BOTH]": {"lstrip": True, "rstrip": True},
             "[WORD]": {"single_word": True, "rstrip": True}, "[NORM]": {"normalized": True, "special": False},
             "[NORM WORD]": {"normalized": True, "special": False, "single_word": True},
             "word": {"single_word": True, "special": False}, "words": {"special": False, "lstrip": True, "single_word": True},
             "café tok": {"normalized": True, "special": False}, "tok\u00e9n": {"normalized": False, "special": False},
             "##ab": {"normalized": True, "rstrip": True}}
    tokens = [added(base, "<s>")] + [added(base + 1 + i, text, **flags.get(text, {})) for i, text in enumerate(ADDED)]
    return {"llama3": llama3, "deepseek": deepseek,
            "added_bytes": llama3_like(letters, merges, unmergeable, tokens, ("<s>", base))}, flags


def make_cl100k():
    """cl100k: the split's matches kept and the rest removed, specials in the vocabulary after a gap."""
    letters, merges = train_bytes(1500, CL100K_SPLIT)
    vocab = number(letters + [a + b for a, b in merges])
    base = len(vocab)
    special = {"<|endoftext|>": base, "<|fim_prefix|>": base + 1, "<|fim_middle|>": base + 2,
               "<|fim_suffix|>": base + 3, "<|endofprompt|>": base + 19}
    return document(bpe({**vocab, **special}, merges, continuing_subword_prefix="", end_of_word_suffix=""),
                    [added(i, t) for t, i in special.items()], None, byte_splitter(CL100K_SPLIT, "Removed", True), None, BYTE_DECODER)


def make_o200k_family():
    """o200k, and phi4mini: the same with chat tokens that swallow the white space after them."""
    letters, merges = train_bytes(1300, O200K_SPLIT)
    vocab = number(letters + [a + b for a, b in merges])
    base = len(vocab)
    splitter = byte_splitter(O200K_SPLIT, "Removed", True)
    empty = {"continuing_subword_prefix": "", "end_of_word_suffix": ""}
    special = [added(base, "<|endoftext|>"), added(base + 18, "<|endofprompt|>")]
    chat = [added(base + 19 + i, text, rstrip=strip) for i, (text, strip) in enumerate(
        [("<|assistant|>", True), ("<|end|>", True), ("<|user|>", True), ("<|system|>", True), ("<|tool|>", False)])]
    return {"o200k": document(bpe(vocab, merges, **empty), special, None, splitter, None, BYTE_DECODER),
            "phi4mini": document(bpe(vocab, merges, pairs=True, ignore_merges=False, **empty), special + chat, None, splitter,
                                 {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
                                 BYTE_DECODER)}


def make_pieces_family(flags):
    """gemma, llama2, and what newer files of SentencePiece models look like."""
    letters, merges = train_pieces(1400)
    made = [a + b for a, b in merges]
    fallback = {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}
    back = [TO_SPACE, {"type": "ByteFallback"}, {"type": "Fuse"}]

    first = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<2mass>", "[@BOS@]"] + ["<unused%d>" % n for n in range(4)]
    first += ["<start_of_turn>", "<end_of_turn>"]
    runs = ["\n", "\n\n", "\n\n\n", "\n\n\n\n", "▁▁", "▁▁▁", "▁▁▁▁"]
    first += runs + ["<table>", "<h1>", "<code>",
              "</h1>", "</s>", "</code>"]
    is_special = {"<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"}
    vocab = number(first + BYTES + made + letters)
    gemma = document(bpe(vocab, dict.fromkeys(every_split(vocab, runs + made)), ignore_merges=False, **fallback),
                     [added(vocab[t], t, special=t in is_special) for t in first],
                     FROM_SPACE, None, template([("<bos>", 2)]), {"type": "Sequence", "decoders": back})

    vocab = number(["<unk>", "<s>", "</s>"] + BYTES + made + letters)
    splits = every_split(vocab, made)
    special = [added(i, t) for i, t in enumerate(["<unk>", "<s>", "</s>"])]
    prepend = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, FROM_SPACE]}
    strip = {"type": "Sequence", "decoders": back + [STRIP_ONE]}
    bos = template([("<s>", 1)])
    llama2 = document(bpe(vocab, splits, **fallback), special, prepend, None, bos, strip)
    tokens = special + [added(len(vocab) + i, t, **flags.get(t, {})) for i, t in enumerate(ADDED)]
    added_pieces = document(bpe(vocab, splits, **fallback), tokens, prepend, None, bos, strip)
    metaspace = document(bpe(vocab, splits, pairs=True, ignore_merges=False, **fallback), special, None,
                         {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}, bos, strip)

    vocab = number(["<unk>", "<s>", "</s>"] + made + letters)
    always = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    split_words = document(bpe(vocab, every_split(vocab, made), pairs=True, unk_token="<unk>", fuse_unk=True),
                           special, None, always, template([("<s>", 1)], [("</s>", 2)]), always)
    return {"gemma": gemma, "llama2": llama2, "added_pieces": added_pieces, "metaspace": metaspace,
            "metaspace_split": split_words}


def all_small():
    """Name to tokenizer.json object."""
    family, flags = make_llama3_family()
    return {**family, "cl100k": make_cl100k(), **make_o200k_family(), **make_pieces_family(flags)}
