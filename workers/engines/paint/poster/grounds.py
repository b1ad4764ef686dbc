"""Skies, suns and land: the printed world that figures stand in. Each function returns passes for the press."""

from __future__ import annotations

import numpy as np

from workers.engines.paint.poster import press, shapes, surroundings
from workers.engines.paint.poster.inks import RGB, mix, oklch, with_light
from workers.engines.paint.poster.plan import Box, Brief, Pass
from workers.engines.paint.poster.press import Sheet


def pitch_px(brief: Brief) -> float:
    """Distance of the halftone's dots."""
    return max(10.5 * brief.unit, 3.2)


def clearing(brief: Brief, boxes: list[Box]) -> np.ndarray | None:
    """1 far from the type, 0 behind it, soft between: keeps halftones out of small letters. Shape (height, width)."""
    if not boxes:
        return None
    field = np.ones((brief.height, brief.width), dtype=np.float32)
    soft = max(46 * brief.unit, 2)
    x = np.arange(brief.width, dtype=np.float32)
    y = np.arange(brief.height, dtype=np.float32)
    for box in boxes:
        left, top, right, bottom = box.bounds()
        dx = np.maximum(np.maximum(left - x, x - right), 0) / soft
        dy = np.maximum(np.maximum(top - y, y - bottom), 0) / soft
        near = dx[None, :] ** 2 + dy[:, None] ** 2
        np.minimum(field, np.clip(near * 1.2 - 0.15, 0, 1), out=field)
    return field


def flat(brief: Brief, box: Box, ink: RGB) -> Pass:
    """A plain rectangle of ink."""

    def run(sheet: Sheet) -> None:
        left, top, right, bottom = (round(v) for v in box.bounds())
        sheet.lay(np.ones((max(bottom - top, 1), max(right - left, 1)), np.float32), ink, left, top, loose=False)

    return run


def halftone_sky(brief: Brief, horizon: float, *, style: str, centre: tuple[float, float]) -> list[Pass]:
    """The sky in dots or lines. Styles: `fall` (dense above), `rise` (dense at the horizon), `glow` (thin around
    `centre`), `lines` (a line screen, dense above)."""
    pitch = pitch_px(brief) * (1.0 if style != "lines" else 1.25)
    angle = (
        float(brief.draw.choice([45, 30, 60, 15, 75]))
        if style != "lines"
        else float(brief.draw.choice([0, 90, -35, 35]))
    )
    high = float(brief.draw.uniform(0.66, 0.86))
    rows = min(max(round(horizon), 4), brief.height)

    def run(sheet: Sheet) -> None:
        y = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
        if style == "rise":
            tone: np.ndarray = high * 0.92 * y**1.3
        elif style == "glow":
            x = (np.arange(brief.width, dtype=np.float32)[None, :] - centre[0]) / brief.width
            yy = (np.arange(rows, dtype=np.float32)[:, None] - centre[1]) / brief.height
            away = np.sqrt(x * x + yy * yy * np.float32(0.7))
            tone = np.clip((away - 0.16) * 1.7, 0, high)
        else:
            tone = high * (1 - y) ** 1.15
        threshold = press.screen(brief.width, rows, pitch, angle, "line" if style == "lines" else "dot")
        mask = press.halftone(tone.astype(np.float32), threshold, pitch)
        sheet.lay(mask, brief.inks.sky, cover=1.0 if brief.night else 0.0, grain=0.8)

    return [run]


