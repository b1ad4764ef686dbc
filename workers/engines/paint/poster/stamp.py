"""Printing what a plan has placed: figures with underprint, shading and shadow; type; dots."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from workers.engines.paint.poster import lettering, press
from workers.engines.paint.poster.grounds import pitch_px
from workers.engines.paint.poster.inks import LARGE_CONTRAST, RGB, TEXT_CONTRAST, mix, oklch, with_light
from workers.engines.paint.poster.plan import Block, Brief, Dot, Figure
from workers.engines.paint.poster.press import Mask, Sheet


def print_figure(sheet: Sheet, brief: Brief, figure: Figure) -> None:
    """One pictogram: shadow on the ground, underprint, solid, shade away from the light, rim towards it."""
    box = figure.box
    mask = lettering.glyph_mask(figure.glyph, box.height, box.angle_deg, figure.face, figure.flip)
    x = round(box.cx - mask.shape[1] / 2)
    y = round(box.cy - mask.shape[0] / 2)
    mask, x, y = _clipped(sheet, figure, mask, x, y)
    if mask.size == 0:
        return
    size = math.sqrt(box.width * box.height)
    mask = press.spread(mask, min(size / 130, 2.4 * brief.unit + 0.4), x, y)
    if figure.stands and figure.clip is None:
        _shadow(sheet, brief, figure, mask, x, y)
    off = max(round(size * 0.026 + 1.2 * brief.unit), 1)
    sheet.lay(
        mask,
        figure.under,
        x + round(off * -figure.light),
        y + round(off * 0.85),
        cover=0.1 if not brief.night else 0.55,
    )
    sheet.lay(mask, figure.ink, x, y)
    if size > 40 * brief.unit:
        _shade(sheet, brief, figure, mask, x, y)


def _clipped(sheet: Sheet, figure: Figure, mask: Mask, x: int, y: int) -> tuple[Mask, int, int]:
    """Cut to the figure's panel and to the sheet, with a little air for plates that sit off their place."""
    air = 12
    left, top, right, bottom = (-air, -air, sheet.width_px + air, sheet.height_px + air)
    if figure.clip is not None:
        cl, ct, cr, cb = (round(v) for v in figure.clip.bounds())
        left, top, right, bottom = max(left, cl), max(top, ct), min(right, cr), min(bottom, cb)
    x0, y0 = max(x, left), max(y, top)
    x1, y1 = min(x + mask.shape[1], right), min(y + mask.shape[0], bottom)
    return mask[max(y0 - y, 0) : max(y1 - y, 0), max(x0 - x, 0) : max(x1 - x, 0)], x0, y0


def _shadow(sheet: Sheet, brief: Brief, figure: Figure, mask: Mask, x: int, y: int) -> None:
    """The figure's own shape laid flat on the ground, away from the light."""
    height, width = mask.shape
    flat = max(round(height * 0.085), 2)
    lean = -figure.light * height * 0.3
    wide = round(width + abs(lean))
    # Output (u, v) looks up the mask: v runs from the foot (0) upwards along the shadow.
    shift = 0.0 if lean >= 0 else -lean
    image = Image.fromarray((mask * 255).astype(np.uint8))
    slope = lean / flat
    cast = image.transform(
        (wide, flat),
        Image.Transform.AFFINE,
        (1, -slope, -shift, 0, -height / flat, height - 1),
        Image.Resampling.BILINEAR,
    )
    fade = np.linspace(1.0, 0.55, flat, dtype=np.float32)[:, None]
    shade = np.asarray(cast, dtype=np.float32) / 255 * fade
    ink = mix(brief.inks.key, brief.inks.front, 0.35)
    sheet.lay(shade, ink, x - round(shift), y + height - 2, cover=0.15, strength=0.5, grain=0.7)


