"""How many steps, what size and which decoder fit the deadline: decided from what the stages took before.

Pure but for `StageTimes`, which remembers.
"""

from __future__ import annotations

import math
import statistics
import threading
from collections import deque
from dataclasses import dataclass

from workers.messages import PaintRequest

MOST_STEPS = 100
SMALLEST_PX, LARGEST_PX = 64, 2048
KEPT = 9
"""Times that are remembered of each stage at each size: enough for a median that one slow picture does not move."""
MARGIN = 0.1
"""Of the deadline, kept free: stages vary, and the picture must be encoded."""
SHRINK_PX = 64
"""Sides of pictures that are made smaller to save time are multiples of this: UNets halve the latents (an eighth of the
picture) three times, and odd remainders show as seams."""
ATTENTION_PX = 1_460_000
"""Picture size at which self-attention, which grows with the square of the pixels, takes as much of a step as all the
rest, which grows with the pixels. Counted for the UNet of SD 1.5 (15 % of a step's operations at 512 x 512), which has
more of it than SD 2.1 and SDXL: for those a larger size is guessed to be a little slower than it is."""
STEP, TEXT, DECODE, DECODE_FULL = "step", "text", "decode", "decode_full"


def step_work(pixels: int) -> float:
    """Work of one step at this size, in pixels of a step without attention."""
    return pixels * (1 + pixels / ATTENTION_PX)


class StageTimes:
    """What each stage took lately, at each size: running medians. Any thread may call anything at any time.

    Stages: `text` (all prompts of a picture; size does not matter), `step` (one), `decode` (by the tiny autoencoder),
    `decode_full` (by the model's own). A painter that warms up or compiles should not teach what that took.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[str, dict[int, deque[float]]] = {}

    def learn(self, stage: str, pixels: int, ms: float) -> None:
        """A stage of a picture of so many pixels took this long. What is no duration is ignored."""
        if not math.isfinite(ms) or ms < 0 or (pixels <= 0 and stage != TEXT):
            return
        with self._lock:
            sizes = self._taken.setdefault(stage, {})
            sizes.setdefault(_size(stage, pixels), deque(maxlen=KEPT)).append(ms)

    def expect(self, stage: str, pixels: int) -> float | None:
        """How many ms it will probably take; None where nothing was ever measured.

        A size that was not measured is scaled from the nearest one that was: decoding by the pixels, a step by
        `step_work`.
        """
        wanted = _size(stage, pixels)
        with self._lock:
            sizes = self._taken.get(stage)
            if not sizes or (wanted <= 0 and stage != TEXT):
                return None
            known = wanted if wanted in sizes else min(sizes, key=lambda size: abs(math.log(size / wanted)))
            # Of two the lower: the first is the one that had to warm up.
            ms = statistics.median_low(sizes[known])
        if known == wanted:
            return ms
        return ms * (step_work(wanted) / step_work(known) if stage == STEP else wanted / known)


def _size(stage: str, pixels: int) -> int:
    return 0 if stage == TEXT else pixels


@dataclass(frozen=True, slots=True)
class Limits:
    """What a painter does by itself with the model that it has, and how far it may go below that."""

    own_steps: int
    least_steps: int
    """Fewer make no picture."""
    own_size: tuple[int, int]
    """Width and height, px."""
    least_px: int
    """The shorter side must not be shorter: models repeat themselves far below the size they learned."""
    multiple_of: int = 8
    """Sides must be multiples of it."""
    fixed_size: bool = False
    """The model was exported for `own_size` and can do no other."""
    has_tiny: bool = False
    """A tiny autoencoder is at hand."""
    has_full: bool = True
    """The model's own autoencoder is at hand."""
    own_tiny: bool = True
    """Of two autoencoders take the tiny one even when there is time."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one picture will be painted."""

    steps: int
    width_px: int
    height_px: int
    tiny_vae: bool
    expected_s: float | None
    """None where a stage was never measured."""
    compromises: tuple[str, ...] = ()
    """Codes of `PaintResult.compromises`: `fewer_steps`, `smaller`."""


