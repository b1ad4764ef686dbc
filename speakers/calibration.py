"""Thresholds for whose voice it is, measured on recordings of known people instead of taken over from another machine.

Pure code over embeddings: what was embedded comes in (`Material`), error rates and thresholds go out (`Calibrated`).
Voices are compared as the product compares them: a piece of speech against voiceprints of about 10 s, decided by
`speakers.matching.match`. No piece is compared with a voiceprint that holds any of its own recording.

The rule for the thresholds, where "each duration" is 2, 3 and 5 s (shorter speech neither makes nor changes a speaker):

- upper: the lowest at which at most 1 % of the strangers' pieces of each duration score so high against anybody. The
  margin is left out of it: where only one voice is known yet, there is no runner-up to be apart from.
- lower: the highest below which at most 2 % of the known people's pieces of each duration score against everybody.
- Where the voices lie so far apart that this upper is below this lower, the two change places: both limits still hold,
  and what falls between, where nothing was measured, is unsure.
- margin: the smallest from 0.02 on with which at most 0.5 % of the known people's pieces of each duration are taken for
  another known person.
"""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from speakers.matching import (
    MIN_CREATE_S,
    MIN_UPDATE_S,
    THRESHOLDS,
    Candidate,
    Match,
    Thresholds,
    Verdict,
    match,
    merged_vector,
)

Vector = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]

DURATIONS_S = (1.0, 2.0, 3.0, 5.0)
ENROLMENT_S = 10.0
STRANGER_TAKEN_FOR_KNOWN = 0.01
KNOWN_TAKEN_FOR_NEW = 0.02
KNOWN_TAKEN_FOR_ANOTHER = 0.005
SMALLEST_MARGIN, LARGEST_MARGIN, MARGIN_STEP = 0.02, 0.2, 0.01
TURNS = 5
"""Ways of choosing which recordings a voiceprint is made of."""
ENOUGH_SPEAKERS = 10
ENOUGH_RECORDINGS_EACH = 5
"""Fewer people are too few pairs of voices; fewer recordings are too few occasions on which somebody spoke."""
TELLS_VOICES_APART = 0.05
"""Above this equal error rate at 3 s it is not the thresholds that are wrong but the recordings or the engine."""
CACHED_S = 30.0

CONSERVATIVE = Thresholds(upper=0.8, lower=0.7, margin=0.05)
"""For a model that nobody has measured: rather a guest too many than somebody else's words under a name."""


_known: dict[str, tuple[float, Thresholds]] = {}
"""By model: when it was looked up, and what was found."""


def thresholds_for(model: str) -> Thresholds:
    """What this site measured for a voice model, else the shipped thresholds, else cautious ones.

    Asked for every utterance, so kept for 30 s: what another process measures counts within that time.
    """
    from speakers.models import Calibration  # Django's; the measuring needs none of it

    at, thresholds = _known.get(model, (-math.inf, CONSERVATIVE))
    if time.monotonic() - at < CACHED_S:
        return thresholds
    row = Calibration.objects.filter(model=model).values("upper", "lower", "margin").first()
    thresholds = Thresholds(**row) if row else THRESHOLDS.get(model, CONSERVATIVE)
    _known[model] = (time.monotonic(), thresholds)
    return thresholds


def forget_thresholds() -> None:
    """Look them up anew at the next question: in this process at once, in others within 30 s."""
    _known.clear()


class TooLittleToCalibrate(ValueError):
    """Not two people with two recordings each."""


class Doubt(enum.Enum):
    """Why the figures of a calibration should not be trusted too far."""

    FEW_SPEAKERS = "few_speakers"
    FEW_RECORDINGS = "few_recordings"
    VOICES_ALIKE = "voices_alike"


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of one recording's speech as the voice engine gives it."""

    speaker: str
    recording: str
    vector: Vector
    """(dimensions,), unit length."""
    speech_s: float


@dataclass(slots=True)
class Material:
    """Everything one voice model made of the recordings."""

    enrolment: list[Piece] = field(default_factory=list)
    """One per recording: all its speech up to 10 s."""
    trials: dict[float, list[Piece]] = field(default_factory=dict)
    """By seconds of speech: short pieces whose speaker is to be found."""


