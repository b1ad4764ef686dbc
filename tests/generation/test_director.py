"""When to paint."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.director import FIRST_PATIENCE_S, MIN_GAP_S, Decision, Situation, decide, next_due_at, topic_turned

NOW = 1_000_000.0
TALKING = Situation(
    mode="auto",
    paused=False,
    interval_s=12.0,
    now=NOW,
    last_painted_at=NOW - 6.0,
    last_heard_at=NOW - 1.0,
    heard_since_painted=9,
    in_flight=False,
    requested=False,
    topic_turned=False,
)


def test_waits_for_the_interval_and_says_how_long() -> None:
    assert decide(TALKING) is Decision.WAIT
    assert next_due_at(TALKING) == NOW + 6.0


def test_paints_when_the_interval_is_over() -> None:
    assert decide(replace(TALKING, last_painted_at=NOW - 12.0)) is Decision.PAINT


def test_nothing_new_brings_no_picture_however_long_it_takes() -> None:
    quiet = replace(TALKING, heard_since_painted=0, last_painted_at=NOW - 3600.0)
    assert decide(quiet) is Decision.NOTHING_NEW
    assert next_due_at(quiet) is None


def test_a_single_word_after_the_picture_is_something_new() -> None:
    assert decide(replace(TALKING, heard_since_painted=1, last_painted_at=NOW - 12.0)) is Decision.PAINT


@pytest.mark.parametrize("mode", ["auto", "suggest", "manual"])
@pytest.mark.parametrize("paused", [False, True])
def test_a_press_paints_at_once_in_every_mode(mode: str, paused: bool) -> None:
    asked = replace(TALKING, mode=mode, paused=paused, requested=True, heard_since_painted=0, last_painted_at=NOW - 1.0)
    assert decide(asked) is Decision.PAINT
    assert next_due_at(asked) == NOW


@pytest.mark.parametrize("requested", [False, True])
def test_never_two_pictures_in_flight(requested: bool) -> None:
    busy = replace(TALKING, in_flight=True, requested=requested, last_painted_at=NOW - 60.0)
    assert decide(busy) is Decision.IN_FLIGHT


def test_a_paused_meeting_and_one_on_demand_paint_nothing_by_themselves() -> None:
    due = replace(TALKING, last_painted_at=NOW - 60.0)
    assert decide(replace(due, paused=True)) is Decision.OFF
    assert decide(replace(due, mode="manual")) is Decision.OFF
    assert next_due_at(replace(due, mode="manual")) is None


def test_a_meeting_that_suggests_shows_the_prompt_instead() -> None:
    assert decide(replace(TALKING, mode="suggest", last_painted_at=NOW - 12.0)) is Decision.SUGGEST


def test_a_turn_of_the_topic_paints_earlier() -> None:
    assert decide(replace(TALKING, topic_turned=True)) is Decision.PAINT


def test_a_turn_never_paints_within_the_minimum_gap() -> None:
    turned = replace(TALKING, topic_turned=True, last_painted_at=NOW - MIN_GAP_S + 0.1)
    assert decide(turned) is Decision.WAIT
    assert next_due_at(turned) == pytest.approx(NOW + 0.1)


def test_the_first_picture_comes_with_the_first_sentence() -> None:
    assert decide(replace(TALKING, last_painted_at=None, heard_since_painted=6)) is Decision.PAINT


def test_the_first_picture_waits_a_little_for_more_than_hello() -> None:
    hello = replace(TALKING, last_painted_at=None, heard_since_painted=2)
    assert decide(hello) is Decision.WAIT
    assert decide(replace(hello, now=NOW + FIRST_PATIENCE_S)) is Decision.PAINT


def test_an_empty_meeting_has_nothing_to_paint() -> None:
    empty = replace(TALKING, last_painted_at=None, last_heard_at=None, heard_since_painted=0)
    assert decide(empty) is Decision.NOTHING_NEW


@pytest.mark.parametrize(
    ("asked_s", "kept_s"), [(12.0, 12.0), (3.0, 10.0), (500.0, 20.0), (0.0, 12.0), (float("nan"), 12.0)]
)
def test_the_interval_keeps_its_bounds(asked_s: float, kept_s: float) -> None:
    assert next_due_at(replace(TALKING, interval_s=asked_s)) == NOW - 6.0 + kept_s


@given(
    st.builds(
        Situation,
        mode=st.sampled_from(["auto", "suggest", "manual", "?"]),
        paused=st.booleans(),
        interval_s=st.floats(1, 60),
        now=st.just(NOW),
        last_painted_at=st.none() | st.floats(NOW - 100, NOW),
        last_heard_at=st.none() | st.floats(NOW - 100, NOW),
        heard_since_painted=st.integers(0, 100),
        in_flight=st.booleans(),
        requested=st.booleans(),
        topic_turned=st.booleans(),
    )
)
def test_it_never_paints_by_itself_against_the_rules(situation: Situation) -> None:
    decision = decide(situation)
    if decision is Decision.PAINT:
        assert not situation.in_flight
        if not situation.requested:
            assert situation.mode == "auto" and not situation.paused and situation.heard_since_painted > 0
            assert situation.last_painted_at is None or situation.now - situation.last_painted_at >= MIN_GAP_S
    if decision is Decision.WAIT:
        due_at = next_due_at(situation)
        assert due_at is not None and due_at > situation.now


def test_another_world_is_a_turn_of_the_topic() -> None:
    assert topic_turned({"bridge", "tree", "river"}, {"coin", "chart", "office"})


def test_more_of_the_same_garden_is_none() -> None:
    assert not topic_turned({"bridge", "tree", "river"}, {"flower", "bench", "cat"})


def test_one_odd_word_is_none() -> None:
    assert not topic_turned({"bridge", "tree", "river"}, {"bridge", "tree", "submarine", "coin"})
    assert not topic_turned({"bridge", "tree"}, {"coin"})


def test_nothing_before_or_after_is_no_turn() -> None:
    assert not topic_turned(frozenset(), {"coin", "chart"})
    assert not topic_turned({"coin", "chart"}, frozenset())
