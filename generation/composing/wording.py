"""The words of a picture in both languages: the prompt within its token budget, and the alt text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from generation.composing.found import Found
from generation.composing.russian import LIVELY, agree, quality_in_russian
from generation.composing.words import WORD, inflected, is_cyrillic, read
from generation.lexicon import lexicon, plural_of

CountTokens = Callable[[str], int]

TOKEN_BUDGET = 75
"""CLIP reads 77 tokens, of which two mark the start and the end."""
SCENE_TOKENS = 52
"""What the scene may take when there is a style as well, so that the style is never crowded out."""
MOST_CHARS = 300
NEGATIVE_TOKENS = 75
MOODS = {
    "calm": ("calm mood", "спокойное настроение"),
    "bright": ("bright joyful mood", "светлое радостное настроение"),
    "tense": ("tense dramatic mood", "тревожное настроение"),
    "sad": ("quiet melancholic mood", "тихое грустное настроение"),
    "festive": ("festive mood", "праздничное настроение"),
}
TIMES = {"day": ("daylight", "днём"), "dusk": ("at dusk", "в сумерках"), "night": ("at night", "ночью")}
ALT_MOODS = {
    "calm": ("calm", "Спокойный", "Спокойные", "Спокойная"),
    "bright": ("bright", "Радостный", "Радостные", "Радостная"),
    "tense": ("tense", "Тревожный", "Тревожные", "Тревожная"),
    "sad": ("sad", "Грустный", "Грустные", "Грустная"),
    "festive": ("festive", "Праздничный", "Праздничные", "Праздничная"),
}
ALT_TIMES = {"day": ("day", "день", 1), "dusk": ("dusk", "сумерки", 2), "night": ("night", "ночь", 3)}
RUSSIAN_PLACES = {
    "near": ("у", "gent"),
    "by": ("у", "gent"),
    "beside": ("у", "gent"),
    "in": ("в", "loct"),
    "inside": ("в", "loct"),
    "on": ("на", "loct"),
    "over": ("над", "ablt"),
    "above": ("над", "ablt"),
    "under": ("под", "ablt"),
    "behind": ("за", "ablt"),
    "along": ("вдоль", "gent"),
    "across": ("через", "accs"),
    "among": ("среди", "gent"),
}
PLACED = frozenset({"near", "by", "beside", "in", "inside", "on", "along", "among"})
"""What says where the whole scene is; "above the garden" says only where one thing is."""
ENGLISH_NUMBERS = {
    "two": "два",
    "three": "три",
    "four": "четыре",
    "five": "пять",
    "six": "шесть",
    "seven": "семь",
    "eight": "восемь",
    "nine": "девять",
    "ten": "десять",
}
ALWAYS_NEGATIVE = ("text", "letters", "watermark", "signature", "frame", "deformed", "blurry")


def estimate_tokens(text: str) -> int:
    """CLIP tokens of a text, estimated from above: one for each six letters, each mark and each Cyrillic letter."""
    total = 0
    for piece in WORD.findall(text):
        total += len(piece) if is_cyrillic(piece) else math.ceil(len(piece) / 6)
    return total + sum(1 for char in text if not char.isalnum() and not char.isspace() and char not in ".!?…,;:()\n")


def with_article(phrase: str) -> str:
    """`a` or `an` before a singular phrase, by its sound as far as the first letters tell."""
    first = phrase.split(" ", 1)[0].lower()
    soft = first[:1] in "aeiou" and not any(first.startswith(s) for s in lexicon().words["consonant_vowels"])
    return f"{'an' if soft or first == 'hourglass' else 'a'} {phrase}"


def in_english(found: Found) -> str:
    """The thing as an English prompt names it: `a small red house`, `two horses`, a metaphor's own phrase."""
    if found.thing is None:
        return found.metaphor.phrase_en if found.metaphor else (found.label if found.language == "en" else "")
    lemma = found.thing.english
    if found.language == "en":
        noun = found.label
    else:
        many = found.plural and "p" not in found.thing.flags and "u" not in found.thing.flags
        noun = " ".join([*found.qualities, plural_of(lemma) if many else lemma])
        noun = f"{found.count} {noun}" if found.count else noun
    if found.plural or found.count or "u" in found.thing.flags or "p" in found.thing.flags:
        return noun
    if lemma in lexicon().words["unique"]:
        return f"the {noun}"
    return with_article(noun)


def in_russian(found: Found) -> str:
    """The same in Russian, adjectives agreeing: `маленький красный дом`."""
    if found.language == "ru" and not (found.metaphor and not found.thing):
        return found.label
    if found.thing is None:
        return found.metaphor.phrase_ru if found.metaphor else (found.label if found.language == "ru" else "")
    name = found.thing.russian[0]
    if " " in name:
        return _plural_name(name) if found.plural else name
    noun = _noun_parse(name)
    if noun is None:
        return name
    number = "plur" if found.plural or noun.tag.number == "plur" else "sing"
    made = inflected(noun, "nomn", number)
    made = LIVELY.get(made, made)
    adjectives = [parse for q in found.qualities if (parse := quality_in_russian(q)) is not None]
    qualities = [text for parse in adjectives if (text := agree(parse, number, noun))]
    count = ENGLISH_NUMBERS.get(found.count, "")
    if count:
        few = found.count in ("two", "three", "four")
        count = "две" if found.count == "two" and noun.tag.gender == "femn" else count
        made = inflected(noun, "gent", "sing" if few else "plur")
        qualities = [text for parse in adjectives if (text := inflected(parse, "gent", "plur"))]
    return " ".join([*([count] if count else []), *qualities, made or name])


