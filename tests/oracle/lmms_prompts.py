"""Prompts and ids as the study's evaluation makes them (src/lmms_eval/models/llava.py, generate_until), step by step:
the question with its marks, Conversation.get_prompt, the tail, tokenizer_image_token, and the dropping of a second BOS.

Written apart from prompts.py, whose templates say what the runtime prints without prompt_compat.
"""

IMAGE = "<image>"
IMAGE_TOKEN = -200

STUDY = ("You are a helpful language and vision assistant. You are able to understand the visual content that the user "
         "provides, and assist the user with a variety of tasks using natural language.")
VICUNA = ("A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
          "and polite answers to the user's questions.")


def llama_chat(messages):
    """The first chat template of Llama-3.1-8B-Instruct: the assistant header comes last, asked for or not."""
    text = "<|begin_of_text|>"
    for message in messages:
        text += "<|start_header_id|>" + message["role"] + "<|end_header_id|>\n\n" + message["content"].strip() + "<|eot_id|>"
    return text + "<|start_header_id|>assistant<|end_header_id|>\n\n"


def gemma_chat(messages):
    """Gemma-2's chat template with add_generation_prompt=False."""
    text = "<bos>"
    for message in messages:
        role = "model" if message["role"] == "assistant" else message["role"]
        text += "<start_of_turn>" + role + "\n" + message["content"].strip() + "<end_of_turn>\n"
    return text


def deepseek_chat(messages):
    """DeepSeek-R1-Distill's chat template with add_generation_prompt=False; of an old answer the thoughts go."""
    text = "<｜begin▁of▁sentence｜>" + "".join(m["content"] for m in messages if m["role"] == "system")
    for message in messages:
        if message["role"] == "user":
            text += "<｜User｜>" + message["content"]
        elif message["role"] == "assistant":
            text += "<｜Assistant｜>" + message["content"].split("</think>")[-1] + "<｜end▁of▁sentence｜>"
    return text


# As in conversation.py: style, system text, roles, separators, version.
CONVERSATIONS = {
    "llama_3_1": ("CHAT", STUDY, ("user", "assistant"), llama_chat, "llama_3_1"),
    "llama_3_1_reasoning": ("CHAT", STUDY, ("user", "assistant"), deepseek_chat, "llama_3_1"),
    "gemma_2": ("CHAT", None, ("user", "model"), gemma_chat, "gemma_2"),
    "phi_4": ("MPT", "<|system|>You are a helpful AI assistant.", ("<|user|>", "<|assistant|>"), ("<|end|>",), "phi_4"),
    "v1": ("TWO", VICUNA, ("USER", "ASSISTANT"), (" ", "</s>"), "v1"),
    "plain": ("PLAIN", "", ("", ""), ("\n", None), "Unknown"),
}


def get_prompt(name, messages):
    """Conversation.get_prompt; messages are [role, text or None]."""
    style, system, _, separators, _ = CONVERSATIONS[name]
    if style == "CHAT":
        listed = [] if system is None else [{"role": "system", "content": system}]
        return separators(listed + [{"role": role, "content": text} for role, text in messages if text])
    if style == "MPT":
        text = system + separators[0]
        for role, said in messages:
            text += role + said + separators[0] if said else role
    elif style == "TWO":
        text = system + separators[0]
        for index, (role, said) in enumerate(messages):
            text += role + ": " + said + separators[index % 2] if said else role + ":"
    else:
        text = system
        for index, (role, said) in enumerate(messages):
            text += said + separators[index % 2] if said else ""
    return text


def question(text, images):
    """What the user says, with a mark for each picture unless the task has set them itself."""
    if images and IMAGE not in text:
        return " ".join([IMAGE] * images) + "\n" + text
    return text


def prompt(name, turns):
    """The whole prompt of turns (user text, pictures, answer or None)."""
    roles, messages = CONVERSATIONS[name][2], []
    for user, images, answer in turns:
        messages += [[roles[0], question(user, images)], [roles[1], answer]]
    text = get_prompt(name, messages)
    if not any(images for _, images, _ in turns):
        return text
    if "llama_3" in name and name != "llama_3_1":
        text += "<|start_header_id|>" + roles[1] + "<|end_header_id|>\n\n"
    if name == "llama_3_1_reasoning":
        text += "<｜Assistant｜>"
    return text


def tokenizer_image_token(text, encode, bos):
    """Ids of the chunks between the marks, joined by the mark's."""
    chunks = [encode(chunk) for chunk in text.split(IMAGE)]
    offset = 1 if chunks[0] and chunks[0][0] == bos else 0
    ids = chunks[0][:1] if offset else []
    for index, chunk in enumerate(chunks):
        ids += ([IMAGE_TOKEN] if index else []) + chunk[offset:]
    return ids


def prompt_ids(name, text, tokenizer, bos):
    """Ids as they go into generate."""
    ids = tokenizer_image_token(text, lambda chunk: tokenizer.encode(chunk, add_special_tokens=True).ids, bos)
    version = CONVERSATIONS[name][4]
    if ("llama_3" in version or "gemma_2" in version) and len(ids) > 1 and ids[0] == ids[1] == bos:
        ids = ids[1:]
    return ids
