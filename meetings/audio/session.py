"""One stream's hearing: samples go in, utterances and judged silence come out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from meetings.audio import SAMPLE_RATE_HZ
from meetings.audio.endpointing import Decision, DecisionKind, Endpointer, EndpointingOptions
from meetings.audio.frames import Samples
from meetings.audio.timeline import Timeline
from meetings.audio.vad import (
    FRAME_SAMPLES,
    QUIETEST_DBFS,
    Judged,
    VadOptions,
    VoiceActivityDetector,
    judge_together,
)

_IDLE_FRAMES = 6
"""While nobody speaks, frames are judged so many at a time: 192 ms. Most microphones are silent most of the time, and
what each judgement costs beside its frames (a call of the model, a position to be stored and acked) is halved by it."""
_BLOCK_SAMPLES = SAMPLE_RATE_HZ * 2
"""Longer input is taken in pieces, so that memory stays bounded whatever a caller feeds."""
_MOST_WAITING_FRAMES = 62
"""So many are judged at once, whoever else is due: 2 s."""
_FRAMES_TOGETHER = 256
"""Frames of several streams are judged so many at a time: half a megabyte of numbers, which processors keep close."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Someone speaks; `sample` is where the utterance will begin. An Utterance follows, or a Silence that covers it."""

    sample: int


@dataclass(frozen=True, slots=True)
class Utterance:
    """Something worth the recogniser was said."""

    first_sample: int
    last_sample: int
    pcm: bytes = field(repr=False)
    """Signed 16-bit little-endian mono at 16 kHz, `last_sample - first_sample` samples."""
    level_dbfs: float = 0.0
    """Mean power of its voiced frames; of two microphones in one room the louder counts."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Someone stopped speaking a moment ago. If nobody goes on, an Utterance of exactly these samples follows."""

    first_sample: int
    last_sample: int
    pcm: bytes = field(repr=False)
    level_dbfs: float = 0.0


