"""From text to words with readings: language by script, lemma, and what part each word can play.

Every reading is cached by the word's form, so that five minutes of talk cost microseconds a word after the first time.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pymorphy3
import simplemma

from generation.lexicon import Metaphor, Visible, fold, lexicon

WORD = re.compile(r"[^\W\d_]+(?:['’\-][^\W\d_]+)*|\d+(?:[.,:]\d+)*|[.!?…,;:()\n«»\"“”—–]")
SENTENCE_ENDS = frozenset(".!?…\n")
LONGEST_WORD = 32
"""Longer runs of letters are noise, not words."""
NOUN_SHARE = 0.3
"""Share of a Russian form's readings that must be nouns before it is taken for one."""


@functools.cache
def morph() -> pymorphy3.MorphAnalyzer:
    return pymorphy3.MorphAnalyzer()


@functools.cache
def _russian_names() -> tuple[dict[str, str], dict[str, Metaphor]]:
    """Things and metaphors as they are written and by pymorphy3's lemma (`наушник` for `наушники`)."""
    lex = lexicon()
    things, metaphors = dict(lex.things_ru), dict(lex.metaphors_ru)
    for name, english in lex.things_ru.items():
        things.setdefault(_noun_lemma(name), english)
    for name, metaphor in lex.metaphors_ru.items():
        if _noun_lemma(name) not in things:
            metaphors.setdefault(_noun_lemma(name), metaphor)
    return things, metaphors


def _noun_lemma(name: str) -> str:
    if " " in name:
        return name
    return next((fold(parse.normal_form) for parse in morph().parse(name) if parse.tag.POS == "NOUN"), name)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one word form can be, whatever stands around it."""

    language: str
    """`en`, `ru`, or empty for numbers, marks and other scripts."""
    lemma: str
    noun: bool = False
    plural: bool = False
    thing: Visible | None = None
    metaphor: Metaphor | None = None
    quality: str = ""
    """English adjective; `?` for a Russian adjective that is not in the tables."""
    role: str = ""
    """Closed class: `determiner`, `number`, `blocker`, `place`, `preposition`, `negation`, `stop`, `picture`, `name`,
    `break`, `weak`; empty for the rest."""
    parses: tuple[Any, ...] = field(default=(), compare=False)
    """pymorphy3's parses, for inflection."""


@dataclass(frozen=True, slots=True)
class Word:
    shown: str
    """As it is set in type: lower case, but for what was capital in the middle of a sentence."""
    form: str
    """Folded."""
    reading: Reading
    position: int
    """Index in its line."""
    capital: bool = False


def is_cyrillic(text: str) -> bool:
    return any("Ѐ" <= char <= "ӿ" for char in text)


@functools.lru_cache(maxsize=50_000)
def read(form: str) -> Reading:
    """The reading of one folded form."""
    if not form[0].isalpha():
        return Reading("", form, role="break" if not form[0].isdigit() else "number")
    return _read_russian(form) if is_cyrillic(form) else _read_english(form)


def _read_english(form: str) -> Reading:
    lex = lexicon()
    words = lex.words
    role = ""
    for name, part in (
        ("en.determiners", "determiner"),
        ("en.numbers", "number"),
        ("en.negations", "negation"),
        ("en.place_prepositions", "place"),
        ("en.blockers", "blocker"),
        ("en.other_prepositions", "preposition"),
        ("picture.en", "picture"),
        ("sounds", "stop"),
        ("en.weak_nouns", "weak"),
        ("en.stop", "stop"),
        ("never", "never"),
        ("names", "name"),
    ):
        if form in words[name]:
            role = part
            break
    base = form[:-2] if form.endswith("'s") else form
    lemma, plural = lex.forms.get(base, ("", False))
    if role in ("picture", "never", "weak"):
        lemma = ""
    if lemma:
        return Reading(
            "en",
            lemma,
            noun=True,
            plural=plural,
            thing=lex.things.get(lemma),
            metaphor=None if lemma in lex.things else lex.metaphors.get(lemma),
            quality=form if form in lex.qualities else "",
            role=role,
        )
    lemma = simplemma.lemmatize(base, "en") if not role and base.isascii() and len(base) > 2 else base
    return Reading("en", lemma.lower(), quality=form if form in lex.qualities else "", role=role)


