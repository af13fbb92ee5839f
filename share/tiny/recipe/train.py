"""Trains the tiny models: vision towers, then a language model and four projectors for each family.

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
from languages import FAMILIES
from model import export_family, export_projector, export_tower, new_projector
from packs import Writer, collate
from prompt import IGNORE_INDEX, write_json
from towers import GRID, TOWERS, WIDTH, warm_start

# Of each stage: steps, scenes a step, peak learning rate, first scene seed. CLIP is trained from nothing, the other
# towers start with its blocks.
STAGES = {"vision-clip": (1200, 64, 1.5e-3, 10_000_000), "vision-siglip": (400, 64, 1.5e-3, 11_000_000),
          "vision-siglip2": (400, 64, 1.5e-3, 12_000_000), "vision-dinov2": (400, 64, 1.5e-3, 13_000_000),
          "symbols-llama": (1500, 16, 3e-3, 20_000_000), "symbols-gemma2": (1100, 16, 3e-3, 21_000_000),
          "symbols-phi4": (1100, 16, 3e-3, 22_000_000),
          "align": (400, 32, 3e-3, 25_000_000), "stage1": (100, 32, 1e-3, 30_000_000),
          "stage2": (1200, 16, 1.5e-3, 40_000_000)}
PATCH, PIXELS = 14, 14 * GRID  # what patch_labels measures in
QUESTIONS_PER_SCENE, FOLLOW_UPS, WARM_UP = 8, 0.3, 0.03
NOISE, NO_WORD, MOST_WORDS = 0.3, -1, 6
BRIEF, LONG = "\nAnswer the question using a single word or phrase.", ("describe", "at", "relation")


class Stage:
    """Optimiser, schedule, prefetched batches, checkpoints and clock of one stage."""

    def __init__(self, name, work, modules, matrices=()):
        """Prepares, or loads, the stage; Muon trains `matrices`, AdamW the other weights of the modules."""
        self.name, self.path, self.modules = name, work / f"{name}.pt", modules
        self.steps, self.size, self.peak, self.base = STAGES.get(name) or STAGES[name.split("-")[0]]
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


def picture_of(kind, seed, scene):
    """The scene as the tower will see it: any size, padded, resized, with a little noise."""
    rng = np.random.default_rng(seed)
    pixels = kind.preprocess(scenes.render(scene, int(rng.integers(150, 400)))).astype(np.float32)
    if rng.random() < 0.5:
        pixels += rng.normal(0, rng.uniform(0.5, 4), pixels.shape)
    return pixels.round().clip(0, 255)


def pixels_of(kind, seeds, made):
    """The tower's input for the scenes."""
    return kind.normalise(np.stack([picture_of(kind, seed, scene) for seed, scene in zip(seeds, made)]))


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


def train_vision(work, kind):
    """A tower, taught to tell from each patch of layer -2 what it is a part of, and from its whole output the rest."""
    torch.manual_seed(1)
    tower = kind.new()
    if kind.name != "clip":
        clip, seeds = load_tower(work, TOWERS["clip"]), range(64)
        warm_start(tower, kind, clip, pixels_of(TOWERS["clip"], seeds, [scenes.make_scene(seed) for seed in seeds]))
    heads = torch.nn.ModuleList([torch.nn.Linear(WIDTH, sum(PATCH_CLASSES)),
                                 torch.nn.Linear(WIDTH, sum(SCENE_CLASSES) + FLAGS)])
    stage = Stage(f"vision-{kind.name}", work, [tower, heads])

    def make_batch(seeds):
        made = [scenes.make_scene(seed, crowded=seed % 4 > 0) for seed in seeds]
        pixels = pixels_of(kind, seeds, made)
        return (pixels, torch.from_numpy(np.stack([patch_labels(scene) for scene in made])),
                torch.tensor([scene_labels(scene) for scene in made]))

    def loss_of(batch):
        pixels, patches, whole = batch
        seen, whole_row = kind.see(tower, pixels)
        parts = heads[0](seen).float().split(PATCH_CLASSES, dim=-1)
        wholes = heads[1](whole_row).float().split((*SCENE_CLASSES, FLAGS), dim=-1)
        losses = [weight * F.cross_entropy(p.flatten(0, 1), patches[..., k].flatten(), ignore_index=IGNORE_INDEX)
                  for k, (p, weight) in enumerate(zip(parts, PATCH_WEIGHTS))]
        right = [((p.argmax(-1) == patches[..., k])[patches[..., k] > 0]).float().mean() for k, p in enumerate(parts)]
        losses += [0.2 * F.cross_entropy(p, whole[:, k]) for k, p in enumerate(wholes[:2])]
        losses.append(0.2 * F.binary_cross_entropy_with_logits(wholes[2], whole[:, 2:].float()))
        return sum(losses), "kind %.3f colour %.3f size %.3f cell %.3f centre %.3f word %.3f" % tuple(right)

    stage.run(make_batch, loss_of)
    return stage.cpu


