"""Voice activity: how likely each 32 ms frame is speech, and how loud it is.

The model is Silero VAD v6 as the `faster-whisper` wheel carries it, run by onnxruntime directly: importing
`faster_whisper` would cost a second and its own class forgets the state between calls. One session serves the whole
process (onnxruntime allows that from any thread); what a stream needs to go on is 1.3 kB of its own.

Loudness is judged first, because most open microphones are silent most of the time. The gate looks at nothing but the
loudness of the frames so far, so that cutting the same sound into other messages changes nothing. It does not listen
to low rumble, which changes from frame to frame as much as speech does: 200 rooms with a fan or a street below took a
third to half of a core, and take 7 to 10 % of one without it.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from meetings.audio.frames import Samples

FRAME_SAMPLES = 512
"""What Silero VAD was trained on at 16 kHz: 32 ms."""
CONTEXT_SAMPLES = 64
"""Silero VAD sees the end of the frame before, too."""

RUMBLE_SAMPLES = 81
"""The mean of this many samples around each (5 ms) is its low part: without it 100 Hz lose 9 dB, 50 Hz 20 dB, and
nothing above 190 Hz. Measured against other high-passes: a lower one lets fans through, a higher one loses low voices.
"""

Floats = npt.NDArray[np.float32]

_STATE_SHAPE = (1, 1, 128)
_MODEL_FILE = "silero_vad_v6.onnx"
QUIETEST_DBFS = -120.0


class VadModelMissing(RuntimeError):
    """The VAD's model file is not where the installed packages should have it."""


@functools.lru_cache(maxsize=1)
def _session():  # type: ignore[no-untyped-def]  # onnxruntime has no types
    """The process's only session of the model, one thread. Raises VadModelMissing."""
    import onnxruntime

    spec = importlib.util.find_spec("faster_whisper")
    path = Path(spec.origin).parent / "assets" / _MODEL_FILE if spec and spec.origin else None
    if path is None or not path.is_file():
        raise VadModelMissing(f"{_MODEL_FILE} comes with the faster-whisper package: install the pinned requirements")
    options = onnxruntime.SessionOptions()
    # More threads only add hand-over costs to a call of 0.1 ms.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def warm_up() -> None:
    """Load the model now instead of at the first loud frame. Raises VadModelMissing."""
    _session()


@dataclass(frozen=True, slots=True)
class VadOptions:
    """When a frame is worth asking the model about."""

    floor_dbfs: float = -60.0
    """Below this nothing is speech."""
    above_noise_db: float = 4.0
    """How far a frame must rise above the room's noise: the quietest moment of the last 2 to 4 seconds."""
    noise_smoothing: float = 0.25
    """Share of the newest frame in the loudness whose minimum is the noise: noise flickers from frame to frame."""
    noise_block_frames: int = 64
    """The noise is the minimum over this block and the one before: 64 frames are 2 s."""
    hangover_frames: int = 16
    """How many frames after the last loud one the model still judges, so that it sees words fade: 16 are 0.5 s."""
    target_dbfs: float = -19.0
    """Loudness at which the model judges best: it misses both whispers into a weak microphone and clipped shouting."""
    max_gain_db: float = 18.0
    release_db: float = 0.1
    """How fast the expected loudness of speech falls while nobody speaks, per frame: 0.1 is 3 dB a second."""
    speech_above_noise_db: float = 20.0
    """Speech is expected at least this far above the noise, so that a quiet room's noise is not blown up."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What was found out about some frames, both float32 of shape (frames,)."""

    probabilities: Floats
    """Of speech, 0–1; 0 for frames that the model was not asked about."""
    loudness_dbfs: Floats
    """RMS without the constant part, 0 = a full-scale square wave."""