def print_reflection(sheet: Sheet, brief: Brief, figure: Figure, waterline: float, foot: float) -> None:
    """A floating thing once more, upside down in the water between `waterline` and `foot`, broken into lines."""
    room = round(foot - waterline)
    if room < 8:
        return
    mask = lettering.glyph_mask(figure.glyph, figure.box.height, figure.box.angle_deg, figure.face, figure.flip)
    image = Image.fromarray((mask * 255).astype(np.uint8)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    height = min(round(mask.shape[0] * 0.55), round(room * 1.6))
    flipped = np.asarray(image.resize((mask.shape[1], max(height, 1))), dtype=np.float32) / 255
    flipped = flipped[:room]
    rows = flipped.shape[0]
    pitch = max(9.0 * brief.unit, 4)
    tone = np.linspace(0.85, 0.1, rows, dtype=np.float32)[:, None]
    flipped = flipped * press.halftone(tone, press.screen(flipped.shape[1], rows, pitch, 90, "line"), pitch)
    ink = mix(figure.ink, brief.inks.front, 0.35)
    sheet.lay(flipped, ink, round(figure.box.cx - flipped.shape[1] / 2), round(waterline), grain=0.8, strength=0.75)


def _shade(sheet: Sheet, brief: Brief, figure: Figure, mask: Mask, x: int, y: int) -> None:
    """Halftone on the side away from the light, a thin rim on the other: a flat shape gets a body."""
    height, width = mask.shape
    pitch = pitch_px(brief) * (0.72 if figure.hero else 0.6)
    light, _, _ = oklch(figure.ink)
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :] * np.float32(-figure.light)
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    threshold = press.screen(width, height, pitch, 45)
    if light > 0.45:
        tone = np.clip((across * 0.62 + down * 0.5) * 0.66 - 0.06, 0, 0.66)
        ink = with_light(figure.ink, light - 0.15)
    else:
        tone = np.clip((-across * 0.62 - down * 0.5) * 0.52 - 0.12, 0, 0.42)
        ink = with_light(figure.ink, light + 0.17, 1.15)
    dots = press.halftone(tone.astype(np.float32), threshold, pitch)
    dots *= mask
    sheet.lay(dots, ink, x, y, grain=0.6)
    rim = max(round(min(width, height) * 0.012), 1)
    if rim >= 2 and figure.hero:
        moved = np.zeros_like(mask)
        dx = rim if figure.light < 0 else -rim
        source = mask[: height - rim, max(-dx, 0) : width - max(dx, 0)]
        moved[rim:, max(dx, 0) : width - max(-dx, 0)] = source
        edge = np.clip(mask - moved, 0, 1)
        glow = with_light(figure.ink, min(light + 0.2, 0.97)) if light <= 0.8 else brief.inks.paper
        sheet.lay(edge, glow, x, y, strength=0.7)


def block_mask(block: Block) -> Mask:
    """A block's type as one mask, turned as the block is; its centre is the block's centre."""
    height, width = max(round(block.box.height), 1) + 4, max(round(block.box.width), 1) + 4
    mask = np.zeros((height, width), dtype=np.float32)
    for line in block.lines:
        glyphs, dx, dy = lettering.letters(line.text, line.face, line.size_px)
        x, y = round(line.x + dx) + 2, round(line.y + dy) + 2
        x0, y0 = max(x, 0), max(y, 0)
        x1, y1 = min(x + glyphs.shape[1], width), min(y + glyphs.shape[0], height)
        if x1 > x0 and y1 > y0:
            part = mask[y0:y1, x0:x1]
            np.maximum(part, glyphs[y0 - y : y1 - y, x0 - x : x1 - x], out=part)
    if abs(block.box.angle_deg) > 0.05:
        image = Image.fromarray((mask * 255).astype(np.uint8))
        image = image.rotate(block.box.angle_deg, Image.Resampling.BICUBIC, expand=True)
        mask = np.asarray(image, dtype=np.float32) / 255
    return mask