def _plural_name(name: str) -> str:
    """The plural of a name of several words: `воздушный шар` to `воздушные шары`; what follows the noun stays."""
    made: list[str] = []
    for index, word in enumerate(words := name.split()):
        reading = read(word)
        parse = next((p for p in reading.parses if p.tag.case == "nomn"), None)
        made.append((inflected(parse, "nomn", "plur") if parse else "") or word)
        if reading.noun:
            return " ".join([*made, *words[index + 1 :]])
    return name


def _noun_parse(name: str) -> Any:
    parses = read(name.lower().replace("ё", "е")).parses
    return next((p for p in parses if p.tag.case == "nomn"), parses[0] if parses else None)


def placed(found: Found, language: str) -> str:
    """With its preposition of place when it was said with one: `near a river`, `у реки`."""
    plain = in_english(found) if language == "en" else in_russian(found)
    if found.place not in PLACED or not found.thing or "l" not in found.thing.flags:
        return plain
    if language == "en":
        return f"{found.place} {plain}"
    if found.language == "ru":
        return found.place_said
    word, case = RUSSIAN_PLACES.get(found.place, ("", ""))
    noun = _noun_parse(found.thing.russian[0]) if word and " " not in found.thing.russian[0] else None
    if noun is None or found.qualities or found.count:
        return plain
    number = "plur" if found.plural else "sing"
    # "в саду": some nouns have a case of their own for places.
    made = (inflected(noun, "loc2", number) if case == "loct" else "") or inflected(noun, case, number)
    return f"{word} {made}" if made else plain


def scene_segments(things: Sequence[Found], mood: str, time: str, language: str, spoken: str = "") -> list[str]:
    """The scene as phrases, the most important first; `spoken` stands for a subject that only words can name."""
    column = 0 if language == "en" else 1
    segments: list[str] = [spoken] if spoken else []
    segments += [text for text in _named(things, language, first_plain=not spoken) if text not in segments]
    if not segments:
        return []
    return [*segments, TIMES[time][column], MOODS[mood][column]]


def _plain(found: Found, language: str) -> str:
    return in_english(found) if language == "en" else in_russian(found)


def _named(things: Sequence[Found], language: str, *, first_plain: bool) -> list[str]:
    """Each thing once, in order; the subject without its preposition of place."""
    named: list[str] = []
    for index, found in enumerate(things):
        text = _plain(found, language) if first_plain and index == 0 else placed(found, language)
        if text and text not in named:
            named.append(text)
    return named


def fit(scene: Sequence[str], style: Sequence[str], count: CountTokens, separator: str = ", ") -> str:
    """Join whole phrases, scene before style, as many as the budget holds; a phrase is taken whole or not at all.

    The subject is always there: alone too long, it is shortened by whole words.
    """
    chosen: list[str] = []
    room = SCENE_TOKENS if style else TOKEN_BUDGET
    for phrases, limit in ((scene, room), (style, TOKEN_BUDGET)):
        for phrase in phrases:
            longer = separator.join([*chosen, phrase])
            if len(longer) <= MOST_CHARS and count(longer) <= limit:
                chosen.append(phrase)
            elif not chosen:
                chosen.append(shorten(phrase, lambda text: len(text) <= MOST_CHARS and count(text) <= room))
    return separator.join(phrase for phrase in chosen if phrase)


def shorten(text: str, fits: Callable[[str], bool]) -> str:
    """The longest beginning of whole words that fits; empty when not even the first does."""
    words = text.split()[:80]
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(" ".join(words[:middle])):
            low = middle
        else:
            high = middle - 1
    return " ".join(words[:low])


def negative_prompt(unwanted: Sequence[str], count: CountTokens) -> str:
    """What must not be in the picture: ours, then the presets', whole phrases within the budget."""
    chosen: list[str] = []
    for phrase in (*ALWAYS_NEGATIVE, *unwanted):
        if phrase not in chosen and count(", ".join([*chosen, phrase])) <= NEGATIVE_TOKENS:
            chosen.append(phrase)
    return ", ".join(chosen)


def alt_text(things: Sequence[Found], title: str, mood: str, time: str, language: str) -> str:
    """One or two sentences for people who cannot see the picture."""
    english = language == "en"
    parts = _named(things, language, first_plain=True)
    places = [placed(f, language) for f in things[1:] if placed(f, language) != _plain(f, language)]
    parts = [part for part in parts if part not in places]
    if not parts:
        first = f"A picture about “{title}”" if english else f"Картина на тему «{title}»"
    elif things[0].metaphor and not things[0].thing:
        topic = f" for “{title}”" if english else f" на тему «{title}»"
        first = parts[0] + topic + ("; also " if english else "; ещё ") * (len(parts) > 1) + ", ".join(parts[1:])
    elif english:
        first = parts[0] + (" with " + _listed(parts[1:], "and") if len(parts) > 1 else "")
    else:
        first = _listed(parts, "и")
    if parts and places:
        first += ", " + places[0]
    word_en, word_ru, form = ALT_TIMES[time]
    mood_words = ALT_MOODS[mood]
    last = f"{mood_words[0].capitalize()} {word_en}" if english else f"{mood_words[form]} {word_ru}"
    return f"{first[:1].upper()}{first[1:]}. {last}."


def _listed(parts: Sequence[str], word: str) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {word} {parts[-1]}"
