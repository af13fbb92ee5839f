"""Rendered scenes with questions: the data the tiny model is trained and measured on.

A scene is a light picture with one to four coloured shapes in the cells of a 3 x 3 grid, or
one large word with up to two shapes. Everything about a scene follows from its seed, so a
seed range is a data set: TRAIN_SEEDS and HELD_OUT_SEEDS never meet.
"""

import math
import random
from dataclasses import dataclass, field
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

TRAIN_SEEDS = range(0, 100_000_000)
HELD_OUT_SEEDS = range(900_000_000, 900_100_000)

COLOURS = {
    "red": (220, 35, 35), "green": (40, 165, 60), "blue": (40, 80, 220), "yellow": (245, 215, 30),
    "purple": (140, 50, 175), "orange": (250, 135, 20), "black": (25, 25, 25),
}
SHAPES = ("ball", "square", "triangle", "star", "heart", "cross")
SIZES = {"big": (0.29, 0.33), "small": (0.19, 0.22)}  # diameter as a share of the shorter side
WORDS = ("CAT", "DOG", "SUN", "CAR", "TREE", "FISH", "BIRD", "MOON", "BOAT", "STOP", "HELLO", "HOUSE")
CELLS = ("top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right")
SHORTEST = 3 / 4  # lowest ratio of the shorter side to the longer


@dataclass
class Thing:
    """One shape: what it is, its grid cell, and how it is drawn (fractions of the cell)."""

    colour: str
    shape: str
    size: str
    cell: int
    diameter: float
    shift: tuple = (0.0, 0.0)
    angle: float = 0.0
    rgb: tuple = None

    @property
    def row(self):
        return self.cell // 3

    @property
    def column(self):
        return self.cell % 3

    @property
    def name(self):
        return f"{self.colour} {self.shape}"


@dataclass
class Word:
    """A written word, one grid row high."""

    text: str
    colour: str
    row: int
    width: float
    shift: tuple = (0.0, 0.0)
    rgb: tuple = None


@dataclass
class Scene:
    """A whole picture. `aspect` is (width, height), the longer side being 1."""

    background: tuple = (245, 245, 245)
    aspect: tuple = (1.0, 1.0)
    things: list = field(default_factory=list)
    word: Word = None


