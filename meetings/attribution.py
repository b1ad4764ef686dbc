"""Under whose name a line goes: voices where people agreed to be known by voice, the stream's own person otherwise."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import override

from meetings.models import AudioStream, Language, Meeting, Participant, Utterance
from meetings.pieces import Piece
from meetings.voices import may_learn, source_of
from speakers.calibration import thresholds_for
from speakers.matching import MIN_LEARN_CONFIDENCE, MIN_NAME_S, Match, Verdict, match
from speakers.models import Consent, Speaker
from speakers.services import (
    UnusableVoice,
    pooled_speech_s,
    speaker_create,
    voice_candidates,
    voiceprint_learn,
)
from workers.messages import VoiceEmbedding

log = logging.getLogger("meetviz.speakers")

# How sure an inherited line is: not at all, it only has to go somewhere.
INHERITED = 0.3
UNKNOWN_VOICE = 0.5
UNUSABLE_VOICE = 0.0


@dataclass(frozen=True, slots=True)
class Attribution:
    speaker: Speaker
    confidence: float
    state: str
    keeps_voice: bool = False
    """Whether the line's voice may be stored: it is usable, and its speaker agrees."""
    learnt: bool = False
    """Whether the speaker's voiceprint was learned from it."""


def attribute(stream: AudioStream, pieces: Sequence[Piece], *, listened: bool) -> list[Attribution]:
    """Find or create the speaker of each part of an utterance on this (locked) stream; `stream.speaker` follows.

    `listened`: whether a voice engine heard it, so that a part without a voice holds too little speech. What is too
    short to tell goes to the neighbour in time: the part before or after it, or whoever spoke last.
    """
    heard_before = stream.speaker
    found: list[Attribution | None] = []
    for piece in pieces:
        who = _said_before(pieces, found, piece) or _by_voice(
            stream, piece.voice, [who.speaker for who in found if who], listened=listened
        )
        found.append(who)
        stream.speaker = who.speaker if who else stream.speaker
    stream.speaker = heard_before
    settled: list[Attribution] = []
    for place, who in enumerate(found):
        settled.append(who or _inherited(stream, pieces, found, place))
        stream.speaker = stream.speaker or settled[-1].speaker
    stream.speaker = settled[-1].speaker
    return settled


def _said_before(pieces: Sequence[Piece], found: Sequence[Attribution | None], piece: Piece) -> Attribution | None:
    """Who speaks twice in an utterance is embedded once, from all of it: it is learned once too."""
    if piece.voice is None:
        return None
    for earlier, who in zip(pieces, found, strict=False):
        if who is not None and earlier.voice is not None and earlier.voice.vector == piece.voice.vector:
            return replace(who, learnt=False)
    return None


def by_voice(stream: AudioStream, voice: VoiceEmbedding, *, besides: Iterable[int]) -> Attribution | None:
    """Who else a line of this stream might be, after a person said who it is not; None when its voice does not tell.

    Nothing is learned and nobody is made.
    """
    try:
        decision = _decision(stream.meeting, voice, besides)
    except UnusableVoice:
        return None
    if decision.speaker is None:
        return None
    speaker = Speaker.objects.select_related("preset").get(pk=decision.speaker)
    if decision.verdict is Verdict.UNSURE or _named_too_early(speaker, voice, stream):
        return Attribution(speaker, decision.confidence, Utterance.SpeakerState.UNSURE)
    return Attribution(speaker, decision.confidence, state_of(speaker))


def state_of(speaker: Speaker) -> str:
    return Utterance.SpeakerState.GUEST if speaker.is_guest else Utterance.SpeakerState.KNOWN


def _by_voice(
    stream: AudioStream, voice: VoiceEmbedding | None, in_hand: Sequence[Speaker], *, listened: bool
) -> Attribution | None:
    """None: too short to tell. `in_hand`: speakers of parts that are not written down yet."""
    agreed = stream.participant.consent_voice_id
    if voice is None and agreed and listened:
        return None
    if voice is None or not agreed:
        own = _speaker_of_stream(stream)
        return Attribution(own, 1.0 if voice is None else UNKNOWN_VOICE, state_of(own))
    try:
        decision = _decision(stream.meeting, voice)
    except UnusableVoice:
        log.warning("voice embedding not usable, the stream's speaker stands")
        own = _speaker_of_stream(stream)
        return Attribution(own, UNUSABLE_VOICE, state_of(own))
    if decision.verdict is Verdict.TOO_SHORT:
        return None
    if decision.verdict is Verdict.NEW:
        speaker = _voiceless_speaker(stream, voice.model) or _forgotten_here(stream)
        speaker = speaker or _new_speaker(stream, in_hand)
        return _learning(stream, speaker, voice, UNKNOWN_VOICE, sure=True)
    speaker = stream.speaker if stream.speaker and stream.speaker.pk == decision.speaker else None
    speaker = speaker or Speaker.objects.select_related("preset").get(pk=decision.speaker)
    if decision.verdict is Verdict.UNSURE or _named_too_early(speaker, voice, stream):
        keeps = may_learn(speaker, stream.participant)
        return Attribution(speaker, decision.confidence, Utterance.SpeakerState.UNSURE, keeps)
    sure = decision.confidence >= MIN_LEARN_CONFIDENCE
    return _learning(stream, speaker, voice, decision.confidence, sure=sure)


def _decision(meeting: Meeting, voice: VoiceEmbedding, besides: Iterable[int] = ()) -> Match:
    candidates = voice_candidates(owner_id=meeting.owner_id, voice=voice, besides=besides)
    return match(candidates, voice.speech_s, thresholds_for(voice.model))


