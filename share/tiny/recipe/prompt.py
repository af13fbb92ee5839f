"""The llama_3_1 conversation, the tokenizer that serves it, and LLaVA's splice rule."""

import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SYSTEM = ("You are a helpful language and vision assistant. You are able to understand the visual content that the "
          "user provides, and assist the user with a variety of tasks using natural language.")
IMAGE, IMAGE_INDEX, IGNORE_INDEX = "<image>", -200, -100
# Order of the real LLaMA-3.1 tokenizer; reserved tokens left out.
SPECIALS = ("<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>", "<|start_header_id|>",
            "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>")
CHAT_TEMPLATE = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}")
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def turn(role, text):
    """One closed turn."""
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>"


def open_turn(role):
    """The header a reply follows."""
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n"


def conversation(question):
    """The text of a one-question conversation about a picture; <|begin_of_text|> is the tokenizer's to add."""
    return turn("system", SYSTEM) + turn("user", f"{IMAGE}\n{question}") + open_turn("assistant")


def splice_ids(tokenizer, text):
    """Ids of `text` with -200 for <image>: chunks are tokenised apart and keep one <|begin_of_text|> in all."""
    ids = [tokenizer.token_to_id(SPECIALS[0])]
    for index, chunk in enumerate(text.split(IMAGE)):
        ids += [IMAGE_INDEX] * (index > 0) + tokenizer.encode(chunk).ids[1:]
    return ids


def build_tokenizer(lines):
    """A byte-level BPE whose merges make one token of every word of `lines`, in the structure of LLaMA-3.1's tokenizer.json."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=1000 - len(SPECIALS), initial_alphabet=alphabet, show_progress=False))
    tokenizer.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in SPECIALS])
    bos = SPECIALS[0]
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1",
                                      special_tokens=[(bos, tokenizer.token_to_id(bos))])])
    return tokenizer


def write_tokenizer(tokenizer, folder, context):
    """The three tokenizer files of a checkpoint folder."""
    tokenizer.save(str(folder / "tokenizer.json"))
    bos, pad, eot = SPECIALS[0], SPECIALS[2], SPECIALS[6]
    entries = {str(tokenizer.token_to_id(s)): {
        "content": s, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
        for s in SPECIALS}
    write_json(folder / "tokenizer_config.json", {
        "added_tokens_decoder": entries, "bos_token": bos, "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": True, "eos_token": eot, "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": context, "pad_token": pad, "padding_side": "right",
        "tokenizer_class": "PreTrainedTokenizerFast"})
    write_json(folder / "special_tokens_map.json", {
        name: {"content": text, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
        for name, text in (("bos_token", bos), ("eos_token", eot), ("pad_token", pad))})


def write_json(path, value):
    """`value` as indented JSON with a final newline."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
