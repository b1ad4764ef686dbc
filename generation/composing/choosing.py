"""Which of the things that were named go into the picture, and which of them is its subject.

One rule for all weights: what was said last counts most. A thing's weight is the sum over its mentions of
kind * evidence * talk * 0.5 ** (age / half-life), the loudest mention in full and the rest at a third, so that a word
said thirty times does not drown the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from generation.composing.found import Found
from generation.composing.kinds import Line
from generation.composing.phrases import Mention, mentions_in
from generation.composing.words import Word, words_of
from generation.lexicon import lexicon

MOST_THINGS = 6
MOST_WORDS = 1_500
"""Words of the window that are read, the newest first: an hour-long monologue costs no more than this."""
MOMENT_S = 12.0
"""Longer utterances are cut into moments of this length; within a moment what was said first is the subject."""
FOCUS_S = 20.0
"""The newest moment: what was said in the last so many seconds of talk."""
LONGEST_FOCUS_S = 45.0
SUBJECT_HALF_LIFE_S = 8.0
TOGETHER_S = 3.0
"""What was said within so many seconds of the subject belongs to the same sentence, or nearly."""
REPEAT_SHARE = 1 / 3
LONELY = 0.6
"""Factor for a thing named once that fits nothing else: a recogniser's slip more often than a new topic."""
FAINT = 0.1
"""Things below this share of the heaviest one are left out."""
PLACE = 0.7
"""Factor for a subject that was named only behind a preposition."""
OLD_NEWS = 0.2
"""Factor for a thing of the picture before, named while talking about the picture itself."""


@dataclass(slots=True)
class Candidate:
    """A thing with all its mentions, newest first."""

    found: Found
    """The newest phrase for it, or the richest of the newest moment."""
    mentions: list[Mention] = field(default_factory=list)
    moments: set[float] = field(default_factory=set)
    weight: float = 0.0
    loudest: float = 0.0
    newest_at: float = 0.0
    order: tuple[float, float] = (0.0, 0.0)
    subject_weight: float = 0.0
    focused: bool = False


@dataclass(slots=True)
class Choice:
    things: list[Candidate]
    """The subject first, then newest first."""
    phrases: list[Found]
    """The key phrases of the newest moment, newest first."""
    words: list[tuple[Word, float]]
    """Every word with its age weight: for mood and time of day."""


def kind_weight(found: Found) -> float:
    """How well it can be seen: a bridge 1, people 0.5, a launch 0.6, a date 0.25, an abstract word 0.2."""
    if found.thing:
        if found.thing.group == "people":
            return 0.45 if "t" in found.thing.flags else 0.75
        return 0.5 if "t" in found.thing.flags else 0.85 if "l" in found.thing.flags else 1.0
    if found.metaphor:
        return {"": 0.6, "w": 0.35, "d": 0.25}[found.metaphor.flag]
    return 0.2


def choose(
    lines: Sequence[Line],
    *,
    window_s: float,
    since: float | None,
    shares: dict[str, float],
    muted: Sequence[Sequence[frozenset[str]]],
    names: frozenset[str],
    previous_keys: frozenset[str],
) -> Choice:
    """Choose from lines in order of time; `shares` is talk time by speaker, 0-1, `names` are never painted."""
    half_life_s = min(45.0, max(15.0, window_s / 8))
    spoken: list[tuple[Line, list[Word]]] = []
    left = MOST_WORDS
    for line in reversed(lines):
        if left <= 0:
            break
        words = words_of(line.text, limit=left)
        left -= len(words) + 1
        spoken.append((line, words))
    if not spoken:
        return Choice([], [], [])
    newest_end = spoken[0][0].ended_at
    candidates: dict[str, Candidate] = {}
    weighed: list[tuple[Word, float]] = []
    heard: list[tuple[float, Mention]] = []
    for number, (line, words) in enumerate(spoken):
        age = newest_end - line.ended_at
        read_share = min(1.0, len(words) / max(1, len(line.text.split())))
        weighed.extend((word, 0.5 ** (age / half_life_s)) for word in words)
        for mention in mentions_in(words, number):
            if is_muted(mention.found, muted) or (mention.found.lemmas & names and not mention.found.thing):
                continue
            heard.append((_moment_end(line, 1 - read_share * (1 - mention.progress)), mention))
    if not heard:
        return Choice([], [], weighed)

    newest_at = max(at for at, mention in heard)
    focus_from = newest_at - FOCUS_S
    if since is not None and since < newest_at:
        focus_from = max(since, newest_at - LONGEST_FOCUS_S)
    for at, mention in heard:
        line = spoken[mention.line][0]
        weight = kind_weight(mention.found) * mention.found.evidence * (0.75 + 0.5 * shares.get(line.speaker, 0.0))
        if mention.about_picture:
            weight *= OLD_NEWS if mention.found.key in previous_keys else 0.7
        _add(candidates, mention, at, weight, newest_at - at, half_life_s, focused=at > focus_from or at == newest_at)
    _discount_the_lonely(candidates)
    fresh = [(at, mention) for at, mention in heard if at > focus_from or at == newest_at]
    return Choice(_pick(candidates), _phrases(fresh), weighed)