def sun(brief: Brief, cx: float, cy: float, radius: float, *, style: str, ink: RGB | None = None) -> list[Pass]:
    """The loose shape: `blob`, `disc`, `stripes`, `rings`, `pair` (two inks overprinted), `moon` or `crescent`."""
    inks = brief.inks
    ink = ink or inks.sun
    draw = brief.draw

    def put(
        sheet: Sheet, mask: press.Mask, colour: RGB, x: float, y: float, cover: float = 1.0, strength: float = 1.0
    ) -> None:
        sheet.lay(
            mask, colour, round(x - mask.shape[1] / 2), round(y - mask.shape[0] / 2), cover=cover, strength=strength
        )

    def run(sheet: Sheet) -> None:
        if style == "stripes":
            put(sheet, shapes.striped_sun(radius, draw), ink, cx, cy)
        elif style == "disc":
            put(sheet, shapes.disc(radius), ink, cx, cy)
        elif style == "rings":
            for index, share in enumerate((1.0, 0.72, 0.44)):
                colour = ink if index % 2 == 0 else inks.pop
                put(sheet, shapes.disc(radius * share), colour, cx, cy)
        elif style == "pair":
            shift = radius * 0.42
            put(sheet, shapes.blob(radius * 0.9, draw), inks.pop, cx - shift, cy + shift * 0.35)
            put(
                sheet,
                shapes.blob(radius * 0.8, draw),
                ink,
                cx + shift * 0.6,
                cy - shift * 0.2,
                0.25 if not brief.night else 1.0,
            )
        elif style == "crescent":
            put(sheet, shapes.crescent(radius, float(draw.choice([-1, 1]))), ink, cx, cy)
        elif style == "moon":
            mask = shapes.disc(radius)
            put(sheet, mask, ink, cx, cy)
            side = mask.shape[0]
            pitch = pitch_px(brief)
            x = np.linspace(-1, 1, side, dtype=np.float32)[None, :]
            y = np.linspace(-1, 1, side, dtype=np.float32)[:, None]
            tone = np.clip((x * 0.7 + y * 0.75) * 0.75 - 0.12, 0, 0.75)
            shade = press.halftone(tone, press.screen(side, side, pitch, 45), pitch) * mask
            put(sheet, shade, with_light(ink, max(oklch(ink)[0] - 0.16, 0.3)), cx, cy)
        else:
            put(sheet, shapes.blob(radius, draw), ink, cx, cy)

    return [run]


def burst(
    brief: Brief, centre: tuple[float, float], ink: RGB, count: int, *, cover: float = 0.0, strength: float = 1.0
) -> list[Pass]:
    """Rays over the whole sheet."""
    turn = float(brief.draw.uniform(0, 1))

    def run(sheet: Sheet) -> None:
        mask = shapes.rays(brief.width, brief.height, centre, count, turn)
        sheet.lay(mask, ink, cover=cover, strength=strength, grain=0.9)

    return [run]


def weather(brief: Brief, horizon: float) -> list[Pass]:
    """What is in the air: rain and snow when they were named, stars at night, confetti when festive."""
    passes: list[Pass] = []
    height = max(round(horizon), 4)
    inks, draw, unit = brief.inks, brief.draw, brief.unit
    area = brief.width * height / (1024 * 400)
    light = inks.paper

    def add(mask_of: object, ink: RGB, cover: float = 1.0) -> None:
        def run(sheet: Sheet) -> None:
            sheet.lay(mask_of(), ink, cover=cover, grain=0.5)  # type: ignore[operator]

        passes.append(run)

    if brief.night and not brief.lemmas & surroundings.RAINS:
        add(lambda: shapes.speckles(brief.width, height, min(int(70 * area) + 12, 220), 2.3 * unit + 0.4, draw), light)
        add(lambda: shapes.sparkles(brief.width, height, min(int(5 * area) + 3, 16), 8 * unit + 1, draw), light)
    if brief.lemmas & surroundings.SNOWS:
        ink = light if brief.night else mix(light, (1.0, 1.0, 1.0), 0.7)
        add(lambda: shapes.speckles(brief.width, height, min(int(110 * area) + 14, 300), 6.5 * unit + 0.6, draw), ink)
    elif brief.lemmas & surroundings.RAINS:
        ink = inks.sky if brief.night else with_light(inks.sky, min(oklch(inks.sky)[0] - 0.2, 0.55))
        add(lambda: shapes.strokes(brief.width, height, min(int(90 * area) + 10, 260), 44 * unit, -0.28, draw), ink)
    elif brief.mood == "festive":
        for ink in (inks.sun, inks.pop, inks.back):
            add(lambda: shapes.confetti(brief.width, height, min(int(15 * area) + 4, 60), 8.5 * unit + 0.6, draw), ink)
    return passes


