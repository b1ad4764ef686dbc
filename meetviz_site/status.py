"""What the room says about its machinery: engines at work, pictures in line, how far hearing is behind."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from generation import director, dispatch, leases
from meetings.events import Status
from meetings.models import Meeting, Utterance
from meetviz_site.fetching import models_of
from meetviz_site.models import Host
from workers.messages import QUEUE_PAINT, QUEUE_SPEECH, Heartbeat

ALIVE_FOR = timedelta(seconds=20)
# What of an engine people are told.
TOLD = ("name", "model", "device", "demo", "languages")
LAG_IS_NEWS_FOR = timedelta(seconds=30)


def host_seen(beat: Heartbeat) -> None:
    Host.objects.update_or_create(
        queue=beat.queue,
        name=beat.host,
        defaults={
            "engines": beat.engines,
            "version": beat.version,
            "offers": [offer.to_wire() for offer in beat.offers],
            "fetching": beat.fetching.to_wire() if beat.fetching else None,
            "installed": beat.installed,
            "seen_at": timezone.now(),
        },
    )
    Host.objects.filter(seen_at__lt=timezone.now() - timedelta(hours=1)).delete()


def painters_alive() -> int:
    """How many painters answer; at least one, so that work waits for a painter that is about to come."""
    return max(1, Host.objects.filter(queue=QUEUE_PAINT, seen_at__gt=timezone.now() - ALIVE_FOR).count())


def a_painter_answers() -> bool:
    """Whether any paint host was heard of lately."""
    return Host.objects.filter(queue=QUEUE_PAINT, seen_at__gt=timezone.now() - ALIVE_FOR).exists()


def hosts_alive() -> list[Host]:
    return list(Host.objects.filter(seen_at__gt=timezone.now() - ALIVE_FOR))


def status_of(meeting: Meeting) -> Status:
    hosts = hosts_alive()
    engines: dict[str, Any] = {"speech": None, "voice": None, "paint": None}
    replaced: list[tuple[str, str, str]] = []
    for host in hosts:
        for role, facts in host.engines.items():
            if facts.get("instead_of"):
                replaced.append((role, facts["instead_of"], facts["name"]))
            engines[role] = {key: facts.get(key) for key in TOLD}
    queues = {host.queue for host in hosts}
    lately = timezone.now() - LAG_IS_NEWS_FOR
    last_heard = meeting.utterances.filter(kind=Utterance.Kind.WORDS, heard_at__gt=lately).order_by("-heard_at").first()
    lag_s = (last_heard.heard_at - last_heard.ended_at).total_seconds() if last_heard else 0.0
    waiting = dispatch.waiting_count()
    return Status(
        engines=engines,
        queue={"waiting": waiting, "eta_s": round(waiting * leases.typical_picture_s(), 1)},
        lag_s=round(max(0.0, lag_s), 2),
        next_in_s=_next_in_s(meeting),
        notice=_notice(meeting, queues, engines, replaced),
        models=models_of(hosts),
    )


def _next_in_s(meeting: Meeting) -> float | None:
    """Seconds until the next picture if something new is said by then; None where only a press paints."""
    if meeting.paused or meeting.ended_at or meeting.mode != Meeting.Mode.AUTO:
        return None
    now = timezone.now().timestamp()
    due = director.next_due_at(dispatch.situation_of(meeting, now))
    return None if due is None else round(max(0.0, due - now), 1)


def _notice(
    meeting: Meeting, queues: set[str], engines: dict[str, Any], replaced: list[tuple[str, str, str]]
) -> dict[str, str] | None:
    """What does not work and what to do about it, as a code: the page has the words in the viewer's language."""
    if QUEUE_SPEECH not in queues:
        return {"code": "no_speech_host", "message": "Nothing is listening: start a speech worker (celery -Q speech)."}
    if QUEUE_PAINT not in queues:
        return {"code": "no_paint_host", "message": "Nothing is painting: start a worker (celery -Q paint -P solo)."}
    for role, model, stand_in in sorted(replaced, key=lambda one: one[0] == "paint"):
        message = f"The model {model} does not work on its host, so {stand_in} stands in: run manage.py models verify."
        return {"code": "painter_model_failed" if role == "paint" else "model_failed", "message": message}
    speech = engines.get("speech") or {}
    languages = speech.get("languages") or []
    if meeting.language != "auto" and languages and meeting.language not in languages:
        return {
            "code": "language_unsupported",
            "message": f"The speech engine {speech.get('name')} does not understand {meeting.get_language_display()}.",
        }
    return None
