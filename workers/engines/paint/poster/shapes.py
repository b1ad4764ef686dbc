"""Shapes that are drawn rather than set: blobs, suns, ridges, rays, falls of snow. All give float32 masks, 0–1."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from workers.engines.paint.poster.press import Mask

Point = tuple[float, float]


def polygon(points: list[Point], width: int, height: int) -> Mask:
    """A filled polygon in a mask of this size, edges smoothed by drawing at twice the size."""
    image = Image.new("L", (max(width, 1) * 2, max(height, 1) * 2), 0)
    ImageDraw.Draw(image).polygon([(x * 2, y * 2) for x, y in points], fill=255)
    return np.asarray(image.reduce(2), dtype=np.float32) / 255


def polygons(shapes: list[list[Point]], width: int, height: int) -> Mask:
    """Several filled polygons in one mask."""
    image = Image.new("L", (max(width, 1) * 2, max(height, 1) * 2), 0)
    pen = ImageDraw.Draw(image)
    for points in shapes:
        pen.polygon([(x * 2, y * 2) for x, y in points], fill=255)
    return np.asarray(image.reduce(2), dtype=np.float32) / 255


def blob(radius_px: float, draw: np.random.Generator, loose: float = 0.09) -> Mask:
    """A pebble: a circle whose radius wanders with a few low harmonics. About 2.4 radii square."""
    side = max(round(radius_px * 2.5), 4)
    turns = np.linspace(0, 2 * math.pi, 220, endpoint=False)
    reach = np.full_like(turns, radius_px)
    for harmonic in (2, 3, 4):
        reach += radius_px * loose / harmonic * 1.6 * draw.normal() * np.cos(harmonic * turns + draw.uniform(0, 6.3))
    reach = np.minimum(reach, side / 2 - 1)
    centre = side / 2
    return polygon(
        [(centre + r * math.cos(t), centre + r * math.sin(t)) for r, t in zip(reach, turns, strict=True)], side, side
    )


def disc(radius_px: float) -> Mask:
    """A circle, two radii square and a pixel of air."""
    side = max(math.ceil(radius_px * 2) + 2, 3)
    axis = np.arange(side, dtype=np.float32) - (side - 1) / 2
    away = np.sqrt(axis[None, :] ** 2 + axis[:, None] ** 2)
    return np.clip(np.float32(radius_px) - away + np.float32(0.5), 0, 1)


def ring(radius_px: float, width_px: float) -> Mask:
    """A circle's outline; `radius_px` is its outer radius."""
    outer = disc(radius_px)
    side = outer.shape[0]
    axis = np.arange(side, dtype=np.float32) - (side - 1) / 2
    away = np.sqrt(axis[None, :] ** 2 + axis[:, None] ** 2)
    return outer * np.clip(away - np.float32(radius_px - width_px) + np.float32(0.5), 0, 1)


def striped_sun(radius_px: float, draw: np.random.Generator) -> Mask:
    """A disc whose lower half is cut by bands that widen downwards."""
    mask = disc(radius_px)
    side = mask.shape[0]
    bands = int(draw.integers(4, 7))
    y = np.arange(side, dtype=np.float32)
    for band in range(bands):
        at = side * (0.5 + 0.5 * (band + 0.55) / bands)
        thick = radius_px * 0.035 * (1 + band * 0.75)
        mask *= np.clip(np.abs(y - at) - thick / 2 + 0.5, 0, 1)[:, None]
    return mask


def crescent(radius_px: float, lean: float) -> Mask:
    """A young moon: a disc with another one cut out of it. `lean` −1…1 says to which side it opens."""
    outer = disc(radius_px)
    side = outer.shape[0]
    axis = np.arange(side, dtype=np.float32) - (side - 1) / 2
    dx, dy = 0.5 * radius_px * (1 if lean >= 0 else -1), -0.24 * radius_px
    away = np.sqrt((axis[None, :] - dx) ** 2 + (axis[:, None] - dy) ** 2)
    return outer * np.clip(away - np.float32(radius_px * 0.88) + 0.5, 0, 1)


def rays(width: int, height: int, centre: Point, count: int, turn: float = 0.0) -> Mask:
    """A sunburst over the whole sheet: `count` wedges from `centre`."""
    far = 2.0 * (width + height)
    cx, cy = centre
    wedges = []
    for index in range(count):
        start = turn + 2 * math.pi * index / count
        stop = start + math.pi / count
        wedges.append(
            [
                (cx, cy),
                (cx + far * math.cos(start), cy + far * math.sin(start)),
                (cx + far * math.cos(stop), cy + far * math.sin(stop)),
            ]
        )
    return polygons(wedges, width, height)


