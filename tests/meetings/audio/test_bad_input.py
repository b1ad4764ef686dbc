"""Sound as bad devices and files give it: the speech in it is still found, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from meetings.audio.session import Silence, StreamSession, Utterance
from meetviz_site.live.audio_file import read_audio
from tests.sounds import RATE_HZ, Sound, noise, silence, spoken

MESSAGE = 1600
BEFORE_S = 1.0
AFTER_S = 1.5


def talk() -> Sound:
    """A second of a quiet room, one line of the dialogue, a second and a half of the room."""
    return np.concatenate([noise(BEFORE_S, -70), spoken(1), noise(AFTER_S, -70)])


def clipped(samples: np.ndarray) -> np.ndarray:
    return np.clip(samples * 12, -1, 1)


def shifted(samples: np.ndarray) -> np.ndarray:
    return np.clip(samples + 0.4, -1, 1)


def shifted_more_and_more(samples: np.ndarray) -> np.ndarray:
    return np.clip(samples + np.linspace(-0.3, 0.3, len(samples)), -1, 1)


def telephone(samples: np.ndarray) -> np.ndarray:
    """Only 300 to 3400 Hz, as a call at 8 kHz carries."""
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    spectrum[(hertz < 300) | (hertz > 3400)] = 0
    return np.fft.irfft(spectrum, len(samples))


def mains_hum(samples: np.ndarray) -> np.ndarray:
    seconds = np.arange(len(samples)) / RATE_HZ
    return samples + 0.05 * np.sin(2 * np.pi * 50 * seconds)


def backwards_polarity(samples: np.ndarray) -> np.ndarray:
    return -samples


def whispered(samples: np.ndarray) -> np.ndarray:
    return samples * 0.02


def found_in(samples: Sound) -> list[Utterance]:
    session = StreamSession()
    events = []
    for start in range(0, len(samples), MESSAGE):
        events += session.feed(start, samples[start : start + MESSAGE])
    return [event for event in [*events, *session.finish()] if isinstance(event, Utterance)]


def assert_the_line_is_found(found: list[Utterance]) -> None:
    line_s = len(spoken(1)) / RATE_HZ
    begin, end = found[0].first_sample / RATE_HZ, found[-1].last_sample / RATE_HZ
    assert BEFORE_S - 0.6 < begin < BEFORE_S + 0.3
    assert BEFORE_S + line_s - 0.4 < end < BEFORE_S + line_s + 0.6
    assert sum(u.last_sample - u.first_sample for u in found) / RATE_HZ > 0.85 * line_s


@pytest.mark.parametrize(
    "harm", [clipped, shifted, shifted_more_and_more, telephone, mains_hum, backwards_polarity, whispered]
)
def test_speech_is_found_however_the_device_harms_it(harm: Callable[[np.ndarray], np.ndarray]) -> None:
    samples = (np.clip(harm(talk() / 32768), -1, 1) * 32767).astype(np.int16)
    assert_the_line_is_found(found_in(samples))


def as_file(path: Path, channels: list[np.ndarray], rate_hz: int = RATE_HZ) -> Path:
    soundfile.write(path, np.stack(channels, axis=1), rate_hz, subtype="PCM_16")
    return path


def test_one_silent_channel_does_not_matter_whichever_it_is(tmp_path: Path) -> None:
    speech = talk() / 32768
    nothing = np.zeros_like(speech)
    for name, channels in (("left.wav", [speech, nothing]), ("right.wav", [nothing, speech])):
        assert_the_line_is_found(found_in(read_audio(as_file(tmp_path / name, channels))))


def test_two_people_on_two_channels_are_both_there(tmp_path: Path) -> None:
    first, second = talk() / 32768, spoken(2) / 32768
    gap = np.zeros(len(first))
    left = np.concatenate([first, np.zeros(len(second)), np.zeros(RATE_HZ)])
    right = np.concatenate([gap, second, np.zeros(RATE_HZ)])
    found = found_in(read_audio(as_file(tmp_path / "both.wav", [left, right])))
    assert_the_line_is_found(found[:1])
    assert found[-1].last_sample > len(first) + 0.85 * len(second)


def test_a_telephone_recording_is_read_at_its_own_rate(tmp_path: Path) -> None:
    speech = telephone(talk() / 32768)[::2]
    samples = read_audio(as_file(tmp_path / "call.wav", [speech], 8_000))
    assert abs(len(samples) - 2 * len(speech)) <= RATE_HZ // 100
    assert_the_line_is_found(found_in(samples))


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(10 * RATE_HZ, np.int16),
        np.full(10 * RATE_HZ, 12_000, np.int16),
        np.tile(np.array([32767, -32768], np.int16), 5 * RATE_HZ),
        np.where(np.arange(10 * RATE_HZ) % (2 * RATE_HZ) < 40, 32767, 0).astype(np.int16),
    ],
    ids=["digital silence", "a constant", "full scale at the highest frequency", "a crack every two seconds"],
)
def test_what_holds_no_speech_holds_no_utterance(sound: Sound) -> None:
    session = StreamSession()
    events = session.feed(0, sound) + session.finish()
    assert not [event for event in events if isinstance(event, Utterance)]
    assert events[-1] == Silence(len(sound))


def test_a_device_that_jumps_to_full_scale_and_back_keeps_the_speech_after_it() -> None:
    jump = np.full(RATE_HZ // 2, 32767, np.int16)
    samples = np.concatenate([jump, silence(0.5), spoken(1), silence(1)])
    found = found_in(samples)
    covered = sum(u.last_sample - max(u.first_sample, RATE_HZ) for u in found if u.last_sample > RATE_HZ)
    assert covered > 0.8 * len(spoken(1))
