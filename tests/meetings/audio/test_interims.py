"""When an interim is worth its cost, and which of its words stay."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meetings.audio import SAMPLE_RATE_HZ
from meetings.audio.interims import ASK_AGAIN_AFTER_S, WORTHLESS_S, InterimPace, StableText

WORDS = st.sampled_from(["a", "b", "c", "garden", "river", "River,"])
HYPOTHESES = st.lists(st.lists(WORDS, max_size=8).map(" ".join), max_size=8)


def shown(*hypotheses: str) -> StableText:
    text = StableText()
    for hypothesis in hypotheses:
        text.update(hypothesis)
    return text


def test_one_look_says_nothing_for_certain() -> None:
    text = shown("we need a boat")
    assert (text.text, text.stable) == ("we need a boat", 0)


def test_what_two_looks_agree_on_is_stable_but_for_the_last_word() -> None:
    text = shown("we need a", "we need a boat")
    assert text.text[: text.stable] == "we need a"
    text = shown("we need a boat", "we need a boat")
    assert text.text[: text.stable] == "we need a"
    text = shown("we need a boat", "we knead a boat on")
    assert text.text[: text.stable] == "we"


def test_a_stable_word_outlives_a_look_that_disagrees() -> None:
    text = shown("I can she", "I can she had", "I can see an old")
    assert text.text == "I can she an old"
    assert text.text[: text.stable] == "I can she"


def test_capitals_and_commas_are_no_disagreement() -> None:
    text = shown("Yes the small", "yes, the small bridge")
    assert text.text[: text.stable] == "yes, the small"


def test_a_look_without_words_takes_nothing_back() -> None:
    text = shown("we need", "we need a")
    assert text.update("") is False
    assert text.text == "we need a"


def test_the_same_again_is_no_news() -> None:
    text = shown("we need a", "we need a")
    assert text.update("we need a") is False
    assert text.update("we need a boat") is True


@given(HYPOTHESES)
def test_stable_text_never_changes_and_never_shrinks(hypotheses: list[str]) -> None:
    text = StableText()
    promised = ""
    for hypothesis in hypotheses:
        text.update(hypothesis)
        assert text.text.startswith(promised)
        assert text.stable >= len(promised)
        promised = text.text[: text.stable]


@given(HYPOTHESES)
def test_the_last_word_of_the_longest_look_is_never_stable(hypotheses: list[str]) -> None:
    text = shown(*hypotheses)
    most = max((len(hypothesis.split()) for hypothesis in hypotheses), default=0)
    assert len(text.text[: text.stable].split()) <= max(0, most - 1)


def due(pace: InterimPace, *, now: float, speech_s: float) -> bool:
    return pace.is_due(now=now, speech_s=speech_s, last_sample=round(speech_s * SAMPLE_RATE_HZ))


def test_the_first_comes_after_a_few_words_and_the_next_with_new_sound() -> None:
    pace = InterimPace()
    assert not due(pace, now=10.5, speech_s=0.5)
    assert due(pace, now=10.8, speech_s=0.8)
    pace.asked(10.8, round(0.8 * SAMPLE_RATE_HZ))
    pace.answered(0.07)
    assert not due(pace, now=11.3, speech_s=1.3)
    assert due(pace, now=11.5, speech_s=1.5)


def test_what_costs_much_comes_rarely() -> None:
    pace = InterimPace()
    pace.asked(10.0, 0)
    pace.answered(1.4)
    assert not due(pace, now=13.0, speech_s=9)
    assert due(pace, now=14.3, speech_s=9)


@pytest.mark.parametrize("cost_s", [WORTHLESS_S + 0.1, math.inf])
def test_what_costs_too_much_is_tried_again_after_a_minute(cost_s: float) -> None:
    pace = InterimPace()
    pace.asked(10.0, 0)
    pace.answered(cost_s)
    pace.utterance_over()
    assert pace.is_worthless
    assert not due(pace, now=10.0 + ASK_AGAIN_AFTER_S - 1, speech_s=9)
    assert due(pace, now=10.0 + ASK_AGAIN_AFTER_S, speech_s=9)


def test_the_next_utterance_has_a_first_interim_of_its_own() -> None:
    pace = InterimPace()
    pace.asked(10.0, 16_000)
    pace.answered(0.07)
    assert not due(pace, now=11.0, speech_s=1.1)
    pace.utterance_over()
    assert due(pace, now=11.0, speech_s=1.1)
