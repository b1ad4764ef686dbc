"""Sounds for tests and benches: the project's own spoken dialogue, and what is heard in a room where nobody speaks.

All makers return int16 at 16 kHz, shape (n,), at a loudness (RMS, `dbfs`, 0 = full-scale square wave) that is asked
for; the same `seed` gives the same sound.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

RATE_HZ = 16_000
_DIALOGUE = Path(__file__).resolve().parents[1] / "meetings" / "demo" / "dialogue.opus"

Sound = npt.NDArray[np.int16]
Wave = npt.NDArray[np.float64]


# Speech


@dataclass(frozen=True, slots=True)
class Line:
    speaker: str
    text: str
    start_s: float
    end_s: float


@functools.lru_cache(maxsize=1)
def dialogue() -> Sound:
    """About two minutes of three voices."""
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


def babble(seconds: float, dbfs: float, seed: int = 1, voices: int = 8) -> Sound:
    """A full room in which nobody can be understood: the dialogue backwards, many times over one another."""
    random = np.random.default_rng(seed)
    backwards = dialogue()[::-1].astype(np.float64)
    wave = np.zeros(int(seconds * RATE_HZ))
    for _ in range(voices):
        wave += np.resize(np.roll(backwards, random.integers(len(backwards))), len(wave)) * random.uniform(0.5, 1)
    return at(wave, dbfs)


# Noise


def silence(seconds: float) -> Sound:
    return np.zeros(int(seconds * RATE_HZ), dtype=np.int16)


def noise(seconds: float, dbfs: float, seed: int = 1) -> Sound:
    """White noise."""
    samples = np.random.default_rng(seed).standard_normal(int(seconds * RATE_HZ))
    return (samples * 10 ** (dbfs / 20) * 32767).clip(-32768, 32767).astype(np.int16)


def pink(seconds: float, dbfs: float, seed: int = 1) -> Sound:
    """3 dB less per octave, from 20 Hz on: rain, a street far away."""
    return at(coloured(seconds, 1.0, 20.0, seed), dbfs)


def brown(seconds: float, dbfs: float, seed: int = 1) -> Sound:
    """6 dB less per octave, from 10 Hz on: strong low rumble, wind on a microphone, a passing train."""
    return at(coloured(seconds, 2.0, 10.0, seed), dbfs)


def fan(seconds: float, dbfs: float, seed: int = 1) -> Sound:
    """Air and blades: rumble, hiss and a tone with harmonics that wanders a little."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * np.cumsum(118 + 1.5 * np.sin(2 * np.pi * 0.13 * time + random.uniform(0, 6))) / RATE_HZ
    blades = sum(np.sin(k * phase + k) / k**1.5 for k in range(1, 7))
    air = coloured(seconds, 1.6, 25.0, seed)
    return at(blades * 0.35 + air / air.std() * (1 + 0.1 * np.sin(2 * np.pi * 0.31 * time)), dbfs)


def hum(seconds: float, dbfs: float, seed: int = 1) -> Sound:
    """Mains hum with its harmonics."""
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    wave = sum(np.sin(2 * np.pi * 50 * k * time + k * seed) / k for k in range(1, 12))
    return at(wave, dbfs)


def clicks(seconds: float, dbfs: float, seed: int = 1) -> Sound:
    """Keys being pressed, five a second."""
    random = np.random.default_rng(seed)
    wave = np.zeros(int(seconds * RATE_HZ))
    for start in np.cumsum(random.exponential(0.2, int(seconds * 5))):
        click = random.standard_normal(600) * np.exp(-np.arange(600) / random.uniform(40, 150))
        _lay(wave, start, click)
    return at(wave, dbfs)