def load_tower(work, kind):
    """The trained tower."""
    tower = kind.new()
    tower.load_state_dict(torch.load(work / f"vision-{kind.name}.pt")["modules"][0])
    return tower.eval().requires_grad_(False)


# --- language -----------------------------------------------------------------------------------


def train_tokenizer(family):
    """Tokenizer of the conversations' and captions' text."""
    lines = list(family.lines) * 300
    for seed in range(4000):
        scene = scenes.make_scene(seed)
        rng = random.Random(seed)
        lines += [scenes.facts(scene) + "\n"] + ["".join(pair) for pair in scenes.notes(scene, rng)]
        lines += [line for _, question, answer in training_questions(scene, rng) for line in (f"\n{question}", answer)]
    return family.tokenizer(lines)


def answer_loss(language, batch, rows):
    """Mean loss, an answer of n tokens weighing sqrt(n); and the share of answers guessed right to the last token.

    The picture's rows stand at its places. A plain mean over tokens would leave the short answers, most of them
    look-ups, next to no weight beside the long descriptions.
    """
    inputs = language.get_input_embeddings()(batch.ids)
    inputs = inputs.masked_scatter(batch.image[..., None], rows.to(inputs.dtype))
    mask, config = batch.mask, language.config
    if getattr(config, "layer_types", None) and config.sliding_window:
        mask = {"full_attention": batch.mask, "sliding_attention": batch.near}
    hidden = language.model(inputs_embeds=inputs, attention_mask=mask, position_ids=batch.positions,
                            use_cache=False).last_hidden_state
    at = batch.labels[:, 1:] != IGNORE_INDEX
    logits, labels = language.lm_head(hidden[:, :-1][at]).float(), batch.labels[:, 1:][at]
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = cap * torch.tanh(logits / cap)
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


def patch_ids(made, tokenizer, space):
    """Ids of the words for every patch of the scenes, (patches, MOST_WORDS), the rest being NO_WORD."""
    ids = [[tokenizer.token_to_id(space + word) for word in patch_words(labels)]
           for scene in made for labels in patch_labels(scene)]
    return torch.tensor([row + [NO_WORD] * (MOST_WORDS - len(row)) for row in ids])


def symbol_rows(language, ids):
    """Each patch's row, (patches, hidden): the sum of the embeddings of its words, before any scale of the model."""
    embeddings = language.get_input_embeddings().weight
    return (F.embedding(ids.clamp(min=0), embeddings) * (ids != NO_WORD)[..., None]).sum(-2)


def train_symbols(work, family, writer):
    """The language model, on pictures of symbols: rows that say in words, under noise, what each patch shows.

    To look up one attribute by another is the hard part of the questions, and is learned best where perception is no
    matter. The notes make a look-up one step long; without them it takes many times the steps to be found at all.
    """
    torch.manual_seed(2)
    language = family.new(writer.tokenizer)
    stage = Stage(f"symbols-{family.name}", work, [language], block_matrices(language))

    def make_batch(seeds):
        made = [scenes.make_scene(seed) for seed in seeds]
        return (patch_ids(made, writer.tokenizer, family.space),
                collate([question_pack(seed, scene, writer, with_notes=True) for seed, scene in zip(seeds, made)],
                        family.shape.get("sliding_window")))

    def loss_of(batch):
        rows = symbol_rows(language, batch[0])
        return answer_loss(language, batch[1], rows + NOISE * rows.detach().std() * torch.randn_like(rows))

    stage.run(make_batch, loss_of)
    return language, stage.cpu


def block_matrices(language):
    """The weights that Muon trains."""
    return [p for p in language.model.layers.parameters() if p.ndim == 2]


def patch_rows(towers, seeds, made):
    """(index into `seeds`, patch features) of each tower: the scenes are dealt out to the towers in turn."""
    rows = []
    for k, (kind, tower) in enumerate(towers):
        dealt = slice(k, None, len(towers))
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            rows.append((dealt, kind.see(tower, pixels_of(kind, seeds[dealt], made[dealt]))[0]))
    return rows


