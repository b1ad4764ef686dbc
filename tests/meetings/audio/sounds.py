"""Sounds for the tests: silences, noises, and the lines of the project's own spoken dialogue."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

RATE_HZ = 16_000
_DIALOGUE = Path(__file__).resolve().parents[3] / "meetings" / "demo" / "dialogue.opus"

Sound = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Line:
    speaker: str
    text: str
    start_s: float
    end_s: float


@functools.lru_cache(maxsize=1)
def dialogue() -> Sound:
    """About two minutes of three voices, int16 at 16 kHz."""
    samples, rate = soundfile.read(_DIALOGUE, dtype="int16")
    assert rate == RATE_HZ
    return samples


@functools.lru_cache(maxsize=1)
def lines() -> list[Line]:
    """What is said in the dialogue, and when."""
    script = json.loads(_DIALOGUE.with_suffix(".json").read_text(encoding="utf-8"))
    return [Line(line["speaker"], line["text"], line["start_s"], line["end_s"]) for line in script["lines"]]


def spoken(number: int) -> Sound:
    """One line of the dialogue, alone."""
    line = lines()[number]
    return dialogue()[int(line.start_s * RATE_HZ) : int(line.end_s * RATE_HZ)]


def silence(seconds: float) -> Sound:
    return np.zeros(int(seconds * RATE_HZ), dtype=np.int16)


def noise(seconds: float, dbfs: float, seed: int = 1) -> Sound:
    """White noise."""
    samples = np.random.default_rng(seed).standard_normal(int(seconds * RATE_HZ))
    return (samples * 10 ** (dbfs / 20) * 32767).clip(-32768, 32767).astype(np.int16)


def hum(seconds: float, dbfs: float) -> Sound:
    """Mains hum with its harmonics."""
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    wave = sum(np.sin(2 * np.pi * 50 * k * time + k) / k for k in range(1, 12))
    return _at(wave, dbfs)


def clicks(seconds: float, dbfs: float, seed: int = 1) -> Sound:
    """Keys being pressed, five a second."""
    random = np.random.default_rng(seed)
    wave = np.zeros(int(seconds * RATE_HZ))
    for start in np.cumsum(random.exponential(0.2, int(seconds * 5))):
        click = random.standard_normal(600) * np.exp(-np.arange(600) / random.uniform(40, 150))
        place = wave[int(start * RATE_HZ) : int(start * RATE_HZ) + 600]
        place += click[: len(place)]
    return _at(wave, dbfs)


def melody(seconds: float, dbfs: float, seed: int = 1) -> Sound:
    """Plucked notes with harmonics and vibrato."""
    random = np.random.default_rng(seed)
    time = np.arange(int(0.4 * RATE_HZ)) / RATE_HZ
    notes = []
    for _ in range(int(seconds / 0.4)):
        pitch = 220 * 2 ** (random.choice([0, 2, 4, 5, 7, 9, 11, 12]) / 12)
        vibrato = 0.3 * np.sin(2 * np.pi * 5 * time)
        note = sum(np.sin(2 * np.pi * pitch * k * time + vibrato * k) / k for k in range(1, 9))
        notes.append(note * np.minimum(1, time / 0.02) * np.exp(-3 * time))
    return _at(np.concatenate(notes), dbfs)


def as_floats(samples: Sound) -> npt.NDArray[np.float32]:
    return samples.astype(np.float32) / 32768


def _at(wave: npt.NDArray[np.float64], dbfs: float) -> Sound:
    rms = np.sqrt(np.mean(wave * wave))
    return (wave * (10 ** (dbfs / 20) / rms) * 32767).clip(-32768, 32767).astype(np.int16)
