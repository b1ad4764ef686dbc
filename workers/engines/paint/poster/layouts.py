"""Which layout a scene gets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from workers.engines.paint.poster.layouts_diagonal import diagonal
from workers.engines.paint.poster.layouts_large import close_up, letter
from workers.engines.paint.poster.layouts_open import landscape, night, scene
from workers.engines.paint.poster.layouts_panels import panels
from workers.engines.paint.poster.layouts_type import type_only
from workers.engines.paint.poster.plan import Brief, Plan

LAYOUTS: dict[str, Callable[[Brief], Plan]] = {
    "scene": scene,
    "close-up": close_up,
    "diagonal": diagonal,
    "panels": panels,
    "night": night,
    "type": type_only,
    "letter": letter,
    "landscape": landscape,
}

WITHOUT_THINGS = ("type", "letter", "landscape")
"""Layouts that need no pictogram."""

MOOD_WEIGHTS: dict[str, dict[str, float]] = {
    "calm": {"scene": 4, "close-up": 2, "diagonal": 1, "panels": 2},
    "bright": {"scene": 3, "close-up": 2.5, "diagonal": 2, "panels": 2.5},
    "tense": {"scene": 1.5, "close-up": 2.5, "diagonal": 4.5, "panels": 1},
    "sad": {"scene": 4, "close-up": 3, "diagonal": 0.5, "panels": 1},
    "festive": {"scene": 3, "close-up": 1.5, "diagonal": 2.5, "panels": 3.5},
}


def choose_layout(
    *, things: int, has_title: bool, mood: str, time_of_day: str, previous: str, draw: np.random.Generator
) -> str:
    """A layout that suits, never the one before.

    `things`: how many have a pictogram. Night comes at night only; every other frame of a night takes another layout in
    night inks.
    """
    if things == 0:
        weights = {"type": 3.0, "landscape": 2.5, "letter": 2.0} if has_title else {"landscape": 1.0, "letter": 0.01}
    else:
        weights = dict(MOOD_WEIGHTS.get(mood, MOOD_WEIGHTS["calm"]))
        if things == 1:
            weights["close-up"] *= 1.6
            weights["panels"] *= 0.6
        elif things >= 3:
            weights["panels"] *= 1.5
        if time_of_day == "night":
            weights["night"] = 9.0
    weights.pop(previous, None)
    names = sorted(weights)
    shares = np.array([weights[name] for name in names], dtype=float)
    return names[int(draw.choice(len(names), p=shares / shares.sum()))]