def _read_russian(form: str) -> Reading:
    lex = lexicon()
    things, metaphors = _russian_names()
    parses = tuple(morph().parse(form))
    best = parses[0]
    part = best.tag.POS
    lemma = fold(best.normal_form)
    if lemma in lex.words["picture.ru"] or form in lex.words["picture.ru"]:
        return Reading("ru", lemma, role="picture")
    if lemma in lex.words["never"] or form in lex.words["never"]:
        return Reading("ru", lemma, role="never")
    if form in lex.words["sounds"] or form in lex.words["ru.verb_like"]:
        return Reading("ru", lemma, role="stop")
    if form in lex.words["ru.negations"]:
        return Reading("ru", lemma, role="negation")
    if form in lex.words["ru.place_prepositions"]:
        return Reading("ru", lemma, role="place")
    if part == "PREP":
        return Reading("ru", lemma, role="preposition")
    if part == "NUMR":
        return Reading("ru", lemma, role="number", parses=parses)
    if "Apro" in best.tag or part == "NPRO":
        return Reading("ru", lemma, role="determiner" if "Apro" in best.tag else "blocker")
    adjectives = tuple(p for p in parses if p.tag.POS in ("ADJF", "PRTF"))
    quality = next((q for p in adjectives if (q := _quality(p))), "")
    if quality and part in ("ADJF", "PRTF", "NOUN") and lemma not in things:
        return Reading("ru", fold(adjectives[0].normal_form), quality=quality, parses=adjectives)
    nouns = tuple(p for p in parses if p.tag.POS == "NOUN")
    share = sum(p.score for p in nouns)
    if nouns and (part == "NOUN" or share >= NOUN_SHARE):
        chosen = _lemma_of(nouns)
        named = any(mark in nouns[0].tag for mark in ("Name", "Surn", "Patr"))
        known = chosen in things or chosen in metaphors
        if named and not known:
            return Reading("ru", chosen, role="name")
        if chosen in lex.words["ru.weak_nouns"] and not known:
            return Reading("ru", chosen, role="weak")
        english = things.get(chosen, "")
        nouns = tuple(p for p in nouns if fold(p.normal_form) == chosen)
        return Reading(
            "ru",
            chosen,
            noun=True,
            plural=nouns[0].tag.number == "plur",
            thing=lex.things.get(english),
            metaphor=None if english else metaphors.get(chosen),
            parses=nouns,
        )
    if part in ("ADJF", "PRTF"):
        return Reading("ru", lemma, quality="?", parses=adjectives)
    return Reading("ru", lemma, role="stop")


def _quality(parse: Any) -> str:
    """The English adjective for a Russian one; participles are listed as such, not as their verbs."""
    known = lexicon().qualities_ru
    masculine = parse.inflect({"sing", "masc", "nomn"}) if parse.tag.POS == "PRTF" else None
    return known.get(fold(masculine.word if masculine else parse.normal_form), "")


def _lemma_of(nouns: tuple[Any, ...]) -> str:
    """The likeliest lemma; one that the tables know wins over one that they do not unless it is really rare."""
    things, metaphors = _russian_names()
    weights: dict[str, float] = {}
    for parse in nouns:
        lemma = fold(parse.normal_form)
        known = lemma in things or lemma in metaphors
        weights[lemma] = weights.get(lemma, 0.0) + parse.score * (4.0 if known else 1.0)
    return max(weights, key=lambda lemma: weights[lemma])


