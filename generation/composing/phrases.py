"""From words to mentions: the noun phrases in which something that can be painted, or set in type, was named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from generation.composing.english import english_phrase_at
from generation.composing.found import Found
from generation.composing.russian import russian_phrase_at
from generation.composing.words import SENTENCE_ENDS, Word

PICTURE_REACH = 6
"""Words on either side of "the picture" that are about the picture itself when no full stop comes between."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A phrase and where it was said."""

    found: Found
    line: int
    """Index of the line in its sequence."""
    progress: float
    """Where in its line, 0–1, by words."""
    about_picture: bool
    """Said while talking about the picture itself."""


def mentions_in(words: Sequence[Word], line: int) -> Iterator[Mention]:
    """The phrases of one line, in the order in which they were said."""
    pictures = [word.position for word in words if word.reading.role == "picture"]
    index = 0
    while index < len(words):
        reading = words[index].reading
        found: Found | None = None
        if reading.language == "en":
            found = english_phrase_at(words, index)
        elif reading.language == "ru":
            found = russian_phrase_at(words, index)
        if found is None:
            index += 1
            continue
        if not found.negated:
            near = any(_same_sentence(words, place, index) for place in pictures)
            yield Mention(found, line, (index + 1) / len(words), near)
        index = found.end


def _same_sentence(words: Sequence[Word], place: int, index: int) -> bool:
    if abs(place - index) > PICTURE_REACH:
        return False
    low, high = sorted((place, index))
    return not any(word.form[0] in SENTENCE_ENDS for word in words[low:high])
