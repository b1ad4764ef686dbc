"""How much an utterance sounds as if it were not in the language that a recogniser knows. Pure, from its own scores.

A recogniser of one language makes words of any speech. Beside the words it can look for the sounds alone, in any
order (a phone loop). In its own language both agree and both fit; in another the words claim sounds that are not there,
fit worse, and are unsure. No single utterance is safe to judge by it: what is told here is evidence, to be added up
over the utterances of a stream.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FRAMES_PER_S = 100

# Logistic regression: read English of three LibriSpeech readers and two others and of synthetic voices, against
# Russian and German of `espeak` voices, Russian of `flite` voices (out of English sounds) and two readers backwards,
# clean and of telephone band. No recording of a Russian speaker was used: docs/measurements.md says what came of it.
_AGREEMENT = -5.79
_SURENESS = -0.63
_WORDS_FIT = -1.21
_SOUNDS_FIT = -1.65
_OFFSET = -8.5

# The best that another language reaches: with these in the place of what only the phone loop could say, the evidence is
# never less than with it.
LEAST_AGREEMENT = 0.1
LEAST_SOUNDS_FIT = -3.3

KNOWN_SOUNDS_FIT = -2.8
"""Nats per frame: where the sounds of the language fit so well or better, nothing speaks against it. Without this a
telephone or a noise makes another language of English; with it, another language in a noise is not told."""
PER_MISFIT = 12.0
"""Nats per second, at most, for each nat per frame that they fit worse."""

LEAST_WORDS_S = 0.2
"""Less says nothing."""
MOST_PER_S = 3.0
"""Nats: what is odd in other ways (a siren, a song) is no stronger evidence."""
MOST_WORDS_S = 4.0
"""The errors within one utterance are of one kind: more of it is not more evidence."""
MOST_OF_ONE = 2.5
"""Nats against the known language from a single utterance: it takes two to be certain, whatever happened in one."""
INDEPENDENT_SHARE = 0.5
"""Of the seconds of an utterance, so many count: neighbouring sounds are not independent."""

_EDGE_FRAMES = 3
"""Sounds may begin and end so much earlier or later than evenly spaced in the word."""
_LEAST_PROBABILITY = 1e-4
_LEAST_SCORE = -745.0
"""The logarithm of the smallest double: scores come as its power, and long words underflow."""
SCORE_SCALE = 1024
"""PocketSphinx keeps scores divided by 2 to the power of 10."""


@dataclass(frozen=True, slots=True)
class HeardWord:
    """A word of the best hypothesis, fillers left out."""

    phones: tuple[str, ...]
    """How the recogniser pronounces it."""
    first_frame: int
    last_frame: int
    """Inclusive."""
    score: float
    """Acoustic likelihood as the recogniser gives it."""
    probability: float
    """Posterior, 0 to 1."""

    @property
    def frames(self) -> int:
        return self.last_frame - self.first_frame + 1


@dataclass(frozen=True, slots=True)
class HeardPhones:
    """What the phone loop found."""

    by_frame: Sequence[str]
    fit: float
    """Its score, nats per frame."""


def evidence(words: Sequence[HeardWord], phones: HeardPhones | None = None) -> float:
    """Nats for "not this language" (negative: for this language); 0 where there is too little to say anything.

    Without `phones` an upper limit: what is negative without them is more negative with them.
    """
    frames = sum(word.frames for word in words)
    if frames < LEAST_WORDS_S * FRAMES_PER_S:
        return 0.0
    agreement = LEAST_AGREEMENT if phones is None else agreement_of(words, phones.by_frame)
    per_s = (
        _OFFSET
        + _AGREEMENT * agreement
        + _SURENESS * _by_frames([math.log(max(_LEAST_PROBABILITY, min(1.0, w.probability))) for w in words], words)
        + _WORDS_FIT * (sum(logarithm(word.score) for word in words) / frames)
        + _SOUNDS_FIT * (LEAST_SOUNDS_FIT if phones is None else phones.fit)
    )
    if phones is not None:
        per_s = min(per_s, PER_MISFIT * max(0.0, KNOWN_SOUNDS_FIT - phones.fit))
    seconds = min(MOST_WORDS_S, frames / FRAMES_PER_S) * INDEPENDENT_SHARE
    return round(min(MOST_OF_ONE, max(-MOST_PER_S, min(MOST_PER_S, per_s)) * seconds), 3)


def agreement_of(words: Sequence[HeardWord], phones: Sequence[str]) -> float:
    """In how many frames the phone loop hears a sound that the word has there, beyond chance: 1 in all, 0 as by chance
    (Cohen's kappa, with some leave at the edges of sounds)."""
    expected: list[frozenset[str]] = []
    heard: list[str] = []
    for word in (word for word in words if word.phones):
        for frame in range(word.frames):
            near = (frame - _EDGE_FRAMES, frame, frame + _EDGE_FRAMES)
            expected.append(frozenset(_evenly(word, place) for place in near))
            heard.append(_at(phones, word.first_frame + frame))
    if not heard:
        return 0.0
    shares: Mapping[str, int] = Counter(heard)
    agreed = sum(sound in those for sound, those in zip(heard, expected, strict=True)) / len(heard)
    by_chance = sum(shares.get(sound, 0) for those in expected for sound in those) / len(heard) ** 2
    return (agreed - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0


def logarithm(score: float) -> float:
    return math.log(score) if score > 0 else _LEAST_SCORE


def _evenly(word: HeardWord, frame: int) -> str:
    place = max(0, frame) * len(word.phones) // word.frames
    return word.phones[min(len(word.phones) - 1, place)]


def _at(phones: Sequence[str], frame: int) -> str:
    return phones[frame] if frame < len(phones) else "SIL"


def _by_frames(values: Sequence[float], words: Sequence[HeardWord]) -> float:
    return sum(value * word.frames for value, word in zip(values, words, strict=True)) / sum(w.frames for w in words)
