"""The composer's view of a meeting: what was said and whose styles, out of the database, into `prompting.compose`."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Sequence
from typing import Any

from django.conf import settings

from generation import safety
from generation.models import Frame
from generation.prompting import Brief, Line, Style, compose
from meetings.models import Meeting, Utterance
from speakers.models import StylePreset
from workers.messages import Scene

log = logging.getLogger("meetviz.dispatch")


def brief_of(
    meeting: Meeting, utterances: Sequence[Utterance], last: Frame | None, *, hint: str = "", neutral: bool = False
) -> Brief | None:
    """What to paint from these utterances; None when there is nothing in them. `last`: the picture on the wall."""
    lines = [
        Line(
            utterance=str(u.pk),
            text=u.text,
            language=u.language,
            speaker=str(u.speaker_id or ""),
            ended_at=u.ended_at.timestamp(),
            duration_s=(u.ended_at - u.started_at).total_seconds(),
            text_en=u.text_en,
        )
        for u in utterances
    ]
    language = meeting.language if meeting.language != "auto" else (utterances[-1].language if utterances else "en")
    brief = compose(
        lines,
        _styles(meeting, utterances),
        now=time.time(),
        window_s=meeting.context_minutes * 60.0,
        language=language,
        previous=Scene.from_wire(last.scene) if last and last.scene else None,
        number=meeting.frames.filter(state=Frame.State.READY).count(),
        hint=hint,
        since=last.claimed_at.timestamp() if last and last.claimed_at else None,
        neutral=neutral,
        rules=_rules(settings.BLOCKED_WORDS_FILE),
    )
    if brief and last:
        brief.scene.previous_layout = last.settings.get("layout", "")
    return brief


@functools.cache
def _rules(more: str) -> safety.Rules:
    """The lists of what is never painted; a site whose own list is broken still paints, by the built-in one."""
    try:
        return safety.rules(more)
    except safety.BadList as error:
        log.error("MEETVIZ_BLOCKED_WORDS: %s", error)
        return safety.rules()


def signature_of(scene: Scene) -> frozenset[str]:
    """The things of a painted scene, to compare with `Brief.signature`."""
    return frozenset(thing.english or thing.label for thing in scene.things)


def _styles(meeting: Meeting, utterances: Sequence[Utterance]) -> dict[str, Style]:
    """Each speaker's preset, or the room's over all."""
    presets = {
        p.pk: p for p in StylePreset.objects.filter(speakers__in={u.speaker_id for u in utterances if u.speaker_id})
    }
    styles = {}
    for speaker in {u.speaker_id: u.speaker for u in utterances if u.speaker}.values():
        preset = meeting.preset or presets.get(speaker.preset_id)
        styles[str(speaker.pk)] = Style(
            speaker=str(speaker.pk),
            name=preset.name if preset else "",
            colour=speaker.colour,
            palette=_texts(preset.palette) if preset else (),
            style_words=preset.style_words if preset else "",
            negative_words=preset.negative_words if preset else "",
            strength=preset.strength if preset else 0.0,
            muted=_texts(preset.muted_topics) if preset else (),
            version=preset.version if preset else 0,
        )
    return styles


def _texts(values: Any) -> tuple[str, ...]:
    """The texts of a JSON field, whatever else got into it: one odd preset must not stop every meeting's painting."""
    return tuple(value for value in values if isinstance(value, str)) if isinstance(values, list) else ()
