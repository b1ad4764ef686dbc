"""Is anybody heard? Patience with a recogniser, how far it is behind, and speech that becomes no words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meetings.audio.hearing import (
    LONGEST_PATIENCE_S,
    NORMAL_WAIT_S,
    SHORTEST_PATIENCE_S,
    Patience,
    Wordless,
    lag_now,
)


def patience_after(*answers_s: float) -> float:
    patience = Patience()
    for answer_s in answers_s:
        patience.answered(answer_s)
    return patience.patience_s


def test_where_answers_come_at_once_a_dead_host_is_noticed_soon() -> None:
    assert patience_after(0.4, 0.6, 0.3) == SHORTEST_PATIENCE_S


def test_a_slow_host_is_given_its_time() -> None:
    assert patience_after(4.0, 5.0, 4.5) == 18.0
    assert patience_after(40.0) == LONGEST_PATIENCE_S


def test_before_the_first_answer_a_model_may_be_loading() -> None:
    assert SHORTEST_PATIENCE_S < patience_after() < LONGEST_PATIENCE_S


def test_one_late_answer_after_a_death_changes_nothing() -> None:
    assert patience_after(0.4, 0.5, 9.5, 0.4) == SHORTEST_PATIENCE_S


def test_only_the_newest_answers_count() -> None:
    assert patience_after(*[30.0] * 8, *[0.5] * 8) == SHORTEST_PATIENCE_S


def test_what_waits_longest_is_how_far_hearing_is_behind() -> None:
    assert lag_now([0.4, 12.0, 3.0], 1.1) == 12.0


def test_a_normal_wait_is_no_lag() -> None:
    assert lag_now([0.9], 1.1) == 1.1
    assert lag_now([], 0.0) == 0.0


@given(st.lists(st.floats(0, 1000)), st.floats(-5, 1000))
def test_the_lag_is_never_negative_and_never_less_than_an_overdue_wait(waits_s: list[float], last_lag_s: float) -> None:
    lag_s = lag_now(waits_s, last_lag_s)
    assert lag_s >= 0
    assert all(lag_s >= wait_s for wait_s in waits_s if wait_s > NORMAL_WAIT_S)


def speaking(wordless: Wordless, seconds: int, start: float = 100.0, each_s: float = 4.0) -> float:
    """Utterances one after the other; when the last ended."""
    now = start
    for _ in range(round(seconds / each_s)):
        now += each_s
        wordless.spoke(now, each_s)
    return now


def test_twenty_seconds_of_speech_without_a_word_are_told() -> None:
    wordless = Wordless()
    now = speaking(wordless, 16)
    assert not wordless.is_wrong(now)
    now = speaking(wordless, 4, start=now)
    assert wordless.is_wrong(now)


def test_the_next_words_clear_it() -> None:
    wordless = Wordless()
    now = speaking(wordless, 40)
    wordless.words()
    assert not wordless.is_wrong(now)
    assert not wordless.is_wrong(speaking(wordless, 16, start=now))


def test_a_replay_of_a_minute_at_once_is_not_yet_wrong() -> None:
    wordless = Wordless()
    for _ in range(15):
        wordless.spoke(100.0, 4.0)
    assert not wordless.is_wrong(100.0 + 10)
    assert wordless.is_wrong(100.0 + 20)


def test_who_has_gone_quiet_for_a_minute_is_left_alone() -> None:
    wordless = Wordless()
    now = speaking(wordless, 40)
    assert not wordless.is_wrong(now + 61)
    assert not wordless.is_wrong(speaking(wordless, 16, start=now + 61))
