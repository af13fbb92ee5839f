"""Trains the tiny model: tokenizer, vision tower, symbols, stage 1 (projector), stage 2 (projector + language model).

Every stage is seeded, saves itself once a minute and goes on from there when started again.
"""

import argparse
import math
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

import scenes
from model import (PATCH, PIXELS, VISION, export, new_language, new_projector, new_tower, normalise,
                   patch_features, preprocess)
from packs import Writer, collate
from prompt import IGNORE_INDEX, SYSTEM, build_tokenizer, write_json

GRID = PIXELS // PATCH
# steps, scenes a step, peak learning rate, first scene seed
STAGES = {"vision": (1200, 64, 1.5e-3, 10_000_000), "symbols": (1500, 16, 3e-3, 20_000_000),
          "align": (300, 32, 3e-3, 25_000_000), "stage1": (100, 32, 1e-3, 30_000_000),
          "stage2": (700, 16, 1.5e-3, 40_000_000)}
QUESTIONS_PER_SCENE, FOLLOW_UPS, WARM_UP = 8, 0.3, 0.03
NOISE, NO_WORD, MOST_WORDS = 0.3, -1, 6
BRIEF, LONG = "\nAnswer the question using a single word or phrase.", ("describe", "at", "relation")


class Stage:
    """Optimiser, schedule, prefetched batches, checkpoints and clock of one stage."""

    def __init__(self, name, work, modules, matrices=()):
        """Prepares, or loads, the stage; Muon trains `matrices`, AdamW the other weights of the modules."""
        self.name, self.path, self.modules = name, work / f"{name}.pt", modules
        self.steps, self.size, self.peak, self.base = STAGES[name]
        self.weights, self.step, self.cpu = [p for m in modules for p in m.parameters()], 0, 0.0
        rest = [p for p in self.weights if all(p is not matrix for matrix in matrices)]
        self.optimisers = [torch.optim.AdamW(rest, weight_decay=0.0)]
        if matrices:
            self.optimisers.append(torch.optim.Muon(matrices, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"))
        if self.path.exists():
            saved = torch.load(self.path)
            self.step, self.cpu = saved["step"], saved["cpu"]
            for optimiser, state in zip(self.optimisers, saved["optimisers"]):
                optimiser.load_state_dict(state)
            for module, state in zip(modules, saved["modules"]):
                module.load_state_dict(state)

    def save(self):
        """Writes the checkpoint in one move."""
        fresh = self.path.with_suffix(".new")
        torch.save({"step": self.step, "cpu": self.cpu, "optimisers": [o.state_dict() for o in self.optimisers],
                    "modules": [m.state_dict() for m in self.modules]}, fresh)
        fresh.rename(self.path)

    def rate(self):
        """Cosine schedule with linear warm-up."""
        warm = WARM_UP * self.steps
        if self.step < warm:
            return self.peak * (self.step + 1) / warm
        return self.peak * 0.5 * (1 + math.cos(math.pi * (self.step - warm) / (self.steps - warm)))

    def run(self, make_batch, loss_of):
        """Trains to the end; make_batch(seeds) is called one step ahead in a thread."""
        began, saved = time.process_time() - self.cpu, time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(make_batch, self.seeds(self.step))
            while self.step < self.steps:
                batch, coming = coming.result(), pool.submit(make_batch, self.seeds(self.step + 1))
                for optimiser in self.optimisers:
                    optimiser.param_groups[0]["lr"] = self.rate()
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    loss, note = loss_of(batch)
                for optimiser in self.optimisers:
                    optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
                for optimiser in self.optimisers:
                    optimiser.step()
                self.step += 1
                self.cpu = time.process_time() - began
                if self.step % 20 == 0:
                    print(f"{self.name} {self.step}/{self.steps} loss {loss.item():.4f} {note} cpu {self.cpu:.0f} s",
                          flush=True)
                if self.step == self.steps or time.monotonic() - saved > 60:
                    self.save()
                    saved = time.monotonic()

    def seeds(self, step):
        """Scene seeds of one step."""
        return range(self.base + step * self.size, self.base + (step + 1) * self.size)


# --- vision -------------------------------------------------------------------------------------


def picture_of(seed, scene):
    """The scene as the tower will see it: any size, padded, resized, with a little noise."""
    rng = np.random.default_rng(seed)
    pixels = preprocess(scenes.render(scene, int(rng.integers(150, 400)))).astype(np.float32)
    if rng.random() < 0.5:
        pixels += rng.normal(0, rng.uniform(0.5, 4), pixels.shape)
    return pixels.round().clip(0, 255)


def patch_labels(scene):
    """What each patch shows, (GRID * GRID, 6): kind, colour, size, cell, whether a centre, word; -100 for none."""
    labels = np.full((GRID, GRID, 6), IGNORE_INDEX)
    labels[..., [0, 1, 4]] = 0
    width, height = (round(side * PIXELS) for side in scene.aspect)
    left, top = (PIXELS - width) // 2, (PIXELS - height) // 2
    middles = (np.arange(GRID) + 0.5) * PATCH
    rows, columns = middles[:, None] - top, middles[None] - left
    colours = list(scenes.COLOURS)
    for thing in scene.things:
        x, y, r = scenes.place(thing, width, height)
        covered = np.hypot(columns - x, rows - y) < r + 1
        centre = (int((y + top) // PATCH), int((x + left) // PATCH))
        covered[centre] = True
        labels[covered, :4] = (1 + scenes.SHAPES.index(thing.shape), 1 + colours.index(thing.colour),
                               list(scenes.SIZES).index(thing.size), thing.cell)
        labels[centre][4] = 1
    if scene.word:
        _, (x0, y0, x1, y1) = scenes.word_box(scene.word, width, height)
        covered = (columns > x0 - 3) & (columns < x1 + 3) & (rows > y0 - 3) & (rows < y1 + 3)
        labels[covered] = (1 + len(scenes.SHAPES), 1 + colours.index(scene.word.colour), IGNORE_INDEX, IGNORE_INDEX,
                           0, scenes.WORDS.index(scene.word.text))
    return labels.reshape(-1, 6)


def scene_labels(scene):
    """What the whole picture shows: number of things, word (0: none), then a flag a colour and a shape."""
    word = 1 + scenes.WORDS.index(scene.word.text) if scene.word else 0
    seen = [any(t.colour == c for t in scene.things) for c in scenes.COLOURS]
    return [len(scene.things), word] + seen + [any(t.shape == s for t in scene.things) for s in scenes.SHAPES]


PATCH_CLASSES = (2 + len(scenes.SHAPES), 1 + len(scenes.COLOURS), 2, 9, 2, len(scenes.WORDS))
PATCH_WEIGHTS = (3, 1, 1, 1, 1, 1)  # the kind of a thing is the hardest to see
SCENE_CLASSES = (9, 1 + len(scenes.WORDS))
FLAGS = len(scenes.COLOURS) + len(scenes.SHAPES)


def train_vision(work):
    """The tower, taught to tell from each patch of layer -2 what it is a part of, and from its pooled output the rest."""
    torch.manual_seed(1)
    tower = new_tower()
    tower.set_attn_implementation("eager")  # faster than sdpa for 65 tokens
    width = VISION["hidden_size"]
    heads = torch.nn.ModuleList([torch.nn.Linear(width, sum(PATCH_CLASSES)),
                                 torch.nn.Linear(width, sum(SCENE_CLASSES) + FLAGS)])
    stage = Stage("vision", work, [tower, heads])

    def make_batch(seeds):
        made = [scenes.make_scene(seed, crowded=seed % 4 > 0) for seed in seeds]
        pixels = normalise(np.stack([picture_of(seed, scene) for seed, scene in zip(seeds, made)]))
        return (pixels, torch.from_numpy(np.stack([patch_labels(scene) for scene in made])),
                torch.tensor([scene_labels(scene) for scene in made]))

    def loss_of(batch):
        pixels, patches, whole = batch
        seen = tower(pixels, output_hidden_states=True)
        parts = heads[0](seen.hidden_states[-2][:, 1:]).float().split(PATCH_CLASSES, dim=-1)
        wholes = heads[1](seen.pooler_output).float().split((*SCENE_CLASSES, FLAGS), dim=-1)
        losses = [weight * F.cross_entropy(p.flatten(0, 1), patches[..., k].flatten(), ignore_index=IGNORE_INDEX)
                  for k, (p, weight) in enumerate(zip(parts, PATCH_WEIGHTS))]
        right = [((p.argmax(-1) == patches[..., k])[patches[..., k] > 0]).float().mean() for k, p in enumerate(parts)]
        losses += [0.2 * F.cross_entropy(p, whole[:, k]) for k, p in enumerate(wholes[:2])]
        losses.append(0.2 * F.binary_cross_entropy_with_logits(wholes[2], whole[:, 2:].float()))
        return sum(losses), "kind %.3f colour %.3f size %.3f cell %.3f centre %.3f word %.3f" % tuple(right)

    stage.run(make_batch, loss_of)
    return tower.eval().requires_grad_(False), stage.cpu


# --- language -----------------------------------------------------------------------------------


def train_tokenizer():
    """Tokenizer of the conversations' and captions' text."""
    lines = [f"system\n\n{SYSTEM}", "user\n\n", "assistant\n\n"] * 300
    for seed in range(4000):
        scene = scenes.make_scene(seed)
        rng = random.Random(seed)
        lines += [scenes.facts(scene) + "\n"] + ["".join(pair) for pair in scenes.notes(scene, rng)]
        lines += [line for _, question, answer in training_questions(scene, rng) for line in (f"\n{question}", answer)]
    return build_tokenizer(lines)


def answer_loss(language, batch, rows):
    """Mean loss, an answer of n tokens weighing sqrt(n); and the share of answers guessed right to the last token.

    The picture's rows stand at its places. A plain mean over tokens would leave the short answers, most of them
    look-ups, next to no weight beside the long descriptions.
    """
    inputs = language.get_input_embeddings()(batch.ids)
    inputs = inputs.masked_scatter(batch.image[..., None], rows.to(inputs.dtype))
    hidden = language.model(inputs_embeds=inputs, attention_mask=batch.mask, position_ids=batch.positions,
                            use_cache=False).last_hidden_state
    at = batch.labels[:, 1:] != IGNORE_INDEX
    logits, labels = language.lm_head(hidden[:, :-1][at]).float(), batch.labels[:, 1:][at]
    _, answer, sizes = batch.answer[:, 1:][at].unique(return_inverse=True, return_counts=True)
    losses = F.cross_entropy(logits, labels, reduction="none") / sizes[answer].sqrt()
    wrong = torch.zeros(len(sizes)).index_add_(0, answer, (logits.argmax(-1) != labels).float())
    return losses.sum() / sizes.sqrt().sum(), "right %.4f" % (wrong == 0).float().mean()


def training_questions(scene, rng):
    """Questions about the scene; some of the short ones end in LLaVA's request for a short answer."""
    return [(family, question + BRIEF * (family not in LONG and rng.random() < 0.1), answer)
            for family, question, answer in scenes.questions(scene, rng, QUESTIONS_PER_SCENE, scenes.TRAINING_WEIGHTS)]


def question_pack(seed, scene, writer, with_notes=False):
    """A conversation's start and the branches about the scene."""
    rng = random.Random(seed)
    branches = writer.branches(training_questions(scene, rng), rng, FOLLOW_UPS)
    return writer.picture_prefix(), branches + (writer.notes(scenes.notes(scene, rng)) if with_notes else [])


def patch_words(labels):
    """The words for a patch with these labels."""
    kind, colour, size, cell, centre, word = labels
    if kind == 0:
        return ["picture"]
    words = [list(scenes.COLOURS)[colour - 1]]
    if word != IGNORE_INDEX:
        return words + ["word", scenes.WORDS[word]]
    words += [scenes.SHAPES[kind - 1], list(scenes.SIZES)[size], *scenes.CELLS[cell].split()]
    return words + ["object"] * int(centre)


def patch_ids(made, tokenizer):
    """Ids of the words for every patch of the scenes, (patches, MOST_WORDS), the rest being NO_WORD."""
    ids = [[tokenizer.token_to_id("\u0120" + word) for word in patch_words(labels)]
           for scene in made for labels in patch_labels(scene)]
    return torch.tensor([row + [NO_WORD] * (MOST_WORDS - len(row)) for row in ids])


def symbol_rows(language, ids):
    """Each patch's row, (patches, hidden): the sum of the embeddings of its words."""
    embeddings = language.get_input_embeddings().weight
    return (F.embedding(ids.clamp(min=0), embeddings) * (ids != NO_WORD)[..., None]).sum(-2)


def train_symbols(work, writer):
    """The language model, on pictures of symbols: rows that say in words, under noise, what each patch shows.

    To look up one attribute by another is the hard part of the questions, and is learned best where perception is no
    matter. The notes make a look-up one step long; without them it takes many times the steps to be found at all.
    """
    torch.manual_seed(2)
    language = new_language(writer.tokenizer.get_vocab_size())
    language.set_attn_implementation("eager")  # faster than sdpa under a mask
    stage = Stage("symbols", work, [language], block_matrices(language))

    def make_batch(seeds):
        made = [scenes.make_scene(seed) for seed in seeds]
        return patch_ids(made, writer.tokenizer), collate([question_pack(seed, scene, writer, with_notes=True)
                                                           for seed, scene in zip(seeds, made)])

    def loss_of(batch):
        rows = symbol_rows(language, batch[0])
        return answer_loss(language, batch[1], rows + NOISE * rows.detach().std() * torch.randn_like(rows))

    stage.run(make_batch, loss_of)
    return language, stage.cpu


def block_matrices(language):
    """The weights that Muon trains."""
    return [p for p in language.model.layers.parameters() if p.ndim == 2]


def picture_batches(tower, pack_of):
    """A make_batch that gives (patch features, Batch); pack_of(seed, scene) writes one row."""
    def make_batch(seeds):
        made = [scenes.make_scene(seed) for seed in seeds]
        pixels = normalise(np.stack([picture_of(seed, scene) for seed, scene in zip(seeds, made)]))
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            features = patch_features(tower, pixels)
        return features, collate([pack_of(seed, scene) for seed, scene in zip(seeds, made)])
    return make_batch


def train_alignment(work, tower, language, tokenizer):
    """A start for the projector: each patch's row is to be the sum of the embeddings of the patch's words.

    Features are stronger in some attributes than in others; this brings all of them to the scale of words.
    """
    torch.manual_seed(3)
    projector = new_projector()
    stage = Stage("align", work, [projector])

    def make_batch(seeds):
        made = [scenes.make_scene(seed) for seed in seeds]
        pixels = normalise(np.stack([picture_of(seed, scene) for seed, scene in zip(seeds, made)]))
        with torch.no_grad():
            return (patch_features(tower, pixels).flatten(0, 1),
                    symbol_rows(language, patch_ids(made, tokenizer)))

    def loss_of(batch):
        features, targets = batch
        rows = projector(features).float()
        return F.mse_loss(rows, targets) / targets.square().mean(), ""

    stage.run(make_batch, loss_of)
    return projector, stage.cpu


def train_stage1(work, tower, projector, language, writer):
    """The projector alone, on captions under the plain template."""
    stage = Stage("stage1", work, [projector])
    language.requires_grad_(False)
    stage.run(picture_batches(tower, lambda seed, scene: writer.plain(scenes.facts(scene))),
              lambda batch: answer_loss(language, batch[1], projector(batch[0])))
    language.requires_grad_(True)
    return stage.cpu


def train_stage2(work, tower, projector, language, writer):
    """Projector and language model, on questions about pictures."""
    stage = Stage("stage2", work, [projector, language], block_matrices(language))
    stage.run(picture_batches(tower, lambda seed, scene: question_pack(seed, scene, writer)),
              lambda batch: answer_loss(language, batch[1], projector(batch[0])))
    return stage.cpu


def main():
    """Runs what is left of the stages and exports the folders."""
    here = Path(__file__).resolve().parent
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=here.parent, help="where clip/ and llava/ go")
    options.add_argument("--work", type=Path, default=here / "work", help="checkpoints")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--only", choices=("vision", "symbols"),
                         help="stop after this stage; the two do not need each other and may run side by side")
    options = options.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    began, cpu = time.process_time(), {}
    tokenizer = train_tokenizer()
    writer = Writer(tokenizer)
    cpu["tokenizer"] = time.process_time() - began
    if options.only:
        return train_vision(options.work) if options.only == "vision" else train_symbols(options.work, writer)
    tower, cpu["vision"] = train_vision(options.work)
    language, cpu["symbols"] = train_symbols(options.work, writer)
    projector, cpu["align"] = train_alignment(options.work, tower, language, tokenizer)
    cpu["stage1"] = train_stage1(options.work, tower, projector, language, writer)
    cpu["stage2"] = train_stage2(options.work, tower, projector, language, writer)
    export(options.out, tower, projector, language, tokenizer)
    write_json(options.work / "cpu.json", {stage: round(seconds, 1) for stage, seconds in cpu.items()})


if __name__ == "__main__":
    main()
