"""Setting type: cleaning what was said, breaking it into lines, fitting it to a space, drawing it as masks."""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from workers.engines.base import EngineError
from workers.engines.paint.poster.pictograms import wheel_folder
from workers.engines.paint.poster.press import Mask

FONTS = Path(__file__).parent.parent / "fonts"
DISPLAY = "Rubik-Black.ttf"
TEXT = "GolosText-SemiBold.ttf"
MEASURE_PX = 200
"""Widths are measured once at this size and scaled: advance widths grow linearly."""

LONGEST_TITLE = 140
"""Characters of a title worth reading at a glance; the rest is cut at a word."""

_KEEP_WITH_NEXT = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "in",
        "on",
        "at",
        "to",
        "by",
        "for",
        "and",
        "or",
        "и",
        "в",
        "во",
        "к",
        "ко",
        "с",
        "со",
        "у",
        "о",
        "об",
        "на",
        "по",
        "за",
        "из",
        "от",
        "до",
        "не",
        "а",
        "но",
    ]
)


@functools.lru_cache(maxsize=256)
def font(name: str, size_px: int) -> ImageFont.FreeTypeFont:
    """A face at a pixel size. Raises EngineError when the file is missing."""
    path = wheel_folder() / "webfonts" / name if name.startswith("fa-") else FONTS / name
    try:
        return ImageFont.truetype(str(path), max(size_px, 1))
    except OSError as error:
        raise EngineError("engine_failed", f"the poster painter cannot read its font {path.name}: {error}") from error


@functools.lru_cache(maxsize=8192)
def _drawable(character: str) -> bool:
    """Whether the display face has this character (a missing one would print as a box)."""
    if character in " \u00a0":
        return True
    face = font(DISPLAY, 32)
    return face.getmask(character).getbbox() is not None and bytes(face.getmask(character)) != _missing()


@functools.cache
def _missing() -> bytes:
    return bytes(font(DISPLAY, 32).getmask("\U000f1234"))


def clean(text: str, longest: int = LONGEST_TITLE) -> str:
    """One line of characters that the faces have; cut at a word with an ellipsis when longer than `longest`."""
    text = unicodedata.normalize("NFC", str(text)[: longest * 8])
    text = re.sub(r"\s+-\s+", " — ", text)
    spaced = (" " if c.isspace() else c for c in text)
    letters = (c if _drawable(c) else " " for c in spaced if unicodedata.category(c)[0] != "C")
    line = " ".join("".join(letters).split()).strip(" ,;:·-—")
    return cut(line, longest)


def cut(line: str, longest: int) -> str:
    """At most `longest` characters, ended by an ellipsis at a word's end where possible."""
    if len(line) <= longest:
        return line
    head = line[: max(longest - 1, 1)]
    space = head.rfind(" ")
    if space > longest * 0.5:
        head = head[:space]
    return head.rstrip(" ,;:.·-—") + "…"


def right_to_left(text: str) -> bool:
    """Whether the first strong letter runs right to left."""
    for character in text:
        direction = unicodedata.bidirectional(character)
        if direction in ("R", "AL"):
            return True
        if direction == "L":
            return False
    return False


def text_face(text: str) -> str:
    """The text face, or the display face where only it has the script (Hebrew, Arabic)."""
    return DISPLAY if any(unicodedata.bidirectional(c) in ("R", "AL") for c in text) else TEXT


@functools.lru_cache(maxsize=2048)
def measure(text: str, face: str) -> float:
    """Width of a line per pixel of type size."""
    return font(face, MEASURE_PX).getlength(text) / MEASURE_PX


@dataclass(frozen=True, slots=True)
class Setting:
    """Lines that fit a space."""

    size_px: int
    lines: tuple[str, ...]


def break_lines(text: str, count: int, face: str = DISPLAY) -> list[str]:
    """`text` in at most `count` lines as even as can be; small words stay with the one after them."""
    words: list[str] = []
    glue = False
    for word in text.split():
        if glue:
            words[-1] += "\u00a0" + word
        else:
            words.append(word)
        glue = word.lower() in _KEEP_WITH_NEXT and len(words[-1]) < 12
    count = min(count, len(words))
    if count <= 1:
        return [" ".join(words).replace("\u00a0", " ")]
    space = measure(" ", face)
    widths = [measure(w.replace("\u00a0", " "), face) for w in words]
    total = len(words)
    ends = np.cumsum([0.0, *widths])

    def width(start: int, stop: int) -> float:
        return float(ends[stop] - ends[start]) + space * (stop - start - 1)

    best: list[list[tuple[float, int]]] = [[(width(0, stop) if stop else 0.0, 0) for stop in range(total + 1)]]
    for line in range(1, count):
        row = [(float("inf"), 0)] * (total + 1)
        for stop in range(line + 1, total + 1):
            row[stop] = min((max(best[line - 1][s][0], width(s, stop)), s) for s in range(line, stop))
        best.append(row)
    stops, stop = [], total
    for line in range(count - 1, -1, -1):
        start = best[line][stop][1] if line else 0
        stops.append((start, stop))
        stop = start
    return [" ".join(words[a:b]).replace("\u00a0", " ") for a, b in reversed(stops)]