def below(ridge: np.ndarray, height: int) -> tuple[Mask, int]:
    """Everything under a ridge line (float (width,), y of each column): the mask and its top row."""
    top = max(int(ridge.min()) - 1, 0)
    rows = np.arange(top, max(height, top + 1), dtype=np.float32)
    mask = rows[:, None] - ridge[None, :].astype(np.float32)
    mask += np.float32(0.5)
    return np.clip(mask, 0, 1, out=mask), top


def ridge_line(kind: str, width: int, base: float, reach: float, draw: np.random.Generator) -> np.ndarray:
    """The upper edge of a ground, y per column (float32, (width,)).

    `base`: its middle height in pixels; `reach`: how far it may rise. Kinds: `hills`, `dunes`, `plain`, `slope`,
    `peaks`, `city`, `forest`, `waves`.
    """
    x = np.linspace(0, 1, width, dtype=np.float64)
    if kind == "peaks":
        return _peaks(x, base, reach, draw)
    if kind == "city":
        return _city(width, base, reach, draw)
    if kind == "forest":
        return _forest(x, base, reach, draw)
    if kind == "waves":
        count = draw.uniform(11, 16)
        crest = np.abs(np.sin(math.pi * (count * x + draw.uniform(0, 1))))
        return (base - reach * 0.2 * crest).astype(np.float32)
    if kind == "plain":
        return (base + reach * 0.03 * (x - 0.5) * draw.choice([-1, 1])).astype(np.float32)
    if kind == "slope":
        return (base + reach * 0.55 * (x - 0.5) * draw.choice([-1, 1])).astype(np.float32)
    line = np.full_like(x, base)
    for frequency, share in ((0.7, 0.34), (1.25, 0.26), (2.1, 0.1)) if kind == "hills" else ((0.55, 0.4), (0.95, 0.3)):
        line += reach * share * np.sin(2 * math.pi * (frequency * draw.uniform(0.85, 1.15) * x + draw.uniform(0, 1)))
    if kind == "dunes":
        at = draw.uniform(0.25, 0.75)
        line -= reach * 0.45 * np.where(x < at, (x / at) ** 2, np.exp(-(x - at) * 7))
    return line.astype(np.float32)


def _peaks(x: np.ndarray, base: float, reach: float, draw: np.random.Generator) -> np.ndarray:
    line = np.full_like(x, base)
    for _ in range(int(draw.integers(4, 7))):
        at, high, wide = draw.uniform(-0.05, 1.05), reach * draw.uniform(0.5, 1.25), draw.uniform(0.14, 0.27)
        line = np.minimum(line, base - high * (1 - np.abs(x - at) / wide))
    jag = np.interp(x, np.linspace(0, 1, 46), draw.normal(0, 1, 46))
    return (line + np.clip(base - line, 0, None) * 0.035 * jag).astype(np.float32)


