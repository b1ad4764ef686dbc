"""Endpointing: from the probability and loudness of each 32 ms frame to where utterances begin and end.

Pure decisions over frame numbers; no samples, no clock. Frames are counted from 0 in the order they are pushed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

FRAME_MS = 32
_WORD_GAP_FRAMES = 4
"""Silence from which on nobody is taken to be in the middle of a word: 128 ms."""


@dataclass(frozen=True, slots=True)
class EndpointingOptions:
    """When speech begins, ends and is cut. Times are rounded to whole frames of 32 ms, upwards."""

    start_probability: float = 0.5
    """From here on a frame is voiced."""
    stop_probability: float = 0.35
    """Within speech a frame below this is silence; the band between the two keeps going what goes (hysteresis)."""
    start_ms: int = 96
    """Voiced for this long: someone is speaking. Shorter clicks are forgotten after `blip_ms`."""
    blip_ms: int = 160
    """Silence after which what never reached `start_ms` is given up."""
    end_silence_ms: int = 480
    """Silence that ends an utterance: counted in whole frames, so half a second after the voice on average."""
    pre_roll_ms: int = 384
    """Sound kept from before the first voiced frame: weak first consonants are there."""
    post_roll_ms: int = 224
    """Sound kept after the last voiced frame; less than `guess_silence_ms`."""
    guess_silence_ms: int = 256
    """Silence after which the utterance is probably over: it can be decoded on a guess, it will end just here."""
    min_voiced_ms: int = 224
    """Less voice than this is not worth the recogniser: it becomes silence."""
    sure_probability: float = 0.75
    """What is shorter than `sure_voiced_ms` must be voice with this mean probability over its voiced frames, or it
    becomes silence: notes of a melody reach 0.73, short utterances of clear speech have at least 0.85."""
    sure_voiced_ms: int = 1_000
    soft_limit_ms: int = 8_000
    """From this length on an utterance ends at the first `cut_gap_ms` of silence, so that pictures need no pause."""
    cut_gap_ms: int = 160
    hard_limit_ms: int = 12_000
    """At this length it is cut at the quietest place since `soft_limit_ms`."""


class DecisionKind(Enum):
    STARTED = "started"
    """Someone speaks for certain; `first` is where the utterance begins, `last` is not known yet and equals it."""
    UTTERANCE = "utterance"
    """Frames `first`…`last` (half-open) are worth the recogniser."""
    PAUSED = "paused"
    """Frames `first`…`last` will be the utterance if nobody goes on within `end_silence_ms`."""
    DROPPED = "dropped"
    """What began at `first` was too short to be speech; it counts as silence."""


@dataclass(frozen=True, slots=True)
class Decision:
    kind: DecisionKind
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class _Heard:
    """A frame that may become the place of a cut."""

    loudness_dbfs: float
    voiced: bool
    going: bool


class Endpointer:
    """The state machine: idle, or in a stretch of speech that has a beginning and a last voiced frame."""

    def __init__(self, options: EndpointingOptions | None = None) -> None:
        self.options = options or EndpointingOptions()
        o = self.options
        self._start = frames_of(o.start_ms)
        self._blip = frames_of(o.blip_ms)
        self._end = frames_of(o.end_silence_ms)
        self._guess = frames_of(o.guess_silence_ms)
        self._pre_roll = frames_of(o.pre_roll_ms)
        self._post_roll = frames_of(o.post_roll_ms)
        self._min_voiced = frames_of(o.min_voiced_ms)
        self._sure_voiced = frames_of(o.sure_voiced_ms)
        self._soft = frames_of(o.soft_limit_ms)
        self._cut_gap = frames_of(o.cut_gap_ms)
        self._hard = frames_of(o.hard_limit_ms)
        self._frame = 0
        self._floor = 0
        self._first: int | None = None
        self._voiced = 0
        self._certainty = 0.0
        self._last_voiced = 0
        self._announced = False
        # What a cut at the hard limit chooses from: the frames after the soft limit.
        self._cut_from: deque[_Heard] = deque(maxlen=max(1, self._hard - self._soft))

    @property
    def frame(self) -> int:
        """Number of the next frame."""
        return self._frame

    @property
    def first(self) -> int | None:
        """First frame of the utterance in hand (pre-roll included), None when idle."""
        return self._first

    @property
    def is_speaking(self) -> bool:
        """Whether someone speaks for certain, and did so a moment ago: not in the pauses between words."""
        return self._announced and self._frame - 1 - self._last_voiced < _WORD_GAP_FRAMES

    @property
    def silent_until(self) -> int:
        """Everything before this frame is in an utterance that was decided, or silence that no utterance will need."""
        if self._first is not None:
            return self._first
        return max(self._floor, self._frame - self._pre_roll)

    def push(self, probability: float, loudness_dbfs: float) -> list[Decision]:
        """Take the next frame in."""
        options = self.options
        frame = self._frame
        self._frame += 1
        voiced = probability >= options.start_probability
        if self._first is None:
            if not voiced:
                return []
            self._first = max(self._floor, frame - self._pre_roll)
        going = voiced or probability >= options.stop_probability
        if voiced:
            self._voiced += 1
            self._certainty += probability
        if going:
            self._last_voiced = frame
        length = self._frame - self._first
        if length > self._soft:
            self._cut_from.append(_Heard(loudness_dbfs, voiced, going))
        decisions = []
        if not self._announced and self._voiced >= self._start:
            self._announced = True
            decisions.append(Decision(DecisionKind.STARTED, self._first, self._first))
        silence = frame - self._last_voiced
        if silence >= self._end or (not self._announced and silence >= self._blip):
            decisions.append(self._close(min(self._frame, self._last_voiced + 1 + self._post_roll)))
        elif length > self._soft and silence >= self._cut_gap and self._is_speech:
            decisions.append(self._close(self._frame))
        elif length >= self._hard:
            decisions += self._cut()
        elif silence == self._guess and self._is_speech:
            decisions.append(Decision(DecisionKind.PAUSED, self._first, self._last_voiced + 1 + self._post_roll))
        return decisions

    def skip(self, frames: int) -> None:
        """The same as pushing `frames` silent frames; only while idle."""
        if self._first is not None:
            raise ValueError("frames can be skipped only while nobody speaks")
        self._frame += frames

    def finish(self) -> list[Decision]:
        """Nothing follows: close what is in hand."""
        if self._first is None:
            self._floor = self._frame
            return []
        decision = self._close(min(self._frame, self._last_voiced + 1 + self._post_roll))
        self._floor = self._frame
        return [decision]

    @property
    def _is_speech(self) -> bool:
        """Whether what is in hand is worth the recogniser."""
        if self._voiced < self._min_voiced:
            return False
        return self._voiced >= self._sure_voiced or self._certainty >= self.options.sure_probability * self._voiced

    def _close(self, last: int) -> Decision:
        first = self._first
        assert first is not None
        if self._is_speech:
            decision = Decision(DecisionKind.UTTERANCE, first, last)
            self._floor = last
        else:
            decision = Decision(DecisionKind.DROPPED, first, first)
        self._first = None
        self._voiced = 0
        self._certainty = 0.0
        self._announced = False
        self._cut_from.clear()
        return decision

    def _cut(self) -> list[Decision]:
        """Cut at the quietest place since the soft limit; what follows it goes on as the next utterance."""
        heard = list(self._cut_from)
        offset = quietest([h.loudness_dbfs for h in heard])
        cut = self._frame - len(heard) + offset
        rest = heard[offset:]
        self._voiced -= sum(h.voiced for h in rest)
        decision = self._close(cut)
        going = [index for index, h in enumerate(rest) if h.going]
        if not going:
            return [decision]
        self._first = self._floor
        self._voiced = sum(h.voiced for h in rest)
        # It was speech before the cut, so it is behind it.
        self._certainty = float("inf")
        self._last_voiced = cut + going[-1]
        if self._voiced < self._start:
            return [decision]
        self._announced = True
        return [decision, Decision(DecisionKind.STARTED, self._first, self._first)]


def frames_of(duration_ms: int) -> int:
    """How many whole frames cover a duration."""
    return -(-duration_ms // FRAME_MS)


def quietest(loudness_dbfs: list[float], width: int = 3) -> int:
    """Index of the middle of the quietest `width` frames, the later one of equals; words are longer than that."""
    if len(loudness_dbfs) < width:
        return len(loudness_dbfs)
    power = [10 ** (level / 10) for level in loudness_dbfs]
    sums = [sum(power[i : i + width]) for i in range(len(power) - width + 1)]
    least = min(sums)
    return max(i for i, value in enumerate(sums) if value == least) + width // 2
