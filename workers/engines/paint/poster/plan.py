"""What goes where on a sheet, decided before anything is printed: plain values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from workers.engines.paint.poster import lettering
from workers.engines.paint.poster.inks import RGB, Inks
from workers.engines.paint.poster.pictograms import Pictogram
from workers.engines.paint.poster.press import Sheet

Point = tuple[float, float]
Pass = Callable[[Sheet], None]
"""One run of the press, in the plan's order."""

SMALLEST_FIGURE_PX = 7.0


@dataclass(frozen=True, slots=True)
class Subject:
    """A thing that has a pictogram."""

    pictogram: Pictogram
    label: str
    lemma: str


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, possibly turned around its centre. Pixels; degrees counter-clockwise."""

    cx: float
    cy: float
    width: float
    height: float
    angle_deg: float = 0.0

    def corners(self) -> list[Point]:
        """Top left, top right, bottom right, bottom left, turned."""
        cos, sin = math.cos(math.radians(self.angle_deg)), math.sin(math.radians(self.angle_deg))
        points = []
        for sx, sy in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)):
            x, y = sx * self.width, sy * self.height
            points.append((self.cx + x * cos + y * sin, self.cy - x * sin + y * cos))
        return points

    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the turned rectangle."""
        xs, ys = zip(*self.corners(), strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def grown(self, by: float) -> Box:
        return Box(self.cx, self.cy, max(self.width + 2 * by, 0.1), max(self.height + 2 * by, 0.1), self.angle_deg)

    def meets(self, other: Box) -> bool:
        """Whether the two overlap: no separating axis among the four sides' directions."""
        mine, theirs = self.corners(), other.corners()
        for angle in (self.angle_deg, self.angle_deg + 90, other.angle_deg, other.angle_deg + 90):
            ux, uy = math.cos(math.radians(angle)), -math.sin(math.radians(angle))
            a = [x * ux + y * uy for x, y in mine]
            b = [x * ux + y * uy for x, y in theirs]
            if max(a) <= min(b) + 1e-6 or max(b) <= min(a) + 1e-6:
                return False
        return True

    def inside(self, width: float, height: float, slack: float = 0.0) -> bool:
        left, top, right, bottom = self.bounds()
        return left >= -slack and top >= -slack and right <= width + slack and bottom <= height + slack


@dataclass(slots=True)
class Figure:
    """One pictogram (or one letter) on the sheet."""

    glyph: str
    box: Box
    ink: RGB
    under: RGB
    """Ink of the underprint that peeks out."""
    face: str = lettering.ICONS
    flip: bool = False
    hero: bool = False
    stands: bool = False
    """Casts a shadow on the ground."""
    afloat: bool = False
    """Printed before the near ground, which covers its foot."""
    bleeds: bool = False
    """May run off the sheet."""
    clip: Box | None = None
    """A panel that cuts it off."""
    light: float = -1.0
    """Side the light comes from: −1 left, 1 right."""


@dataclass(slots=True)
class Line:
    """One line of type inside a block: pen position of its start on the baseline, from the block's top left corner."""

    text: str
    face: str
    size_px: int
    x: float
    y: float


@dataclass(slots=True)
class Block:
    """Lines of type that belong together."""

    kind: str
    """`title` or `line`."""
    box: Box
    lines: list[Line]
    wishes: list[RGB] = field(default_factory=list)
    """Inks to prefer when they are readable on what is printed below."""
    under: RGB | None = None
    """Ink of an underprint, for large type."""


@dataclass(slots=True)
class Dot:
    """One voice."""

    cx: float
    cy: float
    radius: float
    colour: RGB

    @property
    def box(self) -> Box:
        return Box(self.cx, self.cy, 2 * self.radius, 2 * self.radius)


@dataclass(slots=True)
class Plan:
    """A whole sheet: `before` (sky, far ground), figures afloat, `between` (near ground), figures, type, dots."""

    layout: str
    figures: list[Figure] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    before: list[Pass] = field(default_factory=list)
    between: list[Pass] = field(default_factory=list)
    stock: RGB | None = None
    """Colour of the sheet when it is not the inks' paper."""

    def boxes(self) -> list[tuple[str, Box]]:
        """Everything that must not collide: (`figure`, `title`, `line` or `dot`, box)."""
        figures = [("figure", f.box) for f in self.figures]
        return figures + [(b.kind, b.box) for b in self.blocks] + [("dot", d.box) for d in self.dots]


@dataclass(slots=True)
class Brief:
    """A request, read: what there is to show, how large the sheet is, which inks and dice to use."""

    width: int
    height: int
    title: str
    items: list[str]
    """For the second line: names without a pictogram first, then phrases."""
    subjects: list[Subject]
    lemmas: frozenset[str]
    mood: str
    time_of_day: str
    voices: list[tuple[RGB, float]]
    inks: Inks
    draw: np.random.Generator
    previous_layout: str = ""

    @property
    def unit(self) -> float:
        """A measure for details: 1 on a sheet whose shorter side is 576 pixels."""
        return min(self.width, self.height, (self.width * self.height) ** 0.5 * 0.85) / 576

    @property
    def margin(self) -> float:
        return 0.072 * min(self.width, self.height)

    @property
    def wide(self) -> float:
        return self.width / self.height

    @property
    def night(self) -> bool:
        return self.inks.night

    def chance(self, share: float) -> bool:
        return bool(self.draw.random() < share)

    def pick(self, *choices: str) -> str:
        return choices[int(self.draw.integers(len(choices)))]


def settle(plan: Plan, gap: float) -> None:
    """Make the promise true that nothing collides: later figures shrink towards their foot, or go.

    Type and dots stay; figures are kept in order of importance (the first is the newest thing).
    """
    fixed = [box for kind, box in plan.boxes() if kind != "figure"]
    kept: list[Figure] = []
    for figure in plan.figures:
        for share in (1.0, 0.92, 0.84, 0.76, 0.68, 0.6, 0.5, 0.4, 0.3):
            box = shrunk(figure.box, share)
            around = box.grown(gap)
            if min(box.width, box.height) < SMALLEST_FIGURE_PX:
                break
            if not any(around.meets(other) for other in [*fixed, *(f.box for f in kept)]):
                figure.box = box
                kept.append(figure)
                break
    plan.figures = kept


def shrunk(box: Box, share: float) -> Box:
    """The box made smaller with the middle of its foot where it was."""
    if share == 1.0:
        return box
    turn = math.radians(box.angle_deg)
    lost = box.height * (1 - share) / 2
    return Box(
        box.cx + lost * math.sin(turn),
        box.cy + lost * math.cos(turn),
        box.width * share,
        box.height * share,
        box.angle_deg,
    )
