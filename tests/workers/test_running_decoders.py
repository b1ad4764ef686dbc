"""Decoders that run along with people who speak: only what is new is decoded, and memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.sounds import RATE_HZ, as_floats, clicks, hum, noise, silence, spoken
from workers.engines.base import SpeechEngine
from workers.engines.child import hosted
from workers.engines.speech.pocketsphinx import Gates, PocketSphinxEngine, worth_showing_already
from workers.engines.speech.running_decoders import (
    KEPT_S,
    MOST_DECODERS,
    STREAMS_REMEMBERED,
    TARGET_DBFS,
    RunningDecoders,
    gain_for,
)
from workers.messages import Word

STEP = round(0.7 * RATE_HZ)


@pytest.fixture(scope="module")
def engine() -> Iterator[SpeechEngine]:
    engine = hosted(PocketSphinxEngine)
    yield engine
    engine.unload()


def padded(number: int) -> np.ndarray:
    return as_floats(np.concatenate([silence(0.38), spoken(number)]))


def looks(engine: SpeechEngine, samples: np.ndarray, key: str) -> list[str]:
    return [engine.interim(key, samples[:end], "en").text for end in range(STEP, len(samples) + STEP, STEP)]


def words_of(text: str) -> list[str]:
    return text.lower().split()


def test_words_come_while_they_are_spoken(engine: SpeechEngine) -> None:
    seen = looks(engine, padded(3), "a/0")
    assert words_of(seen[2])[:1] == ["yes"]
    assert [len(words_of(text)) for text in seen[1:]] == sorted(len(words_of(text)) for text in seen[1:])
    said = words_of("yes a small wooden bridge children can stand on the bridge and watch the boats go by")
    assert len(set(words_of(seen[-1])) & set(said)) > len(set(said)) / 2
    assert seen[-1][0].isupper() and not seen[-1].endswith(".")


def test_two_people_at_once_do_not_mix(engine: SpeechEngine) -> None:
    alone = [looks(engine, padded(number), f"alone{number}/0")[-1] for number in (1, 3)]
    together = ["", ""]
    for end in range(STEP, max(len(padded(1)), len(padded(3))) + STEP, STEP):
        for index, number in enumerate((1, 3)):
            together[index] = engine.interim(f"both{number}/0", padded(number)[:end], "en").text
    for one, other in zip(alone, together, strict=True):
        assert len(set(words_of(one)) & set(words_of(other))) >= 0.7 * len(set(words_of(one)))


def test_a_final_is_the_same_whether_or_not_interims_ran_beside_it(engine: SpeechEngine) -> None:
    before = engine.transcribe(padded(2), "en").text
    engine.interim("beside/0", padded(1)[: 2 * STEP], "en")
    assert engine.transcribe(padded(2), "en").text == before


def test_going_on_after_a_child_has_died_starts_anew_with_the_whole(engine: SpeechEngine) -> None:
    """A fresh child knows nothing of the utterance, but is given all of it."""
    samples = padded(3)
    engine.interim("dies/0", samples[: 3 * STEP], "en")
    engine.unload()
    text = engine.interim("dies/0", samples[: 5 * STEP], "en").text
    assert words_of(text)[:1] == ["yes"] and len(words_of(text)) >= 5


@pytest.mark.parametrize(
    "sound", [silence(4), hum(4, -20), clicks(4, -25), noise(0.1, -20)], ids=["silence", "hum", "keys", "a moment"]
)
def test_there_are_no_phantom_interims(engine: SpeechEngine, sound: np.ndarray) -> None:
    assert set(looks(engine, as_floats(sound), "noise/0")) == {""}


def word(text: str, start_ms: int, end_ms: int) -> Word:
    return Word(text, start_ms, end_ms)


@pytest.mark.parametrize(
    ("words", "duration_s", "shown"),
    [
        ([], 1.1, False),
        ([word("yes", 400, 900)], 1.1, True),
        ([word("the", 400, 900)], 1.1, False),
        ([word("see", 0, 3000)], 3.2, False),
        ([word("a", 400, 500), word("boat", 500, 900)], 4.0, False),
        ([word("a", 400, 500), word("boat", 500, 900)], 1.1, True),
    ],
    ids=["nothing", "a word", "an article", "one endless word", "mostly noise", "two words"],
)
def test_what_is_worth_showing_already(words: list[Word], duration_s: float, shown: bool) -> None:
    assert worth_showing_already(words, duration_s, Gates()) is shown


def test_whispers_and_shouts_reach_the_decoder_alike() -> None:
    speech = padded(1)
    for gain in (0.03, 1.0, 3.0):
        levels = speech * gain * gain_for(speech * gain)
        loud = np.sort(levels[: len(levels) // 320 * 320].reshape(-1, 320).std(axis=1))
        assert 20 * np.log10(loud[len(loud) // 2 :].mean()) == pytest.approx(TARGET_DBFS, abs=3)
    assert np.isfinite(gain_for(np.zeros(RATE_HZ, np.float32)))


class Notebook:
    """Stands where a decoder of the library would: writes down what it is fed."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.fed_bytes = 0
        self.open = False
        self.mean = options["cmninit"]

    def start_utt(self) -> None:
        assert not self.open
        self.open, self.fed_bytes = True, 0

    def end_utt(self) -> None:
        assert self.open
        self.open = False

    def process_raw(self, pcm: bytes, **_options: object) -> None:
        assert self.open
        self.fed_bytes += len(pcm)

    def set_cmn(self, mean: str) -> None:
        self.mean = mean

    def get_cmn(self, update: bool) -> str:
        return f"{self.mean}+"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def some_sound(seconds: float) -> np.ndarray:
    return np.full(round(seconds * RATE_HZ), 0.1, np.float32)


