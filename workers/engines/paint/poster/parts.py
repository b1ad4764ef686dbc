"""Parts that layouts share: sizing figures, rows of companions, blocks of type, the voices' dots, choosing inks."""

from __future__ import annotations

import math

from workers.engines.paint.poster import lettering
from workers.engines.paint.poster.inks import RGB, distance, oklch
from workers.engines.paint.poster.plan import Block, Box, Brief, Dot, Figure, Line, Subject

DOT_PX = 15.0
"""Radius of the most talkative voice's dot, on a sheet whose shorter side is 576 pixels."""


def size_of(glyph: str, target_px: float, most_width: float, most_height: float) -> tuple[float, float]:
    """Width and height for a glyph to look `target_px` large: equal areas look equally large, not equal heights."""
    width, height = lettering.shape_of(glyph)
    scale = target_px / math.sqrt(width * height)
    scale = min(scale, most_width / width, most_height / height)
    return width * scale, height * scale


def apart(ink: RGB, behind: list[RGB]) -> float:
    """How clearly an ink stands out from everything behind it."""
    return min((distance(ink, colour) for colour in behind), default=1.0)


def figure_inks(
    brief: Brief, behind: list[RGB], count: int, *, unlike: RGB | None = None, clear_from: float = 0.2
) -> list[RGB]:
    """Inks for `count` figures on these grounds, varied, each at least `clear_from` (OKLab) apart from all of them.

    `unlike`: an ink that part of the figure will lie on; it may be near in lightness, but never the same.
    """
    inks = brief.inks
    pool = [inks.paper, inks.pop, inks.sun] if brief.night else [inks.key, inks.pop, inks.sun, inks.paper, inks.front]
    if unlike is not None:
        pool = [ink for ink in pool if distance(ink, unlike) > 0.1]
    scored = sorted(((apart(ink, behind), ink) for ink in pool), key=lambda pair: -pair[0])
    clear = [ink for score, ink in scored if score >= clear_from] or [scored[0][1]]
    loud = sorted(clear, key=lambda c: -oklch(c)[1])
    chosen: list[RGB] = []
    for index in range(count):
        if index == 0:
            chosen.append(scored[0][1] if brief.chance(0.6) else loud[0])
            continue
        others = [c for c in clear if c != chosen[-1]] or clear
        chosen.append(others[int(brief.draw.integers(min(len(others), 3)))])
    return chosen


def under_ink(brief: Brief, ink: RGB) -> RGB:
    """The underprint's ink: an accent that is not the figure's own."""
    inks = brief.inks
    options = [c for c in (inks.sun, inks.pop, inks.sky, inks.back) if distance(c, ink) > 0.12] or [inks.key]
    return options[0] if brief.chance(0.7) else options[-1]


def stand(
    brief: Brief,
    subject: Subject,
    *,
    cx: float,
    base: float,
    size: tuple[float, float],
    ink: RGB,
    angle: float = 0.0,
    hero: bool = False,
    light: float = -1.0,
) -> Figure:
    """A figure whose foot's middle is at (cx, base), upright against a ground turned by `angle` degrees."""
    width, height = size
    turn = math.radians(angle)
    box = Box(cx - height / 2 * math.sin(turn), base - height / 2 * math.cos(turn), width, height, angle)
    ground = subject.pictogram.poise != "sky"
    return Figure(
        subject.pictogram.glyph,
        box,
        ink,
        under_ink(brief, ink),
        hero=hero,
        stands=ground,
        light=light,
    )


