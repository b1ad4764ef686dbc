"""From an English word to a pictogram of Font Awesome Free, or to nothing: a wrong picture is worse than none."""

from __future__ import annotations

import functools
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

from workers.engines.base import EngineError
from workers.engines.paint.poster.words import IRREGULAR_PLURALS, MEASURES, NEVER, TABLE

MAX_WORDS = 5
"""Longer names are sentences; their last word says too little to be drawn."""


@dataclass(frozen=True, slots=True)
class Pictogram:
    """One glyph of the solid face."""

    name: str
    """Font Awesome's name of the icon."""
    glyph: str
    """The character to set in the solid face."""
    poise: str = "ground"
    """`ground`, `sky` or `water`: where such a thing is at home."""


def find_pictogram(english: str) -> Pictogram | None:
    """The pictogram for an English name (`house`, `wooden bridge`), or None when there is no safe one.

    The whole name is tried first, then its tail, because the head of an English compound comes last (`small red house`
    is a house, `bus station` is not a bus). What comes after `of` narrows the head
    (`city of London` is a city) unless the head only counts (`herd of cows` is cows).
    """
    words = english.strip().lower().replace("_", " ").split()
    if not words or len(words) > MAX_WORDS:
        return None
    table = _table()
    if len(words) == 1 and words[0] in table.emoji:
        return table.emoji[words[0]]
    head = words
    if "of" in words[1:-1]:
        cut = words.index("of", 1)
        counts = any(form in MEASURES.split() for form in _singulars(words[cut - 1]))
        head = words[cut + 1 :] if counts else words[:cut]
    for name in [words, *(head[start:] for start in range(len(head)))]:
        for form in _singulars(" ".join(name)):
            if form in table.never:
                return None
            if form in table.words:
                return table.words[form]
    return None


def _singulars(name: str) -> list[str]:
    """The name itself and what it may be the plural of, safest first."""
    first, _, last = name.rpartition(" ")
    forms = [last]
    if last in IRREGULAR_PLURALS:
        forms.append(IRREGULAR_PLURALS[last])
    elif last.endswith("ies") and len(last) > 4:
        forms.append(last[:-3] + "y")
    elif last.endswith(("ches", "shes", "xes", "sses")):
        forms.append(last[:-2])
    if last.endswith("s") and not last.endswith("ss") and len(last) > 3:
        forms.append(last[:-1])
    return [f"{first} {form}".strip() for form in forms]


@dataclass(frozen=True, slots=True)
class _Table:
    words: dict[str, Pictogram]
    emoji: dict[str, Pictogram]
    never: frozenset[str]


@functools.cache
def wheel_folder() -> Path:
    """Where the `fontawesomefree` wheel keeps its files. Raises EngineError when it is not installed."""
    spec = importlib.util.find_spec("fontawesomefree")
    if spec is None or spec.origin is None:
        raise EngineError("engine_failed", "the poster painter needs the fontawesomefree package: pip install it")
    return Path(spec.origin).parent / "static" / "fontawesomefree"


@functools.cache
def _table() -> _Table:
    """All words of the hand-made table, and the emoji that are the same picture as one of its icons."""
    icons = json.loads((wheel_folder() / "metadata" / "icons.json").read_bytes())
    words: dict[str, Pictogram] = {}
    emoji: dict[str, Pictogram] = {}
    for line in TABLE.replace("\n    ", " ").strip().splitlines():
        icon, _, names = line.partition(":")
        icon, _, poise = icon.strip().partition(" ")
        facts = icons.get(icon)
        if facts is None or "solid" not in facts["free"]:
            continue
        pictogram = Pictogram(icon, chr(int(facts["unicode"], 16)), poise or "ground")
        for name in names.split(","):
            words.setdefault(name.strip(), pictogram)
        for code in facts.get("aliases", {}).get("unicodes", {}).get("composite", []):
            if int(code, 16) > 0x2000:
                emoji.setdefault(chr(int(code, 16)), pictogram)
    return _Table(words, emoji, frozenset(" ".join(NEVER.split()).split(", ")))


def load_pictograms() -> int:
    """Read the table now rather than at the first picture; returns how many words it knows."""
    return len(_table().words)
