from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from tests.sounds import Sound, as_floats, clicks, hum, lines, noise, silence, spoken
from workers.engines.base import EngineError, SpeechEngine
from workers.engines.child import hosted
from workers.engines.speech.pocketsphinx import Gates, PocketSphinxEngine, mean_probability, tidy, worth_showing
from workers.messages import Word

PADDING = silence(0.3)


@pytest.fixture(scope="module")
def engine() -> Iterator[SpeechEngine]:
    engine = hosted(PocketSphinxEngine)
    yield engine
    engine.unload()


def words_of(text: str) -> list[str]:
    return "".join(c for c in text.lower() if c.isalpha() or c in " '").split()


def errors(said: list[str], heard: list[str]) -> int:
    """Word edits (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        last, row[0] = row[:], i
        for j, other in enumerate(heard, 1):
            row[j] = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (word != other))
    return row[-1]


def padded(samples: Sound) -> np.ndarray:
    return as_floats(np.concatenate([PADDING, samples, PADDING]))


def test_most_words_of_the_dialogue_are_right(engine: SpeechEngine) -> None:
    wrong = total = 0
    for number in range(6):
        said = words_of(lines()[number].text)
        wrong += errors(said, words_of(engine.transcribe(padded(spoken(number)), "en").text))
        total += len(said)
    assert wrong / total < 0.15


def test_the_line_reads_well_and_its_words_are_clean(engine: SpeechEngine) -> None:
    transcript = engine.transcribe(padded(spoken(1)), "auto")
    assert transcript.language == "en"
    assert transcript.text[0].isupper()
    assert transcript.text.endswith(".")
    assert not set(transcript.text) & set("<>[]()+0123456789")
    assert tidy(word.text for word in transcript.words) == transcript.text
    assert 0.3 < transcript.confidence <= 1


def test_words_have_times_in_order_inside_the_utterance(engine: SpeechEngine) -> None:
    samples = padded(spoken(0))
    words = engine.transcribe(samples, "en").words
    assert len(words) > 5
    # The 300 ms of padding are no word.
    assert words[0].start_ms >= 200
    assert words[-1].end_ms <= len(samples) / 16
    for word, following in pairwise(words):
        assert word.start_ms < word.end_ms <= following.start_ms
    assert all(0 <= word.probability <= 1 for word in words)


@pytest.mark.parametrize("gain_db", [-30, 9])
def test_loudness_and_a_constant_part_do_not_matter(engine: SpeechEngine, gain_db: float) -> None:
    samples = padded(spoken(1))
    said = words_of(engine.transcribe(samples, "en").text)
    changed = (samples * np.float32(10 ** (gain_db / 20))).clip(-0.85, 0.85) + np.float32(0.1)
    assert errors(said, words_of(engine.transcribe(changed, "en").text)) <= 0.2 * len(said)


def test_the_same_sound_gives_the_same_words_whatever_came_before(engine: SpeechEngine) -> None:
    first = engine.transcribe(padded(spoken(2)), "en")
    engine.transcribe(padded(spoken(3)), "en")
    again = engine.transcribe(padded(spoken(2)), "en")
    assert again.text == first.text
    assert again.confidence == pytest.approx(first.confidence, abs=0.01)


@pytest.mark.parametrize(
    "sound",
    [silence(3), silence(0.05), silence(0), noise(3, -20), noise(3, -70), hum(3, -20), clicks(3, -25)],
    ids=["silence", "a moment", "nothing", "noise", "hiss", "hum", "keys"],
)
def test_there_are_no_phantom_words(engine: SpeechEngine, sound: Sound) -> None:
    transcript = engine.transcribe(as_floats(sound), "en")
    assert (transcript.text, transcript.words) == ("", [])


def test_broken_numbers_are_survived(engine: SpeechEngine) -> None:
    samples = padded(spoken(1))
    said = words_of(engine.transcribe(samples, "en").text)
    samples[[100, 20_000]] = [np.nan, np.inf]
    assert errors(said, words_of(engine.transcribe(samples, "en").text)) <= 2


def test_russian_is_refused_rather_than_invented(engine: SpeechEngine) -> None:
    with pytest.raises(EngineError) as caught:
        engine.transcribe(padded(spoken(0)), "ru")
    assert caught.value.code == "language_unsupported"


def test_it_works_without_a_child_too_and_after_unloading() -> None:
    engine = PocketSphinxEngine()
    samples = padded(spoken(1))
    text = engine.transcribe(samples, "en").text
    engine.unload()
    assert engine.transcribe(samples, "en").text == text
    facts = engine.facts()
    assert (facts.name, facts.model, facts.demo, facts.languages) == ("pocketsphinx", "en-us", True, ["en"])


def test_tidy_makes_a_sentence() -> None:
    assert tidy(["we", "need", "a", "bench"]) == "We need a bench."
    assert tidy([]) == ""


def word(text: str, probability: float = 0.9, start_ms: int = 0, end_ms: int = 400) -> Word:
    return Word(text, start_ms, end_ms, probability)


def test_confidence_counts_long_words_more() -> None:
    assert mean_probability([]) == 0
    assert mean_probability([word("boat", 1.0, 0, 300), word("a", 0.0, 300, 400)]) == 0.75


@pytest.mark.parametrize(
    ("words", "duration_s", "shown"),
    [
        ([], 1.0, False),
        ([word("yes")], 0.8, True),
        ([word("yes", 0.2)], 0.8, False),
        ([word("the")], 0.8, False),
        ([word("uh"), word("the", start_ms=400, end_ms=800)], 1.0, False),
        ([word("boat")], 3.0, False),
        ([word("a", 0.2), word("red", 0.2, 400, 800), word("boat", 0.2, 800, 1200)], 1.5, True),
        ([word("a", 0.03), word("red", 0.03, 400, 800), word("boat", 0.03, 800, 1200)], 1.5, False),
    ],
    ids=["nothing", "a sure word", "an unsure word", "an article", "only fillers", "mostly noise", "three", "unsure"],
)
def test_what_is_worth_showing(words: list[Word], duration_s: float, shown: bool) -> None:
    assert worth_showing(words, duration_s, Gates()) is shown