@functools.cache
def russian_phrases() -> dict[tuple[str, ...], tuple[Visible | None, Metaphor | None]]:
    """Things and metaphors of several Russian words, by the lemmas of their words."""
    lex = lexicon()
    found: dict[tuple[str, ...], tuple[Visible | None, Metaphor | None]] = {}
    for name, english in lex.things_ru.items():
        if " " in name:
            found[tuple(read(part).lemma for part in name.split())] = (lex.things[english], None)
    for name, metaphor in lex.metaphors_ru.items():
        if " " in name:
            found.setdefault(tuple(read(part).lemma for part in name.split()), (None, metaphor))
    return found


@functools.cache
def russian_phrase_heads() -> frozenset[str]:
    """First lemmas of `russian_phrases`: most words can begin none."""
    return frozenset(lemmas[0] for lemmas in russian_phrases())


@functools.lru_cache(maxsize=50_000)
def inflected(parse: Any, *grammemes: str) -> str:
    """A word in another form, by one of its pymorphy3 parses; empty when it has no such form."""
    made = parse.inflect(set(grammemes))
    return made.word if made else ""


def words_of(text: str, *, limit: int) -> list[Word]:
    """The last `limit` words and marks of a text, fillers and hesitation left out."""
    # The newest moment is at the end: of a text without end only that is read.
    tail = text[-limit * 12 :]
    if len(tail) < len(text):
        tail = tail.partition(" ")[2]
    pieces = [piece for piece in WORD.findall(tail) if len(piece) <= LONGEST_WORD][-limit:]
    letters = [char for char in tail[:400] if char.isalpha()]
    shouting = bool(letters) and all(char.isupper() for char in letters)
    forms = [fold(piece) for piece in pieces]
    skipped = _fillers(forms)
    words: list[Word] = []
    starts = True
    for index, (piece, form) in enumerate(zip(pieces, forms, strict=True)):
        if index in skipped:
            continue
        capital = piece[0].isupper() and not starts and not shouting
        shown = piece if capital else piece.lower()
        if form in ("i", "i'm", "i'll", "i've", "i'd"):
            capital, shown = False, form
        words.append(Word(shown, form, read(form), len(words), capital))
        starts = form[0] in SENTENCE_ENDS or (starts and not form[0].isalnum())
    return words


@functools.cache
def _filler_heads() -> dict[str, list[tuple[str, ...]]]:
    heads: dict[str, list[tuple[str, ...]]] = {}
    for filler in lexicon().fillers:
        heads.setdefault(filler[0], []).append(filler)
    return heads


def _fillers(forms: list[str]) -> set[int]:
    heads = _filler_heads()
    skipped: set[int] = set()
    for index, form in enumerate(forms):
        for filler in heads.get(form, ()):
            if tuple(forms[index : index + len(filler)]) == filler:
                skipped.update(range(index, index + len(filler)))
                break
    return skipped


def topics_of(texts: Iterable[str]) -> list[list[frozenset[str]]]:
    """Muted topics as words to compare: for each topic, for each of its words, every lemma that would mean it."""
    topics: list[list[frozenset[str]]] = []
    for text in texts:
        topic: list[frozenset[str]] = []
        for piece in WORD.findall(fold(text)):
            if not piece[0].isalpha():
                continue
            reading = read(piece)
            if reading.role in ("determiner", "preposition", "place", "blocker") and not reading.noun:
                continue
            same = {piece, reading.lemma}
            if reading.thing:
                same |= {reading.thing.english, *map(fold, reading.thing.russian)}
            if reading.metaphor:
                same |= {*reading.metaphor.english, *map(fold, reading.metaphor.russian)}
            if reading.quality not in ("", "?"):
                same.add(reading.quality)
            topic.append(frozenset(same))
        if topic:
            topics.append(topic)
    return topics


def warm_up() -> None:
    """Load dictionaries and tables now (about a third of a second, once a process), not in the middle of a meeting."""
    lexicon()
    russian_phrase_heads()
    _filler_heads()
    read("warmth")