@dataclass(frozen=True, slots=True)
class Trials:
    """Pieces of one duration against everybody's voiceprint, once for each way of choosing the enrolments."""

    speech_s: float
    scores: Scores
    """(trials, speakers), cosines."""
    own: npt.NDArray[np.intp]
    """(trials,), the column of the one who really speaks."""
    pieces: list[Piece]
    """Those that were tried, each in several trials."""

    def strangers(self) -> Scores:
        """(trials, speakers), as if the one who speaks were not known: −∞ in that column."""
        scores = self.scores.copy()
        scores[np.arange(len(self.own)), self.own] = -np.inf
        return scores


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """What goes wrong at one duration, as shares of 1.

    The equal error rate is that of two pieces of this duration against each other and needs no thresholds; the other
    rates are the product's decision about a piece against voiceprints of 10 s.
    """

    speech_s: float
    eer: float
    eer_threshold: float
    known_taken_for_another: float
    known_taken_for_new: float
    known_unsure: float
    new_taken_for_known: float
    new_unsure: float
    pieces: int


@dataclass(frozen=True, slots=True)
class Calibrated:
    thresholds: Thresholds
    rates: list[ErrorRates]
    speakers: int
    recordings: int

    def doubts(self) -> list[Doubt]:
        found = []
        if self.speakers < ENOUGH_SPEAKERS:
            found.append(Doubt.FEW_SPEAKERS)
        if self.recordings < ENOUGH_RECORDINGS_EACH * self.speakers:
            found.append(Doubt.FEW_RECORDINGS)
        if any(rates.eer > TELLS_VOICES_APART for rates in self.rates if rates.speech_s >= MIN_UPDATE_S):
            found.append(Doubt.VOICES_ALIKE)
        return found


def calibrate(material: Material) -> Calibrated:
    """Choose thresholds by the rule above and say what they cost. Raises TooLittleToCalibrate."""
    trials = list(open_set_trials(material))
    thresholds = choose(trials)
    return Calibrated(
        thresholds,
        [error_rates(each, thresholds) for each in trials],
        speakers=len({piece.speaker for piece in material.enrolment}),
        recordings=len(material.enrolment),
    )


def open_set_trials(material: Material) -> Iterator[Trials]:
    """Score every short piece, by duration. Raises TooLittleToCalibrate."""
    recordings: dict[str, list[Piece]] = {}
    for piece in material.enrolment:
        recordings.setdefault(piece.speaker, []).append(piece)
    if len(recordings) < 2 or min(map(len, recordings.values())) < 2:
        raise TooLittleToCalibrate
    column = {speaker: number for number, speaker in enumerate(sorted(recordings))}
    enrolments = [_enrolled(recordings, turn) for turn in range(TURNS)]
    for speech_s, pieces in sorted(material.trials.items()):
        scores, own = [], []
        for prints, used in enrolments:
            heard = [piece for piece in pieces if piece.recording not in used[piece.speaker]]
            if heard:
                scores.append(np.stack([piece.vector for piece in heard]).astype(np.float64) @ prints.T)
                own += [column[piece.speaker] for piece in heard]
        if scores:
            yield Trials(speech_s, np.concatenate(scores), np.array(own, dtype=np.intp), pieces)


def _enrolled(recordings: dict[str, list[Piece]], turn: int) -> tuple[Scores, dict[str, set[str]]]:
    """Voiceprints of about 10 s, (speakers, dimensions) in the order of names, and the recordings that are in them.

    Each turn starts at another recording; one recording at least is left out to be tried.
    """
    prints, used = [], {}
    for speaker, pieces in sorted(recordings.items()):
        start = turn * len(pieces) // TURNS
        order = [*pieces[start:], *pieces[:start]][:-1]
        vector, speech_s, taken = order[0].vector, order[0].speech_s, {order[0].recording}
        for piece in order[1:]:
            if speech_s >= ENROLMENT_S:
                break
            vector = merged_vector(vector, speech_s, piece.vector, piece.speech_s)
            speech_s += piece.speech_s
            taken.add(piece.recording)
        prints.append(vector)
        used[speaker] = taken
    return np.stack(prints).astype(np.float64), used


def choose(trials: Sequence[Trials]) -> Thresholds:
    """The thresholds by the rule that this module's docstring states. Raises TooLittleToCalibrate."""
    long_enough = [each for each in trials if each.speech_s >= MIN_CREATE_S]
    if not long_enough:
        raise TooLittleToCalibrate
    upper = max(lowest_above(each.strangers().max(axis=1), STRANGER_TAKEN_FOR_KNOWN) for each in long_enough)
    lower = min(highest_below(each.scores.max(axis=1), KNOWN_TAKEN_FOR_NEW) for each in long_enough)
    upper, lower = max(upper, lower), min(upper, lower)
    margins = np.arange(SMALLEST_MARGIN, LARGEST_MARGIN + MARGIN_STEP / 2, MARGIN_STEP).round(2).tolist()
    for margin in margins:
        if all(_taken_for_another(each, upper, margin) <= KNOWN_TAKEN_FOR_ANOTHER for each in long_enough):
            break
    return Thresholds(upper, lower, margin)