def row(
    brief: Brief,
    subjects: list[Subject],
    *,
    left: float,
    right: float,
    base: float,
    target: float,
    tallest: float,
    inks: list[RGB],
    light: float,
    jitter: float = 0.0,
) -> list[Figure]:
    """Companions side by side on one ground, scaled together to fit between `left` and `right`, spread evenly."""
    room = right - left
    if not subjects or room < 8:
        return []
    swing = [1.0 + 0.16 * float(brief.draw.uniform(-1, 1)) for _ in subjects]
    sizes = [size_of(s.pictogram.glyph, target * k, room, tallest) for s, k in zip(subjects, swing, strict=True)]
    gap = max(0.16 * target, 4.0)
    total = sum(w for w, _ in sizes) + gap * (len(sizes) - 1)
    shrink = min(1.0, room / total)
    sizes = [(w * shrink, h * shrink) for w, h in sizes]
    gap = gap * shrink
    spare = room - sum(w for w, _ in sizes) - gap * (len(sizes) - 1)
    air = min(spare / (len(sizes) + 1), target * 0.45)
    x = left + (spare - air * (len(sizes) - 1)) * float(brief.draw.uniform(0.35, 0.65))
    figures = []
    for subject, (width, height), ink in zip(subjects, sizes, inks, strict=True):
        drop = float(brief.draw.uniform(-1, 1)) * jitter
        lean = float(brief.draw.uniform(-2.2, 2.2))
        figures.append(
            stand(
                brief,
                subject,
                cx=x + width / 2,
                base=base + drop,
                size=(width, height),
                ink=ink,
                angle=lean,
                light=light,
            )
        )
        x += width + gap + air
    return figures


def voice_dots(brief: Brief, right: float, bottom: float, largest: float, *, room: float) -> list[Dot]:
    """A dot per voice, the most talkative rightmost, areas as the talk times; their feet at `bottom`."""
    voices = sorted(brief.voices, key=lambda voice: voice[1])[-8:]
    if not voices or largest < 2.5:
        return []
    most = max(share for _, share in voices) or 1.0
    radii = [max(largest * math.sqrt(max(share, 0.0) / most), largest * 0.36) for _, share in voices]
    gap = largest * 0.55
    total = 2 * sum(radii) + gap * (len(radii) - 1)
    shrink = min(1.0, room / total)
    dots: list[Dot] = []
    x = right
    for (colour, _), radius in zip(reversed(voices), reversed(radii), strict=True):
        radius *= shrink
        dots.append(Dot(x - radius, bottom - largest, radius, colour))
        x -= 2 * radius + gap * shrink
    return dots


def dots_width(dots: list[Dot]) -> float:
    """From the leftmost dot's edge to the rightmost's."""
    return max(d.cx + d.radius for d in dots) - min(d.cx - d.radius for d in dots) if dots else 0.0


