"""Chat prompts by the rules of LLAVA_MORE.md, section 4, and their ids by section 3.

Written from the rules alone, as a check on the runtime's own templates. What prompt_compat = lmms_eval must give is in
lmms_prompts.py.
"""

import lmms_prompts

S1 = ("A chat between a curious user and an artificial intelligence assistant. "
      "The assistant gives helpful, detailed, and polite answers to the user's questions.")
S2 = ("You are a helpful language and vision assistant. You are able to understand the visual content that the "
      "user provides, and assist the user with a variety of tasks using natural language.")
PHI_SYSTEM = "You are a helpful AI assistant."
IMAGE = "<image>"
IMAGE_TOKEN = -200
SYSTEMS = {"llama_3_1": S2, "v1": S1, "phi_4": PHI_SYSTEM, "gemma_2": None, "plain": None, "llama_3_1_reasoning": S2}

# The tokenizers that know a template's special tokens, and the BOS that the template itself prints.
SPEAKERS = {"llama_3_1": (["llama3_1", "small/llama3"], "<|begin_of_text|>"), "v1": (["llama2", "small/llama2"], ""),
            "phi_4": (["small/phi4mini"], ""), "gemma_2": (["gemma", "small/gemma"], "<bos>"),
            "plain": (["llama3_1", "llama2", "gemma", "small/llama3", "small/llama2"], ""),
            "llama_3_1_reasoning": (["small/deepseek"], "<｜begin▁of▁sentence｜>")}

# Turns: what the user says, how many pictures go with it, the answer or None.
CASES = {
    "one_turn": [("What is shown in this picture?", 1, None)],
    "two_turns": [("What is shown in this picture?", 1, "A red bus, parked at a stop."),
                  ("What colour is the sky?\nAnswer in one word.", 0, None)],
    "no_image": [("Why is the sky blue?", 0, None)],
    "no_image_two_turns": [("Why is the sky blue?", 0, "Air scatters blue light most."), ("And red at dusk?", 0, None)],
    "two_images": [("What is the difference?", 2, None)],
    "two_images_two_turns": [("Which is larger?", 2, "The first."), ("And in this one?", 1, None)],
    "images_in_place": [("Is <image> the same as <image>?\nAnswer the question using a single word or phrase.", 2, None)],
    "spaces": [("  What's   this? \n", 1, "  It's a cat. "), (" Sure? ", 0, None)],
}


def llama_3_1(system, turns):
    """Headers around every message, each message trimmed, assistant header last."""
    def message(role, text):
        return "<|start_header_id|>%s<|end_header_id|>\n\n%s<|eot_id|>" % (role, text.strip())
    text = "<|begin_of_text|>" + message("system", system)
    for user, assistant in turns:
        text += message("user", user)
        text += "<|start_header_id|>assistant<|end_header_id|>\n\n" if assistant is None else message("assistant", assistant)
    return text


def v1(system, turns):
    """Vicuna: a line of USER: and ASSISTANT:, `</s>` after each answer."""
    text = system + " "
    for user, assistant in turns:
        text += "USER: %s ASSISTANT:" % user
        text += "" if assistant is None else " %s</s>" % assistant
    return text


def phi_4(system, turns):
    """Phi-4: one special token a role, no newlines, no BOS."""
    text = "<|system|>%s<|end|>" % system
    for user, assistant in turns:
        text += "<|user|>%s<|end|><|assistant|>" % user
        text += "" if assistant is None else "%s<|end|>" % assistant
    return text


def gemma_2(_, turns):
    """Gemma-2: no system message, each message trimmed, model header last."""
    text = "<bos>"
    for user, assistant in turns:
        text += "<start_of_turn>user\n%s<end_of_turn>\n<start_of_turn>model\n" % user.strip()
        text += "" if assistant is None else "%s<end_of_turn>\n" % assistant.strip()
    return text


def plain(_, turns):
    """Stage 1: the picture and its caption; what the human says is discarded."""
    text = ""
    for user, assistant in turns:
        text += IMAGE * user.count(IMAGE)
        text += "" if assistant is None else assistant + "\n"
    return text


def llama_3_1_reasoning(system, turns):
    """DeepSeek's own template."""
    text = "<｜begin▁of▁sentence｜>" + system
    for user, assistant in turns:
        text += "<｜User｜>%s<｜Assistant｜>" % user
        text += "" if assistant is None else "%s<｜end▁of▁sentence｜>" % assistant
    return text


TEMPLATES = {f.__name__: f for f in (llama_3_1, v1, phi_4, gemma_2, plain, llama_3_1_reasoning)}


def ids_with_images(tokenizer, text, printed_bos):
    """Ids of a prompt: chunks between `<image>` tokenised alone, one BOS at most, -200 between."""
    has_bos = len(tokenizer.encode("", add_special_tokens=True).ids) > 0
    if has_bos and printed_bos:
        text = text.removeprefix(printed_bos)
    chunks = [tokenizer.encode(chunk, add_special_tokens=True).ids for chunk in text.split(IMAGE)]
    ids = list(chunks[0])
    for chunk in chunks[1:]:
        ids += [IMAGE_TOKEN] + chunk[has_bos:]
    return ids


def with_marks(turns):
    """Turns of texts alone: marks in front of a text that has none."""
    return [(user if IMAGE in user else (IMAGE + "\n") * images + user, answer) for user, images, answer in turns]


def bos_of(tokenizer):
    """The id that the tokenizer puts first, None without one."""
    ids = tokenizer.encode("", add_special_tokens=True).ids
    return ids[0] if ids else None


def one_prompt(name, case, turns, compat, tokenizers):
    """One member of prompts.json."""
    speakers, bos = SPEAKERS[name]
    at_hand = [t for t in speakers if t in tokenizers]
    if compat:
        text = lmms_prompts.prompt(name, turns)
        ids = {t: lmms_prompts.prompt_ids(name, text, tokenizers[t], bos_of(tokenizers[t])) for t in at_hand}
    else:
        text = TEMPLATES[name](SYSTEMS[name], with_marks(turns))
        ids = {t: ids_with_images(tokenizers[t], text, bos) for t in at_hand}
    return {"template": name, "case": case, "compat": compat, "system": SYSTEMS[name],
            "turns": [{"user": u, "images": i, "assistant": a} for u, i, a in turns], "text": text, "ids": ids}


def all_prompts(tokenizers):
    """Every template with every case, by the templates and as the evaluation does; ids by the tokenizers at hand. The
    evaluation's code cannot print a second turn of stage 1."""
    return [one_prompt(name, case, turns, compat, tokenizers) for compat in (None, "lmms_eval") for name in TEMPLATES
            for case, turns in CASES.items() if not (compat and name == "plain" and len(turns) > 1)]