@dataclass(frozen=True, slots=True)
class Silence:
    """Everything before `until_sample` is in an utterance that came earlier, or silence that no utterance will need."""

    until_sample: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Samples that never came; what was in hand was closed before it."""

    first_sample: int
    last_sample: int


Event = SpeechStarted | Pause | Utterance | Silence | Gap


@dataclass(frozen=True, slots=True)
class SessionOptions:
    vad: VadOptions = field(default_factory=VadOptions)
    endpointing: EndpointingOptions = field(default_factory=EndpointingOptions)


class StreamSession:
    """Puts one stream's messages in order, judges them and closes utterances.

    Not for several threads at once. Memory: at most the longest utterance (12 s, 384 kB) and one message. The events
    of the same samples are the same however they are cut into messages; only Silence comes once per call.
    """

    def __init__(self, next_sample: int = 0, options: SessionOptions | None = None) -> None:
        self._options = options or SessionOptions()
        self._timeline = Timeline(next_sample)
        self._silent_until = next_sample
        self._level_dbfs = float("-inf")
        self._begin(next_sample)

    @property
    def received_sample(self) -> int:
        """One past the last sample that came: what a client should send next."""
        return self._timeline.next_sample

    @property
    def in_hand(self) -> float:
        """Seconds of sound in the utterance that is not closed yet, 0 while nobody speaks."""
        first = self._endpointer.first
        if first is None:
            return 0.0
        return (self.received_sample - self._sample_of(first)) / SAMPLE_RATE_HZ

    @property
    def is_speaking(self) -> bool:
        """Whether someone is in the middle of a word, as far as the frames so far tell."""
        return self._endpointer.is_speaking

    @property
    def first_in_hand(self) -> int | None:
        """First sample of the utterance that is not closed yet, None while nobody speaks."""
        first = self._endpointer.first
        return None if first is None else self._sample_of(first)

    def so_far(self) -> Utterance | None:
        """The utterance in hand as far as it has come, from its first sample on; None while nobody speaks.

        Its end is the newest sample; the Utterance that follows has the same beginning.
        """
        first = self.first_in_hand
        if first is None:
            return None
        pcm = bytes(self._kept[2 * (first - self._kept_from) :])
        return Utterance(first, first + len(pcm) // 2, pcm, self._level_of(first, self.received_sample))

    @property
    def level(self) -> float:
        """How loud the newest frames were, in dBFS; −inf before the first."""
        return self._level_dbfs

    @property
    def waiting_frames(self) -> int:
        """How many whole frames have come and are not judged yet."""
        return (len(self._kept) // 2 + self._kept_from - self._sample_of(self._endpointer.frame)) // FRAME_SAMPLES

    @property
    def is_due(self) -> bool:
        """Whether so much waits that it should be judged: while nobody speaks, six frames."""
        return self.waiting_frames >= (_IDLE_FRAMES if self._endpointer.first is None else 1)

    def take(self, first_sample: int, samples: Samples) -> list[Event]:
        """Take a message in. While nobody speaks and little waits, the message waits too: for `catch_up_together`, once
        the session `is_due`. Raises VadModelMissing when the model is not installed."""
        return self._take_in(first_sample, samples, _MOST_WAITING_FRAMES)

    def feed(self, first_sample: int, samples: Samples) -> list[Event]:
        """Take a message in and judge what is due. Raises VadModelMissing when the model is not installed."""
        return self._take_in(first_sample, samples, _IDLE_FRAMES)

    def catch_up(self) -> list[Event]:
        """Nothing follows at present: judge what waits for more frames to be judged with."""
        return self._judge(least=1) + self._say_silence()

    def finish(self) -> list[Event]:
        """The stream ends here (or pauses for long): close what is in hand; all that came is accounted for."""
        end = self.received_sample
        events = self._close_at(end)
        self._begin(end)
        return events

    def _take_in(self, first_sample: int, samples: Samples, least: int) -> list[Event]:
        placed = self._timeline.place(first_sample, samples)
        events: list[Event] = []
        if placed.gap:
            events += self._close_at(placed.gap[0])
            events.append(Gap(*placed.gap))
            self._silent_until = placed.gap[1]
            self._begin(placed.gap[1])
        for start in range(0, len(placed.samples), _BLOCK_SAMPLES):
            self._kept += placed.samples[start : start + _BLOCK_SAMPLES].astype("<i2", copy=False).tobytes()
            events += self._judge(least)
        return events + self._say_silence()

    def _begin(self, sample: int) -> None:
        """Start afresh at a sample, after a gap or an end: nothing before it says anything about what follows."""
        self._origin = sample
        self._kept = bytearray()
        self._kept_from = sample
        self._frames: deque[tuple[int, float]] = deque()
        """First sample and power of the voiced frames whose sound is kept."""
        self._detector = VoiceActivityDetector(self._options.vad)
        self._endpointer = Endpointer(self._options.endpointing)

    def _sample_of(self, frame: int) -> int:
        return self._origin + frame * FRAME_SAMPLES

    def _judge(self, least: int) -> list[Event]:
        """Judge the whole frames that have come. While nobody speaks, fewer than `least` wait for the next message."""
        frames = self.waiting_frames
        if frames < (least if self._endpointer.first is None else 1):
            return []
        return self._decide(self._detector.judge(self._waiting(frames).copy()))

    def _waiting(self, frames: int) -> Samples:
        """The sound of the next frames to be judged: shape (frames × 512,). A view: while it lasts, none is kept."""
        offset = self._sample_of(self._endpointer.frame) - self._kept_from
        return np.frombuffer(self._kept, dtype="<i2", count=frames * FRAME_SAMPLES, offset=2 * offset)

    def _decide(self, judged: Judged) -> list[Event]:
        """What the next frames mean, then forget the sound that nothing needs any more."""
        endpointer = self._endpointer
        loudness_dbfs = judged.loudness_dbfs.tolist()
        self._level_dbfs = max(loudness_dbfs)
        events: list[Event] = []
        if endpointer.first is None and not judged.probabilities.any():
            endpointer.skip(len(loudness_dbfs))
        else:
            voiced_from = self._options.endpointing.start_probability
            for probability, loudness in zip(judged.probabilities.tolist(), loudness_dbfs, strict=True):
                if probability >= voiced_from:
                    self._frames.append((self._sample_of(endpointer.frame), 10 ** (loudness / 10)))
                for decision in endpointer.push(probability, loudness):
                    events += self._events_of(decision)
        self._forget_before(self._sample_of(endpointer.silent_until))
        return events

    def _events_of(self, decision: Decision, end: int | None = None) -> list[Event]:
        first, last = self._sample_of(decision.first), self._sample_of(decision.last)
        if end is not None and decision.last == self._endpointer.frame:
            # Someone was cut off: the last samples make no whole frame, but are part of it.
            last = end
        if decision.kind is DecisionKind.STARTED:
            return [SpeechStarted(first)]
        if decision.kind is DecisionKind.DROPPED:
            return []
        begin = 2 * (first - self._kept_from)
        pcm = bytes(self._kept[begin : begin + 2 * (last - first)])
        level_dbfs = self._level_of(first, last)
        if decision.kind is DecisionKind.PAUSED:
            return [Pause(first, last, pcm, level_dbfs)]
        self._silent_until = last
        return [Utterance(first, last, pcm, level_dbfs)]

    def _level_of(self, first: int, last: int) -> float:
        """Mean power of the voiced frames that begin in a half-open range, dBFS."""
        powers = [power for sample, power in self._frames if first <= sample < last]
        return round(10 * math.log10(sum(powers) / len(powers)), 1) if powers else QUIETEST_DBFS

    def _close_at(self, end: int) -> list[Event]:
        events = self._judge(least=1)
        for decision in self._endpointer.finish():
            events += self._events_of(decision, end)
        return events + self._silence(end)

    def _say_silence(self) -> list[Event]:
        return self._silence(self._sample_of(self._endpointer.silent_until))

    def _silence(self, until: int) -> list[Event]:
        if until <= self._silent_until:
            return []
        self._silent_until = until
        return [Silence(until)]

    def _forget_before(self, sample: int) -> None:
        if sample > self._kept_from:
            del self._kept[: 2 * (sample - self._kept_from)]
            self._kept_from = sample
        while self._frames and self._frames[0][0] < sample:
            self._frames.popleft()


def catch_up_together(sessions: Sequence[StreamSession]) -> list[list[Event]]:
    """`catch_up` of each, at a fraction of the cost. Raises VadModelMissing when the model is not installed."""
    events: list[list[Event]] = [[] for _session in sessions]
    waiting: dict[int, list[int]] = {}
    for index, session in enumerate(sessions):
        waiting.setdefault(session.waiting_frames, []).append(index)
    for frames, indices in waiting.items():
        step = max(1, _FRAMES_TOGETHER // max(1, frames))
        for first in range(0, len(indices) if frames else 0, step):
            some = indices[first : first + step]
            samples = np.empty((len(some), frames * FRAME_SAMPLES), dtype=np.int16)
            for row, index in enumerate(some):
                samples[row] = sessions[index]._waiting(frames)
            judged = judge_together([sessions[index]._detector for index in some], samples)
            for index, of_one in zip(some, judged, strict=True):
                session = sessions[index]
                events[index] = session._decide(of_one) + session._say_silence()
    return events
