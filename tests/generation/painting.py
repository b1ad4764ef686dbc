"""A frame in whatever state a test needs it."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from generation import dispatch
from generation.models import Frame
from generation.outcomes import frame_painted
from generation.services import frame_wish
from meetings.models import Meeting
from tests import factories as make
from workers.messages import PaintRequest


def asked(meeting: Meeting | None = None, text: str = make.GARDEN) -> PaintRequest:
    """A picture that a painter is at."""
    meeting = meeting or make.meeting()
    make.utterance(meeting, text)
    frame_wish(meeting, forced=True)
    request = dispatch.next_request(painters=9)
    assert request is not None
    return request


def ready(meeting: Meeting | None = None, **result: object) -> Frame:
    frame = frame_painted(make.paint_result(asked(meeting), **result))
    assert frame is not None
    return frame


def files_of(frame: Frame) -> list[Path]:
    folder = Path(settings.MEDIA_ROOT) / "meetings" / frame.meeting.slug / "frames"
    return sorted(folder.iterdir()) if folder.exists() else []
