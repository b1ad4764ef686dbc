"""Speech in a language that the engine does not know: held back while that is doubtful, a gap once it is certain, and
what was shown of it before is taken back. Decisions are in `meetings/audio/language.py`; all here happens with the
meeting locked, inside the transaction that stores a result."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.utils import timezone

from meetings.announce import lines_changed
from meetings.audio.language import Fate, PooledDoubt, Understood, foreign_since
from meetings.models import AudioStream, Language, Utterance
from workers.messages import SpeechResult

REASON = "language_unsupported"
HELD_FOR = timedelta(seconds=15)
"""Longer than the longest utterance: whoever goes on speaking is judged by what comes next."""
LINES_LOOKED_AT = 20
"""So many of a stream's last lines may be taken back; of the last two minutes."""
TAKEN_BACK_WITHIN = timedelta(minutes=2)

_FATES = {
    Utterance.Kind.WORDS: Fate.SHOWN,
    Utterance.Kind.HELD: Fate.HELD,
    Utterance.Kind.GAP: Fate.REFUSED,
}


def fate_of(stream: AudioStream, result: SpeechResult) -> Fate:
    """What becomes of the words of a result; the stream remembers the evidence, once."""
    place = stream.utterances.filter(first_sample=result.first_sample).values_list("kind", flat=True).first()
    if place is not None:
        return _FATES[place]
    before = doubt_of(stream)
    transcript = result.transcript
    assert transcript is not None
    finds_out = stream.language == Language.AUTO and stream.meeting.language == Language.AUTO
    if not (finds_out and result.engine and result.engine.languages):
        # Told what it is, or an engine that knows them all: nothing to doubt any more.
        _remember(stream, PooledDoubt())
        return Fate.SHOWN
    newest = stream.utterances.order_by("-first_sample").values_list("ended_at", flat=True).first()
    pause_s = result.started_at - newest.timestamp() if newest else 0.0
    after = before.after(transcript.language_doubt, pause_s)
    _remember(stream, after)
    return after.fate(transcript.language_doubt)


def doubt_of(stream: AudioStream) -> PooledDoubt:
    return PooledDoubt(stream.language_doubt, stream.foreign)


def understood(stream: AudioStream) -> Understood:
    return doubt_of(stream).understood


def _remember(stream: AudioStream, doubt: PooledDoubt) -> None:
    if doubt != doubt_of(stream):
        stream.language_doubt, stream.foreign = doubt.nats, doubt.foreign
        stream.save(update_fields=["language_doubt", "foreign"])


def invented_take_back(stream: AudioStream) -> None:
    """Where the stream turned out to be in another language, what was made of it becomes gaps, held back or shown."""
    if not stream.foreign:
        return
    since = timezone.now() - TAKEN_BACK_WITHIN
    lines = stream.utterances.exclude(kind=Utterance.Kind.GAP).filter(ended_at__gte=since).select_related("speaker")
    last = list(lines.order_by("-first_sample")[:LINES_LOOKED_AT])[::-1]
    since_here = foreign_since([line.language_doubt for line in last])
    held = [line for line in last[:since_here] if line.kind == Utterance.Kind.HELD]
    lines_refuse(stream, [*held, *last[since_here:]])


def lines_refuse(stream: AudioStream, lines: Sequence[Utterance]) -> None:
    """These lines of one stream say nothing that anybody said."""
    if not lines:
        return
    for line in lines:
        line.kind, line.reason = Utterance.Kind.GAP, REASON
        line.text, line.text_en, line.words = "", "", []
    Utterance.objects.bulk_update(lines, ["kind", "reason", "text", "text_en", "words"])
    lines_changed(stream.meeting_id, lines)
