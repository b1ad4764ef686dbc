"""The binary audio message of the live socket: a 16-byte header, then samples."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from meetings.audio import SAMPLE_RATE_HZ

Samples = npt.NDArray[np.int16]
"""Shape (n,), mono, 16 kHz."""

MAGIC = b"MV"
VERSION = 1
ENCODING_PCM16 = 1
HEADER_BYTES = 16
MIN_SAMPLES = SAMPLE_RATE_HZ * 20 // 1000
MAX_SAMPLES = SAMPLE_RATE_HZ * 2
MAX_POSITION = 2**63 - 1
"""The header has room for 64 bits without a sign; PostgreSQL's bigint, where positions end up, has one less."""

_HEADER = struct.Struct("<2sBBHHQ")


class FrameError(ValueError):
    """A binary message that is not an audio frame.

    `code` is one of `frame_too_short`, `bad_magic`, `bad_version`, `bad_encoding`, `reserved_not_zero`, `odd_bytes`,
    `audio_too_short`, `audio_too_long`, `index_overflow`; the message says in English what was expected.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, eq=False)
class AudioFrame:
    """One message: which stream, where it starts, and its samples (a read-only view of the message's bytes)."""

    stream_number: int
    first_sample: int
    samples: Samples


def parse_frame(data: bytes) -> AudioFrame:
    """Read one binary message. Raises FrameError for whatever the protocol does not allow."""
    if len(data) < HEADER_BYTES:
        raise FrameError("frame_too_short", f"an audio message has a header of {HEADER_BYTES} bytes, got {len(data)}")
    magic, version, encoding, stream_number, reserved, first_sample = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise FrameError("bad_magic", "an audio message starts with the letters MV")
    if version != VERSION:
        raise FrameError("bad_version", f"audio version {version} is not known, only {VERSION}")
    if encoding != ENCODING_PCM16:
        raise FrameError("bad_encoding", f"audio encoding {encoding} is not known, only {ENCODING_PCM16} (16-bit PCM)")
    if reserved:
        raise FrameError("reserved_not_zero", "bytes 6 and 7 of an audio message are zero")
    audio_bytes = len(data) - HEADER_BYTES
    if audio_bytes % 2:
        raise FrameError("odd_bytes", "samples have 16 bits, but the audio has an odd number of bytes")
    count = audio_bytes // 2
    if count < MIN_SAMPLES:
        raise FrameError("audio_too_short", f"an audio message has at least {MIN_SAMPLES} samples, got {count}")
    if count > MAX_SAMPLES:
        raise FrameError("audio_too_long", f"an audio message has at most {MAX_SAMPLES} samples, got {count}")
    if first_sample + count > MAX_POSITION:
        raise FrameError("index_overflow", "the index of the first sample is beyond the end of any stream")
    return AudioFrame(stream_number, first_sample, np.frombuffer(data, dtype="<i2", offset=HEADER_BYTES))


def encode_frame(stream_number: int, first_sample: int, samples: Samples) -> bytes:
    """Write one binary message; what `parse_frame` would refuse because of its size is the caller's to avoid."""
    header = _HEADER.pack(MAGIC, VERSION, ENCODING_PCM16, stream_number, 0, first_sample)
    return header + np.ascontiguousarray(samples, dtype="<i2").tobytes()
