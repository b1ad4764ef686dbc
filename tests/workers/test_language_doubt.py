"""Evidence that an utterance is in another language than the recogniser knows: from its own scores."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from tests.sounds import as_floats, silence, spoken
from workers.engines.base import SpeechEngine
from workers.engines.child import hosted
from workers.engines.speech.language_doubt import (
    MOST_OF_ONE,
    MOST_PER_S,
    MOST_WORDS_S,
    HeardPhones,
    HeardWord,
    agreement_of,
    evidence,
)
from workers.engines.speech.pocketsphinx import KNOWN_OTHERWISE, NOT_FOUND_OUT, PocketSphinxEngine
from workers.messages import Transcript

PADDING = silence(0.3)
CAT = ("K", "AE", "T")
DOG = ("D", "AO", "G")


def word(phones: tuple[str, ...], first: int, frames: int = 30, *, nats: float = -2.0, sure: float = 0.9) -> HeardWord:
    """A word whose sounds fit with so many nats per frame."""
    return HeardWord(phones, first, first + frames - 1, math.exp(nats * frames), sure)


def said(*phones: tuple[str, ...], frames: int = 30, fit: float = -2.2) -> HeardPhones:
    """These sounds one after the other, each word's evenly."""
    per_sound = [[sound] * (frames // len(word)) for word in phones for sound in word]
    return HeardPhones([sound for run in per_sound for sound in run], fit)


def test_what_fits_and_is_heard_without_the_words_too_is_the_known_language() -> None:
    words = [word(CAT, 0), word(DOG, 30)]
    assert agreement_of(words, said(CAT, DOG).by_frame) > 0.95
    assert evidence(words, said(CAT, DOG)) < 0


def test_words_that_claim_sounds_which_are_not_there_speak_against_it() -> None:
    words = [word(CAT, 0, nats=-4.5, sure=0.1), word(DOG, 30, nats=-4.5, sure=0.1)]
    sounds = said(("SH", "UW", "M"), ("ZH", "IY", "R"), fit=-2.9)
    assert abs(agreement_of(words, sounds.by_frame)) < 0.05
    assert evidence(words, sounds) > 0


def test_each_sign_of_another_language_adds_to_it() -> None:
    def of(sounds: HeardPhones, **values: float) -> float:
        return evidence([word(CAT, 0, **values), word(DOG, 30, **values)], sounds)

    plain = of(said(CAT, DOG), nats=-7.5)
    assert abs(plain) < MOST_PER_S * 0.2  # far from the most that is ever said
    assert of(said(CAT, DOG), nats=-8) > plain
    assert of(said(CAT, DOG), nats=-7.5, sure=0.4) > plain
    assert of(said(CAT, DOG, fit=-2.5), nats=-7.5) > plain
    assert of(said(CAT, ("SH", "AO", "G")), nats=-7.5) > plain


def test_nothing_speaks_against_a_language_whose_sounds_fit() -> None:
    words = [word(CAT, 0, nats=-9, sure=0.01), word(DOG, 30, nats=-9, sure=0.01)]
    assert evidence(words, said(("SH", "UW", "M"), ("ZH", "IY", "R"), fit=-2.6)) == 0
    assert evidence(words, said(("SH", "UW", "M"), ("ZH", "IY", "R"), fit=-3.1)) > 0


def test_the_same_sound_by_chance_is_no_agreement() -> None:
    always = HeardPhones(["AH"] * 60, -2.0)
    assert agreement_of([word(("AH", "N"), 0), word(("DH", "AH"), 30)], always.by_frame) == pytest.approx(0, abs=0.05)


def test_sounds_may_begin_a_little_earlier_or_later() -> None:
    late = ["SIL"] * 3 + [sound for sound in CAT for _ in range(10)]
    assert agreement_of([word(CAT, 0)], late) > 0.8


def test_without_the_sounds_it_is_the_most_that_it_could_be() -> None:
    for nats in (-2.0, -3.5, -5.0):
        for sure in (0.05, 0.5, 0.95):
            words = [word(CAT, 0, nats=nats, sure=sure), word(DOG, 30, nats=nats, sure=sure)]
            assert evidence(words) >= evidence(words, said(CAT, DOG))


def test_too_little_says_nothing() -> None:
    assert evidence([]) == 0
    assert evidence([word(CAT, 0, 15, nats=-9, sure=0)], said(("SH", "UW", "M"), frames=15)) == 0


def test_no_utterance_says_more_than_a_few_seconds_can() -> None:
    minute = [word(CAT, 30 * n, nats=-30, sure=0) for n in range(200)]
    assert 0 < evidence(minute, HeardPhones(["SH"] * 6000, -9.0)) <= MOST_OF_ONE
    assert evidence([word(CAT, 30 * n, nats=-0.1) for n in range(200)]) >= -MOST_PER_S * MOST_WORDS_S
    underflow = [HeardWord(CAT, 0, 299, 0.0, 0.0)]
    assert math.isfinite(evidence(underflow, HeardPhones(["SH"] * 300, -9.0)))


def test_words_without_a_known_pronunciation_are_survived() -> None:
    assert math.isfinite(evidence([word((), 0)], said(CAT)))
    assert math.isfinite(evidence([word(CAT, 0)], HeardPhones([], -2.0)))


# The engine


@pytest.fixture(scope="module")
def engine() -> Iterator[SpeechEngine]:
    engine = hosted(PocketSphinxEngine)
    yield engine
    engine.unload()


def heard(
    engine: SpeechEngine, number: int, language: str = "auto", *, hint: str = "", backwards: bool = False
) -> Transcript:
    samples = spoken(number)[:: -1 if backwards else 1]
    return engine.transcribe(as_floats(np.concatenate([PADDING, samples, PADDING])), language, hint=hint)


def test_english_is_told_from_speech_that_is_none(engine: SpeechEngine) -> None:
    english, none = ([heard(engine, number, backwards=backwards) for number in (8, 16)] for backwards in (False, True))
    assert all(transcript.text for transcript in [*english, *none]), "words are made of both"
    assert max(t.language_doubt for t in english) < 0
    assert all(n.language_doubt > e.language_doubt + 0.5 for e, n in zip(english, none, strict=True))


def test_looking_at_the_language_changes_no_word(engine: SpeechEngine) -> None:
    told, found_out = heard(engine, 3, "en"), heard(engine, 3)
    assert heard(engine, 3, backwards=True).language == "en"  # with the phone loop
    assert heard(engine, 3).text == found_out.text == told.text


def test_who_was_told_the_language_has_no_doubt_and_who_was_not_is_not_sure(engine: SpeechEngine) -> None:
    told, found_out = heard(engine, 1, "en"), heard(engine, 1)
    assert (told.language_doubt, told.language_probability) == (0.0, 1.0)
    assert found_out.language_probability == NOT_FOUND_OUT


def test_what_a_better_engine_heard_before_counts(engine: SpeechEngine) -> None:
    alone, hinted = heard(engine, 1), heard(engine, 1, hint="ru")
    assert hinted.language_doubt == pytest.approx(alone.language_doubt + KNOWN_OTHERWISE)


def test_evidence_survives_the_broker() -> None:
    assert Transcript.from_wire(Transcript("a", language_doubt=1.5).to_wire()).language_doubt == 1.5