def _learning(
    stream: AudioStream, speaker: Speaker, voice: VoiceEmbedding, confidence: float, *, sure: bool
) -> Attribution:
    """Take a sure match in, unless this speaker's voice was deleted after the person at the microphone agreed: then it
    takes a new yes."""
    keeps = may_learn(speaker, stream.participant)
    learnt = keeps and sure and voiceprint_learn(speaker=speaker, voice=voice, source=source_of(stream)) is not None
    return Attribution(speaker, confidence, state_of(speaker), keeps, learnt)


def _named_too_early(speaker: Speaker, voice: VoiceEmbedding, stream: AudioStream) -> bool:
    """Whether too little is known of a voice to put its name under words at a microphone that is not its own."""
    if speaker.is_guest or speaker.pk == stream.speaker_id:
        return False
    if pooled_speech_s(speaker.pk, voice.model) + voice.speech_s >= MIN_NAME_S:
        return False
    return not speaker.utterances.filter(stream__participant=stream.participant).exists()


def _inherited(
    stream: AudioStream, pieces: Sequence[Piece], found: Sequence[Attribution | None], place: int
) -> Attribution:
    before = next((n for n in range(place - 1, -1, -1) if found[n]), None)
    after = next((n for n in range(place + 1, len(pieces)) if found[n]), None)
    neighbour = before
    if after is not None:
        # The line before this utterance is further away than any part of it.
        nearer = before is None or (
            pieces[after].first_sample - pieces[place].last_sample
            < pieces[place].first_sample - pieces[before].last_sample
        )
        neighbour = after if nearer else before
    who = found[neighbour] if neighbour is not None else None
    speaker = who.speaker if who else _speaker_of_stream(stream)
    usable = pieces[place].voice is not None and may_learn(speaker, stream.participant)
    return Attribution(speaker, INHERITED, state_of(speaker), keeps_voice=usable)


def _speaker_of_stream(stream: AudioStream) -> Speaker:
    """Who spoke here before, or a first speaker for a stream that has none."""
    if stream.speaker is not None:
        return stream.speaker
    return own_speaker(stream.participant) or _new_speaker(stream)


def own_speaker(participant: Participant) -> Speaker | None:
    """Whose microphone it is: who has the participant's name among those who spoke there, else who spoke last."""
    spoke = Speaker.objects.filter(utterances__stream__participant=participant).order_by("-utterances__ended_at")
    named = spoke.filter(is_guest=False, name=participant.name) if participant.name else Speaker.objects.none()
    return named.first() or spoke.first()


def _voiceless_speaker(stream: AudioStream, model: str) -> Speaker | None:
    """The stream's speaker if it was made from words too short to hold a voice: this new voice is theirs."""
    speaker = stream.speaker
    return speaker if speaker and not speaker.voiceprints.filter(model=model).exists() else None


def _forgotten_here(stream: AudioStream) -> Speaker | None:
    """Somebody who spoke at this microphone and had their voice forgotten: a voice that nobody knows may be theirs, so
    it is not learned as somebody new."""
    since = stream.participant.consented_at
    withdrawn = Q(consents__kind=Consent.Kind.VOICE_ID) & (
        Q(consents__withdrawn_at__gt=since) if since else Q(consents__withdrawn_at__isnull=False)
    )
    spoke = Speaker.objects.filter(withdrawn, utterances__stream__participant=stream.participant, merged_into=None)
    return spoke.filter(voiceprints=None).order_by("-utterances__ended_at").first()


def _new_speaker(stream: AudioStream, in_hand: Sequence[Speaker] = ()) -> Speaker:
    """The first voice of a named participant takes that name; others are guests, numbered within the meeting."""
    name = stream.participant.name
    named = Speaker.objects.filter(utterances__stream__participant=stream.participant, is_guest=False)
    if name and all(speaker.is_guest for speaker in in_hand) and not named.exists():
        return named_speaker(stream.meeting, name, in_hand)
    return new_guest(stream.meeting, in_hand)


def new_guest(meeting: Meeting, in_hand: Sequence[Speaker] = ()) -> Speaker:
    return _speaker_here(meeting, guest_name(meeting, in_hand), in_hand, is_guest=True)


def named_speaker(meeting: Meeting, name: str, in_hand: Sequence[Speaker] = ()) -> Speaker:
    """Somebody new with a name."""
    return _speaker_here(meeting, name, in_hand, is_guest=False)


def _speaker_here(meeting: Meeting, name: str, in_hand: Sequence[Speaker], *, is_guest: bool) -> Speaker:
    here = Speaker.objects.filter(pk__in=meeting.utterances.exclude(speaker=None).values("speaker"))
    taken = [*here.values_list("colour", flat=True), *(speaker.colour for speaker in in_hand)]
    return speaker_create(owner_id=meeting.owner_id, name=name, is_guest=is_guest, taken_colours=taken)


def guest_name(meeting: Meeting, in_hand: Sequence[Speaker] = ()) -> str:
    """The next "Guest n" that this meeting has not seen, in its language."""
    here = meeting.utterances.exclude(speaker=None).values("speaker")
    guests = Speaker.objects.filter(Q(pk__in=here) | Q(merged_into__in=here), is_guest=True)
    names = [*guests.values_list("name", flat=True), *(speaker.name for speaker in in_hand if speaker.is_guest)]
    numbers = [int(ending.group()) for name in names if (ending := re.search(r"\d+$", name))]
    with override("ru" if meeting.language == Language.RUSSIAN else "en"):
        return _("Guest %(number)d") % {"number": 1 + max(numbers, default=0)}
