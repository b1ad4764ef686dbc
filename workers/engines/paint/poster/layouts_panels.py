"""The layout of fields."""

from __future__ import annotations

import numpy as np

from workers.engines.paint.poster import grounds, press
from workers.engines.paint.poster.grounds import flat
from workers.engines.paint.poster.inks import RGB, distance, fit_for_text, oklch, with_light
from workers.engines.paint.poster.parts import (
    apart,
    column_text,
    line_size,
    size_of,
    stand,
    text_foot,
)
from workers.engines.paint.poster.plan import Box, Brief, Pass, Plan
from workers.engines.paint.poster.press import Sheet


def rect(left: float, top: float, right: float, bottom: float) -> Box:
    return Box((left + right) / 2, (top + bottom) / 2, max(right - left, 1.0), max(bottom - top, 1.0))


def _cells(brief: Brief, count: int) -> tuple[Box, list[Box], Box]:
    """Hero's panel, panels of the companions, panel of the type, all inside the sheet's border."""
    width, height = brief.width, brief.height
    edge = brief.margin * 0.42
    gap = max(brief.margin * 0.2, 2.0)
    x0, y0, x1, y1 = edge, edge, width - edge, height - edge
    w, h = x1 - x0, y1 - y0
    if brief.wide < 1.05:
        hero_h, small_h = h * 0.44, h * 0.2 if count else 0.0
        hero = rect(x0, y0, x1, y0 + hero_h)
        smalls = _split(rect(x0, y0 + hero_h + gap, x1, y0 + hero_h + gap + small_h), count, gap, across=True)
        return hero, smalls, rect(x0, y0 + hero_h + small_h + gap * (2 if count else 1), x1, y1)
    kind = brief.pick("side", "side", "stripes", "head") if count else brief.pick("side", "head")
    mirror = brief.chance(0.5)
    if kind == "stripes" and count <= 3:
        foot = h * 0.3
        hero_w = w * (0.46 if count > 1 else 0.58)
        hero = rect(x0, y0, x0 + hero_w, y1 - foot - gap)
        smalls = _split(rect(x0 + hero_w + gap, y0, x1, y1 - foot - gap), count, gap, across=True)
        text = rect(x0, y1 - foot, x1, y1)
    elif kind == "head":
        hero_w = w * 0.42
        head = h * (0.56 if count else 1.0)
        hero = rect(x0, y0, x0 + hero_w, y1)
        text = rect(x0 + hero_w + gap, y0, x1, y0 + head)
        smalls = _split(rect(x0 + hero_w + gap, y0 + head + gap, x1, y1), count, gap, across=True)
    else:
        hero_w = w * 0.5
        hero = rect(x0, y0, x0 + hero_w, y1)
        head = h * 0.44 if count else 0.0
        smalls = _split(rect(x0 + hero_w + gap, y0, x1, y0 + head), count, gap, across=True)
        text = rect(x0 + hero_w + gap, y0 + (head + gap if count else 0), x1, y1)
    if mirror:
        hero, text = (Box(width - b.cx, b.cy, b.width, b.height) for b in (hero, text))
        smalls = [Box(width - b.cx, b.cy, b.width, b.height) for b in smalls]
    return hero, smalls, text


def _split(area: Box, count: int, gap: float, *, across: bool) -> list[Box]:
    left, top, right, bottom = area.bounds()
    if count < 1:
        return []
    step = ((right - left) - gap * (count - 1)) / count
    return [rect(left + i * (step + gap), top, left + i * (step + gap) + step, bottom) for i in range(count)]


