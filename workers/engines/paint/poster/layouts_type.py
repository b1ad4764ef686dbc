"""The layout of type alone."""

from __future__ import annotations

import numpy as np

from workers.engines.paint.poster import grounds, lettering, press
from workers.engines.paint.poster.grounds import flat
from workers.engines.paint.poster.inks import fit_for_text, mix
from workers.engines.paint.poster.parts import (
    DOT_PX,
    block,
    dots_width,
    line_size,
    moved,
    voice_dots,
)
from workers.engines.paint.poster.plan import Block, Box, Brief, Line, Plan
from workers.engines.paint.poster.press import Sheet


def type_only(brief: Brief) -> Plan:
    """The words themselves, as large as the sheet allows, printed over a loose shape."""
    plan = Plan("type")
    inks, draw, unit, margin = brief.inks, brief.draw, brief.unit, brief.margin
    width, height = brief.width, brief.height
    dark = brief.night or brief.chance(0.35)
    ground = (
        inks.key
        if dark
        else (
            inks.paper
            if brief.chance(0.5)
            else fit_for_text(inks.sky if brief.chance(0.5) else inks.pop, inks.key, inks.key)
        )
    )
    plan.before.append(flat(brief, Box(width / 2, height / 2, width * 1.1, height * 1.1), ground))
    size = line_size(brief)
    foot = height - margin
    dots = voice_dots(brief, width - margin, foot, DOT_PX * unit, room=width * 0.4)
    room = width - 2 * margin - (dots_width(dots) + size * 1.5 if dots else 0)
    text = lettering.line_of(brief.items, room, size) if brief.items else ""
    blocks: list[Block] = []
    bottom = foot
    if text:
        line = block("line", [(text, lettering.text_face(text), size)], left=margin, top=0, width=room)
        if line is not None:
            moved(line, 0, foot - line.box.height)
            blocks.append(line)
            bottom = foot - line.box.height - 0.9 * size
            for dot in dots:
                dot.cy = line.box.cy
    elif dots:
        bottom = foot - 2 * DOT_PX * unit - size * 0.6
    plan.dots = dots

    lines = _justified(brief, width - 2 * margin, bottom - margin)
    if lines:
        wishes = [inks.paper, inks.pop] if dark else [inks.key]
        under = inks.sun if brief.chance(0.55) else None
        title = _stack(lines, margin)
        for _ in range(12):
            # Ink may stand taller than type sizes promise (Arabic, capitals with accents): then all sizes go down.
            if title.box.height <= bottom - margin:
                break
            lines = [(text, int(size * 0.9)) for text, size in lines]
            title = _stack(lines, margin)
        title.wishes, title.under = wishes, under
        if lettering.right_to_left(brief.title):
            for row in title.lines:
                start, _, end, _ = lettering.ink_box(row.text, row.face, row.size_px)
                row.x += title.box.width - (end - start)
            moved(title, width - 2 * margin - title.box.width, 0)
        # The stack hangs from the top margin or rests on the second line.
        y = margin if brief.chance(0.4) else max(bottom - title.box.height, margin)
        moved(title, 0, y - (title.box.cy - title.box.height / 2))
        blocks.append(title)
    plan.blocks = blocks

    at = (width * float(draw.uniform(0.5, 0.85)), height * float(draw.uniform(0.25, 0.6)))
    radius = min(width, height) * float(draw.uniform(0.36, 0.46))
    shape_ink = inks.sun if not dark else fit_for_text(mix(inks.sun, inks.key, 0.1), inks.paper, inks.paper)
    if not dark:
        shape_ink = fit_for_text(inks.sun, inks.key, inks.key)
    plan.before += grounds.sun(brief, *at, radius, style=brief.pick("blob", "disc", "blob"), ink=shape_ink)
    other = fit_for_text(inks.back, inks.paper, inks.paper) if dark else fit_for_text(inks.pop, inks.key, inks.key)
    clear = [b.box for b in blocks if b.kind == "line"]

    def second(sheet: Sheet) -> None:
        pitch = grounds.pitch_px(brief)
        x = np.linspace(0, 1, width, dtype=np.float32)[None, :]
        y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
        tone = np.clip((1 - x) * 0.5 + y * 0.5 - 0.34, 0, 0.62)
        field = grounds.clearing(brief, clear)
        if field is not None:
            tone = tone * field
        mask = press.halftone(tone.astype(np.float32), press.screen(width, height, pitch, 60), pitch)
        sheet.lay(mask, other, cover=1.0 if dark else 0.2, strength=0.85)

    plan.before.append(second)
    return plan


def _justified(brief: Brief, width: float, height: float) -> list[tuple[str, int]]:
    """Lines of the title, each as wide as the space: (text, size). The number of lines that fills the space best."""
    best: list[tuple[str, int]] = []
    best_fill = 0.0
    title = brief.title
    for longest in (len(title), 70, 44, 28):
        if longest > len(title):
            continue
        shorter = lettering.cut(title, longest)
        for count in range(1, 6):
            rows = lettering.break_lines(shorter, count)
            if len(rows) < count:
                break
            sizes = [min(width / max(lettering.measure(r, lettering.DISPLAY), 1e-6), height * 0.62) for r in rows]
            sizes = [min(s, min(sizes) * 2.3) for s in sizes]
            total = sum(sizes) * 0.9
            squeeze = min(1.0, height / max(total, 1e-6))
            sizes = [s * squeeze for s in sizes]
            fill = sum(s * s * lettering.measure(r, lettering.DISPLAY) for r, s in zip(rows, sizes, strict=True))
            if min(sizes) >= max(7, 40 * brief.unit if longest > 28 else 7) and fill > best_fill * 1.08:
                best, best_fill = [(r, int(s)) for r, s in zip(rows, sizes, strict=True)], fill
        if best:
            break
    return best


def _stack(lines: list[tuple[str, int]], left: float) -> Block:
    """Lines of different sizes, ink to ink, with a constant small gap."""
    placed: list[Line] = []
    y = 0.0
    right = 1.0
    gap = 0.1 * min(size for _, size in lines)
    for text, size in lines:
        left_ink, t, r, b = lettering.ink_box(text, lettering.DISPLAY, size)
        placed.append(Line(text, lettering.DISPLAY, size, -left_ink, y - t))
        y += (b - t) + gap
        right = max(right, r - left_ink)
    height = y - gap
    return Block("title", Box(left + right / 2, height / 2, right, height), placed)