def test_each_sample_is_decoded_once() -> None:
    decoders = RunningDecoders(Notebook)
    for seconds in (1.0, 1.7, 1.7, 2.5):
        assert decoders.advance("a/0", some_sound(seconds)).fed_bytes == 2 * round(seconds * RATE_HZ)


def test_as_many_people_as_there_may_be_decoders_each_keep_theirs() -> None:
    decoders = RunningDecoders(Notebook, clock=Clock())
    first = [decoders.advance(f"{name}/0", some_sound(1)) for name in "abc"]
    again = [decoders.advance(f"{name}/0", some_sound(2)) for name in "abc"]
    assert [id(d) for d in first] == [id(d) for d in again]
    decoders.advance("d/0", some_sound(1))
    assert len(decoders) == MOST_DECODERS == 3


def test_the_next_utterance_of_a_stream_takes_its_decoder_and_its_mean() -> None:
    decoders = RunningDecoders(Notebook, clock=Clock())
    first = decoders.advance("a/0", some_sound(1))
    start_mean = first.mean
    assert decoders.advance("a/90000", some_sound(1)) is first
    assert (len(decoders), first.mean) == (1, f"{start_mean}+")


def test_what_nobody_has_used_for_a_minute_is_given_back() -> None:
    clock = Clock()
    decoders = RunningDecoders(Notebook, clock=clock)
    for name in "abc":
        decoders.advance(f"{name}/0", some_sound(1))
    clock.now += KEPT_S
    decoders.advance("d/0", some_sound(1))
    assert len(decoders) <= 2


def test_an_utterance_that_got_shorter_is_another_one() -> None:
    decoders = RunningDecoders(Notebook)
    decoders.advance("a/0", some_sound(3))
    assert decoders.advance("a/0", some_sound(1)).fed_bytes == 2 * RATE_HZ


def test_means_of_streams_that_went_are_forgotten() -> None:
    decoders = RunningDecoders(Notebook)
    for number in range(STREAMS_REMEMBERED + 20):
        decoders.advance(f"{number}/0", some_sound(1))
    assert len(decoders._means) <= STREAMS_REMEMBERED
