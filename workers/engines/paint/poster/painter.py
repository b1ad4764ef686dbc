"""The built-in painter: a designed poster of what was said, for hosts without any model weights."""

from __future__ import annotations

import resource
import sys
import time
import zlib

import numpy as np

from workers.engines.base import OnStep, Painted, Painter
from workers.engines.paint.poster import inks as colour
from workers.engines.paint.poster import lettering, press, stamp
from workers.engines.paint.poster.layouts import LAYOUTS, choose_layout
from workers.engines.paint.poster.pictograms import find_pictogram, load_pictograms
from workers.engines.paint.poster.plan import Brief, Plan, Subject, settle
from workers.messages import PaintRequest, Scene

STAGES = ("plan", "ground", "figures", "type")
"""Reported one after another through `on_step`."""

WIDTH_PX, HEIGHT_PX = 1024, 576
SMALLEST_PX, LARGEST_PX = 16, 4096
MOST_SUBJECTS = 6
MOST_ITEMS = 8


class PosterPainter(Painter):
    """Screen-printed posters from pictograms, type and the speakers' inks. The same request gives the same picture."""

    name = "poster"
    model = "poster-1"
    demo = True

    def _load(self) -> None:
        load_pictograms()
        press.load_textures()
        for face in (lettering.DISPLAY, lettering.TEXT, lettering.ICONS):
            lettering.font(face, lettering.MEASURE_PX)

    def _paint(self, request: PaintRequest, on_step: OnStep) -> Painted:
        clock = _Clock()

        def done(stage: str) -> None:
            clock.lap(stage)
            on_step(STAGES.index(stage) + 1, len(STAGES), None)

        brief, plan = plan_poster(request)
        done("plan")
        sheet = print_ground(brief, plan)
        done("ground")
        print_figures(sheet, brief, plan)
        done("figures")
        stamp.print_type(sheet, brief, plan.blocks, stamp.choose_text_inks(sheet, brief, plan.blocks))
        stamp.print_dots(sheet, brief, plan.dots)
        image = sheet.image()
        done("type")
        return Painted(
            image,
            request.seed,
            steps=1,
            layout=plan.layout,
            # It prints from pictograms and inks: nothing of it could lean on an image.
            compromises=["reference_ignored"] if request.references else [],
            timings_ms=clock.laps_ms,
            peak_memory_mb=_peak_memory_mb(),
        )


def print_ground(brief: Brief, plan: Plan) -> press.Sheet:
    """A sheet with sky, land and what floats between far and near."""
    sheet = press.Sheet(brief.width, brief.height, plan.stock or brief.inks.paper, brief.draw)
    for run in plan.before:
        run(sheet)
    for figure in plan.figures:
        if figure.afloat:
            stamp.print_figure(sheet, brief, figure)
    for run in plan.between:
        run(sheet)
    return sheet


def print_figures(sheet: press.Sheet, brief: Brief, plan: Plan) -> None:
    """What stands, flies or hangs on the finished ground."""
    for figure in plan.figures:
        if not figure.afloat:
            stamp.print_figure(sheet, brief, figure)


def plan_poster(request: PaintRequest) -> tuple[Brief, Plan]:
    """Everything about a poster except the printing: what to show, in which inks, and where."""
    brief, layout = read_request(request)
    plan = LAYOUTS[layout](brief)
    settle(plan, gap=3.0 * brief.unit)
    return brief, plan


def read_request(request: PaintRequest) -> tuple[Brief, str]:
    """The request as a brief for the layouts, and the layout's name."""
    scene = request.scene
    dice = np.random.default_rng([request.seed & 0xFFFFFFFF, max(scene.number, 0), _fingerprint(scene)])
    title = lettering.clean(scene.title)
    subjects, unknown = _subjects(scene)
    items = _items(title, unknown, scene)
    if not title and subjects:
        title = subjects[0].label
    elif not title and items:
        title = items.pop(0)
    palette = [c for c in map(colour.from_hex, scene.palette) if c is not None]
    if not palette:
        palette = colour.choose_palette(scene.mood, scene.time_of_day, dice)
    night = scene.time_of_day == "night"
    layout = choose_layout(
        things=len(subjects),
        has_title=bool(title),
        mood=scene.mood,
        time_of_day=scene.time_of_day,
        previous=scene.previous_layout,
        draw=dice,
    )
    voices = [(c, share.share) for share in scene.voices if (c := colour.from_hex(share.colour)) is not None]
    brief = Brief(
        width=min(max(request.width_px or WIDTH_PX, SMALLEST_PX), LARGEST_PX),
        height=min(max(request.height_px or HEIGHT_PX, SMALLEST_PX), LARGEST_PX),
        title=title,
        items=items,
        subjects=subjects,
        lemmas=frozenset(word for thing in scene.things for word in thing.english.lower().split()),
        mood=scene.mood,
        time_of_day=scene.time_of_day,
        voices=voices,
        inks=colour.assign(palette, mood=scene.mood, night=night, pick=dice),
        draw=dice,
        previous_layout=scene.previous_layout,
    )
    return brief, layout


def _subjects(scene: Scene) -> tuple[list[Subject], list[str]]:
    """Things with a pictogram (each pictogram once), and the names of those without."""
    subjects: list[Subject] = []
    unknown: list[str] = []
    for thing in scene.things:
        name = thing.english or (thing.label if scene.language == "en" else "")
        pictogram = find_pictogram(name) if name else None
        label = lettering.clean(thing.label or thing.english, 40)
        if pictogram is None:
            unknown.append(label)
        elif len(subjects) < MOST_SUBJECTS and all(s.pictogram.name != pictogram.name for s in subjects):
            subjects.append(Subject(pictogram, label, name.lower().split()[-1]))
    return subjects, [label for label in unknown if label]


def _items(title: str, unknown: list[str], scene: Scene) -> list[str]:
    """The second line: what no pictogram shows, then phrases, then names; nothing twice, nothing the title says."""
    items: list[str] = []
    said = title.casefold()
    names = [lettering.clean(thing.label, 40) for thing in scene.things]
    words = [*unknown, *(lettering.clean(phrase, 60) for phrase in scene.phrases)]
    for text in words + (names if len(words) < 2 else []):
        folded = text.casefold()
        if text and folded not in said and not any(folded in i.casefold() or i.casefold() in folded for i in items):
            items.append(text)
    return items[:MOST_ITEMS]


def _fingerprint(scene: Scene) -> int:
    """A number that differs between scenes, the same in every process."""
    words = [scene.title, *scene.phrases, *(f"{t.label}/{t.english}" for t in scene.things)]
    return zlib.crc32("\n".join(words).encode("utf-8", "replace"))


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)


class _Clock:
    """Times of the stages, in milliseconds."""

    def __init__(self) -> None:
        self.laps_ms: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps_ms[name] = round((now - self._last) * 1000, 2)
        self._last = now
