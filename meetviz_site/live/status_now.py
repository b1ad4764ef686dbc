"""The status of a meeting, with what only the process that hears it knows: who waits for words, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from meetings.audio.hearing import lag_now
from meetings.events import Status
from meetings.models import Meeting
from meetviz_site.status import status_of

NO_WORDS = {
    "code": "no_words",
    "message": "Somebody has spoken for 20 s and no words came of it: check the microphone, the language of the meeting"
    " and the speech engine.",
}


@dataclass(frozen=True, slots=True)
class Hearing:
    """How this process hears one meeting at the moment."""

    waits_s: tuple[float, ...] = ()
    """For each stream the time since its oldest utterance without an outcome was spoken."""
    wordless: bool = False
    """Somebody has spoken for long and no word came of it."""


def live_status(meeting: Meeting, hearing: Hearing) -> Status:
    status = status_of(meeting)
    status.lag_s = round(lag_now(hearing.waits_s, status.lag_s), 2)
    if hearing.wordless and status.notice is None:
        status.notice = NO_WORDS
    return status