def lands(brief: Brief) -> tuple[str, str]:
    """Kinds of the far and the near ridge, as the named things ask for; otherwise by lot."""
    lemmas = brief.lemmas
    calm = brief.mood in ("calm", "sad")
    far = (
        brief.pick("hills", "dunes", "hills", "slope", "plain")
        if calm
        else brief.pick("hills", "dunes", "slope", "hills")
    )
    near = brief.pick("hills", "hills", "dunes", "plain") if calm else brief.pick("hills", "slope", "dunes")
    if lemmas & surroundings.PEAKS:
        far = "peaks"
    elif lemmas & surroundings.CITIES:
        far, near = "city", brief.pick("plain", "hills")
    elif lemmas & surroundings.FORESTS:
        far = "forest"
    elif lemmas & surroundings.FIELDS:
        far, near = "hills", "dunes"
    if lemmas & surroundings.WATERS:
        near = "waves"
        far = far if far in ("peaks", "city", "forest") else brief.pick("hills", "dunes")
    return far, near


def far_land(brief: Brief, kind: str, base: float, reach: float) -> list[Pass]:
    """The far ridge, shaded with the near ink's dots."""
    ridge = shapes.ridge_line(kind, brief.width, base, reach, brief.draw)
    inks = brief.inks
    pitch = pitch_px(brief)
    angle = float(brief.draw.choice([20, 45, 70]))

    def run(sheet: Sheet) -> None:
        bottom = min(brief.height, round(base + reach * 1.6) + 4)
        mask, top = shapes.below(ridge, bottom)
        sheet.lay(mask, inks.back, 0, top)
        rows = mask.shape[0]
        tone = np.clip(np.linspace(-0.25, 0.62, rows, dtype=np.float32), 0, 1)[:, None]
        dots = press.halftone(tone, press.screen(brief.width, rows, pitch, angle), pitch)
        dots *= mask
        sheet.lay(dots, inks.front, 0, top, cover=1.0, strength=0.5)
        if kind == "city" and brief.time_of_day != "day":
            lit, lit_top = shapes.windows(ridge, round(base), 15 * brief.unit, brief.draw)
            sheet.lay(lit, inks.pop, 0, lit_top, grain=0.5)
        if kind == "peaks":
            teeth = max(brief.width // max(round(17 * brief.unit), 4), 4)
            jag = np.interp(
                np.linspace(0, teeth, brief.width), np.arange(teeth + 1), brief.draw.uniform(-1, 1, teeth + 1)
            )
            cap = base - reach * (0.62 - 0.085 * jag)
            caps = np.clip(cap[None, :] - np.arange(top, bottom)[:, None] + 0.5, 0, 1).astype(np.float32) * mask
            sheet.lay(caps, inks.paper, 0, top)

    return [run]


def near_land(brief: Brief, kind: str, base: float, reach: float, type_top: float) -> list[Pass]:
    """The near ground, down to the sheet's foot; water gets ripples above the type."""
    ridge = shapes.ridge_line(kind, brief.width, base, reach, brief.draw)
    inks = brief.inks

    def run(sheet: Sheet) -> None:
        mask, top = shapes.below(ridge, brief.height)
        sheet.lay(mask, inks.front, 0, top)
        if kind == "waves":
            start = round(base + 6 * brief.unit)
            rows = round(type_top - 8 * brief.unit) - start
            if rows > 6:
                glint = mix(inks.front, inks.paper if not brief.night else inks.sky, 0.55)
                sheet.lay(
                    shapes.ripples(brief.width, rows, max(17 * brief.unit, 5), brief.draw), glint, 0, start, grain=0.8
                )

    return [run]