def make_scene(seed, crowded=False):
    """The scene that belongs to `seed`; a crowded one, for the tower's training, fills most cells."""
    rng = random.Random(seed)
    aspect = (1.0, 1.0)
    if rng.random() < 0.5:
        ratio = rng.uniform(SHORTEST, 1)
        aspect = (1.0, ratio) if rng.random() < 0.6 else (ratio, 1.0)
    grey = rng.uniform(205, 255)
    scene = Scene(tuple(int(min(255, max(0, grey + rng.uniform(-10, 10)))) for _ in range(3)), aspect)
    colours = rng.sample(sorted(COLOURS), 5) if not crowded else rng.choices(sorted(COLOURS), k=9)
    cells = list(range(9))
    count = rng.randint(1, 4) if not crowded else rng.randint(5, 8)
    if rng.random() < 0.22:
        row = rng.randrange(3)
        count = rng.randint(0, 2) if not crowded else rng.randint(3, 5)
        cells = [c for c in cells if c // 3 != row]
        shift = (rng.uniform(-0.04, 0.04), rng.uniform(-0.1, 0.1))
        colour = colours.pop()
        scene.word = Word(rng.choice(WORDS), colour, row, rng.uniform(0.65, 0.88), shift, jitter(colour, rng))
    for cell in sorted(rng.sample(cells, count)):
        size = rng.choice(sorted(SIZES))
        shift = (rng.uniform(-0.08, 0.08), rng.uniform(-0.08, 0.08))
        colour = colours.pop()
        scene.things.append(Thing(colour, rng.choice(SHAPES), size, cell, rng.uniform(*SIZES[size]), shift,
                                  rng.uniform(-0.15, 0.15), jitter(colour, rng)))
    return scene


def jitter(colour, rng):
    """An RGB value near the named colour."""
    return tuple(min(255, max(0, value + rng.randint(-18, 18))) for value in COLOURS[colour])


# --- drawing ------------------------------------------------------------------------------------


def outline(shape):
    """The shape's corners inside the unit circle."""
    if shape == "ball":
        return [(math.cos(a * math.pi / 24), math.sin(a * math.pi / 24)) for a in range(48)]
    if shape == "square":
        return [(-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)]
    if shape == "triangle":
        return [(0, -0.95), (0.95, 0.8), (-0.95, 0.8)]
    if shape == "star":
        return [((1.08, 0.45)[i % 2] * math.sin(i * math.pi / 5), -(1.08, 0.45)[i % 2] * math.cos(i * math.pi / 5))
                for i in range(10)]
    if shape == "heart":
        turns = [i * math.pi / 24 for i in range(48)]
        return [(math.sin(t) ** 3 * 1.02,
                 -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 15.5 - 0.1)
                for t in turns]
    arm = 0.33
    return [(-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm),
            (arm, 1), (-arm, 1), (-arm, arm), (-1, arm), (-1, -arm), (-arm, -arm)]


OUTLINES = {shape: outline(shape) for shape in SHAPES}


@lru_cache(maxsize=512)
def font(size):
    """Pillow's own font at `size` pixels."""
    return ImageFont.load_default(size=size)


def place(thing, width, height):
    """Centre and radius of a thing in pixels of a width x height picture."""
    x = (thing.column + 0.5 + thing.shift[0]) * width / 3
    y = (thing.row + 0.5 + thing.shift[1]) * height / 3
    return x, y, thing.diameter * min(width, height) / 2


def word_box(word, width, height):
    """Font size and ink box (left, top, right, bottom) of a word in a width x height picture."""
    left, top, right, bottom = font(64).getbbox(word.text)
    size = int(64 * min(word.width * width / (right - left), 0.29 * height / (bottom - top)))
    left, top, right, bottom = font(size).getbbox(word.text)
    x = (0.5 + word.shift[0]) * width - (right - left) / 2
    y = (word.row + 0.5 + word.shift[1]) * height / 3 - (bottom - top) / 2
    return size, (x, y, x + right - left, y + bottom - top)


def render(scene, longer, supersample=1):
    """Draws the scene with `longer` pixels on its longer side."""
    width, height = (round(side * longer) for side in scene.aspect)
    w, h = width * supersample, height * supersample
    picture = Image.new("RGB", (w, h), scene.background)
    pen = ImageDraw.Draw(picture)
    for thing in scene.things:
        x, y, r = place(thing, w, h)
        c, s = math.cos(thing.angle), math.sin(thing.angle)
        pen.polygon([(x + r * (c * px - s * py), y + r * (s * px + c * py)) for px, py in OUTLINES[thing.shape]],
                    fill=thing.rgb or COLOURS[thing.colour])
    if scene.word:
        size, box = word_box(scene.word, w, h)
        inset = font(size).getbbox(scene.word.text)
        pen.text((box[0] - inset[0], box[1] - inset[1]), scene.word.text, font=font(size),
                 fill=scene.word.rgb or COLOURS[scene.word.colour], stroke_width=max(1, size // 32),
                 stroke_fill=scene.word.rgb or COLOURS[scene.word.colour])
    return picture.resize((width, height), Image.Resampling.BOX) if supersample > 1 else picture


# --- language -----------------------------------------------------------------------------------


def article(noun):
    """`noun` after its indefinite article."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def plural(shape):
    """The shape's name for several."""
    return shape + ("es" if shape == "cross" else "s")


def sentence(text):
    """First letter in upper case."""
    return text[0].upper() + text[1:]


def where(cell):
    """A cell as a phrase: "at the top left"."""
    name = CELLS[cell]
    return {"left": "on the left", "right": "on the right", "middle": "in the middle"}.get(name, f"at the {name}")


def facts(scene, rng=None):
    """One full sentence a thing, in reading order, or in the order `rng` deals."""
    lines = [f"{sentence(article(f'{t.size} {t.name}'))} {where(t.cell)}." for t in scene.things]
    if scene.word:
        lines.append(f"The word {scene.word.text} in {scene.word.colour}.")
    if rng:
        rng.shuffle(lines)
    return " ".join(lines)


def caption(scene):
    """The answer to "Describe this image."."""
    if len(scene.things) == 1 and not scene.word:
        return facts(scene)
    names = [article(t.name) for t in scene.things]
    if scene.word:
        names.append(f"the word {scene.word.text}")
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return sentence(listed) + "."


PHRASES = {
    "colour": ("What colour is the {}?", "What color is the {}?", "Which colour does the {} have?",
               "Tell me the colour of the {}."),
    "shape": ("What shape is the {} object?", "What is the {} object?", "Which shape is {}?", "What is the {} thing?"),
    "count": ("How many objects are there?", "How many shapes are in the picture?", "How many things do you see?",
              "Count the objects."),
    "number": ("How many {} are there?", "How many {} do you see?", "How many {} are in the picture?"),
    "position": ("Where is the {}?", "In which part of the picture is the {}?", "Where do you see the {}?"),
    "size": ("Is the {} big or small?", "How big is the {}?", "What size is the {}?"),
    "at": ("What is {}?", "What do you see {}?", "Which object is {}?"),
    "relation": ("What is {} the {}?", "What do you see {} the {}?", "Which object is {} the {}?"),
    "exist": ("Is there {}?", "Do you see {}?", "Is there {} in the picture?"),
    "compare": ("Is the {} {} the {}?",),
    "word": ("What word is written?", "What does it say?", "Read the word.", "Which word do you see?"),
    "ink": ("What colour is the word?", "What color is the word?", "In which colour is the word written?"),
    "describe": ("Describe this image.", "Describe the picture.", "What do you see?", "What is in the picture?"),
}
# How often each family is asked: in the evaluation, and in training, where what is hard to learn is asked more.
WEIGHTS = {"colour": 4, "shape": 4, "count": 3, "number": 2, "position": 4, "size": 2, "at": 3, "relation": 6,
           "exist": 3, "compare": 2, "word": 9, "ink": 4, "describe": 3}
TRAINING_WEIGHTS = {"colour": 4, "shape": 2, "count": 3, "number": 5, "position": 5, "size": 2, "at": 4, "relation": 6,
                    "exist": 5, "compare": 3, "word": 3, "ink": 1, "describe": 3}
DIRECTIONS = {"to the left of": lambda a, b: a.column < b.column, "to the right of": lambda a, b: a.column > b.column,
              "above": lambda a, b: a.row < b.row, "below": lambda a, b: a.row > b.row}


def refer(thing, scene, rng):
    """A phrase that means this thing alone: its shape where that is unique, else with its colour."""
    unique = sum(other.shape == thing.shape for other in scene.things) == 1
    return thing.shape if unique and rng.random() < 0.6 else thing.name


def ask(scene, family, rng):
    """A (question, answer) of the family about the scene, or None where the scene has none."""
    phrase = rng.choice(PHRASES[family])
    things, word = scene.things, scene.word
    if family == "describe":
        return phrase, caption(scene)
    if family in ("word", "ink"):
        return word and (phrase, word.text if family == "word" else sentence(word.colour))
    if not things:
        return None
    thing = rng.choice(things)
    if family == "colour":
        single = [t for t in things if sum(o.shape == t.shape for o in things) == 1]
        if not single:
            return None
        thing = rng.choice(single)
        return phrase.format(thing.shape), sentence(thing.colour)
    if family == "shape":
        return phrase.format(thing.colour), sentence(thing.shape)
    if family == "count":
        return None if word else (phrase, str(len(things)))
    if family == "number":
        shape = thing.shape if rng.random() < 0.75 else rng.choice(SHAPES)
        return phrase.format(plural(shape)), str(sum(t.shape == shape for t in things))
    if family == "position":
        return phrase.format(refer(thing, scene, rng)), sentence(CELLS[thing.cell])
    if family == "size":
        return phrase.format(refer(thing, scene, rng)), sentence(thing.size)
    if family == "at":
        return phrase.format(where(thing.cell)), sentence(article(thing.name))
    if family == "exist":
        return ask_existence(phrase, things, rng)
    if len(things) < 2:
        return None
    direction = rng.choice(list(DIRECTIONS))
    holds = DIRECTIONS[direction]
    if family == "relation":
        found = [t for t in things if holds(t, thing)]
        if len(found) != 1:
            return None
        return phrase.format(direction, refer(thing, scene, rng)), sentence(article(found[0].name))
    other = rng.choice([t for t in things if t is not thing])
    if not holds(thing, other) and not holds(other, thing):
        return None
    question = phrase.format(refer(thing, scene, rng), direction, refer(other, scene, rng))
    return question, "Yes" if holds(thing, other) else "No"


def ask_existence(phrase, things, rng):
    """A balanced yes/no question; a "no" differs from a thing of the scene in colour or shape."""
    thing = rng.choice(things)
    colour, shape = thing.colour, thing.shape
    present = rng.random() < 0.5
    if rng.random() < 0.3:
        if not present:
            shape = rng.choice([s for s in SHAPES if all(t.shape != s for t in things)])
        return phrase.format(article(shape)), "Yes" if present else "No"
    if not present:
        taken = {(t.colour, t.shape) for t in things}
        colour, shape = rng.choice([(c, s) for c in COLOURS for s in SHAPES
                                    if (c == colour) != (s == shape) and (c, s) not in taken])
    return phrase.format(article(f"{colour} {shape}")), "Yes" if present else "No"


def questions(scene, rng, count, weights=None):
    """`count` different (family, question, answer) rows about the scene, or fewer where it has few."""
    weights, rows = weights or WEIGHTS, {}
    for family in rng.choices(list(weights), list(weights.values()), k=4 * count):
        pair = ask(scene, family, rng)
        if pair and len(rows) < count:
            rows.setdefault(pair[0], (family, *pair))
    return list(rows.values())


def notes(scene, rng, per_thing=2):
    """(key, what is true of it) pairs in bare words: an attribute that means one thing, and its others in any order."""
    made = []
    for thing in scene.things:
        attributes = (thing.colour, thing.shape, CELLS[thing.cell], thing.size)
        unique = sum(other.shape == thing.shape for other in scene.things) == 1
        keys = attributes[:3] if unique else attributes[:3:2]
        for key in rng.sample(keys, min(len(keys), per_thing)):
            others = [a for a in attributes if a != key]
            rng.shuffle(others)
            made.append((" " + key, " " + " ".join(others)))
    return made + [(" " + plural(shape), str(sum(t.shape == shape for t in scene.things)))
                   for shape in rng.sample(SHAPES, 2)]


def held_out(count, per_scene=2):
    """(seed, picture, questions) of the first `count` scenes that training never sees."""
    for seed in HELD_OUT_SEEDS[:count]:
        scene = make_scene(seed)
        yield seed, render(scene, 224, supersample=3), questions(scene, random.Random(seed), per_scene)
