"""What every voice engine does to the sound before its network hears it: silences out, one loudness, windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workers.messages import SAMPLE_RATE_HZ

Floats = npt.NDArray[np.float32]

TARGET_DBFS = -27.0
"""What `normalised` brings all sound to."""
MIN_SPEECH_S = 0.4
"""Shorter than a word: nothing to tell a voice from."""
WINDOW_S = 1.5
WINDOW_HOP_S = 0.75
"""To find out where one voice follows another: long enough to tell a voice, short enough to lie inside a turn."""

BLOCK_SAMPLES = 480
_BELOW_LOUD_DB = 30.0
_FLOOR_DBFS = -60.0


@dataclass(frozen=True, slots=True)
class SpeechWindow:
    """A window's worth of speech out of an utterance, and where in the utterance it lies."""

    start_ms: int
    end_ms: int
    samples: Floats
    """(24000,), speech only: where it spans a pause, `end_ms - start_ms` is more than 1.5 s."""


def speech_of(samples: np.ndarray) -> Floats:
    """The sound without its silences; float32, shape (n,), finite, without a constant part.

    Blocks of 30 ms are kept that come within 30 dB of the loud ones, with a neighbour on each side. The utterances come
    from a voice activity detector already: what is left to drop are pauses and the padding around them.
    """
    blocks, kept = _speech_blocks(samples)
    return np.ascontiguousarray(blocks[kept].reshape(-1))


def speech_and_places(samples: np.ndarray) -> tuple[Floats, npt.NDArray[np.int64]]:
    """What `speech_of` gives, and at which sample of the utterance each of its blocks of 30 ms begins, shape (n,)."""
    blocks, kept = _speech_blocks(samples)
    return np.ascontiguousarray(blocks[kept].reshape(-1)), np.flatnonzero(kept) * BLOCK_SAMPLES


def speech_windows(samples: np.ndarray) -> list[SpeechWindow]:
    """Windows of 1.5 s of speech, one about every 0.75 s of it, the last one ending with the speech.

    Empty where there is not speech enough for two of them: a single window tells no change.
    """
    blocks, kept = _speech_blocks(samples)
    places = np.flatnonzero(kept)
    length = round(WINDOW_S * SAMPLE_RATE_HZ / BLOCK_SAMPLES)
    hop = round(WINDOW_HOP_S * SAMPLE_RATE_HZ / BLOCK_SAMPLES)
    spare = len(places) - length
    if spare < hop:
        return []
    starts = np.linspace(0, spare, spare // hop + 1).astype(int)
    block_ms = BLOCK_SAMPLES * 1000 // SAMPLE_RATE_HZ
    return [
        SpeechWindow(
            start_ms=int(places[start]) * block_ms,
            end_ms=(int(places[start + length - 1]) + 1) * block_ms,
            samples=np.ascontiguousarray(blocks[places[start : start + length]].reshape(-1)),
        )
        for start in starts
    ]


def normalised(samples: Floats) -> Floats:
    """The same sound at −27 dBFS; what little is left of silence stays silence."""
    power = float(np.mean(samples * samples))
    return samples * np.float32(10 ** (TARGET_DBFS / 20) / max(1e-9, power**0.5))


def _speech_blocks(samples: np.ndarray) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The cleaned sound as blocks of 30 ms, shape (blocks, 480), and which of them hold speech."""
    clean = np.nan_to_num(np.asarray(samples, dtype=np.float32), posinf=0, neginf=0).clip(-1, 1)
    count = len(clean) // BLOCK_SAMPLES
    if not count:
        return np.zeros((0, BLOCK_SAMPLES), dtype=np.float32), np.zeros(0, dtype=np.bool_)
    clean = clean[: count * BLOCK_SAMPLES]
    clean = clean - clean.mean()
    blocks = clean.reshape(count, BLOCK_SAMPLES)
    level = 10 * np.log10(np.mean(blocks * blocks, axis=1) + 1e-12)
    loud = level >= max(_FLOOR_DBFS, float(np.percentile(level, 95)) - _BELOW_LOUD_DB)
    kept = loud.copy()
    kept[1:] |= loud[:-1]
    kept[:-1] |= loud[1:]
    return blocks, kept