def doors(seconds: float, dbfs: float, seed: int = 1) -> Sound:
    """A door that slams every few seconds: a thump, a rattle, the room's echo of both."""
    random = np.random.default_rng(seed)
    wave = np.zeros(int(seconds * RATE_HZ))
    time = np.arange(RATE_HZ) / RATE_HZ
    for start in np.arange(1.0, seconds, 4.0):
        thump = np.sin(2 * np.pi * random.uniform(60, 110) * time) * np.exp(-time * random.uniform(10, 25))
        echo = random.standard_normal(RATE_HZ) * np.exp(-time * random.uniform(7, 14))
        low = np.convolve(echo, np.ones(12) / 12, "same")
        _lay(wave, start + random.uniform(0, 2), thump + low * random.uniform(0.5, 1.5))
        _lay(wave, start + random.uniform(0, 2) + 0.06, 0.4 * echo)
    return at(wave, dbfs)


def room(seconds: float, dbfs: float, seed: int = 1) -> Sound:
    """An office where nobody speaks: air, a computer's hum, now and then a key or a chair."""
    parts = [
        pink(seconds, dbfs, seed),
        hum(seconds, dbfs - 8, seed),
        clicks(seconds, dbfs - 6, seed) if seed % 3 == 0 else silence(seconds),
    ]
    return mixed(*parts)


# Music


def chords(seconds: float, dbfs: float, seed: int = 1) -> Sound:
    """Soft held triads, a new one every two seconds."""
    random = np.random.default_rng(seed)
    time = np.arange(2 * RATE_HZ) / RATE_HZ
    swell = np.minimum(1, time / 0.3) * np.minimum(1, (2 - time) / 0.2)
    bars = []
    for _ in range(int(np.ceil(seconds / 2))):
        root = 110 * 2 ** (random.choice([0, 2, 4, 5, 7, 9]) / 12)
        pitches = [root * 2 ** (step / 12) for step in (0, random.choice([3, 4]), 7, 12)]
        bars.append(swell * sum(_tone(time, pitch * detune, 10) for pitch in pitches for detune in (0.998, 1.002)))
    return at(np.concatenate(bars)[: int(seconds * RATE_HZ)], dbfs)


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
    return at(np.concatenate(notes), dbfs)


def drums(seconds: float, dbfs: float, seed: int = 1, beat_s: float = 0.3) -> Sound:
    """Kick, snare and hi-hat, eight to the bar."""
    random = np.random.default_rng(seed)
    wave = np.zeros(int(seconds * RATE_HZ))
    time = np.arange(int(0.25 * RATE_HZ)) / RATE_HZ
    kick = np.sin(2 * np.pi * (45 * time + 4 * (1 - np.exp(-20 * time)))) * np.exp(-14 * time)
    for number, start in enumerate(np.arange(0, seconds, beat_s)):
        rattle = random.standard_normal(len(time))
        _lay(wave, start, 0.25 * np.diff(rattle, prepend=0) * np.exp(-60 * time))
        if number % 4 == 0:
            _lay(wave, start, 1.5 * kick)
        if number % 4 == 2:
            _lay(wave, start, (rattle * 0.5 + np.sin(2 * np.pi * 190 * time)) * np.exp(-18 * time))
    return at(wave, dbfs)


def band(seconds: float, dbfs: float, seed: int = 1) -> Sound:
    """Chords, melody and drums together."""
    parts = chords(seconds, dbfs - 3, seed), melody(seconds, dbfs - 4, seed), drums(seconds, dbfs - 4, seed)
    return mixed(*parts)


def singing(seconds: float, dbfs: float, seed: int = 1) -> Sound:
    """A voice without words: sung vowels, gliding from one to the next, with vibrato and breath."""
    random = np.random.default_rng(seed)
    notes: list[Wave] = []
    before = _VOWELS_HZ[0]
    while sum(map(len, notes)) < seconds * RATE_HZ:
        time = np.arange(int(random.uniform(0.3, 1.2) * RATE_HZ)) / RATE_HZ
        pitch = random.choice([130.8, 261.6]) * 2 ** (random.choice([0, 2, 4, 5, 7, 9]) / 12)
        vowel = _VOWELS_HZ[random.integers(len(_VOWELS_HZ))]
        notes.append(_sung(time, pitch, before, vowel, random))
        before = vowel
        if random.random() < 0.25:
            notes.append(np.zeros(int(random.uniform(0.2, 1.0) * RATE_HZ)))
    return at(np.concatenate(notes)[: int(seconds * RATE_HZ)], dbfs)


