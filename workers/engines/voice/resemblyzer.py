"""Voices by Resemblyzer's GE2E model, whose weights come with its wheel: the embedded engine that needs no download."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workers.engines.base import EngineError, HeardVoices, VoiceEngine, VoiceWindow
from workers.engines.voice.ge2e import (
    DIMENSIONS,
    HOP_SAMPLES,
    PARTIAL_FRAMES,
    SAMPLE_RATE_HZ,
    Ge2eEncoder,
    mel_frames,
    read_weights,
)
from workers.engines.voice.sound import (
    BLOCK_SAMPLES,
    MIN_SPEECH_S,
    TARGET_DBFS,
    Floats,
    normalised,
    speech_and_places,
    speech_of,
)
from workers.messages import VoiceEmbedding

# All sound is brought to one loudness. Resemblyzer itself only raises quiet sound, to −30 dBFS; but the network hears
# loudness, and with microphones of −12, 0 and +10 dB that gives equal error rates of 6 % at 2 s and 5 % at 3 s of
# speech on 6 LibriSpeech speakers, where one common loudness gives 2 % and 1 %.
MAX_GAIN_DB = 10.0
"""Partial utterances get one loudness each, quiet ones at most so much: a head turned away from the microphone sounds
like somebody else otherwise (of 95 utterances whose second half was made 6 dB quieter and duller, 12 were cut in two,
with this 4 at the same costs), and equal error rates at 2 and 3 s stay as they are."""
PARTIAL_STEP_FRAMES = 77
"""Partial utterances of 1.6 s start about every 0.77 s: Resemblyzer's 1.3 per second."""


class ResemblyzerEngine(VoiceEngine):
    """GE2E embeddings, 256 dimensions, on the CPU."""

    name = "resemblyzer"
    model = "resemblyzer-ge2e-256"
    demo = True
    dimensions = DIMENSIONS

    def _load(self) -> None:
        spec = importlib.util.find_spec("resemblyzer")
        if spec is None or spec.origin is None:
            raise EngineError("engine_failed", "Resemblyzer is not installed: install the pinned requirements")
        path = Path(spec.origin).parent / "pretrained.pt"
        try:
            self._encoder = Ge2eEncoder(read_weights(path))
        except (OSError, KeyError, ValueError, pickle.UnpicklingError) as error:
            raise EngineError("engine_failed", f"{path} is not Resemblyzer's model: {error}") from error

    def _unload(self) -> None:
        del self._encoder

    def _embed(self, samples: np.ndarray) -> VoiceEmbedding | None:
        heard = speech_of(samples)
        return self._mean(self._partials(heard)[1], len(heard))

    def _listen(self, samples: np.ndarray) -> HeardVoices:
        """The partial utterances that make the embedding are windows already: they cost nothing more."""
        heard, places = speech_and_places(samples)
        slices, vectors = self._partials(heard)
        whole = self._mean(vectors, len(heard))
        if whole is None or len(vectors) < 2:
            return HeardVoices(whole)
        windows = []
        for part, vector in zip(slices, vectors, strict=True):
            last = min(part.stop * HOP_SAMPLES, len(heard)) - 1
            start_ms = _place(part.start * HOP_SAMPLES, places) * 1000 // SAMPLE_RATE_HZ
            end_ms = (_place(last, places) + 1) * 1000 // SAMPLE_RATE_HZ
            windows.append(VoiceWindow(start_ms, end_ms, vector))
        return HeardVoices(whole, windows)

    def _partials(self, heard: Floats) -> tuple[list[slice], Floats]:
        """Where the partial utterances of so much speech lie, in frames, and their unit vectors, shape (count, 256)."""
        if len(heard) < MIN_SPEECH_S * SAMPLE_RATE_HZ:
            return [], np.zeros((0, DIMENSIONS), dtype=np.float32)
        normal = normalised(heard)
        slices = partial_slices(len(normal))
        gains = [_gain(normal[part.start * HOP_SAMPLES : part.stop * HOP_SAMPLES]) for part in slices]
        # What a short utterance lacks is silence.
        normal = np.pad(normal, (0, max(0, slices[-1].stop * HOP_SAMPLES - len(normal))))
        mels = mel_frames(normal)
        partials = np.stack([mels[part] * gain for part, gain in zip(slices, gains, strict=True)])
        return slices, self._encoder.embed(partials)

    def _mean(self, vectors: Floats, samples: int) -> VoiceEmbedding | None:
        if not len(vectors):
            return None
        mean = vectors.mean(axis=0)
        length = float(np.linalg.norm(mean))
        if not np.isfinite(length) or length < 1e-6:
            return None
        return VoiceEmbedding((mean / length).tolist(), self.model, samples / SAMPLE_RATE_HZ)


def _gain(normal: Floats) -> np.float32:
    """By which factor the power of a part of normalised sound falls short of the whole's."""
    power = float(np.mean(normal * normal))
    return np.float32(min(10 ** (TARGET_DBFS / 10) / max(1e-9, power), 10 ** (MAX_GAIN_DB / 10)))


def _place(sample: int, places: npt.NDArray[np.int64]) -> int:
    """Where in the utterance a sample of its speech lies; `places` as `speech_and_places` gives them."""
    return int(places[sample // BLOCK_SAMPLES]) + sample % BLOCK_SAMPLES


def partial_slices(samples: int) -> list[slice]:
    """Which mel frames make the partial utterances of so many samples; one that reaches beyond the end if it must.

    They are spread evenly from the first frame to the last. Resemblyzer leaves out or pads what remains at the end,
    which costs a third of the equal error rate at 2 and 3 s.
    """
    frames = samples // HOP_SAMPLES + 1
    spare = frames - PARTIAL_FRAMES
    if spare <= 0:
        return [slice(0, PARTIAL_FRAMES)]
    count = -(-spare // PARTIAL_STEP_FRAMES) + 1
    starts = np.linspace(0, spare, count).astype(int).tolist()
    return [slice(start, start + PARTIAL_FRAMES) for start in starts]
