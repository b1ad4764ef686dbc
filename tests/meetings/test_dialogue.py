"""The dialogue that the demo plays: the audio is what its script says."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from meetviz_site.live.audio_file import read_audio

FOLDER = Path(__file__).resolve().parents[2] / "meetings" / "demo"
SCRIPT = json.loads((FOLDER / "dialogue.json").read_text())
LINES = SCRIPT["lines"]
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return read_audio(FOLDER / "dialogue.opus").astype(float) / 32_768


def level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples**2) + 1e-12))


def test_it_is_about_two_minutes_of_opus_under_a_megabyte(samples: np.ndarray) -> None:
    assert (FOLDER / "dialogue.opus").stat().st_size < 1_000_000
    assert 105 <= len(samples) / RATE_HZ <= 135
    assert len(samples) / RATE_HZ == pytest.approx(SCRIPT["duration_s"], abs=0.05)


def test_both_readers_of_audio_agree_on_it(samples: np.ndarray) -> None:
    info = soundfile.info(FOLDER / "dialogue.opus")
    assert (info.format, info.subtype, info.channels) == ("OGG", "OPUS", 1)
    assert info.duration == pytest.approx(len(samples) / RATE_HZ, abs=0.05)
    with av.open(str(FOLDER / "dialogue.opus")) as container:
        assert container.streams.audio[0].codec_context.name in ("opus", "libopus")


def test_three_people_take_turns(samples: np.ndarray) -> None:
    people = [speaker["name"] for speaker in SCRIPT["speakers"]]
    assert len(people) == len({speaker["voice"] for speaker in SCRIPT["speakers"]}) == 3
    spoken = {name: sum(1 for line in LINES if line["speaker"] == name) for name in people}
    assert set(spoken) == {line["speaker"] for line in LINES}
    assert min(spoken.values()) >= 7
    assert all(one["speaker"] != other["speaker"] for one, other in itertools.pairwise(LINES))


def test_lines_have_natural_lengths_and_pauses() -> None:
    for line in LINES:
        assert 2 <= line["end_s"] - line["start_s"] <= 7, line["text"]
    for one, other in itertools.pairwise(LINES):
        assert 0.6 <= other["start_s"] - one["end_s"] <= 1.25


def test_there_is_speech_where_the_script_says_and_a_quiet_room_between(samples: np.ndarray) -> None:
    for line in LINES:
        start, end = (int(line[key] * RATE_HZ) for key in ("start_s", "end_s"))
        assert level_db(samples[start:end]) == pytest.approx(-20, abs=1.5), line["text"]
    for one, other in itertools.pairwise(LINES):
        between = samples[int((one["end_s"] + 0.15) * RATE_HZ) : int((other["start_s"] - 0.15) * RATE_HZ)]
        # Not digital silence, which no microphone gives.
        assert -90 < level_db(between) < -50


def test_it_speaks_of_the_garden_and_then_of_the_festival() -> None:
    first, second = ([line["text"].lower() for line in part] for part in (LINES[:14], LINES[14:]))
    for thing in ("house", "bridge", "trees", "boat", "lanterns", "bench", "path", "flowers", "rain", "evening"):
        assert any(thing in text for text in first), thing
    for thing in ("stage", "music", "tickets", "food", "fireworks"):
        assert any(thing in text for text in second), thing
