"""Two microphones in one room hear the same words: the louder counts. A decision over plain values.

Two lines of different streams are twins when they overlap in time by half of the shorter, and the words that lie in
the time they share are the same. Recognisers differ and cut at other places, so words are compared one by one, as far
apart in time as two browsers' clocks may be, and long words count for more than short ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from statistics import median

MIN_OVERLAP = 0.5
"""Of the shorter line's time."""
CLOCK_SLACK_S = 0.8
"""How far apart two streams may put the same word: arrival tells when it was spoken, and networks differ."""
EDGE_S = 0.1
"""A word whose middle lies further outside a line than this, by the same clock, is not part of it."""
MIN_SAME_WORDS = 3
"""Fewer words are said by two people at once; they are twins only where the voices agree too."""
MIN_SAME_SHARE = 0.45
"""Of the letters of the shorter side, in words that are the same on both. Of 60,000 pairs of English phrases of 3 to 15
words, as if said at once, 8 passed, most of them one phrase met twice; with one word in five wrong on one side and
three in ten on the other, 70 % of twins are found (79 % from six words on)."""
SAME_SHARE_OF_ONE_VOICE = 0.3
"""The same where the voices agree: nobody says two things at once."""
ALIKE = 0.8
"""Similarity from which two long words are one word heard by two recognisers (difflib's ratio)."""
UNKNOWN_DBFS = 0.0
"""What a line whose loudness nobody measured has."""


@dataclass(frozen=True, slots=True)
class HeardWord:
    text: str
    """Normalised: letters and digits, lower case."""
    start_s: float
    end_s: float

    @property
    def middle_s(self) -> float:
        return (self.start_s + self.end_s) / 2


@dataclass(frozen=True, slots=True)
class Line:
    """One line, its times in Unix seconds."""

    key: str
    started_s: float
    ended_s: float
    words: tuple[HeardWord, ...]
    level_dbfs: float
    settled: bool = False
    """A person said whose it is: it stays as it is."""


@dataclass(frozen=True, slots=True)
class Part:
    """A run of the new line's words, `first` to `last` (one past), and what becomes of it."""

    first: int
    last: int
    twin: str | None = None
    """The line that is there and says the same."""
    louder: bool = False
    """The part takes its twin's place; otherwise the part is dropped. Without a twin it is a line of its own."""


def normalised(text: str) -> str:
    return "".join(re.findall(r"\w+", text.lower().replace("ё", "е")))


def heard_words(text: str, timed: Sequence[tuple[str, float, float]], started_s: float, ended_s: float) -> tuple[
    HeardWord, ...
]:  # fmt: skip
    """The words of a line with their times; where the recogniser gave none, spread evenly over the line."""
    if timed:
        return tuple(HeardWord(normalised(word), start, end) for word, start, end in timed)
    texts = text.split()
    step = (ended_s - started_s) / max(1, len(texts))
    return tuple(
        HeardWord(normalised(word), started_s + n * step, started_s + (n + 1) * step) for n, word in enumerate(texts)
    )


def are_twins(one: Line, other: Line, *, voices_agree: bool = False) -> bool:
    """Whether two lines of different streams are the same words at the same time."""
    shared_s = min(one.ended_s, other.ended_s) - max(one.started_s, other.started_s)
    shorter_s = min(one.ended_s - one.started_s, other.ended_s - other.started_s)
    if shared_s <= 0 or shared_s < MIN_OVERLAP * shorter_s:
        return False
    ours, theirs = _within(one.words, other, CLOCK_SLACK_S), _within(other.words, one, CLOCK_SLACK_S)
    if not ours or not theirs:
        return False
    same = same_words(ours, theirs)
    letters = sum(min(len(one.text), len(other.text)) for one, other in same)
    enough = MIN_SAME_WORDS if not voices_agree else min(len(ours), len(theirs), MIN_SAME_WORDS)
    shortest = min(sum(len(word.text) for word in ours), sum(len(word.text) for word in theirs))
    share = SAME_SHARE_OF_ONE_VOICE if voices_agree else MIN_SAME_SHARE
    return len(same) >= enough and letters >= share * shortest


def same_words(ours: Sequence[HeardWord], theirs: Sequence[HeardWord]) -> list[tuple[HeardWord, HeardWord]]:
    """The words that are the same on both sides in the same order: the longest common subsequence by letters."""
    best: list[list[int]] = [[0] * (len(theirs) + 1) for _row in range(len(ours) + 1)]
    letters = [[min(len(a.text), len(b.text)) if _is_same(a, b) else 0 for b in theirs] for a in ours]
    for row in range(len(ours)):
        for column in range(len(theirs)):
            taken = best[row][column] + letters[row][column]
            best[row + 1][column + 1] = max(taken, best[row][column + 1], best[row + 1][column])
    pairs = []
    row, column = len(ours), len(theirs)
    while row and column:
        if best[row][column] == best[row - 1][column]:
            row -= 1
        elif best[row][column] == best[row][column - 1]:
            column -= 1
        else:
            row, column = row - 1, column - 1
            pairs.append((ours[row], theirs[column]))
    return pairs[::-1]


