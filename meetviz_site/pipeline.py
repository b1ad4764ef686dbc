"""The life of a sentence, from top to bottom: the tasks of the `core` queue.

    browser --audio--> live/consumer.py --SpeechRequest--> [speech host] --SpeechResult--> heard()
    heard() --> look() --> paint_next() --PaintRequest--> [paint host] --PaintResult--> painted() --> every browser

Each task is an edge: unpack, call the room that knows, say what follows. Everything that must last is written here,
on the web side, in one transaction per result; a result that arrives twice changes nothing.
"""

from __future__ import annotations

import logging
import time
import uuid

from celery import current_app, shared_task
from django.db import InterfaceError, OperationalError

from generation import dispatch
from generation.outcomes import frame_failed, frame_improved, frame_painted, frame_progress, frames_end_with_meetings
from meetings.lines import held_settle, utterance_store
from meetings.merging import meetings_to_tidy, voices_tidy
from meetings.publish import signal
from meetings.services import english_store
from meetviz_site import clock, status  # noqa: F401  (clock listens to the worker's signals)
from meetviz_site.cancelling import TASK_PAINT_NEXT, tell_hosts
from speakers.enrolment import enrolment_finish
from workers.faults import watch_tasks
from workers.messages import (
    QUEUE_PAINT,
    TASK_EMBEDDED,
    TASK_ENGLISH_HEARD,
    TASK_HEARD,
    TASK_HEARTBEAT,
    TASK_INTERIM_HEARD,
    TASK_PAINT,
    TASK_PAINT_PROGRESS,
    TASK_PAINTED,
    EmbedResult,
    EnglishResult,
    Heartbeat,
    InterimResult,
    PaintProgress,
    PaintRequest,
    PaintResult,
    SpeechResult,
)

log = logging.getLogger("meetviz.pipeline")
watch_tasks()

# A database that is away for a moment costs time, not words: the result is kept and tried again.
RETRY = {
    "autoretry_for": (OperationalError, InterfaceError),
    "retry_backoff": 1,
    "retry_backoff_max": 10,
    "retry_jitter": False,
    "max_retries": 30,
}

TASK_LOOK = "pipeline.look"
TASK_TIDY_VOICES = "pipeline.tidy_voices"


@shared_task(name=TASK_INTERIM_HEARD)
def interim_heard(wire: dict) -> None:
    """0. Someone still speaks: what is understood so far goes to the web process that hears them, which knows whether
    it is still news."""
    result = InterimResult.from_wire(wire)
    signal(result.meeting, "interim", **result.to_wire())


@shared_task(name=TASK_HEARD, **RETRY)
def heard(wire: dict) -> None:
    """1. A speech host wrote down what was said: store it under the speaker's name, show it to everyone."""
    result = SpeechResult.from_wire(wire)
    utterance = utterance_store(result)
    log.info(
        "heard utterance=%s words=%d lag_ms=%d",
        result.id,
        len(utterance.text.split()) if utterance else 0,
        (time.time() - result.ended_at) * 1000,
    )
    if utterance is not None:
        look()


@shared_task(name=TASK_ENGLISH_HEARD, **RETRY)
def english_heard(wire: dict) -> None:
    """1b. The same in English, for prompts: a little later, when no final waits."""
    english_store(EnglishResult.from_wire(wire))


@shared_task(name=TASK_TIDY_VOICES)
def tidy_voices() -> None:
    """1c. Guests who turned out to be one voice, lines that are clear by now: asked every few seconds by the clock."""
    for meeting_id in meetings_to_tidy():
        changes = voices_tidy(meeting_id)
        if changes:
            log.info("voices tidied meeting=%d changes=%d", meeting_id, changes)


@shared_task(name=TASK_LOOK)
def look() -> None:
    """2. Is it time for a picture somewhere? Asked after every utterance and twice a second by the clock."""
    held_settle()
    dispatch.wish_where_due()
    tell_hosts(frames_end_with_meetings())
    lost = dispatch.expired_leases(hosts_answer=status.a_painter_answers())
    for request in lost.again:
        _send_to_painter(request)
    tell_hosts(lost.given_up)
    paint_next()


@shared_task(name=TASK_PAINT_NEXT)
def paint_next() -> None:
    """3. Give free painters the meetings whose turn it is; the prompt is written at this moment."""
    while (request := dispatch.next_request(painters=status.painters_alive())) is not None:
        _send_to_painter(request)


def _send_to_painter(request: PaintRequest) -> None:
    current_app.send_task(TASK_PAINT, args=[request.to_wire()], queue=QUEUE_PAINT)


@shared_task(name=TASK_PAINT_PROGRESS)
def paint_progress(wire: dict) -> None:
    """4. The painter took a step."""
    frame_progress(PaintProgress.from_wire(wire))


@shared_task(name=TASK_PAINTED, **RETRY)
def painted(wire: dict) -> None:
    """5. A picture (or why there is none): store it, show it to everyone, and let the next meeting have its turn."""
    result = PaintResult.from_wire(wire)
    if result.finished:
        frame_improved(result)
        return
    if result.error:
        _not_painted(result)
    else:
        frame = frame_painted(result)
        log.info("painted frame=%s total_ms=%s", result.id, frame.timings_ms.get("total") if frame else None)
        if frame and frame.attempt > 1:
            tell_hosts([frame.pk])  # another painter may still be at it
    paint_next()


def _not_painted(result: PaintResult) -> None:
    log.info("not painted frame=%s error=%s", result.id, result.error)
    if result.error == "cancelled":
        return  # whoever cancelled it has said so
    if result.error == dispatch.BLOCKED:
        request = dispatch.repaint_neutrally(uuid.UUID(result.id))
        if request is not None:
            _send_to_painter(request)
        return
    frame_failed(uuid.UUID(result.id), result.error)


@shared_task(name=TASK_EMBEDDED, **RETRY)
def embedded(wire: dict) -> None:
    """The voice of someone who enrolled."""
    enrolment_finish(EmbedResult.from_wire(wire))


@shared_task(name=TASK_HEARTBEAT)
def heartbeat(wire: dict) -> None:
    """A host is alive, with these engines."""
    status.host_seen(Heartbeat.from_wire(wire))
