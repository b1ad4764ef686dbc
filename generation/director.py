"""When to paint: a pure decision over plain values, asked again after every utterance, press and tick.

Nothing here waits or remembers. `decide` says what to do now; `next_due_at` when to ask again, and what the room shows
as "next in about 8 s".
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass

from generation.lexicon import lexicon

MIN_GAP_S = 5.0
"""Pictures never begin closer together than this, not even when the topic turns."""
SHORTEST_INTERVAL_S = 10.0
LONGEST_INTERVAL_S = 20.0
DEFAULT_INTERVAL_S = 12.0
FIRST_WORDS = 6
"""The first picture comes as soon as so many words were heard, …"""
FIRST_PATIENCE_S = 4.0
"""… or after so much silence behind fewer of them."""
TURN_OVERLAP = 0.25
"""Share of the new scene's main things that may be of the old one's world while the topic still counts as turned."""
TURN_THINGS = 2
"""New things that make a turn: a single odd word is a recogniser's slip more often than a new topic."""


class Decision(enum.Enum):
    PAINT = "paint"
    SUGGEST = "suggest"
    """Due in a meeting that only suggests: show the prompt, paint at a press."""
    WAIT = "wait"
    """Something new was said; not yet time (`next_due_at` says when)."""
    NOTHING_NEW = "nothing_new"
    IN_FLIGHT = "in_flight"
    """A picture is on its way: ask again when it is there."""
    OFF = "off"
    """Paused or only on demand, and nobody asks."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What the decision depends on. Times are Unix seconds."""

    mode: str
    """`auto`, `suggest` or `manual`."""
    paused: bool
    interval_s: float
    now: float
    last_painted_at: float | None
    """When the last picture was begun; None before the first."""
    last_heard_at: float | None
    """When the last utterance ended; None when nothing was heard."""
    heard_since_painted: int
    """Words heard since the last picture was begun."""
    in_flight: bool
    requested: bool
    """Somebody pressed Paint now and has no picture yet."""
    topic_turned: bool


def decide(situation: Situation) -> Decision:
    """Say what to do now."""
    if situation.in_flight:
        return Decision.IN_FLIGHT
    if situation.requested:
        return Decision.PAINT
    if situation.paused or situation.mode not in ("auto", "suggest"):
        return Decision.OFF
    due_at = next_due_at(situation)
    if due_at is None:
        return Decision.NOTHING_NEW
    if situation.now < due_at:
        return Decision.WAIT
    return Decision.SUGGEST if situation.mode == "suggest" else Decision.PAINT


def next_due_at(situation: Situation) -> float | None:
    """When the next picture is due by itself (may be in the past), or None when nothing would bring one.

    A picture in flight does not change the answer: it says when the one after it may begin.
    """
    if situation.requested:
        return situation.now
    if situation.paused or situation.mode not in ("auto", "suggest"):
        return None
    if situation.heard_since_painted <= 0 or situation.last_heard_at is None:
        return None
    if situation.last_painted_at is None:
        if situation.heard_since_painted >= FIRST_WORDS:
            return situation.last_heard_at
        return situation.last_heard_at + FIRST_PATIENCE_S
    if situation.topic_turned:
        return max(situation.last_painted_at + MIN_GAP_S, situation.last_heard_at)
    return situation.last_painted_at + interval(situation.interval_s)


def interval(asked_s: float) -> float:
    """The interval within its bounds, seconds; the default for what is not a positive number."""
    if not asked_s > 0:
        return DEFAULT_INTERVAL_S
    return min(LONGEST_INTERVAL_S, max(SHORTEST_INTERVAL_S, asked_s))


def topic_turned(before: Collection[str], after: Collection[str]) -> bool:
    """Whether the talk went elsewhere: `before` and `after` are signatures of the painted and of the present scene."""
    old, new = set(before), set(after)
    if not old or not new:
        return False
    worlds = {_world(key) for key in old}
    elsewhere = {key for key in new - old if _world(key) not in worlds}
    return len(elsewhere) >= TURN_THINGS and len(new) - len(elsewhere) <= TURN_OVERLAP * len(new)


def _world(key: str) -> str:
    """Flowers after a bridge are the same garden; a word that no table knows is a world of its own."""
    lex = lexicon()
    thing = lex.things.get(key)
    return lex.worlds.get(thing.group, key) if thing else key