def _clock_difference_s(new: Line, line: Line) -> float:
    """How much later the new line has the words that both have."""
    pairs = same_words(_within(new.words, line, CLOCK_SLACK_S), _within(line.words, new, CLOCK_SLACK_S))
    return median(a.middle_s - b.middle_s for a, b in pairs) if pairs else 0.0


def _is_same(one: HeardWord, other: HeardWord) -> bool:
    if not one.text or abs(one.middle_s - other.middle_s) > CLOCK_SLACK_S:
        return False
    if one.text == other.text:
        return True
    shorter, longer = sorted((len(one.text), len(other.text)))
    if shorter < 4 or longer > 2 * shorter:
        return False
    return SequenceMatcher(None, one.text, other.text, autojunk=False).ratio() >= ALIKE


def _within(words: Sequence[HeardWord], line: Line, slack_s: float) -> list[HeardWord]:
    return [word for word in words if line.started_s - slack_s <= word.middle_s <= line.ended_s + slack_s]


def shares_of(new: Line, twins: Sequence[Line]) -> list[Part]:
    """Deal the words of a new line to its twins, in order of time: utterances may be cut differently on two streams.

    Words outside all twins are parts of their own, joined to a part beside them that takes its twin's place.
    """
    ordered = sorted(twins, key=lambda line: (line.started_s, line.key))
    later_s = {line.key: _clock_difference_s(new, line) for line in ordered}
    owners = [_twin_of(word, ordered, later_s) for word in new.words]
    parts: list[Part] = []
    for place, owner in enumerate(owners):
        if parts and parts[-1].twin == (owner.key if owner else None):
            parts[-1] = Part(parts[-1].first, place + 1, parts[-1].twin, parts[-1].louder)
        else:
            parts.append(Part(place, place + 1, owner.key if owner else None, _is_louder(new, owner)))
    return _joined(parts)


def _twin_of(word: HeardWord, twins: Sequence[Line], later_s: dict[str, float]) -> Line | None:
    def away_s(line: Line) -> float:
        at_s = word.middle_s - later_s[line.key]
        return max(line.started_s - at_s, at_s - line.ended_s, 0.0)

    nearest = min(twins, key=away_s)
    return nearest if away_s(nearest) <= EDGE_S else None


def _is_louder(new: Line, twin: Line | None) -> bool:
    if twin is None or twin.settled or UNKNOWN_DBFS in (new.level_dbfs, twin.level_dbfs):
        return False
    return new.level_dbfs > twin.level_dbfs


def _joined(parts: Sequence[Part]) -> list[Part]:
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else None
        if last and part.twin is None and last.louder:
            joined[-1] = Part(last.first, part.last, last.twin, True)
        elif last and last.twin is None and part.louder:
            joined[-1] = Part(last.first, part.last, part.twin, True)
        elif last and last.twin is not None and last.twin == part.twin:
            joined[-1] = Part(last.first, part.last, last.twin, last.louder)
        else:
            joined.append(part)
    return _each_twin_once(joined)


def _each_twin_once(parts: Sequence[Part]) -> list[Part]:
    """Lines that overlap each other may be dealt two runs of words: the longer takes the place, the other stands alone
    rather than being lost."""
    longest: dict[str, Part] = {}
    for part in parts:
        if part.twin is not None and part.last - part.first > _length(longest.get(part.twin)):
            longest[part.twin] = part
    return [p if not p.louder or longest[p.twin or ""] is p else Part(p.first, p.last) for p in parts]


def _length(part: Part | None) -> int:
    return part.last - part.first if part else 0


def left_over(line: Line, new: Line) -> tuple[int, int]:
    """How much of a line that another takes the place of lies outside the other's time: so many words at its
    beginning, and the place of the first of those at its end. They were heard by nobody else, and stay."""
    later_s = _clock_difference_s(new, line)
    before = sum(1 for word in line.words if word.middle_s < new.started_s - later_s - EDGE_S)
    after = sum(1 for word in line.words if word.middle_s > new.ended_s - later_s + EDGE_S)
    return before, len(line.words) - after


def agree(one: Sequence[float], other: Sequence[float], threshold: float) -> bool:
    """Whether two unit vectors of one model are the same voice, as far as the threshold says."""
    if len(one) != len(other):
        return False
    cosine = math.fsum(a * b for a, b in zip(one, other, strict=True))
    return math.isfinite(cosine) and cosine >= threshold
