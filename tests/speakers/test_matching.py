"""Whose voice is this: the decision alone, without a database."""

from __future__ import annotations

import numpy as np
import pytest

from speakers.matching import (
    Candidate,
    Thresholds,
    Verdict,
    match,
    merged_vector,
    pooled_vector,
    print_to_move,
    prints_of,
)

ANNA, ROBERT = 1, 2
LIMITS = Thresholds(upper=0.74, lower=0.66, margin=0.03)


def test_a_clear_best_score_is_known() -> None:
    decision = match([Candidate(ANNA, 0.9), Candidate(ROBERT, 0.5)], 3.0, LIMITS)
    assert (decision.verdict, decision.speaker, decision.confidence) == (Verdict.KNOWN, ANNA, 1.0)


def test_exactly_at_the_upper_threshold_is_known() -> None:
    assert match([Candidate(ANNA, LIMITS.upper)], 3.0, LIMITS).verdict is Verdict.KNOWN


def test_nobody_to_compare_with_is_a_new_voice() -> None:
    assert match([], 3.0, LIMITS).verdict is Verdict.NEW


def test_unlike_everyone_is_a_new_voice() -> None:
    decision = match([Candidate(ANNA, 0.65), Candidate(ROBERT, 0.2)], 3.0, LIMITS)
    assert (decision.verdict, decision.speaker, decision.confidence) == (Verdict.NEW, None, 0.0)


def test_between_the_thresholds_is_unsure_and_names_the_most_alike() -> None:
    decision = match([Candidate(ROBERT, 0.3), Candidate(ANNA, 0.70)], 3.0, LIMITS)
    assert (decision.verdict, decision.speaker) == (Verdict.UNSURE, ANNA)
    assert 0 < decision.confidence < 1


def test_two_who_sound_alike_are_unsure_even_when_both_score_high() -> None:
    assert match([Candidate(ANNA, 0.90), Candidate(ROBERT, 0.88)], 3.0, LIMITS).verdict is Verdict.UNSURE


def test_several_prints_of_one_speaker_are_no_rivals() -> None:
    decision = match([Candidate(ANNA, 0.90), Candidate(ANNA, 0.89), Candidate(ROBERT, 0.4)], 3.0, LIMITS)
    assert (decision.verdict, decision.speaker) == (Verdict.KNOWN, ANNA)


@pytest.mark.parametrize("speech_s", [0.0, 0.99])
def test_under_a_second_nothing_is_said_however_alike(speech_s: float) -> None:
    assert match([Candidate(ANNA, 0.99)], speech_s, LIMITS).verdict is Verdict.TOO_SHORT


def test_under_two_seconds_a_known_voice_is_known_but_no_voice_is_new() -> None:
    assert match([Candidate(ANNA, 0.9)], 1.5, LIMITS).verdict is Verdict.KNOWN
    assert match([Candidate(ANNA, 0.1)], 1.5, LIMITS).verdict is Verdict.TOO_SHORT
    assert match([], 1.5, LIMITS).verdict is Verdict.TOO_SHORT


def test_a_score_that_is_no_number_counts_for_nothing() -> None:
    assert match([Candidate(ANNA, float("nan"))], 3.0, LIMITS).verdict is Verdict.NEW
    decision = match([Candidate(ANNA, float("nan")), Candidate(ROBERT, 0.9)], 3.0, LIMITS)
    assert decision.speaker == ROBERT


def test_a_merged_print_has_unit_length_and_leans_to_the_longer_speech() -> None:
    old, new = np.eye(4, dtype=np.float32)[:2]
    merged = merged_vector(old, 9.0, new, 3.0)
    assert np.linalg.norm(merged) == pytest.approx(1.0, abs=1e-6)
    assert merged @ old > merged @ new > 0


def test_an_hour_of_speech_does_not_freeze_a_print() -> None:
    old, new = np.eye(4, dtype=np.float32)[:2]
    assert merged_vector(old, 3600.0, new, 6.0) @ new == pytest.approx(6 / np.hypot(60, 6), abs=1e-4)


@pytest.mark.parametrize(
    "bad", [np.full(4, np.nan, np.float32), np.full(4, np.inf, np.float32), np.ones(5, np.float32)]
)
def test_vectors_that_do_not_fit_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite"):
        merged_vector(np.eye(4, dtype=np.float32)[0], 3.0, bad, 3.0)


def test_pooling_is_learning_one_after_the_other() -> None:
    one, two, three = np.eye(4, dtype=np.float32)[:3]
    vector, seconds = pooled_vector([(one, 4.0), (two, 2.0), (three, 6.0)])
    step = merged_vector(one, 4.0, two, 2.0)
    assert np.allclose(vector, merged_vector(step, 6.0, three, 6.0)) and seconds == 12.0
    with pytest.raises(ValueError, match="no voice"):
        pooled_vector([])


def test_a_print_takes_in_what_is_alike_and_leaves_what_sounds_like_somebody_else() -> None:
    close, across = np.eye(4, dtype=np.float32)[:2]
    between = ((close + 0.2 * across) / np.linalg.norm(close + 0.2 * across)).astype(np.float32)
    assert print_to_move([across, close], between, 0.66) == 1
    assert print_to_move([close], across, 0.66) is None
    assert print_to_move([], close, 0.66) is None
    assert print_to_move([np.ones(3, np.float32)], close, 0.66) is None


def test_one_microphone_gives_as_many_prints_as_it_has_sounds() -> None:
    close, across, short = np.eye(4, dtype=np.float32)[:3]
    prints = prints_of([(close, 4.0), (across, 3.0), (close, 2.0), (short, 1.5)], 0.66)
    assert [seconds for _vector, seconds in prints] == [6.0, 3.0]
    assert prints_of([], 0.66) == []
