"""Words and their pictograms: the right one, or none."""

from __future__ import annotations

import json

import pytest

from workers.engines.paint.poster.pictograms import find_pictogram, load_pictograms, wheel_folder
from workers.engines.paint.poster.words import TABLE


@pytest.mark.parametrize(
    ("word", "icon"),
    [
        ("house", "house"),
        ("bridge", "bridge"),
        ("river", "water"),
        ("tree", "tree"),
        ("rocket", "rocket"),
        ("launch", "rocket"),
        ("team", "people-group"),
        ("growth", "chart-line"),
        ("coffee", "mug-hot"),
        ("march", "calendar-days"),
        ("deadline", "calendar-day"),
        ("money", "money-bill-wave"),
        ("dog", "dog"),
        ("cat", "cat"),
        ("boat", "sailboat"),
        ("mountain", "mountain"),
        ("castle", "chess-rook"),
        ("king", "crown"),
        ("idea", "lightbulb"),
        ("letter", "envelope"),
        ("court", "gavel"),
        ("bicycle", "bicycle"),
    ],
)
def test_a_visible_thing_finds_its_pictogram(word: str, icon: str) -> None:
    found = find_pictogram(word)

    assert found is not None
    assert found.name == icon


@pytest.mark.parametrize(
    ("phrase", "icon"),
    [
        ("small red house", "house"),
        ("a wooden bridge", "bridge"),
        ("Tall Trees", "tree"),
        ("cup of coffee", "mug-hot"),
        ("city of London", "city"),
        ("herd of cows", "cow"),
        ("cities", "city"),
        ("leaves", "leaf"),
        ("churches", "church"),
        ("hot dog", "hotdog"),
        ("gas station", "gas-pump"),
        ("ice cream", "ice-cream"),
    ],
)
def test_the_head_of_a_name_decides(phrase: str, icon: str) -> None:
    found = find_pictogram(phrase)

    assert found is not None
    assert found.name == icon


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        "mouse",
        "crane",
        "table",
        "tomato",
        "elephant",
        "responsibility",
        "bus station",
        "sea horse",
        "train of thought",
        "movie star",
        "school of fish",
        "white house",
        "family tree",
        "key point",
        "glas",
        "house of cards that nobody built",
        "мост",
        "xyzzy",
        "i",
        "at",
        "bold",
    ],
)
def test_a_wrong_picture_is_worse_than_none(name: str) -> None:
    assert find_pictogram(name) is None


def test_an_emoji_is_its_own_pictogram() -> None:
    found = find_pictogram("🏠")

    assert found is not None
    assert found.name == "house"


def test_every_icon_of_the_table_is_in_the_wheel() -> None:
    icons = json.loads((wheel_folder() / "metadata" / "icons.json").read_bytes())
    named = [line.split(":")[0].split()[0] for line in TABLE.strip().splitlines() if not line.startswith(" ")]

    assert [name for name in named if "solid" not in icons.get(name, {}).get("free", [])] == []
    assert load_pictograms() > 1200


def test_no_word_stands_for_two_things() -> None:
    rows = TABLE.replace("\n    ", " ").strip().splitlines()
    words = [word.strip() for row in rows for word in row.partition(":")[2].split(",")]

    assert sorted(word for word in set(words) if words.count(word) > 1) == []


def test_things_know_where_they_are_at_home() -> None:
    homes = {word: found.poise for word in ("plane", "ship", "house") if (found := find_pictogram(word))}

    assert homes == {"plane": "sky", "ship": "water", "house": "ground"}
