"""Is anybody heard? How long to wait for a recogniser, how far it is behind, and whether speech becomes words at all.

Pure decisions; times in seconds, on any clock that only goes forward.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

SHORTEST_PATIENCE_S = 8.0
LONGEST_PATIENCE_S = 60.0
PATIENCE_FACTOR = 4.0
"""Times the usual answer: utterances differ in length, and others wait in the same queue."""
UNKNOWN_ANSWER_S = 5.0
"""Taken for a host that has not answered yet: it may be loading its model."""
ANSWERS_KEPT = 8

NORMAL_WAIT_S = 2.5
"""From the end of speech to its words: until then nothing is late."""

WORDLESS_S = 20.0
"""Of speech without a word, and of the clock: only then something is wrong rather than slow."""
FORGET_SPEECH_S = 60.0
"""Without speech: whoever made the sound is done."""


@dataclass(slots=True)
class Patience:
    """How long a final may take before it is asked for again, learnt from the answers of this process."""

    _answers_s: deque[float] = field(default_factory=lambda: deque(maxlen=ANSWERS_KEPT))

    def answered(self, after_s: float) -> None:
        self._answers_s.append(after_s)

    @property
    def patience_s(self) -> float:
        # The median: one answer that came late because a host had died does not make the next death last longer.
        usual_s = statistics.median(self._answers_s) if self._answers_s else UNKNOWN_ANSWER_S
        return min(LONGEST_PATIENCE_S, max(SHORTEST_PATIENCE_S, PATIENCE_FACTOR * usual_s))


def lag_now(waits_s: Iterable[float], last_lag_s: float) -> float:
    """How far hearing is behind now, seconds.

    `waits_s`: for each utterance without an outcome the time since it was spoken; `last_lag_s`: how late the last
    words were, 0 where they came long ago.
    """
    oldest_s = max(waits_s, default=0.0)
    return oldest_s if oldest_s > NORMAL_WAIT_S else max(0.0, last_lag_s)


@dataclass(slots=True)
class Wordless:
    """How much one stream has spoken since its last words."""

    speech_s: float = 0.0
    _since: float = math.inf
    _spoke_at: float = -math.inf

    def spoke(self, now: float, speech_s: float) -> None:
        """An utterance was closed, whatever becomes of it."""
        if now - self._spoke_at > FORGET_SPEECH_S:
            self.words()
        self._since = min(self._since, now - speech_s)
        self._spoke_at = now
        self.speech_s += speech_s

    def words(self) -> None:
        """There were words."""
        self.speech_s, self._since = 0.0, math.inf

    def is_wrong(self, now: float) -> bool:
        """Whether somebody must be told. `now`: of the same clock as in `spoke`."""
        if now - self._spoke_at > FORGET_SPEECH_S:
            return False
        return self.speech_s >= WORDLESS_S and now - self._since >= WORDLESS_S