def fit(
    text: str,
    width_px: float,
    height_px: float,
    *,
    largest_px: float,
    smallest_px: float = 7,
    most_lines: int = 3,
    leading: float = 1.0,
    face: str = DISPLAY,
) -> Setting | None:
    """The largest setting of `text` in a space; text is cut when even the smallest does not fit.

    None when there is no text or no space at all.
    """
    if not text or width_px < smallest_px * 2 or height_px < smallest_px:
        return None
    for longest in (len(text), 90, 60, 40, 26, 16, 9):
        if longest > len(text):
            continue
        shorter = cut(text, longest)
        best: Setting | None = None
        for count in range(1, most_lines + 1):
            lines = break_lines(shorter, count, face)
            if len(lines) < count:
                break
            widest = max(measure(line, face) for line in lines)
            size = min(width_px / max(widest, 1e-6), height_px / (0.95 + leading * (len(lines) - 1)), largest_px)
            if best is None or size > best.size_px * 1.22:
                best = Setting(int(size), tuple(lines))
        comfortable = max(smallest_px, largest_px * 0.34 if longest > 26 else 0)
        if best is not None and best.size_px >= comfortable:
            return best
    return best if best is not None and best.size_px >= smallest_px else None


def line_of(items: list[str], width_px: float, size_px: int) -> str:
    """As many items as fit, separated by middle dots; the first is cut if it alone is too long."""
    kept: list[str] = []
    for item in items:
        trial = "  ·  ".join([*kept, item])
        if measure(trial, text_face(trial)) * size_px <= width_px:
            kept.append(item)
        elif not kept:
            for longest in range(min(len(item) - 1, 90), 4, -3):
                shorter = cut(item, longest)
                if measure(shorter, text_face(shorter)) * size_px <= width_px:
                    kept.append(shorter)
                    break
            break
    return "  ·  ".join(kept)


@functools.lru_cache(maxsize=256)
def ink_box(text: str, face: str, size_px: int) -> tuple[int, int, int, int]:
    """Where ink falls around the pen's starting point on the baseline: (left, top, right, bottom), pixels."""
    left, top, right, bottom = font(face, size_px).getbbox(text, anchor="ls")
    return int(left), int(top), int(right), int(bottom)


def letters(text: str, face: str, size_px: int) -> tuple[Mask, int, int]:
    """Text as a mask, and where its corner lies from the pen's starting point on the baseline (dx, dy)."""
    left, top, right, bottom = ink_box(text, face, size_px)
    image = Image.new("L", (max(right - left, 1) + 2, max(bottom - top, 1) + 2), 0)
    ImageDraw.Draw(image).text((1 - left, 1 - top), text, fill=255, font=font(face, size_px), anchor="ls")
    return np.asarray(image, dtype=np.float32) / 255, left - 1, top - 1


ICONS = "fa-solid-900.ttf"


@functools.lru_cache(maxsize=2048)
def shape_of(glyph: str, face: str = ICONS) -> tuple[float, float]:
    """Width and height of a glyph's ink per pixel of type size."""
    left, top, right, bottom = font(face, 512).getbbox(glyph, anchor="ls")
    return max(right - left, 1) / 512, max(bottom - top, 1) / 512


def glyph_mask(glyph: str, height_px: float, angle_deg: float = 0.0, face: str = ICONS, flip: bool = False) -> Mask:
    """A glyph whose ink is `height_px` tall before turning, cropped to its ink (and the turn's corners)."""
    size = max(round(height_px / shape_of(glyph, face)[1]), 2)
    mask, _, _ = letters(glyph, face, size)
    image = Image.fromarray((mask * 255).astype(np.uint8))
    image = image.crop(image.getbbox() or (0, 0, 1, 1))
    if flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if abs(angle_deg) > 0.05:
        image = image.rotate(angle_deg, Image.Resampling.BICUBIC, expand=True)
    return np.asarray(image, dtype=np.float32) / 255