def is_muted(found: Found, muted: Sequence[Sequence[frozenset[str]]]) -> bool:
    return any(all(found.lemmas & same for same in topic) for topic in muted)


def _moment_end(line: Line, progress: float) -> float:
    """When the moment of the utterance in which the word fell was over, Unix seconds."""
    if line.duration_s <= MOMENT_S:
        return line.ended_at
    moments = int(line.duration_s // MOMENT_S) + 1
    moment = min(moments, int(progress * moments) + 1)
    return line.ended_at - line.duration_s * (1 - moment / moments)


def _add(
    candidates: dict[str, Candidate],
    mention: Mention,
    at: float,
    weight: float,
    age_s: float,
    half_life_s: float,
    *,
    focused: bool,
) -> None:
    found = mention.found
    candidate = candidates.get(found.key)
    if candidate is None:
        candidate = candidates[found.key] = Candidate(found, newest_at=at, order=(-at, mention.progress))
    elif at == candidate.newest_at and len(found.qualities) > len(candidate.found.qualities):
        candidate.found = found
    heavy = weight * 0.5 ** (age_s / half_life_s)
    candidate.mentions.append(mention)
    candidate.moments.add(at)
    loud, quiet = max(heavy, candidate.loudest), min(heavy, candidate.loudest)
    candidate.weight = min(2.0, candidate.weight - candidate.loudest + loud + quiet * REPEAT_SHARE)
    candidate.loudest = loud
    # Twice in one breath ("sales growth, sales") is one mention.
    repeats = min(len(candidate.moments) - 1, 2)
    if found.governed:
        # "lanterns in the trees": where something is comes second.
        weight *= PLACE
    candidate.subject_weight = max(
        candidate.subject_weight, weight * 0.5 ** (age_s / SUBJECT_HALF_LIFE_S) * (1 + 0.25 * repeats)
    )
    candidate.focused = candidate.focused or focused


def _discount_the_lonely(candidates: dict[str, Candidate]) -> None:
    related = lexicon().related
    groups = [candidate.found.group for candidate in candidates.values() if candidate.found.group]
    if len(groups) < 3:
        return
    for candidate in candidates.values():
        group = candidate.found.group
        if not group or len(candidate.mentions) > 1:
            continue
        company = sum(1 for other in groups if other in related[group]) - 1
        if company == 0:
            candidate.weight *= LONELY
            candidate.subject_weight *= LONELY


def _pick(candidates: dict[str, Candidate]) -> list[Candidate]:
    focused = [c for c in candidates.values() if c.focused]
    painted = [c for c in focused if c.found.english]
    everything = [c for c in candidates.values() if c.found.english]
    # Nothing visible in the newest moment: what was visible before stays, unless nothing ever was.
    pool = painted or everything or focused
    subject = max(pool, key=lambda c: (c.subject_weight, -c.order[0], -c.order[1]))
    worlds = {_world(c) for c in painted if c.found.thing} - {""} or {_world(subject)}
    solid = sum(1 for c in pool if c.found.thing and c.found.group != "people")
    chosen = []
    for candidate in candidates.values():
        if candidate is subject or candidate.weight < subject.weight * FAINT:
            continue
        found = candidate.found
        if subject.found.english and not found.english:
            continue
        recent = candidate.newest_at >= subject.newest_at - TOGETHER_S
        if found.metaphor and (solid >= 3 or (solid == 2 and (found.metaphor.flag or not recent))):
            continue
        if solid >= 3 and found.group == "people" and found.thing and "t" in found.thing.flags:
            # The topic, not the people who are in every sentence.
            continue
        if not candidate.focused and _world(candidate) not in worlds:
            # Said earlier and of another world: the talk has moved on.
            continue
        chosen.append(candidate)
    # What was said with the subject comes before what is left from earlier, however heavy that is.
    chosen.sort(key=lambda c: (c.newest_at < subject.newest_at - TOGETHER_S, -c.weight))
    chosen = chosen[: MOST_THINGS - 1]
    chosen.sort(key=lambda c: c.order)
    return [subject, *chosen]


def _world(candidate: Candidate) -> str:
    return lexicon().worlds.get(candidate.found.group, "")


def _phrases(heard: Sequence[tuple[float, Mention]]) -> list[Found]:
    """Key phrases for type, newest moment first, each thing once."""
    found: dict[str, Found] = {}
    for _at, mention in sorted(heard, key=lambda item: (-item[0], item[1].progress)):
        found.setdefault(mention.found.label, mention.found)
    return list(found.values())
