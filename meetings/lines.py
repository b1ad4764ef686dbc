"""What a speech host heard becomes lines: one for each voice, once however often it arrives, from the louder of two
microphones in one room. One transaction moves everything: the words, whose they are, the stream's durable position and
the revision."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from meetings import foreign, twins
from meetings.announce import line_changed, meeting_lock, speaker_changed
from meetings.attribution import Attribution, attribute
from meetings.audio.language import Fate
from meetings.models import AudioStream, HeardVoice, Utterance
from meetings.pieces import Piece, pieces_of, shifted, stretch
from meetings.publish import publish, raise_rev
from meetings.selectors import caption_event, speaker_brief
from meetings.services import REPLAY_SLACK_SAMPLES, gap_store, moment, stream_settle
from meetings.voices import voice_keep, voices_drop
from speakers.calibration import thresholds_for
from speakers.models import Speaker
from workers.messages import SAMPLE_RATE_HZ, SpeechResult

# How much of what was said last helps the recogniser with what is said next.
PROMPT_CHARACTERS = 200
# When a stream's language counts as found out.
SURE_OF_LANGUAGE = 0.7
SURE_AFTER_S = 3.0


@transaction.atomic
def utterance_store(result: SpeechResult) -> Utterance | None:
    """Write down what a speech host heard; idempotent. The first line of it, or None when there is nothing to show
    (silence, a repeat, words that a louder microphone heard, or that are perhaps in no language which the engine
    knows)."""
    # The meeting first: what two streams heard at one moment is compared, whichever is stored first.
    if not meeting_lock(result.meeting):
        return None
    stream = (
        AudioStream.objects.select_for_update(of=("self",), no_key=True)
        .select_related("meeting", "participant", "speaker__preset")
        .filter(pk=uuid.UUID(result.stream), meeting_id=result.meeting)
        .first()
    )
    if stream is None:  # erased while it was being heard
        return None
    stored: list[Utterance] = []
    settled: dict[str, Any] = {}
    repeated = result.first_sample < stream.next_sample - REPLAY_SLACK_SAMPLES
    transcript = result.transcript
    if not repeated and transcript and transcript.text:
        fate = foreign.fate_of(stream, result)
        if fate is Fate.SHOWN:
            _held_release(stream)
            stored = _words_store(stream, result)
            _note_language(stream, result)
            settled = {
                "text": transcript.text[-PROMPT_CHARACTERS:],
                "language": transcript.language,
                "language_probability": transcript.language_probability,
            }
            if stored and stored[-1].speaker:
                settled["speaker"] = speaker_brief(stored[-1].speaker)
        elif fate is Fate.HELD:
            _words_store(stream, result, held=True)
        else:
            foreign.invented_take_back(stream)
            _gap_store(stream, result, foreign.REASON)
        settled["understood"] = foreign.understood(stream)
    elif not repeated and result.error:
        _gap_store(stream, result, result.error)
    stream_settle(stream, result.last_sample, **settled)
    return stored[0] if stored else None


def _gap_store(stream: AudioStream, result: SpeechResult, reason: str) -> None:
    gap_store(
        stream.pk,
        first_sample=result.first_sample,
        last_sample=result.last_sample,
        reason=reason,
        started_at=result.started_at,
        ended_at=result.ended_at,
    )


# Held back: perhaps in a language that the engine does not know


def held_settle() -> bool:
    """Show or refuse what was held back for long enough because nobody went on; whether there is something to show."""
    overdue = Utterance.objects.filter(kind=Utterance.Kind.HELD, heard_at__lt=timezone.now() - foreign.HELD_FOR)
    streams = set(overdue.values_list("meeting_id", "stream_id"))
    return any([_held_settle_of(meeting_id, stream_id) for meeting_id, stream_id in sorted(streams, key=str)])


@transaction.atomic
def _held_settle_of(meeting_id: int, stream_id: uuid.UUID) -> bool:
    meeting_lock(meeting_id)
    stream = AudioStream.objects.select_for_update(no_key=True).filter(pk=stream_id).first()
    if stream is None:  # erased meanwhile
        return False
    doubt = foreign.doubt_of(stream)
    held = _held_here_alone(stream)
    refused = [line for line in held if doubt.fate_in_the_end(line.language_doubt) is Fate.REFUSED]
    foreign.lines_refuse(stream, refused)
    return _held_release(stream)


def _held_here_alone(stream: AudioStream) -> list[Utterance]:
    """What is held back of this stream, without (and no longer) what another microphone's line says already."""
    held = []
    for row in stream.utterances.filter(kind=Utterance.Kind.HELD).select_related("speaker").order_by("first_sample"):
        line = _line_of_row(row)
        others = _lines_beside(stream, row.started_at, row.ended_at)
        if any(twins.are_twins(line, _line_of_row(other)) for other in others):
            row.delete()
        else:
            held.append(row)
    return held


