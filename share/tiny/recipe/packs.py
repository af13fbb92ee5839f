"""Training rows for the language model: one shared prefix, several questions that do not see each other.

The prefix (system prompt and picture) is computed once for all questions of a scene. A mask keeps the
branches apart and positions restart behind the prefix, so that each branch is exactly a conversation of
its own. A branch may follow another one: then the two are the turns of one conversation.
"""

from dataclasses import dataclass

import torch

from prompt import IGNORE_INDEX, IMAGE_INDEX
from towers import PATCHES

ALONE = -2  # parent of a branch that follows the prefix only
PAD = -1


@dataclass
class Branch:
    """Token ids, the index of the first id to learn, and the branch this one follows."""

    ids: list
    first: int
    parent: int = ALONE


class Writer:
    """Turns scenes' questions into prefixes and branches."""

    def __init__(self, tokenizer, template):
        self.tokenizer, self.template = tokenizer, template
        self.bos = [] if template.bos is None else [tokenizer.token_to_id(template.bos)]

    def encode(self, text):
        """Ids without BOS."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def picture_prefix(self):
        """Everything before the question, the picture being in its place."""
        return self.bos + self.encode(self.template.before) + [IMAGE_INDEX] + self.encode("\n")

    def plain(self, caption):
        """Stage 1's row: picture and caption, no conversation."""
        return self.bos + [IMAGE_INDEX], [Branch(self.encode(caption + "\n"), 0)]

    def notes(self, pairs):
        """A branch for each (key, what is true of it), the latter to be learned."""
        keys = [self.encode(key) for key, _ in pairs]
        return [Branch(key + self.encode(rest), len(key)) for key, (_, rest) in zip(keys, pairs)]

    def branches(self, rows, rng, follow):
        """A branch for each (family, question, answer); a later one follows its neighbour with chance `follow`."""
        made = []
        for index, (_, question, answer) in enumerate(rows):
            opening = question + self.template.middle
            parent = ALONE
            if made and made[-1].parent == ALONE and rng.random() < follow:
                opening, parent = self.template.again + opening, index
            asked = self.encode(opening)
            made.append(Branch(asked + self.encode(answer + self.template.end), len(asked), parent))
        return made


@dataclass
class Batch:
    """Tensors of a batch of packs, all (rows, length) but for the masks; `answer` numbers the batch's branches."""

    ids: torch.Tensor
    image: torch.Tensor
    positions: torch.Tensor
    labels: torch.Tensor
    answer: torch.Tensor
    mask: torch.Tensor
    near: torch.Tensor


def collate(packs, window=None):
    """A Batch of (prefix, branches) rows; `near` is the mask of layers that see only the last `window` positions."""
    columns = [flatten(prefix, branches) for prefix, branches in packs]
    length = max(len(ids) for ids, *_ in columns)
    fillers = (0, 0, IGNORE_INDEX, PAD, ALONE)
    ids, positions, labels, segment, parent = (
        torch.tensor([row[k] + [filler] * (length - len(row[k])) for row in columns])
        for k, filler in enumerate(fillers))
    answer = segment + torch.arange(len(packs))[:, None] * (1 + segment.max())
    key = segment[:, None, :]
    seen = (key == 0) | (key == segment[:, :, None]) | (key == parent[:, :, None])
    seen &= torch.ones(length, length, dtype=torch.bool).tril()
    near = seen & (positions[:, :, None] - positions[:, None, :] < window) if window else seen
    return Batch(ids.clamp(min=0), ids == IMAGE_INDEX, positions, labels, answer, additive(seen), additive(near))


def additive(seen):
    """The mask that attention adds: nothing where `seen`, a large negative number elsewhere."""
    return torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.bfloat16).min)[:, None]


def flatten(prefix, branches):
    """Ids (the picture as PATCHES times -200), positions, labels, segment and parent of every token."""
    ids = [i for token in prefix for i in [token] * (PATCHES if token == IMAGE_INDEX else 1)]
    positions, segment, parent = list(range(len(ids))), [0] * len(ids), [ALONE] * len(ids)
    labels = [IGNORE_INDEX] * len(ids)
    ends = [len(ids)]
    for number, branch in enumerate(branches, 1):
        size = len(branch.ids)
        start = ends[0] if branch.parent == ALONE else ends[branch.parent]
        ids += branch.ids
        positions += range(start, start + size)
        ends.append(start + size)
        segment += [number] * size
        parent += [branch.parent] * size
        labels += [IGNORE_INDEX] * branch.first + branch.ids[branch.first:]
    return ids, positions, labels, segment, parent