_VOWELS_HZ = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
"""The first three formants of men's vowels in "hod, heed, who'd, head, hawed": Peterson and Barney, 1952."""


def _sung(
    time: Wave, pitch_hz: float, begin: tuple[int, ...], end: tuple[int, ...], random: np.random.Generator
) -> Wave:
    """One note of additive synthesis: harmonics as loud as the vowel's formants make them."""
    vibrato = 1 + 0.012 * np.sin(2 * np.pi * 5.5 * time) * np.minimum(1, time / 0.3)
    phase = 2 * np.pi * np.cumsum(pitch_hz * vibrato) / RATE_HZ
    glide = np.clip(time / 0.12, 0, 1)
    wave = np.zeros(len(time))
    for k in range(1, int(5_000 / pitch_hz)):
        there, here = _formant_gain(k * pitch_hz, end), _formant_gain(k * pitch_hz, begin)
        wave += np.sin(k * phase) / k * (here + (there - here) * glide)
    wave += 0.01 * random.standard_normal(len(time))
    return wave * np.minimum(1, time / 0.05) * np.minimum(1, (time[-1] - time) / 0.08)


def _formant_gain(hz: float, formants_hz: tuple[int, ...]) -> float:
    return sum(1 / (1 + ((hz - formant) / (60 + 0.03 * formant)) ** 2) for formant in formants_hz) + 0.02


def quiet(seconds: float, dbfs: float = -120.0, seed: int = 1) -> Sound:
    """Silence, whatever loudness is asked for."""
    return silence(seconds)


WORDLESS: dict[str, Callable[[float, float, int], Sound]] = {
    "silence": quiet,
    "white noise": noise,
    "pink noise": pink,
    "rumble": brown,
    "a fan": fan,
    "hum": hum,
    "keys": clicks,
    "doors": doors,
    "chords": chords,
    "a melody": melody,
    "drums": drums,
    "a band": band,
}
"""Makers (seconds, dBFS, seed) of what a meeting room is full of while nobody says a word."""


# What they are made of


def mixed(*sounds: Sound) -> Sound:
    """Together, as long as the shortest, with their own loudness."""
    length = min(map(len, sounds))
    return sum(sound[:length].astype(np.int32) for sound in sounds).clip(-32768, 32767).astype(np.int16)


def as_floats(samples: Sound) -> npt.NDArray[np.float32]:
    return samples.astype(np.float32) / 32768


def at(wave: Wave, dbfs: float) -> Sound:
    """At this loudness, as 16-bit samples."""
    rms = np.sqrt(np.mean(wave * wave))
    return (wave * (10 ** (dbfs / 20) / rms) * 32767).clip(-32768, 32767).astype(np.int16)


def coloured(seconds: float, slope: float, lowest_hz: float, seed: int) -> Wave:
    """Noise whose power falls with the frequency to the power of `slope`, nothing below `lowest_hz`."""
    count = int(seconds * RATE_HZ)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    hz = np.fft.rfftfreq(count, 1 / RATE_HZ)
    spectrum *= np.where(hz < lowest_hz, 0, np.maximum(hz, lowest_hz) ** (-slope / 2))
    return np.fft.irfft(spectrum, count)


def _tone(time: Wave, pitch_hz: float, harmonics: int) -> Wave:
    return sum(np.sin(2 * np.pi * pitch_hz * k * time + k) / k**1.3 for k in range(1, harmonics))


def _lay(wave: Wave, start_s: float, sound: Wave) -> None:
    """Add `sound` into `wave` at a time, as much of it as fits."""
    place = wave[int(start_s * RATE_HZ) : int(start_s * RATE_HZ) + len(sound)]
    place += sound[: len(place)]
