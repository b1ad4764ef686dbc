"""Audio files of any kind as the samples that the live socket carries."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from meetings.audio import SAMPLE_RATE_HZ
from meetings.audio.frames import Samples


class AudioFileError(Exception):
    """A file that cannot be spoken: missing, empty, damaged, or no audio. The message names it and says why."""


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
        if not container.streams.audio:
            raise AudioFileError(f"{file} holds no audio.")
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
        pieces: list[Samples] = []
        try:
            for frame in container.decode(audio=0):
                pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
            if pieces:
                pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
        except (av.FFmpegError, ValueError) as error:
            raise AudioFileError(
                f"{file} is damaged after {sum(map(len, pieces)) / SAMPLE_RATE_HZ:.1f} s of audio."
            ) from error
    samples = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
    if not len(samples):
        raise AudioFileError(f"{file} holds no sound (its audio is 0 s long).")
    return samples
