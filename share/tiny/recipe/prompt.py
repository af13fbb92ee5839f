"""The conversations of the three families, the tokenizers that serve them, and LLaVA's splice rule."""

import json
from dataclasses import dataclass

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SYSTEM = ("You are a helpful language and vision assistant. You are able to understand the visual content that the "
          "user provides, and assist the user with a variety of tasks using natural language.")
IMAGE, IMAGE_INDEX, IGNORE_INDEX = "<image>", -200, -100
VOCABULARY = 1000  # at most
LLAMA_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
               r"|\s*[\r\n]+|\s+(?!\S)|\s+")
PHI_SPLIT = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
             r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
             r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
GEMMA_SPLIT = r"▁?\p{L}+|▁?\p{N}|▁+|\n+|[^\s\p{L}\p{N}▁]"  # for training only: no merge joins words
LLAMA_CHAT = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}")
GEMMA_CHAT = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}")
PHI_CHAT = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}")


@dataclass(frozen=True)
class Template:
    """A family's conversation: what stands before the first question, between question and answer, at an answer's
    end (learned, and the stop), and before a further question; the special tokens in the order of their ids."""

    name: str
    bos: str
    before: str
    middle: str
    end: str
    again: str
    eos: tuple
    pad: str
    chat: str


def llama_turn(role):
    """LLaMA's header of a turn."""
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n"


LLAMA = Template("llama_3_1", "<|begin_of_text|>", f"{llama_turn('system')}{SYSTEM}<|eot_id|>{llama_turn('user')}",
                 f"<|eot_id|>{llama_turn('assistant')}", "<|eot_id|>", llama_turn("user"),
                 ("<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"), "<|finetune_right_pad_id|>", LLAMA_CHAT)
GEMMA = Template("gemma_2", "<bos>", "<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n", "<end_of_turn>",
                 "\n<start_of_turn>user\n", ("<eos>", "<end_of_turn>"), "<pad>", GEMMA_CHAT)
PHI = Template("phi_4", None, "<|system|>You are a helpful AI assistant.<|end|><|user|>", "<|end|><|assistant|>",
               "<|end|>", "<|user|>", ("<|end|>", "<|endoftext|>"), "<|endoftext|>", PHI_CHAT)


def splice_ids(tokenizer, template, question):
    """Ids of a one-question conversation, -200 for the picture: chunks are tokenised apart and keep one BOS in all."""
    chunks = [template.before, f"\n{question}{template.middle}"]
    own = int(template.bos is not None)  # what the tokenizer adds to each chunk
    first, second = (tokenizer.encode(chunk).ids for chunk in chunks)
    return first + [IMAGE_INDEX] + second[own:]


# --- tokenizers ---------------------------------------------------------------------------------


def byte_tokenizer(lines, split, behaviour, invert, specials, **flags):
    """A byte-level BPE whose merges make one token of every word of `lines`; `specials`: AddedTokens behind it."""
    tokenizer = Tokenizer(models.BPE(**flags))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(split), behaviour, invert=invert),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(specials), initial_alphabet=alphabet, show_progress=False))
    tokenizer.add_special_tokens(specials)
    return tokenizer


def llama_tokenizer(lines):
    """In the structure of LLaMA-3.1's tokenizer.json; reserved tokens are left out."""
    names = ("<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>", "<|start_header_id|>",
             "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>")
    tokenizer = byte_tokenizer(lines, LLAMA_SPLIT, "isolated", False,
                               [AddedToken(s, normalized=False, special=True) for s in names], ignore_merges=True)
    bos = names[0]
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1",
                                      special_tokens=[(bos, tokenizer.token_to_id(bos))])])
    return tokenizer


def phi_tokenizer(lines):
    """In the structure of Phi-4-mini's: chat tokens swallow the white space behind them, nothing is put in front."""
    chat = ("<|assistant|>", "<|end|>", "<|user|>", "<|system|>")
    specials = [AddedToken("<|endoftext|>", normalized=False, special=True)]
    specials += [AddedToken(s, normalized=False, special=True, rstrip=True) for s in chat]
    tokenizer = byte_tokenizer(lines, PHI_SPLIT, "removed", True, specials)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def gemma_tokenizer(lines):
    """In the structure of Gemma-2's: pieces with U+2581 for a space, bytes for what has no piece, newlines added."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split(Regex(GEMMA_SPLIT), "isolated")
    specials = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
    runs = ("\n", "\n\n", "\n\n\n", "\n\n\n\n")
    letters = [chr(c) for c in range(33, 127)] + ["▁"]
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    trained.train_from_iterator([line for text in lines for line in text.split("\n")], trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(specials) - len(runs) - len(pieces), initial_alphabet=letters, show_progress=False))
    merges = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    learned = sorted(trained.get_vocab(), key=trained.token_to_id)
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys([*specials, *runs, *pieces, *learned]))}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in specials])
    tokenizer.add_tokens([AddedToken(s, normalized=False, special=False) for s in runs])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", vocabulary["<bos>"])])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def write_tokenizer(tokenizer, template, folder, context):
    """The three tokenizer files of a checkpoint folder."""
    tokenizer.save(str(folder / "tokenizer.json"))
    document = json.loads((folder / "tokenizer.json").read_text())
    entries = {str(entry.pop("id")): entry for entry in document["added_tokens"]}
    names = {"bos_token": template.bos or template.pad, "eos_token": template.eos[-1], "pad_token": template.pad}
    write_json(folder / "tokenizer_config.json", {
        "added_tokens_decoder": entries, **names, "chat_template": template.chat,
        "clean_up_tokenization_spaces": False, "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": context, "padding_side": "right", "tokenizer_class": "PreTrainedTokenizerFast"})
    write_json(folder / "special_tokens_map.json", {
        name: {"content": text, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
        for name, text in names.items()})


def write_json(path, value):
    """`value` as indented JSON with a final newline."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