class LoudnessGate:
    """Decides from loudness alone which frames the model has to see, and with what gain."""

    def __init__(self, options: VadOptions) -> None:
        self._options = options
        self._frames_in_block = 0
        self._block_minimum = np.inf
        # Nothing is known about the room yet: until one block has passed only the absolute floor counts.
        self._last_block_minimum = -np.inf
        self._smooth_dbfs = 0.0
        self._hangover = 0
        self._speech_dbfs = options.target_dbfs

    def admit(self, loudness_dbfs: float, voice_dbfs: float | None = None) -> float | None:
        """Take the next frame in. Gain in dB when it, or one shortly before, is louder than the room; else None.

        `voice_dbfs`: its loudness without rumble, which decides; what the model gets is as loud as `loudness_dbfs`.
        """
        options = self._options
        if voice_dbfs is None:
            voice_dbfs = loudness_dbfs
        self._smooth_dbfs += options.noise_smoothing * (voice_dbfs - self._smooth_dbfs)
        self._block_minimum = min(self._block_minimum, self._smooth_dbfs)
        noise_dbfs = min(self._block_minimum, self._last_block_minimum)
        self._frames_in_block += 1
        if self._frames_in_block == options.noise_block_frames:
            self._last_block_minimum, self._block_minimum, self._frames_in_block = self._block_minimum, np.inf, 0
        self._speech_dbfs = max(
            loudness_dbfs, self._speech_dbfs - options.release_db, noise_dbfs + options.speech_above_noise_db
        )
        if voice_dbfs >= max(options.floor_dbfs, noise_dbfs + options.above_noise_db):
            self._hangover = options.hangover_frames
        elif self._hangover:
            self._hangover -= 1
        if not self._hangover:
            return None
        return min(options.max_gain_db, max(-options.max_gain_db, options.target_dbfs - self._speech_dbfs))

    def admit_all(self, loudness_dbfs: list[float], voice_dbfs: list[float]) -> list[float | None] | None:
        """`admit` of several frames in order; None when the model has to see none of them."""
        gains = [self.admit(*levels) for levels in zip(loudness_dbfs, voice_dbfs, strict=True)]
        return gains if any(gain is not None for gain in gains) else None


class VoiceActivityDetector:
    """Judges one stream's frames in order and keeps what the next ones need."""

    def __init__(self, options: VadOptions | None = None) -> None:
        self._gate = LoudnessGate(options or VadOptions())
        self._h = self._c = np.zeros(_STATE_SHAPE, dtype=np.float32)
        self._tail = np.zeros(CONTEXT_SAMPLES, dtype=np.float32)
        self._offset: float | None = None
        self._rumble = RumbleFilter()

    def judge(self, samples: Samples) -> Judged:
        """Judge whole frames: `samples` of shape (frames × 512,). Raises VadModelMissing."""
        return judge_together([self], samples[None])[0]

    def _judge_loud(self, frames: Floats, offsets: list[float], gains: list[float | None]) -> Floats:
        """Probabilities of frames (shape (frames, 512), changed in place) of which the model has to see some."""
        frames -= np.array(offsets, dtype=np.float32)[:, None]
        before = np.concatenate((self._tail[None], frames[:-1, -CONTEXT_SAMPLES:]))
        probabilities = np.zeros(len(frames), dtype=np.float32)
        for first, last in _runs(gains):
            batch = np.concatenate((before[first:last], frames[first:last]), axis=1)
            batch *= 10 ** (np.array(gains[first:last], dtype=np.float32)[:, None] / 20)
            np.clip(batch, -1, 1, out=batch)
            probabilities[first:last] = self._ask(batch)
        self._tail = frames[-1, -CONTEXT_SAMPLES:].copy()
        return probabilities

    def _ask(self, batch: Floats) -> Floats:
        # The file's first dimension is time: one call takes any number of a stream's frames and returns the state.
        # That is kept over frames the model does not see: from a cold start it doubts first words and believes noise.
        probabilities: Floats
        probabilities, self._h, self._c = _session().run(None, {"input": batch, "h": self._h, "c": self._c})
        return probabilities

    def _offsets(self, means: list[float]) -> list[float]:
        """The microphone's constant part per frame, tracked slowly so that low voices are left alone."""
        offsets = []
        offset = self._offset
        for mean in means:
            offset = mean if offset is None else offset + 0.05 * (mean - offset)
            offsets.append(offset)
        self._offset = offset
        return offsets


