"""Russian noun phrases with pymorphy3: agreement finds them, inflection brings them into the nominative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from generation.composing.english import TITLE_CHARS
from generation.composing.found import Found
from generation.composing.words import Word, inflected, is_cyrillic, read, russian_phrase_heads, russian_phrases
from generation.lexicon import Metaphor, Visible, fold, lexicon

PLACES = {
    "у": "by",
    "возле": "near",
    "около": "near",
    "рядом": "near",
    "над": "above",
    "под": "under",
    "за": "behind",
    "вдоль": "along",
    "через": "across",
    "среди": "among",
    "в": "in",
    "во": "in",
    "на": "on",
    "между": "between",
    "перед": "in front of",
    "внутри": "inside",
}
CASES = {
    "у": ("gent",),
    "возле": ("gent",),
    "около": ("gent",),
    "вдоль": ("gent",),
    "среди": ("gent",),
    "из": ("gent",),
    "от": ("gent",),
    "до": ("gent",),
    "для": ("gent",),
    "без": ("gent",),
    "внутри": ("gent",),
    "над": ("ablt",),
    "под": ("ablt", "accs"),
    "за": ("ablt", "accs"),
    "перед": ("ablt",),
    "между": ("ablt",),
    "с": ("ablt", "gent"),
    "к": ("datv",),
    "по": ("datv",),
    "через": ("accs",),
    "в": ("loct", "loc2", "accs"),
    "во": ("loct", "loc2", "accs"),
    "на": ("loct", "loc2", "accs"),
    "о": ("loct",),
    "об": ("loct",),
}
TITLE_LINKS = frozenset(CASES) - {"без", "о", "об", "по", "от", "до"}
"""Prepositions that may continue a title, and behind which the subject seldom stands."""
NUMBERS = {
    "два": "two",
    "двое": "two",
    "три": "three",
    "трое": "three",
    "четыре": "four",
    "пять": "five",
    "шесть": "six",
    "семь": "seven",
    "восемь": "eight",
    "девять": "nine",
    "десять": "ten",
}


LIVELY = {"цветки": "цветы"}
"""Plurals that people say otherwise than the dictionary."""


def russian_phrase_at(words: Sequence[Word], start: int) -> Found | None:
    """The noun phrase that begins at `start` (number, adjectives, noun), or None."""
    index, determined = start, False
    if words[index].reading.role == "determiner":
        determined, index = True, index + 1
    count, count_said = "", ""
    if index < len(words) and (number := NUMBERS.get(words[index].reading.lemma)):
        count, count_said, index = number, words[index].shown, index + 1
    first = index
    while index < len(words) and words[index].reading.language == "ru" and words[index].reading.quality:
        index += 1
    fixed = _fixed_phrase(words, first, start, count, count_said)
    if fixed:
        return fixed
    if index >= len(words) or not words[index].reading.noun or words[index].reading.language != "ru":
        return None
    word = words[index]
    if word.capital and any("Name" in parse.tag or "Surn" in parse.tag for parse in read(word.form).parses):
        return None
    adjectives = [w for w in words[first:index] if w.reading.parses]
    before = _before(words, start)
    noun = _best_parse(word, adjectives, before)
    number = "plur" if count or noun.tag.number == "plur" else "sing"
    said = [*(w.shown for w in words[first:index]), word.shown]
    if count:
        label = _counted(words[first - 1], adjectives, noun, count) or " ".join([count_said, *said])
    else:
        shown = [_nominative_adjective(w, number, noun) for w in adjectives]
        label = " ".join([*shown, _nominative(noun, number, word)])
    thing, metaphor = word.reading.thing, word.reading.metaphor
    title, tied = _title(words, label, index + 1)
    if thing is None and tied:
        # "рост" alone says little; "рост продаж" is what they talk about.
        label = title
    if thing is None and tied and tied.thing:
        # "план сада": what can be seen is the garden.
        thing, metaphor = tied.thing, None
    lemmas = {w.reading.lemma for w in words[first : index + 1]}
    known = tuple(w.reading.quality for w in adjectives if w.reading.quality != "?")
    place = PLACES.get(before, "") if _is_place(words, start) else ""
    return Found(
        key=thing.english if thing else metaphor.pictogram if metaphor else word.reading.lemma,
        label=label,
        title=title,
        language="ru",
        end=index + 1,
        thing=thing,
        metaphor=metaphor,
        plural=number == "plur",
        qualities=known,
        count=count,
        lemmas=frozenset(lemmas | set(known) | _both(thing, metaphor)),
        place=place,
        place_said=" ".join(w.shown for w in words[start - 1 : index + 1]) if place else "",
        governed=bool(place) or before in TITLE_LINKS,
        evidence=1.25 if adjectives or count else 1.1 if determined else 1.0,
        negated=_negated(words, start),
    )


def _fixed_phrase(words: Sequence[Word], index: int, start: int, count: str, count_said: str) -> Found | None:
    """Things of several words: `воздушный шар`, `железная дорога`."""
    if index >= len(words) or words[index].reading.lemma not in russian_phrase_heads():
        return None
    for length in (3, 2):
        group = words[index : index + length]
        if len(group) < length:
            continue
        lemmas = tuple(word.reading.lemma for word in group)
        if lemmas not in russian_phrases():
            continue
        thing, metaphor = russian_phrases()[lemmas]
        plural = bool(count) or group[-1].reading.plural
        said = " ".join([*([count_said] if count else []), *(word.shown for word in group)])
        names = thing.russian if thing else metaphor.russian if metaphor else ()
        base = next((name for name in names if " " in name and not plural), said)
        return Found(
            key=thing.english if thing else metaphor.pictogram if metaphor else said,
            label=base,
            title=_title(words, base, index + length)[0],
            language="ru",
            end=index + length,
            thing=thing,
            metaphor=metaphor,
            plural=plural,
            count=count,
            lemmas=frozenset({*lemmas} | _both(thing, metaphor)),
            evidence=1.25 if count else 1.1,
            negated=_negated(words, start),
        )
    return None


def _best_parse(word: Word, adjectives: Sequence[Word], before: str) -> Any:
    """The reading of the noun that agrees with its adjectives and with the preposition before it."""

    def fit(parse: Any) -> float:
        score = float(parse.score)
        if CASES.get(before):
            score += 0.5 if parse.tag.case in CASES[before] else 0.0
        elif parse.tag.case in ("nomn", "accs"):
            score += 0.4
        if adjectives and any(_agree(a, parse) for a in adjectives[-1].reading.parses):
            score += 0.5
        return score

    return max(word.reading.parses, key=fit)


def _agree(adjective: Any, noun: Any) -> bool:
    return bool(adjective.tag.case == noun.tag.case and adjective.tag.number == noun.tag.number)


def _nominative(noun: Any, number: str, word: Word) -> str:
    if noun.tag.case in ("nomn", "accs") and noun.tag.number == number and noun.tag.animacy != "anim":
        # Said in the nominative already, or in what looks the same; a feminine accusative does not ("реку").
        same = inflected(noun, "accs", number) == inflected(noun, "nomn", number)
        if same:
            return word.shown
    text = inflected(noun, "nomn", number) or word.shown
    text = LIVELY.get(text, text)
    return text.capitalize() if word.capital else text


def _nominative_adjective(word: Word, number: str, noun: Any) -> str:
    return agree(word.reading.parses[0], number, noun) or word.shown


def agree(adjective: Any, number: str, noun: Any) -> str:
    """The adjective in the nominative, of the noun's number and gender; empty if it cannot be made."""
    gender = (str(noun.tag.gender),) if number == "sing" and noun.tag.gender else ()
    return inflected(adjective, "nomn", number, *gender)


