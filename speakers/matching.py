"""Whose voice is this? The decision as a pure function: open set, two thresholds, a margin, floors on duration.

Scores are cosine similarities of unit vectors of one model. The thresholds were measured on recordings of known
speakers (docs/measurements.md); they belong to a model and do not carry over to another.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MIN_MATCH_S = 1.0
"""Shorter speech inherits its neighbour and never creates or updates."""
MIN_CREATE_S = 2.0
MIN_UPDATE_S = 3.0
MIN_NAME_S = 5.0
"""Less speech known of a voice does not put a name under a line at another microphone, nor merge speakers."""
MIN_LEARN_CONFIDENCE = 0.5
"""Less sure than this, a match teaches a voiceprint nothing."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    upper: float
    """At or above: known, if the margin to the runner-up holds."""
    lower: float
    """Below, against everyone: a new voice. Between the two: unsure."""
    margin: float


THRESHOLDS = {
    "resemblyzer-ge2e-256": Thresholds(upper=0.78, lower=0.70, margin=0.04),
    "ecapa-voxceleb-192": Thresholds(upper=0.45, lower=0.28, margin=0.06),
}


class Verdict(enum.Enum):
    KNOWN = "known"
    UNSURE = "unsure"
    """Most like the best candidate, but not enough to say so without a question mark."""
    NEW = "new"
    TOO_SHORT = "too_short"
    """Nothing can be said: the caller keeps whoever spoke before on this stream."""


@dataclass(frozen=True, slots=True)
class Candidate:
    speaker: int
    cosine: float


@dataclass(frozen=True, slots=True)
class Match:
    verdict: Verdict
    speaker: int | None
    confidence: float
    """0–1, how far the best score lies on the way from `lower` to well above `upper`."""


def match(candidates: Sequence[Candidate], speech_s: float, thresholds: Thresholds) -> Match:
    """Decide from the best score of each speaker (any order; several prints of one speaker may appear)."""
    if speech_s < MIN_MATCH_S:
        return Match(Verdict.TOO_SHORT, None, 0.0)
    best_of: dict[int, float] = {}
    for candidate in candidates:
        if not np.isfinite(candidate.cosine):
            continue
        best_of[candidate.speaker] = max(candidate.cosine, best_of.get(candidate.speaker, -1.0))
    ranked = sorted(best_of.items(), key=lambda item: -item[1])
    if not ranked or ranked[0][1] < thresholds.lower:
        return Match(Verdict.NEW if speech_s >= MIN_CREATE_S else Verdict.TOO_SHORT, None, 0.0)
    speaker, score = ranked[0]
    runner_up = ranked[1][1] if len(ranked) > 1 else -1.0
    confidence = min(1.0, max(0.0, (score - thresholds.lower) / (thresholds.upper + 0.1 - thresholds.lower)))
    clear = score - runner_up >= thresholds.margin
    verdict = Verdict.KNOWN if score >= thresholds.upper and clear else Verdict.UNSURE
    return Match(verdict, speaker, round(confidence, 3))


def merged_vector(
    old: npt.NDArray[np.float32], old_s: float, new: npt.NDArray[np.float32], new_s: float, *, cap_s: float = 60.0
) -> npt.NDArray[np.float32]:
    """Duration-weighted mean of two unit vectors, unit again; the old weight is capped so that a print can still move.

    Raises ValueError for vectors that are not finite or of different length.
    """
    if old.shape != new.shape or not (np.isfinite(old).all() and np.isfinite(new).all()):
        raise ValueError("voice vectors must be finite and of the same length")
    mean = old * min(old_s, cap_s) + new * new_s
    norm = float(np.linalg.norm(mean))
    return (mean / norm).astype(np.float32) if norm > 0 else old


def pooled_vector(
    heard: Sequence[tuple[npt.NDArray[np.float32], float]],
) -> tuple[npt.NDArray[np.float32], float]:
    """Several unit vectors of one voice with their seconds of speech, oldest first, as one, and the seconds in all.

    The same as learning them one after the other. Raises ValueError for none, and as `merged_vector` does.
    """
    if not heard:
        raise ValueError("there is no voice to pool")
    vector, total_s = heard[0]
    for new, new_s in heard[1:]:
        vector = merged_vector(vector, total_s, new, new_s)
        total_s += new_s
    return vector, total_s


def print_to_move(
    prints: Sequence[npt.NDArray[np.float32]], heard: npt.NDArray[np.float32], lower: float
) -> int | None:
    """Which of a speaker's prints of one microphone takes in what was heard there: the most alike, unless the two are
    as unlike as strangers (cosine below `lower`), as close to the microphone and across the room may be; then None."""
    alike = [float(known @ heard) if known.shape == heard.shape else -1.0 for known in prints]
    best = int(np.argmax(alike)) if alike else None
    return best if best is not None and alike[best] >= lower else None


def prints_of(
    heard: Sequence[tuple[npt.NDArray[np.float32], float]], lower: float
) -> list[tuple[npt.NDArray[np.float32], float]]:
    """The prints that a microphone's unit vectors with their seconds of speech make one after the other, with the
    seconds in each; what adds up to less than a first print needs is left out."""
    prints: list[tuple[npt.NDArray[np.float32], float]] = []
    for vector, speech_s in heard:
        place = print_to_move([known for known, _seconds in prints], vector, lower)
        if place is None:
            prints.append((vector, speech_s))
        else:
            known, known_s = prints[place]
            prints[place] = (merged_vector(known, known_s, vector, speech_s), known_s + speech_s)
    return [(vector, speech_s) for vector, speech_s in prints if speech_s >= MIN_CREATE_S]
