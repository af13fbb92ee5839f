# SPDX-License-Identifier: Apache-2.0
"""Bytes and operations of the released models' 16-bit operators, and the least time that an H100 takes for them."""
import json
import os

BYTES_A_SECOND = 3.35e12  # HBM3 of the SXM card
OPERATIONS_A_SECOND = 989e12  # f16 and bf16 on tensor cores, dense
PROMPT = 640  # an image of 576 rows and a question

ABOUT = f'''16-bit weights and key-value cache; memory at {BYTES_A_SECOND / 1e12} TB/s, tensor cores at \
{OPERATIONS_A_SECOND / 1e12:.0f} TFLOP/s (dense), both the card's
sheet. A token reads every weight but the embedding once, and the keys and values of the rows before it (here 4096);
the bar is 75% of the measured copy bandwidth. A prompt of {PROMPT} rows and an image are bound by arithmetic: 2 operations a weight
and row, and attention; the bar is 60% of cuBLASLt's own rate.'''

LANGUAGE_HEAD = ['language model', 'weights, GB', 'cache, MB', 'token: GB', 'token: GFLOP', 'token: ms', 'token: ms at 75%',
                 f'{PROMPT} rows: TFLOP', f'{PROMPT} rows: ms', f'{PROMPT} rows: ms at 60%']
VISION_HEAD = ['encoder', 'rows', 'weights, GB', 'image: TFLOP', 'image: ms', 'image: ms at 60%']


def shape_files(folder, part):
    """The files of one model each, in order of name."""
    for name in sorted(os.listdir(folder)):
        if name.endswith('.json'):
            with open(os.path.join(folder, name), encoding='utf-8') as file:
                model = json.load(file)
            if 'config' in model.get(part, {}):
                yield model['about'], model[part]['config'], model[part]['tensors']


def weights(tensors, layers):
    """Elements of all matrices that multiply rows: tables of rows (embeddings of words and places) do not."""
    total = 0
    for name, shape in tensors.items():
        if len(shape) < 2 or 'embed_tokens' in name or 'position' in name or shape[0] == 1:
            continue
        count = 1
        for side in shape:
            count *= side
        total += count * (layers if '*' in name else 1)
    return total


def language_rows(folder):
    for about, config, tensors in shape_files(folder, 'llm'):
        layers, heads = config['num_hidden_layers'], config['num_attention_heads']
        head = config.get('head_dim') or config['hidden_size'] // heads
        count = weights(tensors, layers)
        if 'lm_head.weight' not in tensors:  # tied
            count += config['vocab_size'] * config['hidden_size']
        output = config['vocab_size'] * config['hidden_size']
        length = 4096
        cache = 2 * 2 * layers * config['num_key_value_heads'] * head * length
        token_bytes = 2 * count + cache
        token_operations = 2 * count + 4 * layers * heads * head * length
        # Only the last row of a prompt meets the output matrix.
        prompt = 2 * (count - output) * PROMPT + 2 * output + 2 * layers * heads * head * PROMPT * PROMPT
        token, rows = token_bytes / BYTES_A_SECOND, prompt / OPERATIONS_A_SECOND
        yield [about, f'{2 * count / 1e9:.2f}', f'{cache / 1e6:.0f}', f'{token_bytes / 1e9:.2f}',
               f'{token_operations / 1e9:.1f}', f'{token * 1e3:.2f}', f'{token / 0.75 * 1e3:.2f}',
               f'{prompt / 1e12:.2f}', f'{rows * 1e3:.1f}', f'{rows / 0.6 * 1e3:.1f}']


def vision_rows(folder):
    for about, config, tensors in shape_files(folder, 'vision'):
        inner = config.get('vision_config', config)
        layers, width = inner['num_hidden_layers'], inner['hidden_size']
        places = next(shape for name, shape in tensors.items() if 'position' in name)
        rows, count = places[-2], weights(tensors, layers)
        operations = 2 * count * rows + 4 * layers * width * rows * rows
        seconds = operations / OPERATIONS_A_SECOND
        yield [about, rows, f'{2 * count / 1e9:.2f}', f'{operations / 1e12:.2f}', f'{seconds * 1e3:.2f}',
               f'{seconds / 0.6 * 1e3:.2f}']