def worst_contrast(ground: np.ndarray, ink: RGB) -> float:
    """WCAG contrast of an ink with the printed colours `ground` (float32 (n, 3), sRGB): the 6th percentile,
    because single pinholes of the grain do not decide whether a letter is read."""

    def luminance(colours: np.ndarray) -> np.ndarray:
        colours = np.clip(colours, 0, 1)
        linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
        return linear @ np.array([0.2126, 0.7152, 0.0722])

    below, own = luminance(ground), float(luminance(np.array([ink]))[0])
    ratio = (np.maximum(below, own) + 0.05) / (np.minimum(below, own) + 0.05)
    return float(np.percentile(ratio, 6))


def choose_text_inks(sheet: Sheet, brief: Brief, blocks: list[Block]) -> list[RGB]:
    """An ink per block that is readable on what is printed below it; where none is, a strip is laid for it."""
    return [_text_ink(sheet, brief, block) for block in blocks]


def print_type(sheet: Sheet, brief: Brief, blocks: list[Block], inks: list[RGB]) -> None:
    """Type, large type with its underprint."""
    for block, ink in zip(blocks, inks, strict=True):
        mask = block_mask(block)
        x = round(block.box.cx - mask.shape[1] / 2)
        y = round(block.box.cy - mask.shape[0] / 2)
        size = block.lines[0].size_px
        large = size > 26 * brief.unit
        if large and block.under is not None:
            off = max(round(size * 0.035), 1)
            sheet.lay(mask, block.under, x + off, y + off, cover=0.85)
        if size > 60:
            mask = press.spread(mask, 0.9, x, y)
        sheet.lay(mask, ink, x, y, loose=False, grain=0.6 if large else 0.1)


def _text_ink(sheet: Sheet, brief: Brief, block: Block) -> RGB:
    """The first wished ink that is readable, else paper or key; lays a strip below the type when neither is."""
    inks = brief.inks
    ground = sheet.sample(block.box.grown(1.5 * brief.unit).corners())
    wanted = TEXT_CONTRAST if block.kind == "line" else LARGE_CONTRAST
    contrast = {c: worst_contrast(ground, c) for c in (*block.wishes, inks.paper, inks.key)}
    for ink in block.wishes:
        if contrast[ink] >= TEXT_CONTRAST:
            return ink
    for ink in sorted((inks.paper, inks.key), key=lambda c: -contrast[c]):
        if contrast[ink] >= wanted:
            return ink
    strip, ink = (inks.key, inks.paper) if contrast[inks.paper] > contrast[inks.key] else (inks.paper, inks.key)
    left, top, right, bottom = (round(v) for v in block.box.grown(5 * brief.unit).bounds())
    shape = (max(bottom - top, 1), max(right - left, 1))
    sheet.lay(np.ones(shape, np.float32), strip, left, top, grain=0.3, loose=False)
    return ink


def print_dots(sheet: Sheet, brief: Brief, dots: list[Dot]) -> None:
    """Voices in their own colours, each on a ring of paper where its colour would drown."""
    for dot in dots:
        ground = sheet.sample(dot.box.corners()).mean(axis=0)
        near = float(np.abs(ground - np.array(dot.colour)).max()) < 0.28
        side = math.ceil(dot.radius * 2) + 6
        axis = np.arange(side, dtype=np.float32) - (side - 1) / 2
        away = np.sqrt(axis[None, :] ** 2 + axis[:, None] ** 2)
        x, y = round(dot.cx - side / 2), round(dot.cy - side / 2)
        if near:
            whole = np.clip(dot.radius - away + 0.5, 0, 1)
            ring = brief.inks.paper if oklch(dot.colour)[0] < 0.75 else brief.inks.key
            sheet.lay(whole, ring, x, y, loose=False, grain=0.2)
        inner = dot.radius - (max(1.6 * brief.unit, 1.0) if near else 0)
        sheet.lay(np.clip(inner - away + 0.5, 0, 1), dot.colour, x, y, loose=False, grain=0.5)