def block(
    kind: str,
    lines: list[tuple[str, str, int]],
    *,
    left: float,
    top: float,
    width: float,
    align: str = "left",
    leading: float = 1.0,
    wishes: list[RGB] | None = None,
    under: RGB | None = None,
) -> Block | None:
    """Lines (text, face, size) below each other; the box is the ink they cover, its top at `top`.

    `align`: `left`, `right` or `middle` within `width`.
    """
    if not lines:
        return None
    placed: list[Line] = []
    boxes = []
    baseline = 0.0
    for index, (text, face, size) in enumerate(lines):
        start, t, end, b = lettering.ink_box(text, face, size)
        if index == 0:
            baseline = top - t
        else:
            baseline += size * leading
        x = {"left": left - start, "right": left + width - end, "middle": left + (width - (end - start)) / 2 - start}[
            align
        ]
        placed.append(Line(text, face, size, x, baseline))
        boxes.append((x + start, baseline + t, x + end, baseline + b))
    x0, y0 = min(b[0] for b in boxes), min(b[1] for b in boxes)
    x1, y1 = max(b[2] for b in boxes), max(b[3] for b in boxes)
    for line in placed:
        line.x -= x0
        line.y -= y0
    box = Box((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)
    return Block(kind, box, placed, wishes or [], under)


def moved(item: Block, dx: float, dy: float, angle_deg: float = 0.0) -> Block:
    """The same block elsewhere."""
    box = item.box
    item.box = Box(box.cx + dx, box.cy + dy, box.width, box.height, angle_deg)
    return item


def line_size(brief: Brief) -> int:
    """Type size of the second line."""
    return max(round(23 * brief.unit), 7)


def text_foot(
    brief: Brief,
    *,
    left: float,
    right: float,
    bottom: float,
    title_height: float,
    largest: float,
    align: str = "left",
    most_lines: int = 2,
    wishes: list[RGB] | None = None,
    under: RGB | None = None,
    with_dots: bool = True,
) -> tuple[list[Block], list[Dot], float]:
    """Title, second line and dots with their foot at `bottom`; returns them and the y where the type begins.

    The dots keep the opposite end of the second line.
    """
    width = right - left
    size = line_size(brief)
    if lettering.right_to_left(brief.title):
        align = "right"
    dots = voice_dots(brief, right, bottom, DOT_PX * brief.unit, room=width * 0.4) if with_dots else []
    if align == "right" and dots:
        shift = left - min(d.cx - d.radius for d in dots)
        for dot in dots:
            dot.cx += shift
    blocks: list[Block] = []
    room = width - (dots_width(dots) + 0.6 * size * 2 if dots else 0)
    text = lettering.line_of(brief.items, room, size) if brief.items and size >= 7 else ""
    top = bottom
    if text:
        line_left = right - room if align == "right" else left
        line = block("line", [(text, lettering.text_face(text), size)], left=line_left, top=0, width=room, align=align)
        if line is not None:
            _, t, _, b = lettering.ink_box("Hxpдру", lettering.TEXT, size)
            descent = line.lines[0].y + b
            moved(line, 0, bottom - descent)
            cap = lettering.ink_box("H", lettering.TEXT, size)
            middle = line.box.cy - line.box.height / 2 + line.lines[0].y + cap[1] / 2
            for dot in dots:
                dot.cy = middle
            blocks.append(line)
            top = bottom + t - b - 0.72 * size
    elif dots:
        top = bottom - 2 * DOT_PX * brief.unit - 0.3 * size
    setting = lettering.fit(brief.title, width, title_height, largest_px=largest, most_lines=most_lines, leading=0.98)
    if setting is not None:
        lines = [(t, lettering.DISPLAY, setting.size_px) for t in setting.lines]
        title = block(
            "title", lines, left=left, top=0, width=width, align=align, leading=0.98, wishes=wishes, under=under
        )
        if title is not None:
            # A title without descenders may sit lower: its ink, not its font box, keeps the distance.
            moved(title, 0, top - title.box.height)
            blocks.append(title)
            top = title.box.cy - title.box.height / 2
    return blocks, dots, top


def column_text(
    brief: Brief,
    *,
    left: float,
    right: float,
    top: float,
    bottom: float,
    largest: float,
    align: str,
    most_lines: int,
    items_lines: int = 3,
) -> tuple[list[Block], list[Dot], float, float]:
    """A title stacked in a column, names below it one per line, dots at the foot.

    Returns also the type's top and foot.
    """
    size = line_size(brief)
    if lettering.right_to_left(brief.title):
        align = "right"
    width = right - left
    radius = DOT_PX * brief.unit
    dots = voice_dots(brief, left + width, bottom, radius, room=width)
    if dots and align == "left":
        shift = left - min(d.cx - d.radius for d in dots)
        for dot in dots:
            dot.cx += shift
    foot = bottom - (2 * radius + 0.9 * size if dots else 0)
    blocks: list[Block] = []
    names = [n for n in brief.items[:items_lines]]
    lines = []
    for name in names:
        text = lettering.line_of([name], width, size)
        if text:
            lines.append((text, lettering.text_face(text), size))
    room = foot - top
    while lines and len(lines) * size * 1.32 > room * 0.4:
        lines.pop()
    names_height = len(lines) * size * 1.32 + (1.15 * size if lines else 0)
    setting = lettering.fit(
        brief.title, width, max(room - names_height, 0), largest_px=largest, most_lines=most_lines, leading=0.96
    )
    y = foot
    if lines:
        names_block = block("line", lines, left=left, top=0, width=width, align=align, leading=1.32)
        if names_block is not None:
            y = foot - names_block.box.height
            moved(names_block, 0, y)
            blocks.append(names_block)
            y -= 1.1 * size
    if setting is not None:
        rows = [(t, lettering.DISPLAY, setting.size_px) for t in setting.lines]
        title = block("title", rows, left=left, top=0, width=width, align=align, leading=0.96)
        if title is not None:
            y -= title.box.height
            moved(title, 0, y)
            blocks.append(title)
    return blocks, dots, y, foot
