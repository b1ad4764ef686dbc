"""Voices by Resemblyzer's GE2E model, whose weights come with its wheel: the embedded engine that needs no download."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workers.engines.base import EngineError, VoiceEngine
from workers.engines.voice.ge2e import (
    DIMENSIONS,
    HOP_SAMPLES,
    PARTIAL_FRAMES,
    SAMPLE_RATE_HZ,
    Ge2eEncoder,
    mel_frames,
    read_weights,
)
from workers.messages import VoiceEmbedding

Floats = npt.NDArray[np.float32]

TARGET_DBFS = -27.0
"""All sound is brought to this loudness. Resemblyzer itself only raises quiet sound, to −30 dBFS; but the network hears
loudness, and with microphones of −12, 0 and +10 dB that gives equal error rates of 6 % at 2 s and 5 % at 3 s of speech
on 6 LibriSpeech speakers, where one common loudness gives 2 % and 1 %."""
PARTIAL_STEP_FRAMES = 77
"""Partial utterances of 1.6 s start about every 0.77 s: Resemblyzer's 1.3 per second."""
MIN_SPEECH_S = 0.4
"""Shorter than a word: nothing to tell a voice from."""

_ACTIVITY_SAMPLES = 480
_BELOW_LOUD_DB = 30.0
_FLOOR_DBFS = -60.0


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
        if len(heard) < MIN_SPEECH_S * SAMPLE_RATE_HZ:
            return None
        normal = normalised(heard)
        slices = partial_slices(len(normal))
        # What a short utterance lacks is silence.
        normal = np.pad(normal, (0, max(0, slices[-1].stop * HOP_SAMPLES - len(normal))))
        mels = mel_frames(normal)
        vectors = self._encoder.embed(np.stack([mels[part] for part in slices]))
        mean = vectors.mean(axis=0)
        length = float(np.linalg.norm(mean))
        if not np.isfinite(length) or length < 1e-6:
            return None
        return VoiceEmbedding((mean / length).tolist(), self.model, len(heard) / SAMPLE_RATE_HZ)


def speech_of(samples: np.ndarray) -> Floats:
    """The sound without its silences; float32, shape (n,), finite, without a constant part.

    Blocks of 30 ms are kept that come within 30 dB of the loud ones, with a neighbour on each side. The utterances come
    from a voice activity detector already: what is left to drop are pauses and the padding around them.
    """
    clean = np.nan_to_num(np.asarray(samples, dtype=np.float32), posinf=0, neginf=0).clip(-1, 1)
    count = len(clean) // _ACTIVITY_SAMPLES
    if not count:
        return np.zeros(0, dtype=np.float32)
    clean = clean[: count * _ACTIVITY_SAMPLES]
    clean = clean - clean.mean()
    blocks = clean.reshape(count, _ACTIVITY_SAMPLES)
    level = 10 * np.log10(np.mean(blocks * blocks, axis=1) + 1e-12)
    loud = level >= max(_FLOOR_DBFS, float(np.percentile(level, 95)) - _BELOW_LOUD_DB)
    kept = loud.copy()
    kept[1:] |= loud[:-1]
    kept[:-1] |= loud[1:]
    return np.ascontiguousarray(blocks[kept].reshape(-1))


def normalised(samples: Floats) -> Floats:
    """The same sound at −27 dBFS; what little is left of silence stays silence."""
    power = float(np.mean(samples * samples))
    return samples * np.float32(10 ** (TARGET_DBFS / 20) / max(1e-9, power**0.5))


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
