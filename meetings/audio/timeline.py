"""Order: what is new in a message, and whether something is missing before it."""

from __future__ import annotations

from dataclasses import dataclass

from meetings.audio.frames import Samples


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """The new part of a message."""

    first_sample: int
    samples: Samples
    """Empty when everything was heard before."""
    gap: tuple[int, int] | None = None
    """Half-open range that never came, right before `first_sample`."""


class Timeline:
    """Knows which sample comes next. Repeats are dropped silently, partly repeated messages are trimmed."""

    def __init__(self, next_sample: int) -> None:
        self.next_sample = next_sample

    def place(self, first_sample: int, samples: Samples) -> Placed:
        """Take a message in and say what is new in it."""
        expected = self.next_sample
        fresh = samples[min(len(samples), max(0, expected - first_sample)) :]
        if not len(fresh):
            return Placed(expected, fresh)
        begin = max(first_sample, expected)
        self.next_sample = begin + len(fresh)
        return Placed(begin, fresh, gap=(expected, begin) if begin > expected else None)
