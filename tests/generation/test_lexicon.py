"""The word lists: big enough, consistent, and reachable from real word forms."""

from __future__ import annotations

import pytest

from generation.composing.words import read
from generation.lexicon import lexicon, plural_of


def test_it_knows_enough_visible_things_in_both_languages() -> None:
    assert len(lexicon().things) >= 900
    assert len(lexicon().things_ru) >= 600


def test_every_metaphor_is_drawn_as_a_thing_that_can_be_seen() -> None:
    assert [m.english for m in lexicon().metaphors.values() if m.pictogram not in lexicon().things] == []


def test_every_group_belongs_to_a_world_except_people() -> None:
    assert {thing.group for thing in lexicon().things.values()} - set(lexicon().worlds) == {"people"}


def test_every_russian_name_of_a_thing_is_recognised() -> None:
    names = [name for name in lexicon().things_ru if name.isalpha()]
    assert [name for name in names if read(name).thing is None] == []


def test_every_russian_metaphor_is_recognised() -> None:
    names = [name for name in lexicon().metaphors_ru if name.isalpha()]
    assert [name for name in names if not (read(name).metaphor or read(name).thing)] == []


def test_every_english_word_is_recognised_in_singular_and_plural() -> None:
    nouns = [name for name, thing in lexicon().things.items() if " " not in name and not set("up") & set(thing.flags)]
    nouns = [name for name in nouns if name not in ("glass", "person")]  # glasses are worn, persons are people
    assert [n for n in nouns if read(n).thing is None or read(plural_of(n)).thing != read(n).thing] == []


def test_every_quality_is_recognised_in_both_languages() -> None:
    assert [q for q in lexicon().qualities if " " not in q and read(q).quality != q] == []
    assert [q for q, english in lexicon().qualities_ru.items() if read(q).quality != english] == []


@pytest.mark.parametrize(
    ("form", "english"),
    [
        ("мосту", "bridge"),
        ("деревьями", "tree"),
        ("домиков", "house"),
        ("котенка", "kitten"),
        ("людей", "person"),
        ("звёзды".replace("ё", "е"), "star"),
        ("наушников", "headphones"),
        ("mice", "mouse"),
        ("leaves", "leaf"),
        ("knives", "knife"),
        ("churches", "church"),
        ("butterflies", "butterfly"),
        ("river's", "river"),
    ],
)
def test_inflected_forms_lead_to_the_thing(form: str, english: str) -> None:
    reading = read(form)
    assert reading.thing is not None
    assert reading.thing.english == english


@pytest.mark.parametrize("form", ["стали", "уже", "will", "anna", "сергей", "картинка", "picture", "нарисуй", "draw"])
def test_verbs_names_and_words_about_the_picture_are_no_things(form: str) -> None:
    reading = read(form)
    assert reading.thing is None and reading.metaphor is None
