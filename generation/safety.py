"""What is never painted, whatever was said: the word list on prompts, and the neutral scene in place of what it blocks.

A word list cannot judge a scene; it keeps the plainest requests away from the painter, in both languages and in every
form of a word, and must leave ordinary talk alone ("with the naked eye", "kill the process"). The checker on the
finished picture, where a model has one, is the other half. Pure: no Django, no model.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import simplemma

from generation.composing.found import Found
from generation.composing.wording import MOODS, TIMES, scene_segments
from generation.composing.words import LONGEST_WORD, WORD, is_cyrillic, morph
from generation.lexicon import fold

BUILT_IN = Path(__file__).parent / "unsafe.tsv"
ORDINARY, MINOR, MINORS, SEXUAL = "ordinary", "minor", "minors", "sexual"
MOST_TOKENS = 3_000
"""Words of a text that are looked at; nothing that reaches a prompt is longer."""
LIKELY = 0.3
"""Share of a Russian form's readings from which on a reading that is not the first counts as well."""

NEUTRAL = {"en": "a wide quiet landscape", "ru": "широкий тихий пейзаж"}
NEUTRAL_ALT = {
    "en": "A quiet landscape, without people and things.",
    "ru": "Тихий пейзаж, без людей и предметов.",
}

Phrase = tuple[frozenset[str], ...]
"""For each of its words every lemma that means it."""


class BadList(ValueError):
    """A list of blocked words that cannot be read; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Blocked phrases and ordinary ones, by the lemmas of their first word."""

    blocked: dict[str, list[tuple[Phrase, str]]]
    ordinary: dict[str, list[tuple[Phrase, str]]]
    minors: frozenset[str]
    """Lemmas of words for children."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """One place in a text."""

    category: str
    """`sexual`, `minors`, `gore`, `self-harm`, `hateful`, or a category of the owner's own list."""
    start: int
    """Index of the first character, in the folded text (as long as the text itself)."""
    end: int


@functools.cache
def rules(more: str = "") -> Rules:
    """The built-in list, and the file `more` in the same form beside it.

    Raises BadList for a file that is not there or has a line without a category.
    """
    blocked: dict[str, list[tuple[Phrase, str]]] = {}
    ordinary: dict[str, list[tuple[Phrase, str]]] = {}
    minors: set[str] = set()
    for path in (BUILT_IN, Path(more)) if more else (BUILT_IN,):
        for category, phrases in _rows(path):
            for words in phrases:
                phrase = tuple(lemmas_of(form) for form in words)
                if category == MINOR:
                    minors |= phrase[0]
                    continue
                into = ordinary if category == ORDINARY else blocked
                for lemma in phrase[0]:
                    into.setdefault(lemma, []).append((phrase, category))
    return Rules(blocked, ordinary, frozenset(minors))


def _rows(path: Path) -> Iterable[tuple[str, list[list[str]]]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadList(f"The list of blocked words {path} cannot be read: {type(error).__name__}.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        category, tab, phrases = line.partition("\t")
        if not tab or not category.strip():
            raise BadList(f"{path}, line {number}: expected a category, a tab, then phrases separated by |.")
        tokens = [[t for t in WORD.findall(fold(phrase)) if t[0].isalnum()] for phrase in phrases.split("|")]
        yield category.strip(), [words for words in tokens if words]


@functools.lru_cache(maxsize=20_000)
def lemmas_of(form: str) -> frozenset[str]:
    """Every lemma that a folded form stands for, the form itself among them."""
    if is_cyrillic(form):
        parses = morph().parse(form)
        # Short adjectives are left out: «гол» is a goal far more often than «голый».
        likely = [p for i, p in enumerate(parses) if (i == 0 or p.score >= LIKELY) and p.tag.POS != "ADJS"]
        return frozenset({form, *(fold(p.normal_form) for p in likely)})
    base = form.removesuffix("'s")
    return frozenset({form, base, simplemma.lemmatize(base, "en").lower()} if base.isascii() else {form, base})


def blocked_in(text: str, by: Rules | None = None) -> list[Blocked]:
    """The blocked places of a text, in order; empty for ordinary talk."""
    by = by or rules()
    tokens = [(m.group(), m.start(), m.end()) for m in WORD.finditer(fold(text)) if m.group()[0].isalnum()]
    tokens = [token for token in tokens[:MOST_TOKENS] if len(token[0]) <= LONGEST_WORD]
    lemmas = [lemmas_of(form) for form, _start, _end in tokens]
    meant_otherwise = {index for first, last, _c in _matches(lemmas, by.ordinary) for index in range(first, last)}
    found = [
        Blocked(category, tokens[first][1], tokens[last - 1][2])
        for first, last, category in _matches(lemmas, by.blocked)
        if not meant_otherwise.issuperset(range(first, last))
    ]
    if any(place.category == SEXUAL for place in found) and any(words & by.minors for words in lemmas):
        found = [Blocked(MINORS, place.start, place.end) if place.category == SEXUAL else place for place in found]
    return found


def _matches(
    lemmas: Sequence[frozenset[str]], listed: dict[str, list[tuple[Phrase, str]]]
) -> Iterable[tuple[int, int, str]]:
    """(first word, one past the last, category) of each listed phrase, at most one for each first word."""
    for index, words in enumerate(lemmas):
        longest = 0
        category = ""
        for lemma in words:
            for phrase, of in listed.get(lemma, ()):
                size = len(phrase)
                here = lemmas[index : index + size]
                if size > longest and len(here) == size and all(a & b for a, b in zip(phrase, here, strict=True)):
                    longest, category = size, of
        if longest:
            yield index, index + longest, category


def is_blocked(text: str, by: Rules | None = None) -> bool:
    return bool(blocked_in(text, by))


def categories(text: str, by: Rules | None = None) -> frozenset[str]:
    """Of everything blocked in a text."""
    return frozenset(place.category for place in blocked_in(text, by))


def without_blocked(text: str, by: Rules | None = None) -> str:
    """The text with its blocked words taken out."""
    places = blocked_in(text, by)
    if not places:
        return text
    if len(fold(text)) != len(text):  # a letter of another alphabet that has no single small one
        text = fold(text)
    kept, at = [], 0
    for place in places:
        kept.append(text[at : max(at, place.start)])
        at = max(at, place.end)
    return " ".join("".join([*kept, text[at:]]).split()).strip(" ,;:-–—")


def neutral_places(things: Iterable[Found], by: Rules | None = None) -> list[Found]:
    """What of a scene may stay when its subject may not: the first place in it."""
    places = [f for f in things if f.thing and "l" in f.thing.flags and not is_blocked(f.label, by)]
    return places[:1]


def neutral_segments(places: Sequence[Found], mood: str, time: str, language: str) -> list[str]:
    """The scene in phrases, without things: a place or a plain landscape, the time of day and the mood."""
    column = 0 if language == "en" else 1
    segments = scene_segments(places, mood, time, language) if places else []
    plain = NEUTRAL["en" if language == "en" else "ru"]
    return [*segments[:1], plain, *segments[1:]] if segments else [plain, TIMES[time][column], MOODS[mood][column]]
