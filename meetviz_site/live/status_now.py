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

FOREIGN = (
    "Somebody speaks a language that the speech engine does not know (it knows: %s): it is left out. Fetch the real"
    " engines, or start the meeting with its language set."
)


@dataclass(frozen=True, slots=True)
class Hearing:
    """How this process hears one meeting at the moment."""

    waits_s: tuple[float, ...] = ()
    """For each stream the time since its oldest utterance without an outcome was spoken."""
    wordless: bool = False
    """Somebody has spoken for long and no word came of it."""
    foreign: bool = False
    """Somebody speaks a language that the engine does not know."""


def live_status(meeting: Meeting, hearing: Hearing) -> Status:
    status = status_of(meeting)
    status.lag_s = round(lag_now(hearing.waits_s, status.lag_s), 2)
    if hearing.foreign and status.notice is None:
        speech = status.engines.get("speech") or {}
        status.notice = {"code": "language_unsupported", "message": FOREIGN % ", ".join(speech.get("languages") or [])}
    if hearing.wordless and status.notice is None:
        status.notice = NO_WORDS
    return status
