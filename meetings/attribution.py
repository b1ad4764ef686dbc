"""Under whose name a line goes: voices where people agreed to be known by voice, the stream's own person otherwise."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import override

from meetings.models import AudioStream, Language, Utterance
from speakers.matching import THRESHOLDS, Match, Thresholds, Verdict, match
from speakers.models import Speaker
from speakers.services import UnusableVoice, speaker_create, voice_candidates, voice_was_forgotten, voiceprint_learn
from workers.messages import VoiceEmbedding

log = logging.getLogger("meetviz.speakers")

_UNCALIBRATED = Thresholds(upper=0.8, lower=0.7, margin=0.05)


@dataclass(frozen=True, slots=True)
class Attribution:
    speaker: Speaker
    confidence: float
    state: str


def attribute(stream: AudioStream, voice: VoiceEmbedding | None) -> Attribution:
    """Find or create the speaker of an utterance on this (locked) stream."""
    if voice is None or not stream.participant.consent_voice_id:
        return _known_or_guest(_speaker_of_stream(stream), 1.0 if voice is None else 0.5)
    try:
        candidates = voice_candidates(owner_id=stream.meeting.owner_id, voice=voice)
    except UnusableVoice:
        log.warning("voice embedding not usable, the stream's speaker stands")
        return _known_or_guest(_speaker_of_stream(stream), 0.0)
    decision = match(candidates, voice.speech_s, THRESHOLDS.get(voice.model, _UNCALIBRATED))
    if decision.verdict is Verdict.TOO_SHORT:
        return _known_or_guest(_speaker_of_stream(stream), 0.3)
    if decision.verdict is Verdict.NEW:
        speaker = _voiceless_speaker(stream, voice.model) or _new_speaker(stream)
        _learn(speaker, voice, stream)
        return _known_or_guest(speaker, 0.5)
    return _from_match(decision, voice, stream)


def _from_match(decision: Match, voice: VoiceEmbedding, stream: AudioStream) -> Attribution:
    speaker = Speaker.objects.select_related("preset").get(pk=decision.speaker)
    if decision.verdict is Verdict.UNSURE:
        return Attribution(speaker, decision.confidence, Utterance.SpeakerState.UNSURE)
    _learn(speaker, voice, stream)
    return _known_or_guest(speaker, decision.confidence)


def _learn(speaker: Speaker, voice: VoiceEmbedding, stream: AudioStream) -> None:
    """Take the voice in, unless this speaker's voice was deleted after the person at the microphone agreed: then it
    takes a new yes."""
    if not voice_was_forgotten(speaker, since=stream.participant.consented_at):
        voiceprint_learn(speaker=speaker, voice=voice, source=str(stream.pk))


def _known_or_guest(speaker: Speaker, confidence: float) -> Attribution:
    state = Utterance.SpeakerState.GUEST if speaker.is_guest else Utterance.SpeakerState.KNOWN
    return Attribution(speaker, confidence, state)


def _speaker_of_stream(stream: AudioStream) -> Speaker:
    """Who spoke here before, or a first speaker for a stream that has none."""
    if stream.speaker_id:
        return stream.speaker  # type: ignore[return-value]
    earlier = (
        Speaker.objects.filter(utterances__stream__participant=stream.participant)
        .order_by("-utterances__ended_at")
        .first()
    )
    return earlier or _new_speaker(stream)


def _voiceless_speaker(stream: AudioStream, model: str) -> Speaker | None:
    """The stream's speaker if it was made from words too short to hold a voice: this new voice is theirs."""
    speaker = stream.speaker
    return speaker if speaker and not speaker.voiceprints.filter(model=model).exists() else None


def _new_speaker(stream: AudioStream) -> Speaker:
    """The first voice of a named participant takes that name; others are guests, numbered within the meeting."""
    meeting = stream.meeting
    present = list(Speaker.objects.filter(utterances__meeting=meeting).distinct())
    colours = [speaker.colour for speaker in present]
    name = stream.participant.name
    named_already = Speaker.objects.filter(utterances__stream__participant=stream.participant, is_guest=False).exists()
    if name and not named_already:
        return speaker_create(owner_id=meeting.owner_id, name=name, is_guest=False, taken_colours=colours)
    number = 1 + sum(speaker.is_guest for speaker in present)
    with override("ru" if meeting.language == Language.RUSSIAN else "en"):
        guest_name = _("Guest %(number)d") % {"number": number}
    return speaker_create(owner_id=meeting.owner_id, name=guest_name, is_guest=True, taken_colours=colours)
