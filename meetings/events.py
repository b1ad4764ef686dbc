"""The live messages that the server sends, typed. `docs/live-protocol.md` says when each comes.

Events that carry `rev` are persisted changes: upserts by `id`. `publish.py` is the only sender of what everyone gets.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(slots=True)
class Event:
    """Base: `to_dict` leaves out fields that are None."""

    type: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        values = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return {"type": self.type, **values}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False, separators=(",", ":"))


@dataclass(slots=True)
class CaptionFinal(Event):
    type = "caption.final"
    id: str
    rev: int
    stream: str | None
    first_sample: int
    last_sample: int
    started_at: str
    ended_at: str
    text: str
    language: str
    speaker: dict | None
    text_en: str | None = None
    words: list | None = None
    timings_ms: dict | None = None


@dataclass(slots=True)
class CaptionInterim(Event):
    """What is understood so far of someone who still speaks; empty text takes it back. May be lost, carries no rev."""

    type = "caption.interim"
    stream: str
    text: str
    stable: int
    """How many leading characters will not change before the final."""
    started_at: str
    speaker: dict | None = None


@dataclass(slots=True)
class CaptionGap(Event):
    type = "caption.gap"
    id: str
    rev: int
    stream: str | None
    first_sample: int
    last_sample: int
    started_at: str
    ended_at: str
    reason: str


@dataclass(slots=True)
class SpeakerUpdated(Event):
    type = "speaker.updated"
    rev: int
    speaker: dict
    merged_from: int | None = None


@dataclass(slots=True)
class FrameQueued(Event):
    type = "frame.queued"
    id: str
    position: int | None = None
    eta_s: float | None = None
    by: int | None = None
    """The participant who asked for it; None where the clock did."""


@dataclass(slots=True)
class FrameStarted(Event):
    type = "frame.started"
    id: str
    position: int | None = None
    eta_s: float | None = None
    by: int | None = None
    because: str | None = None
    """Why it is begun once more, as a code, with its `message`: `blocked_picture`."""
    message: str | None = None


@dataclass(slots=True)
class FrameProgress(Event):
    type = "frame.progress"
    id: str
    step: int
    steps: int
    preview: str | None = None


@dataclass(slots=True)
class FrameReady(Event):
    type = "frame.ready"
    id: str
    rev: int
    url: str
    thumb_url: str
    width: int
    height: int
    alt: str
    alts: dict
    prompt: str
    prompt_local: str
    why: list
    quotes: list
    speakers: list
    references: list
    engine: dict
    seed: int
    timings_ms: dict
    ready_at: str
    styles: list = field(default_factory=list)
    compromises: list = field(default_factory=list)
    """What was given up for it, as codes."""


@dataclass(slots=True)
class FrameFailed(Event):
    type = "frame.failed"
    id: str
    reason: str
    message: str


@dataclass(slots=True)
class FrameSkipped(Event):
    type = "frame.skipped"
    id: str
    reason: str
    message: str


@dataclass(slots=True)
class FrameUpdated(Event):
    type = "frame.updated"
    id: str
    rev: int
    rating: dict
    hidden: bool = False


@dataclass(slots=True)
class MeetingUpdated(Event):
    type = "meeting.updated"
    rev: int
    meeting: dict


@dataclass(slots=True)
class Presence(Event):
    type = "presence"
    people: list


@dataclass(slots=True)
class Status(Event):
    type = "status"
    engines: dict
    queue: dict
    lag_s: float
    next_in_s: float | None = None
    notice: dict | None = None
    models: dict | None = None
    """`offers`: models that could be fetched; `fetching`: how far that is, or None."""
