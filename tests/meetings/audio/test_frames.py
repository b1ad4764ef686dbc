from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetings.audio.frames import HEADER_BYTES, MAX_SAMPLES, MIN_SAMPLES, FrameError, encode_frame, parse_frame

FRAME = encode_frame(7, 123_456, np.arange(MIN_SAMPLES, dtype=np.int16))


@given(
    number=st.integers(0, 2**16 - 1),
    first=st.integers(0, 2**63 - 1 - MAX_SAMPLES),
    count=st.sampled_from([MIN_SAMPLES, 1600, 3200, MAX_SAMPLES]),
)
def test_what_was_encoded_is_parsed_again(number: int, first: int, count: int) -> None:
    samples = np.arange(count).astype(np.int16)
    frame = parse_frame(encode_frame(number, first, samples))
    assert (frame.stream_number, frame.first_sample) == (number, first)
    assert np.array_equal(frame.samples, samples)


def test_the_header_is_the_documented_one() -> None:
    data = encode_frame(0x0102, 0x0304, np.full(MIN_SAMPLES, -2, dtype=np.int16))
    assert data[:HEADER_BYTES] == b"MV\x01\x01\x02\x01\x00\x00\x04\x03\x00\x00\x00\x00\x00\x00"
    assert data[HEADER_BYTES : HEADER_BYTES + 2] == b"\xfe\xff"


def test_samples_are_a_view_and_not_a_copy() -> None:
    frame = parse_frame(FRAME)
    assert not frame.samples.flags.owndata
    assert not frame.samples.flags.writeable


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "frame_too_short"),
        (FRAME[:15], "frame_too_short"),
        (b"XX" + FRAME[2:], "bad_magic"),
        (FRAME[:2] + b"\x02" + FRAME[3:], "bad_version"),
        (FRAME[:3] + b"\x02" + FRAME[4:], "bad_encoding"),
        (FRAME[:6] + b"\x01\x00" + FRAME[8:], "reserved_not_zero"),
        (FRAME + b"\x00", "odd_bytes"),
        (FRAME[:-2], "audio_too_short"),
        (FRAME[:16], "audio_too_short"),
        (FRAME[:16] + bytes(2 * MAX_SAMPLES + 2), "audio_too_long"),
        (FRAME[:8] + b"\xff" * 8 + FRAME[16:], "index_overflow"),
        (FRAME[:8] + (2**63 - MIN_SAMPLES).to_bytes(8, "little") + FRAME[16:], "index_overflow"),
    ],
)
def test_each_malformation_has_its_own_code(data: bytes, code: str) -> None:
    with pytest.raises(FrameError) as caught:
        parse_frame(data)
    assert caught.value.code == code
    assert str(caught.value)


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_parse_or_be_refused(data: bytes) -> None:
    try:
        assert len(parse_frame(data).samples) >= MIN_SAMPLES
    except FrameError as error:
        assert error.code
