"""Recordings of one person that are to teach a voice: read in memory, judged, cut down to the speech in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from django.core.files.uploadedfile import InMemoryUploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.utils.translation import gettext as _

from meetings.audio import SAMPLE_RATE_HZ
from meetings.audio.frames import Samples
from meetings.audio.vad import FRAME_SAMPLES, VoiceActivityDetector
from meetviz_site.live.audio_file import AudioFileError, read_upload

MOST_BYTES = 30 * 2**20
"""Of one request; the site takes no body above 32 MB from anybody."""
LONGEST_S = 600.0
MOST_PIECES = 12
TEACHING_S = 30.0
"""More speech makes no better print, and captions wait while a speech host listens to it."""

_SPEECH = 0.5
_AROUND_FRAMES = 4
"""128 ms before and after speech are kept: consonants that the detector doubts."""
_BLOCK_FRAMES = 10 * SAMPLE_RATE_HZ // FRAME_SAMPLES
_SILENT_DBFS = -55.0
_FULL_SCALE = 32_600
_MOST_CLIPPED = 0.02
"""Share of samples of the speech that may stand at full scale: what clips more is distortion, not a voice."""


class RecordingRefused(Exception):
    """A recording that cannot teach a voice. `code` for programs, the message for a person, with what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, eq=False)
class Teaching:
    """What of a recording is worth listening to."""

    samples: Samples
    """The speech with a little around it, at most `TEACHING_S` of it."""
    speech_s: float

    def pcm(self) -> bytes:
        """Signed 16-bit little-endian, as speech hosts take it."""
        return np.ascontiguousarray(self.samples, dtype="<i2").tobytes()


def teaching_of(samples: Samples) -> Teaching:
    """Find the speech in a recording (int16, (n,), 16 kHz).

    Raises RecordingRefused: `silent`, `no_speech`, `clipped`.
    """
    whole = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES]
    flags, loudest = _speech_frames(whole)
    speech_s = float(flags.sum() * FRAME_SAMPLES / SAMPLE_RATE_HZ)
    if not flags.any():
        if loudest < _SILENT_DBFS:
            message = _("This recording is silent. Is the microphone switched off or muted?")
            raise RecordingRefused("silent", message)
        message = _("No speech was found in this recording. Speak close to the microphone, without music or noise.")
        raise RecordingRefused("no_speech", message)
    kept = np.convolve(flags, np.ones(2 * _AROUND_FRAMES + 1))[_AROUND_FRAMES:][: len(flags)] > 0
    speech = whole[: len(kept) * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)[kept].reshape(-1)
    if np.mean(np.abs(speech.astype(np.int32)) >= _FULL_SCALE) > _MOST_CLIPPED:
        message = _("This recording is too loud: the sound is cut off. Turn the microphone down and record again.")
        raise RecordingRefused("clipped", message)
    return Teaching(speech, speech_s)


def _speech_frames(samples: Samples) -> tuple[Any, float]:
    """Which frames are speech (bool, as far as enough was found), and the loudest frame, dBFS."""
    detector = VoiceActivityDetector()
    flags: list[Any] = [np.zeros(0, dtype=bool)]
    loudest, found = -120.0, 0
    for first in range(0, len(samples), _BLOCK_FRAMES * FRAME_SAMPLES):
        judged = detector.judge(samples[first : first + _BLOCK_FRAMES * FRAME_SAMPLES])
        flags.append(judged.probabilities >= _SPEECH)
        found += int(flags[-1].sum())
        loudest = max(loudest, float(judged.loudness_dbfs.max()))
        if found * FRAME_SAMPLES >= TEACHING_S * SAMPLE_RATE_HZ:
            break
    return np.concatenate(flags), loudest


def recording_of(files: Sequence[Any]) -> Samples:
    """Uploaded files, one after another, as one recording. Raises RecordingRefused."""
    if not files:
        raise RecordingRefused("no_sound", _("Record the voice or choose a file first."))
    if len(files) > MOST_PIECES:
        raise RecordingRefused("too_many", _("At most %(most)d recordings at once.") % {"most": MOST_PIECES})
    pieces: list[Samples] = []
    left_s = LONGEST_S
    for file in files:
        if not file.size:
            raise RecordingRefused("empty", _("“%(file)s” is empty.") % {"file": file.name})
        try:
            pieces.append(read_upload(file, file.name, longest_s=left_s))
        except AudioFileError as error:
            raise RecordingRefused(error.code, _sentence(error.code) % {"file": file.name}) from error
        left_s -= len(pieces[-1]) / SAMPLE_RATE_HZ
    return np.concatenate(pieces)


def _sentence(code: str) -> str:
    return {
        "no_audio": _("“%(file)s” holds no sound."),
        "damaged": _("“%(file)s” is damaged: it cannot be read to its end. Save it again, or record the voice here."),
        "too_long": _("That is more than 10 minutes of sound. A minute of one person speaking is plenty."),
    }.get(code) or _("“%(file)s” is not a sound file that can be read. WAV, MP3, FLAC, OGG and M4A work.")


def too_large() -> RecordingRefused:
    message = _("That is too large: at most %(megabytes)d MB. A minute of speech is plenty, as MP3 if need be.")
    return RecordingRefused("too_large", message % {"megabytes": MOST_BYTES // 2**20})


class InMemoryUpload(FileUploadHandler):
    """Keeps what is uploaded in memory: Django's own handlers put what is larger than 2.5 MB on the disk as a file."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._buffer = BytesIO()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._buffer.write(raw_data)

    def file_complete(self, file_size: int) -> InMemoryUploadedFile:
        self._buffer.seek(0)
        return InMemoryUploadedFile(
            self._buffer, self.field_name, self.file_name, self.content_type, file_size, self.charset
        )
