"""What to try next when a picture failed: pure.

Out of memory: once smaller, then with the parts resting in main memory. Black or not a number: once in float32. A
compiled UNet that fails: compiled more simply, then not at all. Each rung is climbed once, so it always ends.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from workers.engines.paint.plan import Limits

SHRINK = 0.7
"""Along each side: half the pixels."""
HALF_AGAIN_AFTER_S = 600.0
"""A picture can overflow float16 by its content. So float32, which is several times slower, is not kept for ever: half
precision is tried again after this long, once; when it fails again, float32 stays until the model is loaded anew."""


class Failure(enum.Enum):
    MEMORY = "out_of_memory"
    BLACK = "black_picture"
    COMPILED = "compiled"


@dataclass(frozen=True, slots=True)
class Attempt:
    """How the picture is tried."""

    width_px: int
    height_px: int
    float32: bool = False
    offload: bool = False
    shrunk: bool = False
    simpler: int = 0
    """How often the compiled UNet was given up for something simpler."""
    compromises: tuple[str, ...] = ()


def next_attempt(
    attempt: Attempt, failure: Failure, limits: Limits, *, half: bool, can_offload: bool
) -> Attempt | None:
    """The next thing to try, or None.

    `half`: it failed in half precision. `can_offload`: the device has a main memory to rest in, and does not yet.
    """
    if failure is Failure.COMPILED:
        return replace(attempt, simpler=attempt.simpler + 1) if attempt.simpler < 2 else None
    if failure is Failure.BLACK:
        if attempt.float32 or not half:
            return None
        return replace(attempt, float32=True, compromises=_with(attempt, "float32"))
    smaller = smaller_size(attempt.width_px, attempt.height_px, limits)
    if smaller and not attempt.shrunk:
        compromises = _with(attempt, "smaller")
        return replace(attempt, width_px=smaller[0], height_px=smaller[1], shrunk=True, compromises=compromises)
    if can_offload and not attempt.offload:
        return replace(attempt, offload=True, compromises=_with(attempt, "offloaded"))
    return None


def smaller_size(width_px: int, height_px: int, limits: Limits) -> tuple[int, int] | None:
    """About half the pixels in the same shape, down to the model's least; None where that would be no smaller."""
    if limits.fixed_size:
        return None
    multiple = limits.multiple_of
    scale = max(SHRINK, min(1.0, limits.least_px / min(width_px, height_px)))
    size = tuple(max(multiple, round(side * scale / multiple) * multiple) for side in (width_px, height_px))
    return (size[0], size[1]) if size[0] * size[1] < width_px * height_px else None


def _with(attempt: Attempt, compromise: str) -> tuple[str, ...]:
    return attempt.compromises if compromise in attempt.compromises else (*attempt.compromises, compromise)


@dataclass(slots=True)
class HalfPrecision:
    """Whether half precision may be used now, by how it did. Times are seconds of one monotonic clock."""

    failures: int = 0
    failed_at: float = 0.0

    def failed(self, now: float) -> None:
        """A picture was black in half precision and fine in float32."""
        self.failures += 1
        self.failed_at = now

    def allowed(self, now: float) -> bool:
        if self.failures == 0:
            return True
        return self.failures == 1 and now - self.failed_at >= HALF_AGAIN_AFTER_S