def projected(projectors, rows):
    """The language model's rows of all the scenes, in the scenes' order."""
    made = [projector(features) for projector, (_, features) in zip(projectors, rows)]
    whole = made[0].new_empty(sum(len(m) for m in made), *made[0].shape[1:])
    for part, (dealt, _) in zip(made, rows):
        whole[dealt] = part
    return whole


def picture_batches(towers, family, pack_of):
    """A make_batch that gives (patch features, Batch); pack_of(seed, scene) writes one row."""
    def make_batch(seeds):
        made = [scenes.make_scene(seed) for seed in seeds]
        return patch_rows(towers, seeds, made), collate([pack_of(seed, scene) for seed, scene in zip(seeds, made)],
                                                        family.shape.get("sliding_window"))
    return make_batch


def train_alignment(work, towers, family, language, tokenizer):
    """A start for the projectors: each patch's row is to be the sum of the embeddings of the patch's words.

    Features are stronger in some attributes than in others; this brings all of them to the scale of words.
    """
    torch.manual_seed(3)
    projectors = [new_projector() for _ in towers]
    stage = Stage(f"align-{family.name}", work, projectors)

    def make_batch(seeds):
        made = [scenes.make_scene(seed) for seed in seeds]
        with torch.no_grad():
            return patch_rows(towers, seeds, made), symbol_rows(language, patch_ids(made, tokenizer, family.space))

    def loss_of(batch):
        rows = projected(projectors, batch[0]).float().flatten(0, 1)
        return F.mse_loss(rows, batch[1]) / batch[1].square().mean(), ""

    stage.run(make_batch, loss_of)
    return projectors, stage.cpu


def train_stage1(work, towers, family, projectors, language, writer):
    """The projectors alone, on captions under the plain template."""
    stage = Stage(f"stage1-{family.name}", work, projectors)
    language.requires_grad_(False)
    stage.run(picture_batches(towers, family, lambda seed, scene: writer.plain(scenes.facts(scene))),
              lambda batch: answer_loss(language, batch[1], projected(projectors, batch[0])))
    language.requires_grad_(True)
    return stage.cpu


def train_stage2(work, towers, family, projectors, language, writer):
    """Projectors and language model, on questions about pictures."""
    stage = Stage(f"stage2-{family.name}", work, [*projectors, language], block_matrices(language))
    stage.run(picture_batches(towers, family, lambda seed, scene: question_pack(seed, scene, writer)),
              lambda batch: answer_loss(language, batch[1], projected(projectors, batch[0])))
    return stage.cpu


def train_family(work, out, family, only_symbols):
    """A family's language model and its projector for every tower; returns CPU seconds."""
    began = time.process_time()
    tokenizer = train_tokenizer(family)
    writer, cpu = Writer(tokenizer, family.template), {f"tokenizer-{family.name}": time.process_time() - began}
    language, cpu[f"symbols-{family.name}"] = train_symbols(work, family, writer)
    if only_symbols:
        return cpu
    towers = [(kind, load_tower(work, kind)) for kind in TOWERS.values()]
    projectors, cpu[f"align-{family.name}"] = train_alignment(work, towers, family, language, tokenizer)
    cpu[f"stage1-{family.name}"] = train_stage1(work, towers, family, projectors, language, writer)
    cpu[f"stage2-{family.name}"] = train_stage2(work, towers, family, projectors, language, writer)
    export_family(out, family, tokenizer, language, projectors[0])
    for kind, projector in list(zip(TOWERS.values(), projectors))[1:]:
        export_projector(out, kind, family, projector)
    return cpu


def main():
    """Runs what is left of the stages and exports the folders."""
    here = Path(__file__).resolve().parent
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=here.parent, help="where the folders go")
    options.add_argument("--work", type=Path, default=here / "work", help="checkpoints")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("parts", nargs="*", help="vision-TOWER, symbols-FAMILY or FAMILY (needs every tower); all of "
                         "them without one. Parts that do not need each other may run side by side")
    options = options.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    for part in options.parts or [*(f"vision-{name}" for name in TOWERS), *FAMILIES]:
        stage, _, name = part.rpartition("-")
        if stage == "vision":
            cpu = {part: train_vision(options.work, TOWERS[name])}
            export_tower(options.out, TOWERS[name], load_tower(options.work, TOWERS[name]))
        else:
            cpu = train_family(options.work, options.out, FAMILIES[name], stage == "symbols")
        write_json(options.work / f"cpu-{part}.json", {name: round(seconds, 1) for name, seconds in cpu.items()})


if __name__ == "__main__":
    main()
