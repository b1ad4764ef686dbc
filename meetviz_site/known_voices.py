"""Recordings of known people, a folder each, as what a calibration is computed from."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from meetings.audio import SAMPLE_RATE_HZ
from meetviz_site.live.audio_file import AudioFileError, read_audio
from speakers.calibration import DURATIONS_S, ENROLMENT_S, Material, Piece
from workers.engines.base import EngineError, VoiceEngine
from workers.engines.voice.sound import Floats, speech_of

MOST_PIECES = 4
"""Of one recording and duration: more of them say the same again."""
MIN_RECORDING_S = 2.0


class Why(enum.Enum):
    UNREADABLE = "unreadable"
    TOO_SHORT = "too_short"
    TOO_FEW = "too_few"
    """A person with fewer than two usable recordings: none would be left to try their voiceprint with."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file or person that cannot be used."""

    what: str
    why: Why
    reason: str = ""
    """Of an unreadable file, a sentence that names it."""
    number: float = 0.0
    """Seconds of speech, or usable recordings."""


@dataclass(slots=True)
class KnownVoices:
    """What the recordings of a folder gave."""

    material: Material = field(default_factory=Material)
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def speakers(self) -> int:
        return len({piece.speaker for piece in self.material.enrolment})


def known_voices(folder: Path, engine: VoiceEngine, progress: Callable[[str], None] = lambda line: None) -> KnownVoices:
    """Let the engine hear all recordings below `folder/<speaker>/`; `progress` is told of each speaker.

    Durations are of speech without its pauses. Raises EngineError; files that are no recordings are left out.
    """
    found = KnownVoices()
    for person in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        progress(person.name)
        recordings = list(_recordings(person, found.left_out))
        if len(recordings) < 2:
            found.left_out.append(LeftOut(person.name, Why.TOO_FEW, number=len(recordings)))
            continue
        for file, speech in recordings:
            _hear(found.material, engine, person.name, str(file), speech)
    return found


def _recordings(person: Path, left_out: list[LeftOut]) -> list[tuple[Path, Floats]]:
    """Each recording below a person's folder and the speech in it."""
    recordings = []
    for file in sorted(path for path in person.rglob("*") if path.is_file() and not path.name.startswith(".")):
        try:
            speech = speech_of(read_audio(file).astype(np.float32) / 32768)
        except AudioFileError as error:
            left_out.append(LeftOut(str(file), Why.UNREADABLE, reason=str(error)))
            continue
        seconds = len(speech) / SAMPLE_RATE_HZ
        if seconds < MIN_RECORDING_S:
            left_out.append(LeftOut(str(file), Why.TOO_SHORT, number=seconds))
            continue
        recordings.append((file, speech))
    return recordings


def _hear(material: Material, engine: VoiceEngine, person: str, recording: str, speech: Floats) -> None:
    def piece(samples: Floats) -> Piece | None:
        voice = engine.embed(samples)
        if voice and voice.model != engine.model:
            raise EngineError("engine_failed", f"{engine.model} failed and {voice.model} took over: see the log")
        return voice and Piece(person, recording, np.array(voice.vector, dtype=np.float32), voice.speech_s)

    whole = piece(speech[: int(ENROLMENT_S * SAMPLE_RATE_HZ)])
    if whole is None:
        return
    material.enrolment.append(whole)
    for duration_s in DURATIONS_S:
        heard = (piece(part) for part in parts(speech, duration_s))
        material.trials.setdefault(duration_s, []).extend(one for one in heard if one)


def parts(speech: Floats, duration_s: float) -> list[Floats]:
    """Up to four pieces of the duration that do not overlap, spread over the recording."""
    length = int(duration_s * SAMPLE_RATE_HZ)
    count = min(MOST_PIECES, len(speech) // length)
    starts = np.linspace(0, len(speech) - length, count).astype(int) if count else []
    return [speech[start : start + length] for start in starts]
