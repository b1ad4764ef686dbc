"""Layouts with one thing larger than life: close-up, letter."""

from __future__ import annotations

import numpy as np

from workers.engines.paint.poster import grounds, lettering, press
from workers.engines.paint.poster.grounds import flat
from workers.engines.paint.poster.inks import distance, fit_for_text, mix, oklch, with_light
from workers.engines.paint.poster.parts import (
    apart,
    column_text,
    figure_inks,
    row,
    under_ink,
)
from workers.engines.paint.poster.plan import Box, Brief, Figure, Plan, Subject
from workers.engines.paint.poster.press import Sheet


def close_up(brief: Brief) -> Plan:
    """One thing, so large that the sheet cannot hold it; the words in the space it leaves."""
    hero = brief.subjects[0]
    return _large(brief, "close-up", hero.pictogram.glyph, lettering.ICONS, brief.subjects[1:4])


def letter(brief: Brief) -> Plan:
    """No thing at all: the first letter of the title takes its place."""
    first = next((c for c in brief.title if c.isalnum()), brief.title[:1] or "·")
    return _large(brief, "letter", first.upper(), lettering.DISPLAY, [])


def _large(brief: Brief, layout: str, glyph: str, face: str, companions: list[Subject]) -> Plan:
    plan = Plan(layout)
    inks, draw, unit, margin = brief.inks, brief.draw, brief.unit, brief.margin
    width, height = brief.width, brief.height
    grounds_of = (
        [inks.sky, inks.back, inks.front, inks.sun, inks.pop] if not brief.night else [inks.key, inks.front, inks.back]
    )
    ground = grounds_of[int(draw.integers(len(grounds_of)))]
    ground = fit_for_text(ground, inks.paper, inks.key if not brief.night else inks.paper)
    shape_pool = [c for c in (inks.sun, inks.pop, inks.paper, inks.sky, inks.back) if distance(c, ground) > 0.14]
    shape_ink = shape_pool[int(draw.integers(min(3, len(shape_pool))))] if shape_pool else inks.paper
    side = 1.0 if brief.chance(0.5) else -1.0
    tall = brief.wide < 1.05
    shape_w, shape_h = lettering.shape_of(glyph, face)
    if tall:
        hero_h = min(height * 0.5, width * 0.92 * shape_h / shape_w)
        hero_w = hero_h * shape_w / shape_h
        box = Box(width * 0.5 + side * width * 0.06, height * 0.3, hero_w, hero_h)
        area = Box(width / 2, height * 0.3, width, height * 0.6)
    else:
        # The thing takes its half and a little more than the sheet's height, unless it is very wide.
        half = width * (0.54 if brief.wide > 1.3 else 0.5)
        hero_h = min(height * float(draw.uniform(0.9, 1.04)), half * 0.92 * shape_h / shape_w)
        hero_w = hero_h * shape_w / shape_h
        over = hero_w > half * 0.86
        inner = width / 2 + side * (width / 2 - half + 0.06 * width)
        cx = inner + side * hero_w / 2 if over else width / 2 + side * (width / 2 - half / 2)
        box = Box(cx, height * (0.5 + float(draw.uniform(-0.02, 0.05))), hero_w, hero_h)
        area = Box(width / 2 + side * (width / 2 - half / 2), height / 2, half, height)
    pool = [inks.key, inks.paper, inks.sun, inks.pop] if not brief.night else [inks.paper, inks.pop, inks.sun]
    ranked = sorted(pool, key=lambda c: -apart(c, [ground, shape_ink]))
    ink = ranked[0] if brief.chance(0.65) or apart(ranked[1], [ground, shape_ink]) < 0.22 else ranked[1]
    angle = float(draw.uniform(-7, 7)) if face == lettering.ICONS else float(draw.uniform(-4, 4))
    figure = Figure(
        glyph,
        Box(box.cx, box.cy, box.width, box.height, angle),
        ink,
        under_ink(brief, ink),
        face,
        hero=True,
        bleeds=True,
        light=-side,
    )
    plan.figures.append(figure)

    if tall:
        left, right, top, bottom = margin, width - margin, height * 0.6, height - 0.9 * margin
        align = "left"
    else:
        free = width - (area.width + margin * 0.55)
        x0, _, x1, _ = figure.box.bounds()
        left = margin if side > 0 else max(width - free, x1 + margin * 0.5)
        right = min(free, x0 - margin * 0.5) if side > 0 else width - margin
        align = "left" if side > 0 or brief.chance(0.6) else "right"
        top, bottom = margin, height - margin
    room = bottom - top
    target = min((right - left) / (len(companions) + 0.8) * 0.8, height * 0.19) if companions else 0.0
    kept = target * 1.25 if target > 30 * unit else 0.0
    blocks, dots, type_top, _ = column_text(
        brief,
        left=left,
        right=right,
        top=top + kept,
        bottom=bottom,
        largest=(118 if not tall else 80) * unit,
        align=align,
        most_lines=4 if not tall else 3,
    )
    plan.blocks, plan.dots = blocks, dots
    small: list[Figure] = []
    if kept and room > 0:
        # Companions stand on the words.
        some_inks = figure_inks(brief, [ground], len(companions))
        small = row(
            brief,
            companions,
            left=left,
            right=right,
            base=type_top - 9 * unit,
            target=target,
            tallest=target * 1.15,
            inks=some_inks,
            light=-side,
        )
        least = min((f.box.bounds()[0] for f in small), default=0.0)
        most = max((f.box.bounds()[2] for f in small), default=0.0)
        shift = left - least if align == "left" else right - most
        for f in small:
            f.box = Box(f.box.cx + shift, f.box.cy, f.box.width, f.box.height, 0.0)
            f.stands = False
    plan.figures += small
    radius = min(height * 0.47, area.width * 0.52) if not tall else min(area.width, area.height) * 0.44
    style = brief.pick("blob", "disc", "blob", "pair" if not brief.night else "disc")
    shape_at = (area.cx + side * (0.02 * width), height * 0.5 if not tall else area.cy)
    rayed = brief.mood in ("bright", "festive", "tense") and brief.chance(0.5)
    ray_ink = (
        mix(ground, with_light(ground, min(oklch(ground)[0] + 0.09, 0.95)), 1.0)
        if oklch(ground)[0] < 0.6
        else with_light(ground, oklch(ground)[0] - 0.045)
    )
    text_boxes = [b.box for b in blocks] + [f.box for f in small]
    dot_ink = with_light(ground, max(oklch(ground)[0] - 0.11, 0.12))

    plan.before.append(flat(brief, Box(width / 2, height / 2, width * 1.1, height * 1.1), ground))
    if rayed:
        plan.before += grounds.burst(brief, shape_at, ray_ink, int(draw.integers(14, 22)), cover=1.0)
    plan.before += grounds.sun(brief, *shape_at, radius, style=style, ink=shape_ink)

    def screen_over(sheet: Sheet) -> None:
        pitch = grounds.pitch_px(brief)
        x = np.linspace(0, 1, width, dtype=np.float32)[None, :]
        y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
        tone = np.clip((x if side > 0 else 1 - x) * 0.55 + y * 0.55 - 0.42, 0, 0.7)
        field = grounds.clearing(brief, text_boxes)
        if field is not None:
            tone = tone * field
        mask = press.halftone(
            tone.astype(np.float32), press.screen(width, height, pitch, 30 if side > 0 else 60), pitch
        )
        sheet.lay(mask, dot_ink, cover=0.9 if brief.night else 0.55, grain=0.8)

    plan.before.append(screen_over)
    return plan
