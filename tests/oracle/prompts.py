"""Chat prompts by the rules of LLAVA_MORE.md, section 4, and their ids by section 3.

Written from the rules alone, as a check on the runtime's own templates.
"""

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

CASES = {
    "one_turn": [("<image>\nWhat is shown in this picture?", None)],
    "two_turns": [("<image>\nWhat is shown in this picture?", "A red bus, parked at a stop."),
                  ("What colour is the sky?\nAnswer in one word.", None)],
    "no_image": [("Why is the sky blue?", None)],
    "spaces": [("<image>\n  What's   this? \n", "  It's a cat. "), (" Sure? ", None)],
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
        text += IMAGE if IMAGE in user else ""
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


def all_prompts(tokenizers):
    """Every template with every case; ids by those tokenizers that are at hand."""
    entries = []
    for name, render in TEMPLATES.items():
        speakers, bos = SPEAKERS[name]
        for case, turns in CASES.items():
            text = render(SYSTEMS[name], turns)
            ids = {t: ids_with_images(tokenizers[t], text, bos) for t in speakers if t in tokenizers}
            entries.append({"template": name, "case": case, "system": SYSTEMS[name],
                            "turns": [{"user": u, "assistant": a} for u, a in turns], "text": text, "ids": ids})
    return entries