def panels(brief: Brief) -> Plan:
    """A sheet of fields, each with its own ink and thing; the words have a field of their own."""
    plan = Plan("panels")
    inks, draw, unit = brief.inks, brief.draw, brief.unit
    subjects = brief.subjects[:5]
    repeat = len(subjects) == 1
    count = min(len(subjects) - 1, 3 if brief.wide < 2.6 else 4) if not repeat else int(draw.integers(2, 4))
    hero_cell, small_cells, text_cell = _cells(brief, count)
    shown = [subjects[0], *(subjects[1 : count + 1] if not repeat else [subjects[0]] * count)]
    cells = [hero_cell, *small_cells]

    pool = [inks.sun, inks.pop, inks.sky, inks.back, inks.front, inks.key]
    if brief.night:
        pool = [inks.back, inks.front, inks.sky, inks.sun, with_light(inks.pop, 0.72)]
        plan.stock = inks.key
    order = list(draw.permutation(len(pool)))
    inks_of: list[RGB] = []
    for index in range(len(cells)):
        inks_of.append(pool[order[index % len(pool)]])
    text_ground = inks.key if not brief.night else inks.front
    choices = [c for c in (inks.paper, inks.front, inks.key) if c not in inks_of]
    if choices and not brief.night:
        text_ground = choices[int(draw.integers(len(choices)))]
    text_ground = fit_for_text(text_ground, inks.paper, inks.key if not brief.night else inks.paper)

    for index, (cell, ground, subject) in enumerate(zip(cells, inks_of, shown, strict=True)):
        hero = index == 0
        light = -1.0 if brief.chance(0.5) else 1.0
        plan.before.append(flat(brief, cell, ground))
        accents = sorted(
            (c for c in [*pool, inks.paper] if distance(c, ground) > 0.12), key=lambda c: -distance(c, ground)
        )
        shape_ink = accents[int(draw.integers(min(3, len(accents))))] if accents else inks.paper
        plan.before.append(_motif(brief, cell, ground, shape_ink, light))
        figure_pool = (
            [inks.key, inks.paper, inks.pop, inks.sun]
            if not brief.night
            else [inks.paper, inks.pop, inks.sun, inks.key]
        )
        ranked = sorted(figure_pool, key=lambda c: -apart(c, [ground, shape_ink]))
        ink = ranked[0] if brief.chance(0.7) or apart(ranked[1], [ground, shape_ink]) < 0.2 else ranked[1]
        side = min(cell.width, cell.height)
        share = 0.76 if hero else 0.64
        size = size_of(subject.pictogram.glyph, side * share, cell.width * 0.82, cell.height * 0.8)
        angle = float(draw.uniform(-3, 3)) if not repeat else (0.0, -9.0, 9.0, 0.0)[index]
        figure = stand(
            brief,
            subject,
            cx=cell.cx,
            base=cell.cy + size[1] / 2,
            size=size,
            ink=ink,
            angle=angle,
            hero=hero,
            light=light,
        )
        figure.clip, figure.stands = cell, False
        plan.figures.append(figure)

    plan.before.append(flat(brief, text_cell, text_ground))
    pad = min(brief.margin * 0.55, text_cell.width * 0.08, text_cell.height * 0.14)
    left, top, right, bottom = text_cell.bounds()
    if text_cell.width > 2.4 * text_cell.height:
        blocks, dots, _ = text_foot(
            brief,
            left=left + pad,
            right=right - pad,
            bottom=bottom - pad,
            title_height=text_cell.height - 2.6 * pad - line_size(brief),
            largest=96 * unit,
        )
    else:
        blocks, dots, _, _ = column_text(
            brief,
            left=left + pad,
            right=right - pad,
            top=top + pad,
            bottom=bottom - pad,
            largest=110 * unit,
            align="left",
            most_lines=3,
            items_lines=2,
        )
    plan.blocks, plan.dots = blocks, dots
    return plan


def _motif(brief: Brief, cell: Box, ground: RGB, ink: RGB, light: float) -> Pass:
    """What stands behind a panel's thing: a disc, an arch, a low half sun, stripes or dots."""
    kind = brief.pick("disc", "arch", "half", "dots", "bands")
    side = min(cell.width, cell.height)
    pitch = grounds.pitch_px(brief)

    def run(sheet: Sheet) -> None:
        left, top, right, bottom = (round(v) for v in cell.bounds())
        w, h = max(right - left, 1), max(bottom - top, 1)
        mask = np.zeros((h, w), dtype=np.float32)
        if kind == "dots":
            x = np.linspace(-1, 1, w, dtype=np.float32)[None, :]
            y = np.linspace(-1, 1, h, dtype=np.float32)[:, None]
            tone = np.clip(x * 0.4 * light + y * 0.5 + 0.2, 0, 0.8).astype(np.float32)
            mask = press.halftone(tone, press.screen(w, h, pitch, 45), pitch)
        elif kind == "bands":
            rows = np.arange(h, dtype=np.float32)
            period = max(side / 5.5, 4)
            mask += (np.clip(period * 0.25 - np.abs(rows % period - period / 2) + 0.5, 0, 1) * (rows > h * 0.5))[
                :, None
            ]
        else:
            radius = side * (0.42 if kind != "half" else 0.46)
            cy = {"disc": 0.5, "arch": 0.48, "half": 0.82}[kind] * h
            x = np.arange(w, dtype=np.float32)[None, :] - w / 2
            y = np.arange(h, dtype=np.float32)[:, None] - cy
            if kind == "arch":
                y = np.minimum(y, 0)
            mask = np.clip(radius - np.sqrt(x * x + y * y) + 0.5, 0, 1).astype(np.float32)
            if kind == "half":
                mask[round(cy) :] = 0
        sheet.lay(mask, ink, left, top, loose=False)
        if kind != "dots":
            x = np.linspace(-1, 1, w, dtype=np.float32)[None, :]
            y = np.linspace(-1, 1, h, dtype=np.float32)[:, None]
            tone = np.clip(-x * 0.45 * light + y * 0.55 - 0.15, 0, 0.6).astype(np.float32)
            dots = press.halftone(tone, press.screen(w, h, pitch, 30), pitch)
            sheet.lay(
                dots,
                with_light(ground, max(oklch(ground)[0] - 0.1, 0.1)),
                left,
                top,
                cover=0.4,
                loose=False,
                strength=0.8,
            )

    return run
