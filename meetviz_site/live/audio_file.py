"""Audio files of any kind as the samples that the live socket carries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from meetings.audio import SAMPLE_RATE_HZ
from meetings.audio.frames import Samples


class AudioFileError(Exception):
    """A file that cannot be spoken: missing, empty, damaged, or no audio. The message names it and says why.

    `code` is `unreadable`, `no_audio`, `damaged` or `too_long`.
    """

    def __init__(self, message: str, code: str = "unreadable") -> None:
        super().__init__(message)
        self.code = code


def read_audio(path: str | os.PathLike[str]) -> Samples:
    """Decode the first audio track of `path`, whatever its container, rate and channels.

    Returns int16, shape (n,), mono, 16 kHz; several channels are mixed down. Raises AudioFileError.
    """
    # Here and not above: the command must be able to complain about its arguments before FFmpeg's libraries load.
    import av

    file = Path(path)
    if not file.exists():
        raise AudioFileError(f"{file}: there is no such file.")
    if file.is_dir():
        raise AudioFileError(f"{file} is a folder, not an audio file.")
    try:
        if file.is_file() and file.stat().st_size == 0:
            raise AudioFileError(f"{file} is empty (0 bytes).")
        container = av.open(str(file))
    except PermissionError as error:
        raise AudioFileError(f"{file} may not be read: {error.strerror}.") from error
    except (av.FFmpegError, OSError) as error:
        raise AudioFileError(f"{file} is not an audio file that FFmpeg knows.") from error
    with container:
        return _decode(container, str(file))


def read_upload(file: BinaryIO, name: str, *, longest_s: float) -> Samples:
    """The same for what somebody uploaded; decoding stops beyond `longest_s`. Raises AudioFileError.

    A playlist can name other files and addresses: none of them is opened.
    """
    import av

    try:
        container = av.open(file, options={"protocol_whitelist": "none"})
    except (av.FFmpegError, OSError, ValueError) as error:
        raise AudioFileError(f"{name} is not an audio file that FFmpeg knows.") from error
    with container:
        return _decode(container, name, longest_s)


def _decode(container: Any, name: str, longest_s: float = float("inf")) -> Samples:
    import av

    if not container.streams.audio:
        raise AudioFileError(f"{name} holds no audio.", "no_audio")
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
    pieces: list[Samples] = []
    length_s = 0.0
    try:
        for frame in container.decode(audio=0):
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
            length_s += frame.samples / frame.sample_rate
            if length_s > longest_s:
                raise AudioFileError(f"{name} is longer than {longest_s:.0f} s.", "too_long")
        if pieces:
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    except (av.FFmpegError, ValueError) as error:
        raise AudioFileError(
            f"{name} is damaged after {sum(map(len, pieces)) / SAMPLE_RATE_HZ:.1f} s of audio.", "damaged"
        ) from error
    samples = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
    if not len(samples):
        raise AudioFileError(f"{name} holds no sound (its audio is 0 s long).", "no_audio")
    return samples
