"""The plain values of the composer: what goes in and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from workers.messages import Scene


@dataclass(frozen=True, slots=True)
class Line:
    """One utterance as the composer sees it."""

    utterance: str
    """UUID."""
    text: str
    language: str
    speaker: str
    ended_at: float
    """Unix seconds."""
    duration_s: float
    text_en: str = ""
    """The same in English, by the speech engine; empty where it did not say (yet)."""


@dataclass(frozen=True, slots=True)
class Style:
    """A speaker's preset, one version of it."""

    speaker: str
    name: str
    """Of the preset."""
    colour: str
    """The speaker's, `#rrggbb`."""
    palette: tuple[str, ...] = ()
    """Inks as `#rrggbb`, the most important first."""
    style_words: str = ""
    """Phrases separated by commas: `screen print, paper grain`."""
    negative_words: str = ""
    strength: float = 1.0
    """0–1: how much of the speaker's share the preset takes."""
    muted: tuple[str, ...] = ()
    """Topics that must not be painted: words in either language, or a group of the lexicon (`animal`)."""
    version: int = 1


@dataclass(slots=True)
class Brief:
    """What the next picture is to be, and why."""

    scene: Scene
    prompt: str
    """English."""
    prompt_local: str
    """In the meeting's language."""
    negative: str
    alt: dict[str, str]
    """One sentence for those who cannot see the picture, by language code: `en`, `ru`."""
    why: list[str]
    """UUIDs of the utterances that the things came from, newest first."""
    style_shares: list[dict[str, Any]]
    """`{speaker, preset, version, share}`, heaviest first; the shares add up to 1."""
    signature: frozenset[str] = field(default_factory=frozenset)
    """The main things, to compare two scenes by (`director.topic_turned`)."""
    blocked: frozenset[str] = frozenset()
    """Categories of what was left out as never to be painted (`generation.safety`)."""
    neutral: bool = False
    """A place and a mood without things, in place of a scene that may not be painted."""