def _city(width: int, base: float, reach: float, draw: np.random.Generator) -> np.ndarray:
    line = np.full(width, base, dtype=np.float32)
    at = -0.03 * width
    while at < width:
        wide = width * draw.uniform(0.035, 0.085)
        high = reach * draw.uniform(0.3, 1.15)
        left, right = max(round(at), 0), min(round(at + wide), width)
        line[left:right] = base - high
        if draw.random() < 0.3 and right - left > 8:
            middle, narrow = (left + right) // 2, max((right - left) // 4, 1)
            line[middle - narrow : middle + narrow] -= reach * 0.12
            line[middle : middle + max(width // 340, 1)] -= reach * draw.uniform(0.08, 0.22)
        at += wide + (width * 0.006 if draw.random() < 0.35 else 0)
    return line


def _forest(x: np.ndarray, base: float, reach: float, draw: np.random.Generator) -> np.ndarray:
    line = np.full_like(x, base)
    at = -0.02
    while at < 1.03:
        wide, high = draw.uniform(0.022, 0.04), reach * draw.uniform(0.55, 1.1)
        near = np.abs(x - at) / wide
        inside = near < 1
        tiers = 3
        step = np.floor(near * tiers) / tiers
        tree = base - high * (1 - step * 0.75 - (near * tiers - np.floor(near * tiers)) / tiers * 1.05)
        line = np.where(inside, np.minimum(line, tree), line)
        at += wide * draw.uniform(0.75, 1.35)
    return line.astype(np.float32)


def windows(ridge: np.ndarray, height: int, cell_px: float, draw: np.random.Generator) -> tuple[Mask, int]:
    """Lit windows under a city's ridge: the mask and its top row."""
    top = max(int(ridge.min()), 0)
    rows = max(height - top, 1)
    image = Image.new("L", (len(ridge), rows), 0)
    pen = ImageDraw.Draw(image)
    cell = max(cell_px, 3.0)
    for column in range(int(len(ridge) / cell)):
        x = column * cell + cell * 0.3
        inside = ridge[int(x) : int(x + cell * 0.6) + 1]
        if inside.size == 0:
            continue
        first = float(inside.max()) - top + cell * 0.7
        for row in range(int(max(rows - first, 0) / (cell * 1.25))):
            if draw.random() < 0.34:
                y = first + row * cell * 1.25
                pen.rectangle((x, y, x + cell * 0.42, y + cell * 0.6), fill=255)
    return np.asarray(image, dtype=np.float32) / 255, top


def speckles(width: int, height: int, count: int, size_px: float, draw: np.random.Generator) -> Mask:
    """Snow, stars or lights: round dots of varied size, denser at the top."""
    dots = []
    for _ in range(count):
        x, y = draw.uniform(0, width), height * draw.uniform(0, 1) ** 1.35
        r = size_px * (0.35 + draw.random() ** 3)
        dots.append(
            [(x + r * math.cos(a), y + r * math.sin(a)) for a in np.linspace(0, 2 * math.pi, 12, endpoint=False)]
        )
    return polygons(dots, width, height)


def sparkles(width: int, height: int, count: int, size_px: float, draw: np.random.Generator) -> Mask:
    """Four-pointed stars."""
    shapes = []
    for _ in range(count):
        x, y, r = draw.uniform(0, width), draw.uniform(0, height * 0.75), size_px * draw.uniform(0.6, 1.4)
        points = []
        for index in range(8):
            reach = r if index % 2 == 0 else r * 0.24
            points.append((x + reach * math.sin(index * math.pi / 4), y - reach * math.cos(index * math.pi / 4)))
        shapes.append(points)
    return polygons(shapes, width, height)


def strokes(width: int, height: int, count: int, length_px: float, lean: float, draw: np.random.Generator) -> Mask:
    """Rain: thin slanting strokes."""
    shapes = []
    for _ in range(count):
        x, y = draw.uniform(-0.1, 1.05) * width, draw.uniform(-0.1, 1) * height
        long = length_px * draw.uniform(0.5, 1.2)
        thick = max(length_px * 0.035, 0.8)
        shapes.append([(x, y), (x + thick, y), (x + thick + lean * long, y + long), (x + lean * long, y + long)])
    return polygons(shapes, width, height)


def confetti(width: int, height: int, count: int, size_px: float, draw: np.random.Generator) -> Mask:
    """Small turned rectangles, for a festive air."""
    shapes = []
    for _ in range(count):
        x, y, turn = draw.uniform(0, width), height * draw.uniform(0, 1) ** 1.2, draw.uniform(0, math.pi)
        long, thick = size_px * draw.uniform(0.6, 1.2), size_px * draw.uniform(0.25, 0.45)
        ux, uy = math.cos(turn), math.sin(turn)
        shapes.append(
            [
                (x + ux * a * long - uy * b * thick, y + uy * a * long + ux * b * thick)
                for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
            ]
        )
    return polygons(shapes, width, height)


def ripples(width: int, height: int, pitch_px: float, draw: np.random.Generator) -> Mask:
    """Broken wavy lines on water, fading downwards."""
    x = np.arange(width, dtype=np.float32)[None, :]
    y = np.arange(height, dtype=np.float32)[:, None]
    sway = pitch_px * 0.16 * np.sin(x * np.float32(2 * math.pi / (pitch_px * 2.7)) + draw.uniform(0, 6.3))
    phase = (y + sway) / np.float32(pitch_px)
    line = np.abs(phase - np.floor(phase) - np.float32(0.5)) * np.float32(pitch_px)
    row = np.floor(phase)
    gate = np.sin(x * np.float32(2 * math.pi / (pitch_px * 9.3)) + row * np.float32(2.399)) - np.float32(0.25)
    thick = np.float32(pitch_px * 0.085)
    mask = np.clip(thick - line + 0.5, 0, 1) * np.clip(gate * 6, 0, 1)
    return mask * np.clip(1.15 - y / max(height, 1), 0, 1)