def _counted(numeral: Word, adjectives: Sequence[Word], noun: Any, count: str) -> str:
    """`двух лошадей` as `две лошади`: two to four take the genitive singular, five and more the plural."""
    few = count in ("two", "three", "four")
    made = inflected(noun, "gent", "sing" if few else "plur")
    if not made or not numeral.reading.parses:
        return ""
    qualities = [inflected(a.reading.parses[0], "gent", "plur") for a in adjectives]
    if not all(qualities):
        return ""
    word = "две" if count == "two" and noun.tag.gender == "femn" else numeral.reading.parses[0].normal_form
    return " ".join([word, *qualities, made])


def _before(words: Sequence[Word], start: int) -> str:
    if not start:
        return ""
    form = words[start - 1].form
    if form == "с" and start > 1 and words[start - 2].form == "рядом":
        return "с"
    return form


def _is_place(words: Sequence[Word], start: int) -> bool:
    return start > 0 and words[start - 1].reading.role == "place"


def _negated(words: Sequence[Word], start: int) -> bool:
    return start > 0 and words[start - 1].reading.role in ("negation", "never")


def _title(words: Sequence[Word], base: str, end: int) -> tuple[str, Any]:
    """(longer title while it stays short, reading of the genitive noun that follows): `рост продаж`."""
    if end >= len(words):
        return base, None
    index, link = end, words[end].form
    genitive = link not in TITLE_LINKS
    if not genitive:
        index += 1
    while index < len(words) and words[index].reading.quality and words[index].reading.language == "ru":
        index += 1
    if index >= len(words):
        return base, None
    word = words[index]
    if not word.reading.noun or not is_cyrillic(word.form):
        return base, None
    if genitive:
        cases = {parse.tag.case for parse in word.reading.parses if parse.score > 0.1}
        if "gent" not in cases or not _mostly_genitive(word):
            return base, None
    longer = " ".join([base, *(w.shown for w in words[end : index + 1])])
    tied = word.reading if genitive else None
    return (longer if len(longer) <= TITLE_CHARS else base), tied


def _mostly_genitive(word: Word) -> bool:
    """A list ("мост, река") is not a genitive chain: the nominative must be the less likely reading."""
    parses = word.reading.parses
    genitive = sum(p.score for p in parses if p.tag.case in ("gent", "gen2"))
    nominative = sum(p.score for p in parses if p.tag.case in ("nomn", "accs"))
    return bool(genitive > nominative)


def _both(thing: Visible | None, metaphor: Metaphor | None) -> set[str]:
    if thing:
        return {thing.english, thing.group, *(fold(name) for name in thing.russian)}
    if metaphor:
        return {metaphor.pictogram, *metaphor.english, *(fold(name) for name in metaphor.russian)}
    return set()


def quality_in_russian(english: str) -> Any:
    """pymorphy3's parse of the Russian adjective, or None."""
    name = lexicon().qualities.get(english)
    if not name:
        return None
    parses = read(fold(name)).parses
    return parses[0] if parses else None
