"""What the doctor says: plain values that can be spelled in JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from workers.hardware import Hardware
from workers.profiles import Reason
from workers.tested import Findings


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording whose words are known."""

    samples: np.ndarray = field(repr=False)
    """float32 in -1...1, (n,), 16 kHz, mono; one utterance."""
    text: str
    language: str = "en"


@dataclass(slots=True)
class Problem:
    """Something to know or to mend, as a code."""

    code: str
    values: dict[str, str] = field(default_factory=dict)
    broken: bool = True
    """False where everything works without it, only less well."""


@dataclass(slots=True)
class Painting:
    """What pictures will be like."""

    engine: str
    model: str
    device: str
    dtype: str
    demo: bool = False
    steps: int = 0
    width_px: int = 0
    height_px: int = 0
    picture_s: float | None = None
    load_s: float | None = None
    stages_ms: dict[str, float] = field(default_factory=dict)
    measured: bool = True
    """False: the model is not here, and its time was worked out from blocks of its shape."""


@dataclass(slots=True)
class Hearing:
    """What captions will be like."""

    engine: str
    model: str
    caption_s: float | None = None
    load_s: float | None = None
    words: int = 0
    errors: int = 0
    """Words of the clip that were wrong, missing or too many."""


@dataclass(slots=True)
class Report:
    """All that the doctor found and decided. Every value can be spelled in JSON."""

    machine: Hardware
    libraries: dict[str, str]
    """Version by name; empty where it is not installed."""
    installed: list[str]
    findings: Findings
    profile: str
    why: tuple[Reason, ...]
    painting: Painting | None = None
    could_paint: Painting | None = None
    """With the model that is worth fetching, where the poster paints for want of one."""
    hearing: Hearing | None = None
    problems: list[Problem] = field(default_factory=list)
    file: str = ""
    """Where it was stored."""

    @property
    def broken(self) -> bool:
        return any(problem.broken for problem in self.problems)


def words_of(text: str) -> list[str]:
    """Lower case, without punctuation."""
    return re.findall(r"[\w']+", text.lower())


def word_errors(spoken: list[str], heard: list[str]) -> int:
    """How many words were replaced, left out or added: the Levenshtein distance, as in the word error rate."""
    row = list(range(len(heard) + 1))
    for number, word in enumerate(spoken, 1):
        above, row[0] = row[0], number
        for place, other in enumerate(heard, 1):
            above, row[place] = row[place], min(above + (word != other), row[place] + 1, row[place - 1] + 1)
    return row[-1]