def _held_release(stream: AudioStream) -> bool:
    """What was held back of this stream is shown; whether there was something."""
    held = _held_here_alone(stream)
    for row in held:
        row.kind = Utterance.Kind.WORDS
        row.save(update_fields=["kind"])
        line_changed(row)
    return bool(held)


def _note_language(stream: AudioStream, result: SpeechResult) -> None:
    """Lock what a stream speaks once the engine was sure of it on enough speech; said anew when it is another."""
    transcript = result.transcript
    assert transcript is not None
    long_enough = result.last_sample - result.first_sample >= SURE_AFTER_S * SAMPLE_RATE_HZ
    if long_enough and transcript.language_probability >= SURE_OF_LANGUAGE:
        heard = transcript.language[:8]
        if heard and stream.heard_language != heard:
            AudioStream.objects.filter(pk=stream.pk).update(heard_language=heard)


def _words_store(stream: AudioStream, result: SpeechResult, *, held: bool = False) -> list[Utterance]:
    places = set(stream.utterances.filter(first_sample__gte=result.first_sample).values_list("first_sample", flat=True))
    if result.first_sample in places:
        return []
    pieces = pieces_of(result, by_voice=stream.participant.consent_voice_id)
    shares = _shares(stream, result, pieces)
    if held:  # what people see already is not replaced by something that nobody sees
        shares = [(piece, row) for piece, row in shares if row is None]
    if not shares:
        return []
    speaker_before = stream.speaker_id
    attributions = attribute(stream, [piece for piece, _row in shares], listened=result.voice_engine is not None)
    if stream.speaker_id != speaker_before:
        AudioStream.objects.filter(pk=stream.pk).update(speaker=stream.speaker)
    stored: list[Utterance] = []
    for (piece, row), who in zip(shares, attributions, strict=True):
        while piece.first_sample in places:  # a moment's overlap with what is durable: no word is worth less for it
            piece = replace(piece, first_sample=piece.first_sample + 1)
        places.add(piece.first_sample)
        spoke_here = who.speaker.pk == speaker_before or _has_spoken(stream.meeting_id, who.speaker)
        if not spoke_here:
            speaker_changed(who.speaker, stream.meeting_id)
        stored.append(_line_store(stream, result, piece, who, row, held=held))
        if not held:
            publish(stream.meeting_id, caption_event(stored[-1]))
    return stored


def _has_spoken(meeting_id: int, speaker: Speaker) -> bool:
    return Utterance.objects.filter(meeting=meeting_id, speaker=speaker).order_by().exists()


def _line_store(
    stream: AudioStream, result: SpeechResult, piece: Piece, who: Attribution, row: Utterance | None, *, held: bool
) -> Utterance:
    """A new line, or the line `row` as the louder microphone heard it."""
    transcript = result.transcript
    assert transcript is not None
    utterance = row or Utterance(id=uuid.UUID(piece.id), meeting=stream.meeting)
    utterance.stream = stream
    utterance.kind = Utterance.Kind.HELD if held else Utterance.Kind.WORDS
    utterance.first_sample, utterance.last_sample = piece.first_sample, piece.last_sample
    utterance.started_at, utterance.ended_at = moment(piece.started_at), moment(piece.ended_at)
    utterance.text = piece.text
    utterance.language = transcript.language
    share = (piece.last_sample - piece.first_sample) / max(1, result.last_sample - result.first_sample)
    utterance.language_doubt = round(transcript.language_doubt * share, 3)
    utterance.confidence = transcript.confidence
    utterance.words = [{"text": w.text, "start_ms": w.start_ms, "end_ms": w.end_ms} for w in piece.words]
    utterance.speaker = who.speaker
    utterance.speaker_confidence = who.confidence
    utterance.speaker_state = who.state
    utterance.level_dbfs = result.level_dbfs
    utterance.engine = result.engine.to_wire() if result.engine else {}
    utterance.timings_ms = result.timings_ms
    utterance.rev = raise_rev(stream.meeting_id)
    utterance.save(force_insert=row is None)
    if who.keeps_voice and piece.voice is not None:
        voice_keep(utterance, piece.voice, learnt=who.learnt)
    return utterance


# Twins: the same words from another microphone in the room


def _shares(stream: AudioStream, result: SpeechResult, pieces: Sequence[Piece]) -> list[tuple[Piece, Utterance | None]]:
    """What of the pieces becomes a line: with the row whose place it takes, or None for one of its own."""
    shares: list[tuple[Piece, Utterance | None]] = []
    started, ended = moment(pieces[0].started_at), moment(pieces[-1].ended_at)
    others = _lines_beside(stream, started, ended)
    for piece in pieces:
        new = _line_of_piece(piece, result.level_dbfs)
        same = [other for other in others if _are_twins(new, other, piece)]
        if not same:
            shares.append((piece, None))
            continue
        lines = {str(other.pk): other for other in same}
        for part in twins.shares_of(new, [_line_of_row(other) for other in same]):
            row = lines[part.twin] if part.twin else None
            if row is not None and not part.louder:
                continue
            if row is not None:
                _make_room(row, new)
            shares.append((_cut(piece, part, len(shares)), row))
    return shares


