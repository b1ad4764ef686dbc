"""The project's own word lists: what can be painted, what stands for the rest, and what is only talk.

The tables are plain files beside this module (each says its columns in its first line). They are read once and never
change; `lexicon()` gives the same object to everyone. Nothing here knows grammar: that is `generation.composing.words`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent

IRREGULAR_PLURALS = {
    "man": "men",
    "woman": "women",
    "child": "children",
    "person": "people",
    "mouse": "mice",
    "goose": "geese",
    "foot": "feet",
    "tooth": "teeth",
    "ox": "oxen",
    "leaf": "leaves",
    "loaf": "loaves",
    "shelf": "shelves",
    "wolf": "wolves",
    "calf": "calves",
    "half": "halves",
    "knife": "knives",
    "thief": "thieves",
    "elf": "elves",
    "scarf": "scarves",
    "wife": "wives",
    "life": "lives",
    "fish": "fish",
    "sheep": "sheep",
    "deer": "deer",
    "moose": "moose",
    "salmon": "salmon",
    "shrimp": "shrimps",
    "aircraft": "aircraft",
    "spacecraft": "spacecraft",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "mango": "mangoes",
    "echo": "echoes",
    "volcano": "volcanoes",
    "mosquito": "mosquitoes",
    "tornado": "tornadoes",
    "superhero": "superheroes",
    "cactus": "cacti",
    "octopus": "octopuses",
    "policeman": "policemen",
    "fisherman": "fishermen",
    "postman": "postmen",
    "snowman": "snowmen",
}


@dataclass(frozen=True, slots=True)
class Visible:
    """One thing that can be seen. `flags` are explained in the first lines of `things.tsv`."""

    english: str
    group: str
    flags: str
    russian: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Metaphor:
    """A picture for something nobody can see: a launch is a rocket."""

    english: tuple[str, ...]
    russian: tuple[str, ...]
    pictogram: str
    phrase_en: str
    phrase_ru: str
    flag: str
    """Empty, `w` (said in every meeting) or `d` (a date)."""


@dataclass(frozen=True, slots=True)
class Lexicon:
    things: dict[str, Visible]
    things_ru: dict[str, str]
    """Russian lemma (may have spaces, ё written as е) to the English one."""
    forms: dict[str, tuple[str, bool]]
    """English form, singular or plural, to (lemma, is plural) for things and metaphors."""
    metaphors: dict[str, Metaphor]
    metaphors_ru: dict[str, Metaphor]
    qualities: dict[str, str]
    """English adjective to the first Russian one."""
    qualities_ru: dict[str, str]
    related: dict[str, frozenset[str]]
    """Group to the groups that share a picture with it, itself among them."""
    worlds: dict[str, str]
    """Group to the larger world that it belongs to; people belong to none."""
    words: dict[str, frozenset[str]] = field(default_factory=dict)
    """Closed classes by dotted name: `en.determiners`, `ru.negations`, `never` …"""
    moods: dict[str, frozenset[str]] = field(default_factory=dict)
    times: dict[str, frozenset[str]] = field(default_factory=dict)
    fillers: tuple[tuple[str, ...], ...] = ()
    """Word sequences that say nothing, longest first."""
    styles: dict[str, str] = field(default_factory=dict)
    """Russian style words to English ones."""


def fold(text: str) -> str:
    """Lower case with ё as е and curly apostrophes straight: the form all tables use."""
    return text.lower().replace("ё", "е").replace("’", "'")


def plural_of(noun: str) -> str:
    """English plural of a lemma; of several words, of the last one."""
    head, space, last = noun.rpartition(" ")
    if last in IRREGULAR_PLURALS:
        made = IRREGULAR_PLURALS[last]
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        made = last + "es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        made = last[:-1] + "ies"
    else:
        made = last + "s"
    return head + space + made


def _rows(name: str) -> Iterator[list[str]]:
    with (FOLDER / name).open(encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                yield line.rstrip("\n").split("\t")


@functools.cache
def lexicon() -> Lexicon:
    """Read the tables (about 30 ms, once)."""
    things: dict[str, Visible] = {}
    things_ru: dict[str, str] = {}
    forms: dict[str, tuple[str, bool]] = {}
    for english, group, flags, russian in _rows("things.tsv"):
        names = tuple(russian.split("|"))
        things[english] = Visible(english, group, flags, names)
        for name in names:
            things_ru.setdefault(fold(name), english)
        if "p" in flags:
            forms[english] = (english, True)
        else:
            if "u" not in flags:
                forms.setdefault(plural_of(english), (english, True))
            forms[english] = (english, False)

    metaphors: dict[str, Metaphor] = {}
    metaphors_ru: dict[str, Metaphor] = {}
    for row in _rows("metaphors.tsv"):
        english, russian, pictogram, phrase_en, phrase_ru = row[:5]
        metaphor = Metaphor(
            tuple(english.split("|")),
            tuple(russian.split("|")),
            pictogram,
            phrase_en,
            phrase_ru,
            row[5] if len(row) > 5 else "",
        )
        for name in metaphor.english:
            metaphors.setdefault(name, metaphor)
            forms.setdefault(name, (name, False))
            forms.setdefault(plural_of(name), (name, True))
        for name in metaphor.russian:
            metaphors_ru.setdefault(fold(name), metaphor)

    qualities: dict[str, str] = {}
    qualities_ru: dict[str, str] = {}
    for english, _kind, russian in _rows("qualities.tsv"):
        names = tuple(russian.split("|"))
        qualities[english] = names[0]
        for name in names:
            qualities_ru.setdefault(fold(name), english)

    data = json.loads((FOLDER / "words.json").read_text(encoding="utf-8"))
    words = {f"{code}.{name}": frozenset(text.split()) for code in ("en", "ru") for name, text in data[code].items()}
    words |= {f"picture.{code}": frozenset(text.split()) for code, text in data["picture"].items()}
    words |= {
        name: frozenset(data[name].split()) for name in ("sounds", "names", "never", "unique", "consonant_vowels")
    }
    related: dict[str, set[str]] = {}
    for family in data["related"]:
        for group in family:
            related.setdefault(group, set()).update(family)
    for group in {thing.group for thing in things.values()} | {"metaphor"}:
        related.setdefault(group, set()).add(group)
    fillers = [tuple(fold(text).split()) for code in ("en", "ru") for text in data["fillers"][code]]
    return Lexicon(
        things=things,
        things_ru=things_ru,
        forms=forms,
        metaphors=metaphors,
        metaphors_ru=metaphors_ru,
        qualities=qualities,
        qualities_ru=qualities_ru,
        related={group: frozenset(groups) for group, groups in related.items()},
        worlds={group: world for world, groups in data["worlds"].items() for group in groups.split()},
        words=words,
        moods={mood: frozenset(fold(text).split()) for mood, text in data["moods"].items()},
        times={name: frozenset(fold(text).split()) for name, text in data["times"].items()},
        fillers=tuple(sorted(fillers, key=len, reverse=True)),
        styles={fold(russian): english for russian, english in data["styles"].items()},
    )
