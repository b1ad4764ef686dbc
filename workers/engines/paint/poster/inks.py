"""Colour: OKLab, contrast, ready palettes, and which ink plays which part on a sheet.

OKLab and its matrices: Björn Ottosson, "A perceptual color space for image processing", 2020. Contrast: WCAG 2.2,
"relative luminance" and "contrast ratio".
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

import numpy as np

RGB = tuple[float, float, float]
"""sRGB, 0–1 each."""

TEXT_CONTRAST = 4.5
"""WCAG AA for small text."""

LARGE_CONTRAST = 3.2
"""WCAG AA for large type asks 3; a little more, because ink is grainy."""

_HEX = re.compile(r"#?([0-9a-fA-F]{6}|[0-9a-fA-F]{3})")


def from_hex(text: str) -> RGB | None:
    """`#rrggbb` or `#rgb` to RGB; None when it is not a colour."""
    match = _HEX.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        return None
    digits = match[1] if len(match[1]) == 6 else "".join(2 * d for d in match[1])
    red, green, blue = (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return red, green, blue


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _companded(value: float) -> float:
    value = min(max(value, 0.0), 1.0)
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055


def luminance(colour: RGB) -> float:
    """WCAG relative luminance, 0–1."""
    red, green, blue = (_linear(c) for c in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: RGB, other: RGB) -> float:
    """WCAG contrast ratio, 1–21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def oklch(colour: RGB) -> tuple[float, float, float]:
    """Lightness 0–1, chroma 0–0.4, hue in radians."""
    red, green, blue = (_linear(c) for c in colour)
    long = math.cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue)
    medium = math.cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue)
    short = math.cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue)
    light = 0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short
    a = 1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short
    b = 0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short
    return light, math.hypot(a, b), math.atan2(b, a)


def from_oklch(light: float, chroma: float, hue: float) -> RGB:
    """The inverse of `oklch`, chroma lowered until sRGB can show it."""
    for _ in range(24):
        a, b = chroma * math.cos(hue), chroma * math.sin(hue)
        long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
        medium = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
        short = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
        linear = (
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        )
        if all(-0.002 <= c <= 1.002 for c in linear):
            break
        chroma *= 0.9
    red, green, blue = (_companded(c) for c in linear)
    return red, green, blue


def distance(one: RGB, other: RGB) -> float:
    """Euclidean distance in OKLab; about 0.02 is just seen, 0.25 tells two shapes apart across a room."""
    l1, c1, h1 = oklch(one)
    l2, c2, h2 = oklch(other)
    return math.sqrt(
        (l1 - l2) ** 2 + (c1 * math.cos(h1) - c2 * math.cos(h2)) ** 2 + (c1 * math.sin(h1) - c2 * math.sin(h2)) ** 2
    )


def mix(one: RGB, other: RGB, share: float) -> RGB:
    """`share` of `other` in `one`, in sRGB."""
    red, green, blue = (a + (b - a) * share for a, b in zip(one, other, strict=True))
    return red, green, blue


def overprint(under: RGB, ink: RGB) -> RGB:
    """Transparent ink over another: multiplied."""
    red, green, blue = (a * b for a, b in zip(under, ink, strict=True))
    return red, green, blue


def with_light(colour: RGB, light: float, chroma_factor: float = 1.0) -> RGB:
    """The same hue at another OKLab lightness."""
    _, chroma, hue = oklch(colour)
    return from_oklch(light, chroma * chroma_factor, hue)


def fit_for_text(ground: RGB, light_ink: RGB, dark_ink: RGB, wanted: float = TEXT_CONTRAST + 1.1) -> RGB:
    """`ground`, moved in lightness by as little as makes one of the two inks readable on it."""
    light, chroma, hue = oklch(ground)
    for step in range(60):
        for candidate in (light - 0.012 * step, light + 0.012 * step):
            if 0.05 <= candidate <= 0.97:
                colour = from_oklch(candidate, chroma, hue)
                if max(contrast(colour, light_ink), contrast(colour, dark_ink)) >= wanted:
                    return colour
    return dark_ink


