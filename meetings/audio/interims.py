"""Interims: when the next look at an unfinished utterance is worth its cost, and which of its words will stay.

Pure decisions; times in seconds, on any clock that only goes forward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from meetings.audio import SAMPLE_RATE_HZ

FIRST_AFTER_S = 0.7
"""Of speech: fewer words than that would be one, and often the wrong one."""
NEW_SOUND_S = 0.7
"""Between two interims of one stream: two to three words."""
COST_FACTOR = 3.0
"""A stream's interims take at most a third of a recogniser."""
WORTHLESS_S = 2.5
"""What costs this much comes once in 7.5 s or less: as late as the final of most sentences."""
ASK_AGAIN_AFTER_S = 60.0
"""A host that was too slow may have been busy, or another one comes."""


@dataclass(slots=True)
class InterimPace:
    """How often one stream may ask, by what its last interim cost the host."""

    cost_s: float = 0.0
    _asked_at: float = -math.inf
    _asked_until: int | None = None

    def is_due(self, *, now: float, speech_s: float, last_sample: int) -> bool:
        """Whether to look now at an utterance of which `speech_s` has come, up to `last_sample`."""
        if self._asked_until is None:
            enough = speech_s >= FIRST_AFTER_S
        else:
            enough = last_sample - self._asked_until >= NEW_SOUND_S * SAMPLE_RATE_HZ
        return enough and now - self._asked_at >= self._interval_s

    @property
    def is_worthless(self) -> bool:
        """Whether an interim costs so much that the final comes as soon."""
        return self.cost_s > WORTHLESS_S

    @property
    def _interval_s(self) -> float:
        return ASK_AGAIN_AFTER_S if self.is_worthless else COST_FACTOR * self.cost_s

    def asked(self, now: float, last_sample: int) -> None:
        self._asked_at, self._asked_until = now, last_sample

    def answered(self, cost_s: float) -> None:
        """It cost the host this much; infinite where the host cannot do it at all."""
        self.cost_s = cost_s

    def utterance_over(self) -> None:
        """The next interim is a first one."""
        self._asked_until = None


@dataclass(slots=True)
class StableText:
    """The interims of one utterance as they are shown: what was once called stable stays to the letter.

    A word is stable when two looks in a row agree on it and on all before it; never the last one, which may be half
    spoken. (Local agreement of two hypotheses: Liu et al., "Low-latency sequence-to-sequence speech recognition and
    translation by partial hypothesis selection", 2020.)
    """

    text: str = ""
    """As last shown."""
    _stable: list[str] = field(default_factory=list)
    _before: list[str] = field(default_factory=list)

    @property
    def stable(self) -> int:
        """How many leading characters of `text` will not change."""
        return len(" ".join(self._stable))

    def update(self, hypothesis: str) -> bool:
        """Take the next look in; whether there is something new to show. A look without words changes nothing."""
        words = hypothesis.split()
        if not words:
            return False
        shown = (self.text, self.stable)
        agreed = 0
        for new, old in zip(words[:-1], self._before, strict=False):
            if _letters(new) != _letters(old):
                break
            agreed += 1
        if agreed > len(self._stable):
            self._stable += words[len(self._stable) : agreed]
        self._before = words
        self.text = " ".join([*self._stable, *words[len(self._stable) :]])
        return (self.text, self.stable) != shown


def _letters(word: str) -> str:
    """What two looks must agree on: a comma or a capital comes and goes with the words after it."""
    return "".join(c for c in word.casefold() if c.isalnum()) or word
