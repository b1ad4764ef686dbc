"""One microphone, several people: an utterance is cut where the voice changes, and nowhere else."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sounds import RATE_HZ, as_floats, lines, silence, spoken
from workers import registry
from workers.engines.base import VoiceWindow
from workers.engines.voice.resemblyzer import ResemblyzerEngine
from workers.messages import SAMPLE_RATE_HZ, SpeechRequest, Transcript, Word
from workers.tasks import hear
from workers.turns import SpokenTurn, pauses_ms, text_by_turn, words_by_turn

MODEL = "resemblyzer-ge2e-256"
WINDOW_MS, STEP_MS = 1600, 770
WORD_MS, GAP_MS, PAUSE_MS = 300, 20, 200
# As GE2E's windows are: one person's at a cosine of about 0.8 to each other, two people's at about 0.5.
ALIKE, APART = 0.8, 0.5
ECAPA = "ecapa-voxceleb-192"
ECAPA_LIKE = (0.55, 0.1)

Sound = npt.NDArray[np.float32]
Script = Sequence[tuple[int, int]]
"""Who speaks, and how many words."""


def voices(count: int, rng: np.random.Generator, alike: float, apart: float) -> npt.NDArray[np.float64]:
    """Means of `count` voices, (count, 256): as long and as far from each other as those of real ones."""
    own = rng.normal(size=(count + 1, 256))
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    means: npt.NDArray[np.float64] = np.sqrt(apart) * own[0] + np.sqrt(alike - apart) * own[1:]
    return means


def said(
    script: Script, seed: int = 1, alike: float = ALIKE, apart: float = APART
) -> tuple[list[VoiceWindow], Transcript, Sound]:
    """Windows, words and sound of an utterance in which one speaks after the other."""
    words: list[Word] = []
    who: list[int] = []
    at = 300
    for number, (voice, count) in enumerate(script):
        at += PAUSE_MS if number else 0
        for _ in range(count):
            words.append(Word(f"w{len(words)}", at, at + WORD_MS))
            who.append(voice)
            at += WORD_MS + GAP_MS
    rng = np.random.default_rng(seed)
    means = voices(max(who) + 1, rng, alike, apart)
    windows = []
    for start in range(300, max(301, at - WINDOW_MS + STEP_MS // 2), STEP_MS):
        inside = [max(0, min(w.end_ms, start + WINDOW_MS) - max(w.start_ms, start)) for w in words]
        mixed = np.array(inside, dtype=np.float64) @ means[who] / sum(inside)
        noise = rng.normal(size=mixed.size)
        vector = mixed + np.sqrt(1 - alike) * noise / np.linalg.norm(noise)
        windows.append(VoiceWindow(start, start + WINDOW_MS, (vector / np.linalg.norm(vector)).astype(np.float32)))
    return windows, Transcript(" ".join(w.text for w in words), "en", 1.0, words), sound_of(words, at + 300)


def sound_of(words: Sequence[Word], length_ms: int) -> Sound:
    """Noise where words are, hardly any where none is."""
    rng = np.random.default_rng(1)
    loudness = np.full(length_ms * SAMPLE_RATE_HZ // 1000, 1e-4)
    for word in words:
        loudness[word.start_ms * SAMPLE_RATE_HZ // 1000 : word.end_ms * SAMPLE_RATE_HZ // 1000] = 0.1
    return (loudness * rng.normal(size=len(loudness))).astype(np.float32)


def cut(script: Script, seed: int = 1, model: str = MODEL) -> list[tuple[int, int]]:
    """Voice and number of words of each turn that is found."""
    return [(part.voice, len(part.turn.words)) for part in words_by_turn(*said(script, seed), model)]


# Where it is cut


@given(words=st.integers(1, 36), seed=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_one_voice_is_never_cut(words: int, seed: int) -> None:
    assert cut([(0, words)], seed) == []


@pytest.mark.parametrize(
    "script",
    [
        [(0, 8), (1, 8)],
        [(0, 4), (1, 14)],
        [(0, 7), (1, 6), (0, 7)],
        [(0, 6), (1, 6), (2, 6)],
        [(0, 8), (1, 7), (2, 8), (3, 7)],
        [(0, 7), (1, 7), (0, 7), (1, 7)],
    ],
    ids=["A-B", "a short A", "A-B-A", "A-B-C", "A-B-C-D", "A-B-A-B"],
)
def test_it_is_cut_where_the_voice_changes(script: list[tuple[int, int]]) -> None:
    assert [cut(script, seed) for seed in range(5)] == [script] * 5


@given(words=st.integers(1, 36), seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_a_model_whose_windows_differ_more_cuts_one_voice_no_more_often(words: int, seed: int) -> None:
    assert words_by_turn(*said([(0, words)], seed, *ECAPA_LIKE), ECAPA) == []


@pytest.mark.parametrize("script", [[(0, 12), (1, 12)], [(0, 10), (1, 10), (2, 12)]], ids=["A-B", "A-B-C"])
def test_and_cuts_plain_changes(script: list[tuple[int, int]]) -> None:
    for seed in range(5):
        found = words_by_turn(*said(script, seed, *ECAPA_LIKE), ECAPA)
        assert [(part.voice, len(part.turn.words)) for part in found] == script


def test_a_word_or_two_stay_with_their_neighbours() -> None:
    assert cut([(0, 8), (1, 2), (0, 8)]) == []


def test_the_cut_is_in_the_pause_that_is_there() -> None:
    turns = [part.turn for part in words_by_turn(*said([(0, 8), (1, 8)]), MODEL)]
    last, first = turns[0].words[-1], turns[1].words[0]
    assert first.start_ms - last.end_ms >= PAUSE_MS
    assert last.end_ms < turns[0].end_ms == turns[1].start_ms < first.start_ms


@pytest.mark.parametrize("room", [0.0, 0.004], ids=["a quiet room", "a noisy room"])
def test_pauses_are_heard_where_the_recogniser_leaves_no_gaps(room: float) -> None:
    _windows, transcript, sound = said([(0, 4), (1, 4)])
    sound = sound + room * np.random.default_rng(2).normal(size=len(sound)).astype(np.float32)
    for before, after in pairwise(transcript.words):
        before.end_ms = after.start_ms
    pauses = pauses_ms(sound, transcript.words)
    assert pauses.argmax() == 3
    assert pauses[3] == pytest.approx(PAUSE_MS + GAP_MS, abs=20)


def test_a_model_that_was_not_measured_cuts_nothing() -> None:
    assert cut([(0, 8), (1, 8)], model="some-other-model") == []


def test_windows_that_are_not_numbers_or_hold_no_words_do_not_count() -> None:
    windows, transcript, sound = said([(0, 8), (1, 8)])
    broken = VoiceWindow(2000, 3600, np.full(256, np.nan, dtype=np.float32))
    after_all = transcript.words[-1].end_ms + 1
    elsewhere = VoiceWindow(after_all, after_all + 1600, windows[0].vector)
    expected = words_by_turn(windows, transcript, sound, MODEL)
    assert len(expected) == 2
    assert words_by_turn([broken, *windows, elsewhere], transcript, sound, MODEL) == expected


@pytest.mark.parametrize("words", [0, 1])
def test_without_words_or_windows_there_are_no_turns(words: int) -> None:
    windows, transcript, sound = said([(0, 8), (1, 8)])
    few = Transcript("", "en", 1.0, transcript.words[:words])
    assert words_by_turn(windows, few, sound, MODEL) == []
    assert words_by_turn([], transcript, sound, MODEL) == []


# What is always so, whatever the engines say


@st.composite
def utterances(draw: st.DrawFn) -> tuple[list[VoiceWindow], Transcript, Sound]:
    """Words and windows at any times, with vectors near a few directions or none."""
    words, at = [], 0
    for number in range(draw(st.integers(0, 25))):
        at += draw(st.integers(0, 600))
        length = draw(st.integers(0, 900))
        words.append(Word(f"w{number}", at, at + length))
        at += length
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    directions = rng.normal(size=(draw(st.integers(1, 5)), 8))
    spread = draw(st.sampled_from([0.05, 0.5, 3.0]))
    windows = []
    for start in range(0, at, draw(st.integers(300, 1500))):
        vector = directions[rng.integers(len(directions))] + spread * rng.normal(size=8)
        windows.append(VoiceWindow(start, start + 1600, (vector / np.linalg.norm(vector)).astype(np.float32)))
    sound = sound_of(words, at + draw(st.integers(0, 500)))
    return windows, Transcript(" ".join(w.text for w in words), "en", 1.0, words), sound


@given(heard=utterances())
@settings(max_examples=50, deadline=None)
def test_turns_hold_every_word_once_in_order_and_never_cut_one(
    heard: tuple[list[VoiceWindow], Transcript, Sound],
) -> None:
    windows, transcript, sound = heard
    spoken_turns = words_by_turn(windows, transcript, sound, MODEL)
    assert spoken_turns == words_by_turn(windows, transcript, sound, MODEL)
    if not spoken_turns:
        return
    assert len(spoken_turns) >= 2
    turns = [part.turn for part in spoken_turns]
    assert [word for turn in turns for word in turn.words] == transcript.words
    assert " ".join(turn.text for turn in turns) == transcript.text
    assert (turns[0].start_ms, turns[-1].end_ms) == (0, len(sound) * 1000 // SAMPLE_RATE_HZ)
    assert all(before.end_ms == after.start_ms for before, after in pairwise(turns))
    assert all(turn.start_ms <= word.start_ms <= word.end_ms <= turn.end_ms for turn in turns for word in turn.words)
    assert all(before.voice != after.voice for before, after in pairwise(spoken_turns))
    first_words = list(dict.fromkeys(part.voice for part in spoken_turns))
    assert first_words == list(range(len(first_words)))


# The text of a turn


def text_of(text: str, *turns: str) -> list[str]:
    """`turns`: the words of each, as an engine times them."""
    words = [Word(word, 0, 1) for turn in turns for word in turn.split()]
    firsts = [len(" ".join(turns[:n]).split()) for n in range(len(turns))]
    return text_by_turn(text, words, firsts)


def test_a_turn_keeps_the_punctuation_and_capitals_of_the_transcript() -> None:
    assert text_of("Are you there, Anna? Yes, I am.", "are you there anna", "yes i am") == [
        "Are you there, Anna?",
        "Yes, I am.",
    ]


def test_words_that_carry_their_punctuation_are_found_too() -> None:
    assert text_of("Да, конечно. А вы?", "Да, конечно.", "А вы?") == ["Да, конечно.", "А вы?"]


def test_a_voice_that_breaks_into_a_sentence_gets_a_line_of_its_own() -> None:
    assert text_of("We plan the garden there is a house.", "we plan the garden", "there is a house") == [
        "We plan the garden.",
        "There is a house.",
    ]


def test_a_dash_or_quote_goes_with_what_it_opens() -> None:
    assert text_of("— Готово. — А «мост»?", "готово", "а мост") == ["— Готово.", "— А «мост»?"]


def test_text_that_is_not_its_words_is_made_of_the_words() -> None:
    assert text_of("12 bridges", "twelve", "bridges") == ["twelve", "bridges"]


def test_a_text_without_capitals_and_stops_stays_so() -> None:
    assert text_of("one two three", "one", "two three") == ["one", "two three"]


# Real voices


@pytest.fixture(scope="module")
def engine() -> ResemblyzerEngine:
    return ResemblyzerEngine()


def timed(numbers: Sequence[int], gap_s: float = 0.25) -> tuple[npt.NDArray[np.float32], Transcript]:
    """Lines of the dialogue one close after the other, their words spread evenly over each."""
    sound, words, texts = [as_floats(silence(0.3))], [], []
    for number in numbers:
        line, piece = lines()[number], as_floats(spoken(number))
        start_ms = sum(map(len, sound)) * 1000 // RATE_HZ
        each_ms = len(piece) * 1000 // RATE_HZ / len(line.text.split())
        words += [
            Word(word, round(start_ms + n * each_ms), round(start_ms + (n + 1) * each_ms) - 1)
            for n, word in enumerate(line.text.split())
        ]
        texts.append(line.text)
        sound += [piece, as_floats(silence(gap_s))]
    return np.concatenate(sound), Transcript(" ".join(texts), "en", 1.0, words)


def turns_in(engine: ResemblyzerEngine, numbers: Sequence[int]) -> list[SpokenTurn]:
    sound, transcript = timed(numbers)
    windows = engine.listen(sound).windows
    return words_by_turn(windows, transcript, sound, engine.model)


@pytest.mark.parametrize("numbers", [(0, 1), (1, 2, 3), (3, 4, 5), (7, 9, 10)])
def test_people_who_speak_right_after_each_other_are_told_apart(
    engine: ResemblyzerEngine, numbers: Sequence[int]
) -> None:
    assert len({lines()[n].speaker for n in numbers}) > 1
    found = turns_in(engine, numbers)
    assert [part.turn.text for part in found] == [lines()[n].text for n in numbers]
    people = list(dict.fromkeys(lines()[n].speaker for n in numbers))
    assert [people[part.voice] for part in found] == [lines()[n].speaker for n in numbers]


def test_one_person_s_lines_stay_together(engine: ResemblyzerEngine) -> None:
    for name in ("Anna", "Robert", "Max"):
        own = [n for n, line in enumerate(lines()) if line.speaker == name]
        assert turns_in(engine, own[:2]) == []


@pytest.fixture
def real_engines() -> Iterator[None]:
    yield
    registry.unload_all()


@pytest.mark.usefixtures("real_engines")
def test_each_turn_comes_back_with_its_own_words_and_voice(engine: ResemblyzerEngine) -> None:
    sound, transcript = timed((0, 1))
    pcm = (sound * 32767).astype("<i2").tobytes()
    request = SpeechRequest(str(uuid.uuid4()), 1, str(uuid.uuid4()), 0, len(pcm) // 2, pcm, "en", want_voice=True)
    result = hear(request)
    assert result.error == ""
    assert result.transcript is not None
    assert result.voice is None
    anna, robert = result.turns
    assert anna.text.startswith("Good morning") and anna.text.endswith("river.")
    assert robert.text.startswith("I can see") and robert.text.endswith(".")
    assert [*anna.words, *robert.words] == result.transcript.words
    assert anna.voice and robert.voice
    for turn, number in ((anna, 0), (robert, 1)):
        alone = engine.embed(as_floats(spoken(number)))
        assert turn.voice and alone
        assert np.array(turn.voice.vector) @ np.array(alone.vector) > 0.97
        assert turn.voice.speech_s == pytest.approx(alone.speech_s, abs=0.4)
    assert SAMPLE_RATE_HZ * robert.end_ms // 1000 == pytest.approx(len(sound), abs=20)
    assert len(transcript.words) > 20
