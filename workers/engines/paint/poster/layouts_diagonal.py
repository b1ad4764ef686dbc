"""The layout on a slope."""

from __future__ import annotations

import math

import numpy as np

from workers.engines.paint.poster import grounds, lettering, press, shapes, surroundings
from workers.engines.paint.poster.grounds import flat
from workers.engines.paint.poster.inks import distance, mix, oklch, with_light
from workers.engines.paint.poster.parts import (
    DOT_PX,
    block,
    figure_inks,
    line_size,
    size_of,
    stand,
    voice_dots,
)
from workers.engines.paint.poster.plan import Block, Box, Brief, Figure, Plan
from workers.engines.paint.poster.press import Sheet


def diagonal(brief: Brief) -> Plan:
    """A slope across the sheet: things climb it, the words follow it."""
    plan = Plan("diagonal")
    inks, draw, unit, margin = brief.inks, brief.draw, brief.unit, brief.margin
    width, height = brief.width, brief.height
    up = 1.0 if brief.chance(0.62) else -1.0
    steep = float(draw.uniform(9, 14)) if brief.wide > 1.1 else float(draw.uniform(6, 9))
    if brief.wide > 3 or brief.wide < 0.4:
        steep = 2.0
    angle = up * steep
    slope = math.tan(math.radians(angle))
    middle = height * float(draw.uniform(0.62, 0.67))

    def ground_y(x: float) -> float:
        return middle - (x - width / 2) * slope

    sky_ink = inks.sky if brief.chance(0.5) else mix(inks.paper, inks.pop, 0.55)
    if brief.night:
        sky_ink = inks.key
    second = inks.front
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))

    # Type lies in the thick end of the ground, turned with the slope.
    size = line_size(brief)
    thick_right = up > 0
    blocks: list[Block] = []
    for share in (0.6, 0.52, 0.44, 0.36, 0.28):
        text_w = width * share
        setting = lettering.fit(
            brief.title, text_w, height * 0.24 * min(share * 2, 1), largest_px=84 * unit, most_lines=2, leading=0.96
        )
        if setting is None:
            break
        rows = [(t, lettering.DISPLAY, setting.size_px) for t in setting.lines]
        title = block(
            "title",
            rows,
            left=0,
            top=0,
            width=text_w,
            align="right" if thick_right else "left",
            leading=0.96,
            wishes=[inks.paper] if brief.chance(0.6) else [inks.pop],
        )
        text = lettering.line_of(brief.items, text_w, size) if brief.items else ""
        line = (
            block(
                "line",
                [(text, lettering.text_face(text), size)],
                left=0,
                top=0,
                width=text_w,
                align="right" if thick_right else "left",
            )
            if text
            else None
        )
        if title is None:
            break
        gap = 0.95 * size
        whole_h = title.box.height + (gap + line.box.height if line else 0)
        # In the slope's frame: along it from the thick end's margin, below it by a fixed distance.
        below = 26 * unit
        whole_w = text_w
        edge = width - margin * 0.9 if thick_right else margin * 0.9
        # The far lower corner of the block must stay on the sheet: walk the near edge inwards until it does.
        fits = False
        for step in range(40):
            end = edge - (1 if thick_right else -1) * step * width * 0.01
            origin = (end, ground_y(end))
            start_along = -whole_w if thick_right else 0.0

            def place(along: float, under: float, at: tuple[float, float] = origin) -> tuple[float, float]:
                return at[0] + along * cos + under * sin, at[1] - along * sin + under * cos

            corners = [place(start_along + a, below + u) for a in (0, whole_w) for u in (0, whole_h)]
            if all(margin * 0.55 <= x <= width - margin * 0.55 and y <= height - margin * 0.6 for x, y in corners):
                fits = True
                break
        if not fits:
            continue
        for item, under in ((title, below), (line, below + title.box.height + gap)):
            if item is None:
                continue
            local = item.box.cx
            cx, cy = place(start_along + local, under + item.box.height / 2)
            item.box = Box(cx, cy, item.box.width, item.box.height, angle)
            blocks.append(item)
        break
    plan.blocks = blocks

    hero_side = -1.0 if thick_right else 1.0
    # The disc in the sky is the sun or the moon already.
    subjects = ([s for s in brief.subjects if s.lemma not in surroundings.DISCS] or brief.subjects)[:5]
    sun_at = (width * (0.5 - hero_side * float(draw.uniform(0.16, 0.3))), height * float(draw.uniform(0.22, 0.34)))
    light = -1.0 if sun_at[0] < width / 2 else 1.0
    colours = figure_inks(brief, [sky_ink, second, inks.back], len(subjects), unlike=inks.sun, clear_from=0.14)
    figures: list[Figure] = []
    if subjects:
        cx = width * (0.5 + hero_side * 0.23)
        room = ground_y(cx) - margin * 0.7
        glyph = subjects[0].pictogram.glyph
        w, h = size_of(glyph, min(room * 0.74, width * 0.34), width * 0.42, room * 0.9)
        lift = h * 0.16 if subjects[0].pictogram.poise == "sky" else 0.0
        figure = stand(
            brief,
            subjects[0],
            cx=cx,
            base=ground_y(cx) - lift + 5 * unit,
            size=(w, h),
            ink=colours[0],
            angle=angle,
            hero=True,
            light=light,
        )
        figures.append(figure)
        x0, _, x1, _ = figure.box.bounds()
        rest = subjects[1:]
        left, right = (x1 + width * 0.02, width - margin) if hero_side < 0 else (margin, x0 - width * 0.02)
        target = height * 0.25
        sizes = [
            size_of(s.pictogram.glyph, target * (1 - 0.07 * i), width * 0.24, height * 0.3) for i, s in enumerate(rest)
        ]
        gap = width * 0.03
        total = sum(w for w, _ in sizes) + gap * max(len(sizes) - 1, 0)
        shrink = min(1.0, max(right - left, 1) / total) if total else 1.0
        spread = (max(right - left, 0) - total * shrink) / (len(sizes) + 1) if sizes else 0
        x = left + spread if hero_side < 0 else right - spread
        for subject, (w, h), ink in zip(rest, sizes, colours[1:], strict=False):
            w, h = w * shrink, h * shrink
            at = x + w / 2 if hero_side < 0 else x - w / 2
            lift = h * 0.7 if subject.pictogram.poise == "sky" else 0.0
            figures.append(
                stand(
                    brief,
                    subject,
                    cx=at,
                    base=ground_y(at) - lift + 3 * unit,
                    size=(w, h),
                    ink=ink,
                    angle=angle,
                    light=light,
                )
            )
            x += (w + gap * shrink + spread) * (1 if hero_side < 0 else -1)
    plan.figures = figures
    for figure in figures:
        figure.stands = False
    # Dots rest in the corner of the thin end.
    room = width * 0.25
    if thick_right:
        dots = voice_dots(brief, margin + room, height - 0.8 * margin, DOT_PX * unit, room=room)
        shift = margin - min((d.cx - d.radius for d in dots), default=0)
        for dot in dots:
            dot.cx += shift
    else:
        dots = voice_dots(brief, width - margin, height - 0.8 * margin, DOT_PX * unit, room=room)
    if not any(d.box.grown(4 * unit).meets(b.box) for d in dots for b in blocks):
        plan.dots = dots

    rayed = brief.chance(0.6)
    ray_ink = mix(sky_ink, inks.paper, 0.5) if not brief.night else mix(inks.key, inks.sky, 0.35)
    style = brief.pick("disc", "blob", "rings", "disc")
    line_far = middle - height * float(draw.uniform(0.05, 0.09))

    plan.before.append(flat(brief, Box(width / 2, height / 2, width * 1.1, height * 1.1), sky_ink))
    if rayed:
        plan.before += grounds.burst(brief, sun_at, ray_ink, int(draw.integers(14, 24)), cover=1.0)
    plan.before += grounds.sun(
        brief,
        *sun_at,
        min(height * 0.24, width * 0.24),
        style=style,
        ink=inks.sun if distance(inks.sun, sky_ink) > 0.12 else inks.paper,
    )

    def sky_dots(sheet: Sheet) -> None:
        pitch = grounds.pitch_px(brief)
        x = np.linspace(0, 1, width, dtype=np.float32)[None, :]
        y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
        tone = np.clip((1 - y) * 0.7 + ((x if hero_side < 0 else 1 - x) - 0.5) * 0.6 - 0.12, 0, 0.72)
        mask = press.halftone(tone.astype(np.float32), press.screen(width, height, pitch, 45 + angle), pitch)
        sheet.lay(
            mask,
            with_light(sky_ink, max(oklch(sky_ink)[0] - 0.13, 0.15)) if not brief.night else inks.sky,
            cover=0.6,
            strength=0.9 if not brief.night else 0.6,
        )

    def wedge(sheet: Sheet) -> None:
        x = np.arange(width, dtype=np.float32)
        far = line_far - (x - width / 2) * np.float32(slope * 1.35)
        mask, top = shapes.below(far, height)
        sheet.lay(mask, inks.back if distance(inks.back, sky_ink) > 0.08 else inks.sun, 0, top)
        near = middle - (x - width / 2) * np.float32(slope)
        mask, top = shapes.below(near, height)
        sheet.lay(mask, second, 0, top)

    if not rayed or brief.night:
        plan.before.append(sky_dots)
    plan.before += grounds.weather(brief, middle)
    plan.before.append(wedge)
    return plan