@dataclass(frozen=True, slots=True)
class Inks:
    """The parts that colours play on one sheet."""

    paper: RGB
    """Stock, and the colour of knock-outs and light type."""
    key: RGB
    """The darkest ink."""
    sun: RGB
    """The warm accent: the loose shape."""
    pop: RGB
    """The bright accent for companions and underprints."""
    sky: RGB
    """Light enough to carry a halftone."""
    back: RGB
    """Far ground."""
    front: RGB
    """Near ground; paper or key is readable on it."""
    night: bool = False
    """Paper and key have changed places: the sheet is dark."""

    def colours(self) -> list[RGB]:
        return [self.paper, self.key, self.sun, self.pop, self.sky, self.back, self.front]


PALETTES: dict[str, tuple[str, str]] = {
    # name: (moods, "paper key ink ink ink ink")
    "meadow": ("calm bright", "#f5eedc #22333b #e0533a #f6cf4c #5b8c51 #8fb8bc"),
    "plum evening": ("calm dusk", "#f6ede6 #2b1b3d #f08a3c #f7c56b #5d6b98 #c9b3cc"),
    "harbour": ("calm tense", "#f4ebd9 #1f2a44 #e4572e #f2b134 #3f8a87 #a9c7cf"),
    "riviera": ("bright", "#fff4e0 #0b3954 #ff6b4a #ffc145 #1e91a8 #bfd7c9"),
    "rose and pine": ("calm bright", "#fbefe6 #17342e #f0736f #f6bd60 #2f6b57 #a3c3ae"),
    "mustard and blue": ("bright tense", "#f7f0dc #14213d #e76f51 #e3ad2b #3d6fb4 #a9c6e3"),
    "fuchsia": ("festive dusk", "#f9eeea #231942 #e0457b #f8b195 #5e548e #9fc5c9"),
    "carnival": ("festive", "#fff6e9 #2d1e4f #ff4f79 #ffb400 #00979d #b8de8f"),
    "brick": ("tense", "#f1e6d6 #191a20 #c8372d #e9a23b #6e7f80 #c3c6b8"),
    "signal": ("tense", "#f3ead9 #171717 #d7261e #f0a202 #46606e #cdbfa3"),
    "grey sea": ("sad", "#efece4 #22303c #b8735a #d9b98c #55748c #b4c3c9"),
    "rain": ("sad", "#eeebe6 #2a2a3c #8b6f9c #c9b6a6 #5c7285 #b3bcc9"),
    "desert": ("calm dusk", "#fbeedb #3b1f2b #d1495b #edae49 #4f8a8b #e9c7a4"),
    "forest dusk": ("calm dusk", "#f3ead8 #1d2b20 #d96c3b #eac15c #44693d #b4c29a"),
    "cherry": ("bright festive", "#fdf1ee #3a2233 #e8637a #ffd27a #5f8f7d #b5d4dc"),
    "citrus": ("bright festive", "#fbf5df #16324f #f26b21 #f9c80e #2e8b6f #b9dcd2"),
}
"""For requests that bring no palette."""


def choose_palette(mood: str, time_of_day: str, pick: np.random.Generator) -> list[RGB]:
    """A ready palette that suits the mood: paper, key, then four inks."""
    wanted = "dusk" if time_of_day == "dusk" and mood == "calm" else mood
    suited = [colours for moods, colours in PALETTES.values() if wanted in moods.split()]
    suited = suited or [colours for _, colours in PALETTES.values()]
    colours = suited[int(pick.integers(len(suited)))]
    return [colour for colour in map(from_hex, colours.split()) if colour is not None]


def _paper_and_key(colours: list[RGB]) -> tuple[RGB, RGB]:
    """The lightest and darkest colours, taken to where stock and black should be."""
    lightest = max(colours, key=lambda c: oklch(c)[0])
    darkest = min(colours, key=lambda c: oklch(c)[0])
    paper, key = lightest, darkest
    light, chroma, hue = oklch(lightest)
    if light < 0.92 or chroma > 0.05:
        paper = from_oklch(0.95, min(chroma, 0.028), hue if chroma > 0.02 else 1.4)
    light, chroma, hue = oklch(darkest)
    if light > 0.36:
        key = from_oklch(0.27, min(chroma, 0.08), hue)
    return paper, key