def lowest_above(scores: Scores, share: float) -> float:
    """The lowest threshold (to three decimals) that at most this share of the scores reaches."""
    allowed = math.floor(share * len(scores))
    return min(1.0, (math.floor(float(np.sort(scores)[::-1][allowed]) * 1000) + 1) / 1000)


def highest_below(scores: Scores, share: float) -> float:
    """The highest threshold (to three decimals) that at most this share of the scores falls short of."""
    allowed = math.floor(share * len(scores))
    return math.floor(float(np.sort(scores)[allowed]) * 1000) / 1000


def _taken_for_another(trials: Trials, upper: float, margin: float) -> float:
    ranked = np.sort(trials.scores, axis=1)
    certain = (ranked[:, -1] >= upper) & (ranked[:, -1] - ranked[:, -2] >= margin)
    return float(np.mean(certain & (trials.scores.argmax(axis=1) != trials.own)))


def error_rates(trials: Trials, thresholds: Thresholds) -> ErrorRates:
    """What the product's own decision makes of every piece, once known and once as a stranger's."""
    eer, eer_threshold = equal_error_rate(*pair_scores(trials.pieces))
    known = [_decide(row, trials.speech_s, thresholds) for row in trials.scores]
    new = [_decide(row, trials.speech_s, thresholds) for row in trials.strangers()]

    def share(yes: Iterable[bool]) -> float:
        return round(sum(map(bool, yes)) / len(known), 5)

    return ErrorRates(
        speech_s=trials.speech_s,
        eer=round(eer, 5),
        eer_threshold=round(eer_threshold, 3),
        known_taken_for_another=share(
            m.verdict is Verdict.KNOWN and m.speaker != own for m, own in zip(known, trials.own, strict=True)
        ),
        known_taken_for_new=share(m.verdict is Verdict.NEW for m in known),
        known_unsure=share(m.verdict is Verdict.UNSURE for m in known),
        new_taken_for_known=share(m.verdict is Verdict.KNOWN for m in new),
        new_unsure=share(m.verdict is Verdict.UNSURE for m in new),
        pieces=len(trials.pieces),
    )


def _decide(row: Scores, speech_s: float, thresholds: Thresholds) -> Match:
    # Minus infinity stands for somebody who is not known: `match` would leave such a score out, too.
    return match([Candidate(speaker, float(cosine)) for speaker, cosine in enumerate(row)], speech_s, thresholds)


def pair_scores(pieces: Sequence[Piece]) -> tuple[Scores, Scores]:
    """Every piece against every other of the same length: cosines within one speaker, and between two.

    Pieces of one recording are not compared with each other: they sound alike for more reasons than the voice.
    """
    vectors = np.stack([piece.vector for piece in pieces]).astype(np.float64)
    one, other = np.triu_indices(len(pieces), 1)
    scores = (vectors @ vectors.T)[one, other]
    speakers = np.unique([piece.speaker for piece in pieces], return_inverse=True)[1]
    recordings = np.unique([piece.recording for piece in pieces], return_inverse=True)[1]
    same = speakers[one] == speakers[other]
    return scores[same & (recordings[one] != recordings[other])], scores[~same]


def equal_error_rate(genuine: Scores, impostors: Scores) -> tuple[float, float]:
    """The error rate at the threshold where as many impostors get in as speakers are kept out, and that threshold.

    Both (n,); where the two rates never meet exactly, the mean of the nearest two. Without either: 0 and 0.
    """
    if not len(genuine) or not len(impostors):
        return 0.0, 0.0
    thresholds = np.unique(np.concatenate([genuine, impostors]))
    kept_out = np.searchsorted(np.sort(genuine), thresholds, side="left") / len(genuine)
    let_in = 1 - np.searchsorted(np.sort(impostors), thresholds, side="left") / len(impostors)
    nearest = int(np.argmin(np.abs(kept_out - let_in)))
    return float(kept_out[nearest] + let_in[nearest]) / 2, float(thresholds[nearest])
