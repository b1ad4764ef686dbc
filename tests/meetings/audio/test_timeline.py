from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from meetings.audio.timeline import Timeline


def numbered(first: int, last: int) -> np.ndarray:
    """Samples whose value is their position."""
    return np.arange(first, last, dtype=np.int16)


def test_samples_in_order_pass_unchanged() -> None:
    timeline = Timeline(10)
    placed = timeline.place(10, numbered(10, 20))
    assert (placed.first_sample, placed.samples.tolist(), placed.gap) == (10, list(range(10, 20)), None)
    assert timeline.next_sample == 20


def test_a_repeat_is_dropped_silently() -> None:
    timeline = Timeline(20)
    placed = timeline.place(5, numbered(5, 20))
    assert len(placed.samples) == 0
    assert placed.gap is None
    assert timeline.next_sample == 20


def test_a_partial_repeat_is_trimmed() -> None:
    timeline = Timeline(15)
    placed = timeline.place(10, numbered(10, 20))
    assert (placed.first_sample, placed.samples.tolist(), placed.gap) == (15, list(range(15, 20)), None)


def test_a_jump_forward_is_a_gap() -> None:
    timeline = Timeline(10)
    placed = timeline.place(30, numbered(30, 40))
    assert (placed.first_sample, placed.gap) == (30, (10, 30))
    assert timeline.next_sample == 40


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60)), max_size=30))
def test_every_position_is_taken_once_in_order_or_named_as_missing(messages: list[tuple[int, int]]) -> None:
    timeline = Timeline(0)
    position = 0
    for first, count in messages:
        placed = timeline.place(first, numbered(first, first + count))
        if placed.gap:
            assert placed.gap[0] == position < placed.gap[1]
            position = placed.gap[1]
        if len(placed.samples):
            assert placed.first_sample == position
            assert placed.samples.tolist() == list(range(position, position + len(placed.samples)))
            position += len(placed.samples)
        assert timeline.next_sample == position
