"""Prompts are cut between words, and what was computed of them is kept within bounds."""

from __future__ import annotations

from workers.engines.paint.diffusion.prompts import Kept, fitting


def test_fitting_keeps_whole_words() -> None:
    assert fitting("one two three", lambda text: len(text) <= 9) == "one two"
    assert fitting("one, two", lambda text: len(text) <= 5) == "one"
    assert fitting("x" * 50, lambda text: len(text) <= 10) == "x" * 10
    assert fitting("xyz", lambda text: not text) == ""


def test_what_was_used_longest_ago_is_forgotten() -> None:
    made: list[str] = []
    kept: Kept[str] = Kept(2)

    def get(key: str) -> str:
        def make() -> str:
            made.append(key)
            return key * 2

        return kept.get(key, make)

    assert [get(key) for key in "abacabb"] == ["aa", "bb", "aa", "cc", "aa", "bb", "bb"]
    assert made == ["a", "b", "c", "b"]
    assert len(kept) == 2
    kept.clear()
    assert "a" not in kept
