"""Which language a stream speaks: found out once, looked at again now and then; or whether it is one that the
recogniser knows at all, where that knows a few only. Pure decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

SURE = 0.7
"""Probability from which on a language is believed."""
SURE_OF_ANOTHER = 0.85
"""The same for another language than the one so far: a quotation or a name is no change."""
LOCK_S = 3.0
"""Recognisers guess the language of shorter pieces badly."""
CHECK_EVERY_S = 60.0
"""Of speech."""
CHANGES_AFTER = 2
"""So many looks in a row must say the same other language."""


@dataclass(slots=True)
class LanguageLock:
    """Of one stream whose language is to be found out. `language`: what it was heard to speak before, or empty."""

    language: str = ""
    _unchecked_s: float = 0.0
    _other: str = ""
    _others: int = 0

    def hint(self, speech_s: float) -> str:
        """The language to take for an utterance of this length; empty: let the recogniser find out."""
        due = self._unchecked_s >= CHECK_EVERY_S and speech_s >= LOCK_S
        return "" if due else self.language

    def heard(self, language: str, probability: float, speech_s: float, *, hint: str) -> bool:
        """An utterance came back that was asked for with `hint`; whether the language is another one now."""
        if hint:
            self._unchecked_s += speech_s
            return False
        if speech_s < LOCK_S or not language:
            return False
        if not self.language:
            if probability < SURE:
                return False
            self._lock(language)
            return True
        if language == self.language:
            self._lock(language)
            return False
        if probability < SURE_OF_ANOTHER:
            return False
        self._others = self._others + 1 if language == self._other else 1
        self._other = language
        if self._others < CHANGES_AFTER:
            return False
        self._lock(language)
        return True

    def _lock(self, language: str) -> None:
        self.language, self._unchecked_s, self._other, self._others = language, 0.0, "", 0


# A recogniser of a few languages: does the stream speak one of them? (`Transcript.language_doubt`, in nats.)

DOUBTFUL_NATS = 1.0
"""From here on nothing is shown before more is known. English over other voices reaches it."""
FOREIGN_NATS = 4.0
"""From here on it is another language: two utterances at least. The most that recordings of English speakers reach is
1.4 (`docs/measurements.md`)."""
LEAST_NATS, MOST_NATS = -2.0, 6.0
"""Evidence beyond these is forgotten: who changes the language is followed within an utterance or two."""
HALVED_EVERY_S = 60.0
"""Of the clock, while nothing is said: whoever speaks then may be somebody else."""


class Understood(StrEnum):
    """Whether a stream's words are to be believed."""

    CLEAR = "clear"
    DOUBTFUL = "doubtful"
    FOREIGN = "foreign"
    """The recogniser does not know the language."""


class Fate(StrEnum):
    """What becomes of the words of an utterance."""

    SHOWN = "shown"
    HELD = "held"
    """Until the next utterance says more, or for a while."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class PooledDoubt:
    """The evidence of one stream so far: a cumulative sum (CUSUM) between two bounds, with hysteresis."""

    nats: float = 0.0
    foreign: bool = False

    @property
    def understood(self) -> Understood:
        if self.foreign:
            return Understood.FOREIGN
        return Understood.DOUBTFUL if self.nats >= DOUBTFUL_NATS else Understood.CLEAR

    def after(self, doubt: float, pause_s: float) -> PooledDoubt:
        """With the evidence of one more utterance, that long after the last one."""
        faded = self.nats * 0.5 ** (max(0.0, pause_s) / HALVED_EVERY_S)
        nats = min(MOST_NATS, max(LEAST_NATS, faded + doubt))
        # Found to be foreign only by what was just said; no longer so as soon as there is no doubt left.
        foreign = nats >= (DOUBTFUL_NATS if self.foreign else FOREIGN_NATS)
        return replace(self, nats=nats, foreign=foreign)

    def fate(self, doubt: float) -> Fate:
        """Of the utterance whose evidence was added last."""
        if self.foreign:
            return Fate.REFUSED if doubt > 0 else Fate.HELD
        # What says nothing against the language itself need not wait for what was doubtful before it.
        return Fate.HELD if doubt > 0 and self.understood is Understood.DOUBTFUL else Fate.SHOWN

    def fate_in_the_end(self, doubt: float) -> Fate:
        """Of a held utterance on which nothing followed."""
        return Fate.REFUSED if doubt > 0 and self.understood is not Understood.CLEAR else Fate.SHOWN


def foreign_since(doubts: Sequence[float]) -> int:
    """Where the other language began, by the evidence of a stream's last utterances, oldest first: the place from which
    on it sums up to the most (Page's estimate of the change point)."""
    best, since, total = 0.0, len(doubts), 0.0
    for place in range(len(doubts) - 1, -1, -1):
        total += doubts[place]
        if total > best:
            best, since = total, place
    return since