def _lines_beside(stream: AudioStream, started: datetime, ended: datetime) -> list[Utterance]:
    """Words that other streams of the meeting heard at that time."""
    beside = Utterance.objects.filter(
        meeting=stream.meeting_id,
        kind=Utterance.Kind.WORDS,
        ended_at__gt=started,
        started_at__lt=ended,
    )
    return list(beside.exclude(stream=None).exclude(stream=stream).order_by("started_at"))


def _are_twins(new: twins.Line, other: Utterance, piece: Piece) -> bool:
    line = _line_of_row(other)
    if twins.are_twins(new, line):
        return True
    if piece.voice is None or not twins.are_twins(new, line, voices_agree=True):
        return False
    heard = HeardVoice.objects.filter(utterance=other, model=piece.voice.model).first()
    thresholds = thresholds_for(piece.voice.model)
    # A far microphone changes a voice: where some words agree too, it must only not be a stranger's.
    some = min(len(new.words), len(line.words)) >= twins.MIN_SAME_WORDS
    needed = thresholds.lower if some else thresholds.upper
    return heard is not None and twins.agree(piece.voice.vector, [float(v) for v in heard.vector], needed)


def _line_of_piece(piece: Piece, level_dbfs: float) -> twins.Line:
    timed = [(w.text, piece.started_at + w.start_ms / 1000, piece.started_at + w.end_ms / 1000) for w in piece.words]
    words = twins.heard_words(piece.text, timed, piece.started_at, piece.ended_at)
    return twins.Line(piece.id, piece.started_at, piece.ended_at, words, level_dbfs)


def _line_of_row(row: Utterance) -> twins.Line:
    started, ended = row.started_at.timestamp(), row.ended_at.timestamp()
    timed = [(w["text"], started + w["start_ms"] / 1000, started + w["end_ms"] / 1000) for w in row.words]
    words = twins.heard_words(row.text, timed, started, ended)
    settled = row.speaker_confirmed or bool(row.not_speakers)
    return twins.Line(str(row.pk), started, ended, words, row.level_dbfs, settled)


def _cut(piece: Piece, part: twins.Part, number: int) -> Piece:
    """The part of a piece with these words; cut in the middle between them and their neighbours."""
    texts = [word.text for word in piece.words] or piece.text.split()
    if part.first == 0 and part.last == len(texts):
        return piece
    line = _line_of_piece(piece, 0.0)

    def border(place: int) -> int:
        if place in (0, len(texts)):
            return piece.last_sample if place else piece.first_sample
        middle_s = (line.words[place - 1].end_s + line.words[place].start_s) / 2 - piece.started_at
        inside = round(middle_s * SAMPLE_RATE_HZ)
        return piece.first_sample + min(max(inside, place), piece.last_sample - piece.first_sample - 1)

    id = str(uuid.uuid5(uuid.UUID(piece.id), f"part {number}")) if number else piece.id
    cut = stretch(piece, id, border(part.first), border(part.last))
    words = shifted(piece.words[part.first : part.last], piece.first_sample, cut.first_sample)
    return replace(cut, text=" ".join(texts[part.first : part.last]), words=words)


def _make_room(row: Utterance, new: twins.Line) -> None:
    """The louder microphone's words take this line's place. What only its own microphone heard, before or after them,
    stays as a line; its voice is no longer evidence of anybody."""
    line = _line_of_row(row)
    before, after = twins.left_over(line, new)
    for name, first, last in (("before", 0, before), ("after", after, len(line.words))):
        if first < last:
            _rest_store(row, line, name, first, last)
    voices_drop(list(HeardVoice.objects.filter(utterance=row).select_related("speaker", "utterance__stream")))


def _rest_store(row: Utterance, line: twins.Line, name: str, first: int, last: int) -> None:
    start_s, end_s = line.words[first].start_s, line.words[last - 1].end_s
    offset_ms = max(0, round((start_s - line.started_s) * 1000))
    length_samples = max(1, round((end_s - start_s) * SAMPLE_RATE_HZ))
    texts = [word["text"] for word in row.words] or row.text.split()
    rest = Utterance.objects.get(pk=row.pk)
    rest.pk = uuid.uuid5(row.pk, name)
    # Its own first sample still belongs to the row when the row moves to the other stream only afterwards.
    rest.first_sample = row.first_sample + max(1, offset_ms * SAMPLE_RATE_HZ // 1000)
    rest.last_sample = max(rest.first_sample + 1, min(row.last_sample, rest.first_sample + length_samples))
    rest.started_at, rest.ended_at = moment(start_s), moment(max(start_s, end_s))
    rest.text, rest.text_en = " ".join(texts[first:last]), ""
    rest.words = [
        {**word, "start_ms": max(0, word["start_ms"] - offset_ms), "end_ms": max(0, word["end_ms"] - offset_ms)}
        for word in row.words[first:last]
    ]
    rest.save(force_insert=True)
    line_changed(Utterance.objects.select_related("speaker").get(pk=rest.pk))