def fitted_size(
    width_px: int,
    height_px: int,
    multiple_of: int = 8,
    smallest_px: int = SMALLEST_PX,
    largest_px: int = LARGEST_PX,
) -> tuple[int, int]:
    """The size nearest to this one whose sides are multiples and within bounds, and whose shape is kept.

    Only where no size of that shape is within the bounds (a ribbon of 10,000 x 10) the shape gives way.
    """
    low = -(-smallest_px // multiple_of) * multiple_of
    high = max(low, largest_px // multiple_of * multiple_of)
    width, height = max(1, width_px), max(1, height_px)
    # As fractions of whole numbers, for somebody may ask for 10**400 pixels.
    part, of = 1, 1
    if min(width, height) < low:
        part, of = low, min(width, height)
    if max(width, height) * part > high * of:
        part, of = high, max(width, height)

    def side(px: int) -> int:
        nearest = (2 * px * part + of * multiple_of) // (2 * of * multiple_of) * multiple_of
        return min(high, max(low, nearest))

    return side(width), side(height)


def plan(request: PaintRequest, limits: Limits, times: StageTimes) -> Plan:
    """Steps, size and decoder for a request.

    What the request fixes is kept, within bounds. Of what it leaves open the painter's own values are taken; when those
    would probably miss the deadline, first the tiny autoencoder decodes, then steps are saved, then pixels. Never more
    than the own values, however much time there is.
    """
    compromises: set[str] = set()
    asked_size = request.width_px > 0 or request.height_px > 0
    width, height = _wanted_size(request, limits, asked_size, compromises)
    asked_steps = request.steps > 0
    own_steps = _bounded_steps(request.steps if asked_steps else limits.own_steps)
    if request.steps > own_steps:
        compromises.add("fewer_steps")
    least_steps = own_steps if asked_steps else min(own_steps, _bounded_steps(limits.least_steps))
    tiny = limits.has_tiny and (limits.own_tiny or not limits.has_full)
    allowed_ms = request.deadline_s * 1000 * (1 - MARGIN)

    def too_long(steps: int, size: tuple[int, int]) -> bool:
        return _known_ms(times, steps, size, tiny) > allowed_ms

    size = (width, height)
    if too_long(own_steps, size) and times.expect(STEP, width * height) is not None:
        tiny = limits.has_tiny
        if not asked_size and not limits.fixed_size:
            size = next(
                (smaller for smaller in _smaller(size, limits) if not too_long(least_steps, smaller)),
                _smaller(size, limits)[-1],
            )
        steps = next((steps for steps in range(own_steps, least_steps, -1) if not too_long(steps, size)), least_steps)
    else:
        steps = own_steps
    if steps < own_steps:
        compromises.add("fewer_steps")
    if size != (width, height):
        compromises.add("smaller")
    return Plan(
        steps, size[0], size[1], tiny, _expected_s(times, steps, size, tiny), compromises=tuple(sorted(compromises))
    )


def _wanted_size(request: PaintRequest, limits: Limits, asked: bool, compromises: set[str]) -> tuple[int, int]:
    """The size if there is time enough."""
    own_width, own_height = limits.own_size
    width, height = own_width, own_height
    if asked:
        # A side that is left open follows from the own shape.
        width = request.width_px if request.width_px > 0 else max(1, request.height_px * own_width // own_height)
        height = request.height_px if request.height_px > 0 else max(1, request.width_px * own_height // own_width)
    if limits.fixed_size:
        if own_width * own_height < width * height:
            compromises.add("smaller")
        return own_width, own_height
    size = fitted_size(width, height, limits.multiple_of, SMALLEST_PX, LARGEST_PX)
    if asked and max(width, height) > LARGEST_PX:
        compromises.add("smaller")
    return size


def _bounded_steps(steps: int) -> int:
    return min(MOST_STEPS, max(1, steps))


def _smaller(size: tuple[int, int], limits: Limits) -> list[tuple[int, int]]:
    """This size and those of its shape below it, down to the least, in falling order."""
    shrink = math.lcm(SHRINK_PX, limits.multiple_of)
    shorter, longer = min(size), max(size)
    least = max(1, -(-limits.least_px // shrink))
    sizes = [size]
    for units in range((shorter - 1) // shrink, least - 1, -1):
        short = units * shrink
        long = max(short, round(short * longer / shorter / shrink) * shrink)
        if long <= longer:
            sizes.append((long, short) if size[0] >= size[1] else (short, long))
    return sizes


def _known_ms(times: StageTimes, steps: int, size: tuple[int, int], tiny: bool) -> float:
    """What is known of the time; a stage that was never measured counts as nothing, and is learned by doing it."""
    return sum(ms or 0.0 for ms in _stages_ms(times, steps, size, tiny))


def _expected_s(times: StageTimes, steps: int, size: tuple[int, int], tiny: bool) -> float | None:
    text, denoise, decode = _stages_ms(times, steps, size, tiny)
    if denoise is None or decode is None:
        return None
    return ((text or 0.0) + denoise + decode) / 1000


def _stages_ms(
    times: StageTimes, steps: int, size: tuple[int, int], tiny: bool
) -> tuple[float | None, float | None, float | None]:
    pixels = size[0] * size[1]
    step = times.expect(STEP, pixels)
    return (
        times.expect(TEXT, 0),
        None if step is None else step * steps,
        times.expect(DECODE if tiny else DECODE_FULL, pixels),
    )