def judge_together(detectors: Sequence[VoiceActivityDetector], samples: Samples) -> list[Judged]:
    """The same number of frames of several streams: what `judge` says of each, to the last bit, at a fraction of the
    cost, because most of it is paid per pass over an array and not per frame.

    `samples`: shape (streams, frames × 512). Raises VadModelMissing.
    """
    flat = samples.astype(np.float32).reshape(-1, FRAME_SAMPLES)
    flat *= 1 / 32768
    means = flat.mean(axis=1)
    power = np.einsum("ij,ij->i", flat, flat) / FRAME_SAMPLES - means * means
    shape = (len(detectors), -1)
    loudness = _decibels(power).reshape(shape)
    voice = _decibels(_power_without_rumble([d._rumble for d in detectors], samples)).tolist()
    frames = flat.reshape(*shape, FRAME_SAMPLES)
    gains = [d._gate.admit_all(*levels) for d, *levels in zip(detectors, loudness.tolist(), voice, strict=True)]
    offsets = [d._offsets(mean) for d, mean in zip(detectors, means.reshape(shape).tolist(), strict=True)]
    tails = frames[:, -1, -CONTEXT_SAMPLES:] - np.array([o[-1] for o in offsets], dtype=np.float32)[:, None]
    probabilities = np.zeros(loudness.shape, dtype=np.float32)
    for row, (detector, gain) in enumerate(zip(detectors, gains, strict=True)):
        if gain is None:
            detector._tail = tails[row].copy()  # or it would keep those of all the others
        else:
            probabilities[row] = detector._judge_loud(frames[row], offsets[row], gain)
    return [Judged(*judged) for judged in zip(probabilities, loudness, strict=True)]


class RumbleFilter:
    """How loud one stream's frames are without what is below the voice: each sample less the mean around it.

    Sums in whole numbers, so that the same sound cut into other messages gives the same to the last bit.
    """

    def __init__(self) -> None:
        self._tail: Samples | None = None

    def power_without(self, samples: Samples) -> Floats:
        """Mean square (1 = full scale) of each frame of `samples` (shape (frames × 512,)), heard 2.5 ms late."""
        power: Floats = _power_without_rumble([self], samples[None])[0]
        return power


def _power_without_rumble(filters: Sequence[RumbleFilter], samples: Samples) -> Floats:
    """`power_without` of several streams, `samples` of shape (streams, frames × 512): shape (streams, frames)."""
    around = np.empty((len(filters), RUMBLE_SAMPLES + samples.shape[1]), dtype=np.int16)
    around[:, RUMBLE_SAMPLES:] = samples
    for row, own in enumerate(filters):
        around[row, :RUMBLE_SAMPLES] = samples[row, 0] if own._tail is None else own._tail
        own._tail = around[row, -RUMBLE_SAMPLES:].copy()
    # Wraps around after 2 s of full scale, which differences of it do not mind.
    sums = np.cumsum(around, axis=1, dtype=np.int32)
    high = around[:, RUMBLE_SAMPLES // 2 + 1 : -(RUMBLE_SAMPLES // 2)].astype(np.int32)
    high *= RUMBLE_SAMPLES
    high -= sums[:, RUMBLE_SAMPLES:]
    high += sums[:, :-RUMBLE_SAMPLES]
    frames: Floats = high.astype(np.float32).reshape(-1, FRAME_SAMPLES)
    frames *= 1 / (RUMBLE_SAMPLES * 32768)
    power: Floats = (np.einsum("ij,ij->i", frames, frames) / FRAME_SAMPLES).reshape(len(filters), -1)
    return power


def _decibels(power: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    decibels: npt.NDArray[np.float32] = 10 * np.log10(np.maximum(power, 10 ** (QUIETEST_DBFS / 10)))
    return decibels


def _runs(gains: list[float | None]) -> list[tuple[int, int]]:
    """Half-open ranges of the frames that have a gain."""
    runs: list[tuple[int, int]] = []
    for index, gain in enumerate(gains):
        if gain is None:
            continue
        first = runs.pop()[0] if runs and runs[-1][1] == index else index
        runs.append((first, index + 1))
    return runs