def _accents(colours: list[RGB], paper: RGB, key: RGB, mood: str) -> list[RGB]:
    """At least four inks: those given, then kin of the first (tint, deep shade, warm neighbour)."""
    accents: list[RGB] = []
    for colour in colours:
        light, chroma, _ = oklch(colour)
        plain = chroma < 0.02 and (light > 0.9 or light < 0.3)
        is_paper_or_key = distance(colour, paper) < 0.07 or distance(colour, key) < 0.07
        if not plain and not is_paper_or_key and all(distance(colour, a) > 0.06 for a in accents):
            accents.append(colour)
    if not accents:
        accents.append(from_oklch(0.62, 0.15, 0.6))
    light, chroma, hue = oklch(accents[0])
    warm = 1.2 if abs(math.remainder(hue - 1.2, math.tau)) > 0.5 else 0.55
    for kin in (
        from_oklch(0.84, min(chroma, 0.06), hue),
        from_oklch(0.82, max(min(chroma, 0.13), 0.05), (hue + warm) / 2 if len(accents) > 1 else hue + 0.5),
        from_oklch(0.52, chroma * 0.75, hue - 0.25),
        from_oklch(0.68, chroma * 0.8, hue + 0.25),
    ):
        if len(accents) < 4 or not any(oklch(a)[0] > 0.76 for a in accents):
            accents.append(kin)
    if mood == "sad":
        accents = [with_light(a, oklch(a)[0] * 0.97, 0.72) for a in accents]
    return accents


def assign(palette: list[RGB], *, mood: str, night: bool, pick: np.random.Generator) -> Inks:
    """Give every colour its part. The same palette gives several castings, so that a series stays lively.

    `palette`: any number of colours, at least one.
    """
    paper, key = _paper_and_key(palette)
    accents = _accents(palette, paper, key, mood)

    def warmth(colour: RGB) -> float:
        _, chroma, hue = oklch(colour)
        return chroma * (1.0 + 0.9 * math.cos(hue - 0.75))

    by_warmth = sorted(accents, key=warmth, reverse=True)
    sun = by_warmth[int(pick.choice(min(2, len(by_warmth)), p=[0.72, 0.28] if len(by_warmth) > 1 else [1.0]))]
    rest = [a for a in accents if a is not sun]
    pop = max(rest, key=lambda c: oklch(c)[0] + 1.4 * oklch(c)[1] + 0.15 * float(pick.random()))
    rest = [a for a in rest if a is not pop]
    sky = max(rest, key=lambda c: oklch(c)[0] + 0.12 * float(pick.random()))
    if oklch(sky)[0] < 0.72:
        sky = with_light(sky, 0.76, 0.8)
    grounds = [a for a in rest if a is not sky] or [sky]
    back = grounds[int(pick.integers(len(grounds)))]
    others = [g for g in grounds if g is not back]
    if others:
        front = others[0]
        if oklch(front)[0] > oklch(back)[0]:
            back, front = front, back
    else:
        light, chroma, hue = oklch(back)
        front = back
        back = from_oklch(min(light + 0.16, 0.86), chroma * 0.85, hue + (0.22 if pick.random() < 0.5 else -0.22))
    front = fit_for_text(front, paper, key)
    inks = Inks(paper, key, sun, pop, sky, back, front)
    return _at_night(inks) if night else inks


def _at_night(inks: Inks) -> Inks:
    """The same inks on a dark sheet: grounds sink, accents glow."""
    _, _, key_hue = oklch(inks.key)
    _, sky_chroma, sky_hue = oklch(inks.sky)
    hue = sky_hue if sky_chroma > 0.03 else key_hue
    if math.cos(hue - 1.0) > 0.1:  # brown nights look like rust: warm hues go over to blue or violet
        hue = 4.75 if math.sin(hue - 1.0) < 0 else 4.35
    sky = from_oklch(0.5, 0.095, hue)
    deep = from_oklch(0.25, 0.06, hue)
    back = from_oklch(0.42, 0.07, oklch(inks.back)[2])
    front = fit_for_text(from_oklch(0.31, 0.055, oklch(inks.front)[2]), inks.paper, inks.paper, 8.0)
    pop = inks.pop if oklch(inks.pop)[0] > 0.75 else with_light(inks.pop, 0.82)
    sun = inks.sun if oklch(inks.sun)[0] > 0.6 else with_light(inks.sun, 0.68)
    return replace(inks, key=deep, sky=sky, back=back, front=front, pop=pop, sun=sun, night=True)
