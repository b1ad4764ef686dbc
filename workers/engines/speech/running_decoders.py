"""PocketSphinx decoders that follow utterances while they are spoken: each step decodes only what is new.

A running decoder makes the first pass alone, with a mean that it learns as it goes: a step of 0.7 s costs 70 ms where
decoding a whole utterance anew costs up to a second, and its words are rougher than the final's.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workers.messages import SAMPLE_RATE_HZ

RUNNING_OPTIONS: dict[str, Any] = {
    "loglevel": "FATAL",
    "cmn": "live",
    # About the mean of speech at TARGET_DBFS from several microphones. From the model's own start value (40,3,-1) the
    # first words of an utterance are mostly wrong; from a stream's own mean of the utterance before they are best.
    "cmninit": "43,6,1,7,-2,0,-2,-5,-3,-2,1,1,2",
    "fwdflat": False,
    "bestpath": False,
    "lw": 6.0,
    "maxhmmpf": 4000,
}
MOST_DECODERS = 3
"""Each holds the model once more, 91 MB: so many people at once are followed without starting anew."""
IN_USE_S = 3.0
"""An utterance that nobody asked about for so long is over."""
KEPT_S = 60.0
"""So long a decoder beyond the first is kept after its last use."""
STREAMS_REMEMBERED = 64
TARGET_DBFS = -26.0
_FRAME = SAMPLE_RATE_HZ // 50
_MAX_GAIN_DB = 40.0


@dataclass(slots=True)
class _Running:
    decoder: Any
    key: str = ""
    fed: int = 0
    """Samples of the utterance that it has."""
    gain: float = 1.0
    offset: float = 0.0
    used_at: float = -math.inf


@dataclass(slots=True)
class RunningDecoders:
    """A few decoders, each on an utterance of its own; not for several threads at once."""

    make: Callable[[dict[str, Any]], Any]
    """Makes a decoder with these options."""
    clock: Callable[[], float] = time.monotonic
    _all: list[_Running] = field(default_factory=list)
    _means: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """Cepstral mean that a stream's last utterance ended with: that of its microphone and voice."""

    def __len__(self) -> int:
        return len(self._all)

    def warm_up(self) -> None:
        """Have the first one, so that nobody's first words wait for it."""
        if not self._all:
            self._all.append(_Running(self.make(RUNNING_OPTIONS)))

    def advance(self, key: str, samples: np.ndarray) -> Any:
        """The decoder of utterance `key` after it heard all of `samples` (float32, (n,), 16 kHz, −1…1), to be asked
        for its hypothesis."""
        now = self.clock()
        running = next((r for r in self._all if r.key == key and r.fed <= len(samples)), None)
        if running is None:
            running = self._take(_stream_of(key), now)
            self._begin(running, key, samples)
        running.used_at = now
        new = samples[running.fed :]
        running.fed = len(samples)
        if len(new):
            scaled = (np.nan_to_num(new, posinf=0, neginf=0) - running.offset) * (running.gain * 32767)
            pcm = np.clip(scaled, -32768, 32767).astype("<i2").tobytes()
            running.decoder.process_raw(pcm, no_search=False, full_utt=False)
        self._all = [r for r in self._all if r is running or r is self._all[0] or now - r.used_at < KEPT_S]
        return running.decoder

    def _take(self, stream: str, now: float) -> _Running:
        """The decoder of the stream's last utterance, else the one used longest ago, or a new one while all are in
        use."""
        oldest = min(self._all, key=lambda r: (_stream_of(r.key) != stream, r.used_at), default=None)
        in_use = oldest is not None and now - oldest.used_at < IN_USE_S and _stream_of(oldest.key) != stream
        if oldest is None or (in_use and len(self._all) < MOST_DECODERS):
            oldest = _Running(self.make(RUNNING_OPTIONS))
            self._all.append(oldest)
        self._end(oldest)
        return oldest

    def _begin(self, running: _Running, key: str, samples: np.ndarray) -> None:
        clean = np.nan_to_num(samples, posinf=0, neginf=0)
        running.key, running.fed = key, 0
        # Kept for the whole utterance: a gain that moves would look like speech to the decoder.
        running.offset = float(clean.mean()) if len(clean) else 0.0
        running.gain = gain_for(clean - running.offset)
        running.decoder.set_cmn(self._means.get(_stream_of(key), RUNNING_OPTIONS["cmninit"]))
        running.decoder.start_utt()

    def _end(self, running: _Running) -> None:
        if not running.key:
            return
        running.decoder.end_utt()
        stream = _stream_of(running.key)
        self._means[stream] = running.decoder.get_cmn(False)
        self._means.move_to_end(stream)
        while len(self._means) > STREAMS_REMEMBERED:
            self._means.popitem(last=False)
        running.key = ""


def _stream_of(key: str) -> str:
    """Keys are `stream/first sample`."""
    return key.rpartition("/")[0]


def gain_for(samples: np.ndarray) -> float:
    """What brings the louder half of the sound to TARGET_DBFS: an utterance begins with the silence before it."""
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    if not len(frames):
        return 1.0
    power = np.sort(np.mean(frames * frames, axis=1))
    rms = float(np.sqrt(power[len(power) // 2 :].mean()))
    most = 10 ** (_MAX_GAIN_DB / 20)
    return float(min(most, 10 ** (TARGET_DBFS / 20) / max(rms, 1e-6)))
