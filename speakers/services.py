"""Changes to speakers and their voiceprints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np
from django.db.models import F, Func, IntegerField, Sum
from django.utils import timezone
from pgvector.django import CosineDistance

from speakers.calibration import thresholds_for
from speakers.matching import (
    MIN_CREATE_S,
    MIN_UPDATE_S,
    Candidate,
    merged_vector,
    print_to_move,
    prints_of,
)
from speakers.models import SPEAKER_COLOURS, Consent, Speaker, StylePreset, Voiceprint
from workers.messages import VoiceEmbedding

# A speaker has at most MOST_PRINTS of them, so the runner-up is among these.
NEIGHBOURS = 12
MOST_PRINTS = 5
ENROLMENT = "enrolment"
# As their indexes want it (migration 0002).
DIMENSIONS = {"resemblyzer-ge2e-256": 256, "ecapa-voxceleb-192": 192}


class UnusableVoice(ValueError):
    """An embedding that is not a finite vector, or not of its model's length."""


def unit_vector(voice: VoiceEmbedding) -> np.ndarray:
    """The embedding as float32, shape (dimensions,), unit length. Raises UnusableVoice."""
    vector = np.asarray(voice.vector, dtype=np.float32)
    norm = float(np.linalg.norm(vector))
    if vector.ndim != 1 or vector.size == 0 or not np.isfinite(norm) or norm < 1e-6:
        raise UnusableVoice("the voice engine gave a vector that is not finite")
    if vector.size != DIMENSIONS.get(voice.model, vector.size):
        raise UnusableVoice(f"{voice.model} gives {DIMENSIONS[voice.model]} numbers, not {vector.size}")
    return vector / norm


def voice_candidates(*, owner_id: int, voice: VoiceEmbedding, besides: Iterable[int] = ()) -> list[Candidate]:
    """The owner's nearest voiceprints of the same model, best first, leaving out the speakers `besides`.

    Raises UnusableVoice.
    """
    vector = unit_vector(voice)
    # PostgreSQL refuses to compare vectors of different lengths; one odd print must not cost anybody's words.
    dimensions = Func(F("vector"), function="vector_dims", output_field=IntegerField())
    nearest = (
        Voiceprint.objects.filter(model=voice.model, speaker__owner_id=owner_id, speaker__merged_into=None)
        .exclude(speaker__in=list(besides))
        .alias(dimensions=dimensions)
        .filter(dimensions=vector.size)
        .annotate(distance=CosineDistance("vector", vector))
        .order_by("distance")
        .values_list("speaker_id", "distance")[:NEIGHBOURS]
    )
    return [Candidate(speaker, 1.0 - float(distance)) for speaker, distance in nearest]


def speaker_create(*, owner_id: int, name: str, is_guest: bool, taken_colours: Iterable[str] = ()) -> Speaker:
    """A new speaker with a colour that the others here do not have, and the default style."""
    taken = set(taken_colours)
    free = [colour for colour in SPEAKER_COLOURS if colour not in taken]
    colour = free[0] if free else SPEAKER_COLOURS[len(taken) % len(SPEAKER_COLOURS)]
    defaults = list(StylePreset.objects.filter(is_default=True, owner=None).order_by("pk"))
    preset = defaults[SPEAKER_COLOURS.index(colour) % len(defaults)] if defaults else None
    return Speaker.objects.create(owner_id=owner_id, name=name, is_guest=is_guest, colour=colour, preset=preset)


def voiceprint_learn(*, speaker: Speaker, voice: VoiceEmbedding, source: str) -> Voiceprint | None:
    """Take an utterance into the speaker's voiceprint of this microphone; None when it holds too little speech.

    The speaker's first print needs 2 s; a change, or one print more, 3 s. Call it only where the match was sure or a
    person confirmed it, and where the person at the microphone consented to voice recognition. Raises UnusableVoice.
    """
    vector = unit_vector(voice)
    prints = list(speaker.voiceprints.select_for_update().filter(model=voice.model))
    if voice.speech_s < (MIN_UPDATE_S if prints else MIN_CREATE_S):
        return None
    here = [print_ for print_ in prints if print_.source == source]
    place = print_to_move([_vector(print_) for print_ in here], vector, thresholds_for(voice.model).lower)
    if place is None:
        made = _print_create(speaker, voice.model, source, vector, voice.speech_s)
        _keep_few([*prints, made])
        return made
    _print_move(here[place], vector, voice.speech_s)
    return here[place]


def voiceprints_replace(
    *, speaker: Speaker, model: str, source: str, heard: Sequence[tuple[np.ndarray, float]]
) -> None:
    """What is known of the voice at one microphone, learned again from what counts: unit vectors with their seconds of
    speech, oldest first; none: nothing is known there."""
    prints = list(speaker.voiceprints.select_for_update().filter(model=model))
    Voiceprint.objects.filter(pk__in=[print_.pk for print_ in prints if print_.source == source]).delete()
    made = [
        _print_create(speaker, model, source, vector, speech_s)
        for vector, speech_s in prints_of(heard, thresholds_for(model).lower)
    ]
    _keep_few([*(print_ for print_ in prints if print_.source != source), *made])


def voiceprints_move(*, of: Speaker, to: Speaker) -> None:
    """Two speakers turned out to be one: what is known of the voice goes along, and the consent to know it."""
    kept = list(to.voiceprints.select_for_update())
    for print_ in of.voiceprints.select_for_update():
        here = [p for p in kept if (p.model, p.source) == (print_.model, print_.source)]
        place = print_to_move([_vector(p) for p in here], _vector(print_), thresholds_for(print_.model).lower)
        if place is None:
            print_.speaker = to
            print_.save(update_fields=["speaker"])
            kept.append(print_)
        else:
            _print_move(here[place], _vector(print_), print_.speech_s)
            print_.delete()
    for model in {print_.model for print_ in kept}:
        _keep_few([print_ for print_ in kept if print_.model == model])
    if kept and of.consents.filter(kind=Consent.Kind.VOICE_ID, withdrawn_at=None).exists():
        Consent.objects.get_or_create(speaker=to, kind=Consent.Kind.VOICE_ID, withdrawn_at=None)


def _vector(print_: Voiceprint) -> np.ndarray:
    return np.asarray(print_.vector, dtype=np.float32)


def _print_create(speaker: Speaker, model: str, source: str, vector: np.ndarray, speech_s: float) -> Voiceprint:
    Consent.objects.get_or_create(speaker=speaker, kind=Consent.Kind.VOICE_ID, withdrawn_at=None)
    return Voiceprint.objects.create(speaker=speaker, model=model, source=source, vector=vector, speech_s=speech_s)


def _print_move(print_: Voiceprint, vector: np.ndarray, speech_s: float) -> None:
    print_.vector = merged_vector(_vector(print_), print_.speech_s, vector, speech_s)
    print_.speech_s += speech_s
    print_.save(update_fields=["vector", "speech_s", "updated_at"])


def _keep_few(prints: Iterable[Voiceprint]) -> None:
    """Of one speaker's prints of one model the microphones that were heard last; an enrolment stays before those."""
    by_age = sorted(prints, key=lambda p: (p.source == ENROLMENT, p.updated_at), reverse=True)
    Voiceprint.objects.filter(pk__in=[p.pk for p in by_age[MOST_PRINTS:]]).delete()


def pooled_speech_s(speaker_id: int, model: str) -> float:
    """How much speech is known of a voice."""
    prints = Voiceprint.objects.filter(speaker_id=speaker_id, model=model)
    return float(prints.aggregate(seconds=Sum("speech_s"))["seconds"] or 0.0)


def voices_score(one: Speaker, other: Speaker) -> tuple[float, str] | None:
    """The best cosine between prints of two speakers and its model; None where no model knows both."""
    others = list(other.voiceprints.all())
    scores = [
        (float(np.asarray(a.vector) @ np.asarray(b.vector)), a.model)
        for a in one.voiceprints.all()
        for b in others
        if a.model == b.model and len(a.vector) == len(b.vector)
    ]
    return max(scores, default=None)


def speaker_rename(speaker: Speaker, name: str) -> Speaker:
    """A person said who this is."""
    speaker.name = name
    speaker.is_guest = False
    speaker.save(update_fields=["name", "is_guest"])
    return speaker


def voice_was_forgotten(speaker: Speaker, *, since: datetime | None) -> bool:
    """Whether the consent to know this voice was withdrawn after `since` (None: ever)."""
    withdrawn = speaker.consents.filter(kind=Consent.Kind.VOICE_ID).exclude(withdrawn_at=None)
    return (withdrawn.filter(withdrawn_at__gt=since) if since else withdrawn).exists()


def voice_delete(speaker: Speaker) -> int:
    """Forget how someone sounds: every voiceprint and every voice heard in a line goes, the standing consent is
    withdrawn. Returns how many prints went."""
    count, _by_model = speaker.voiceprints.all().delete()
    speaker.heard_voices.all().delete()  # type: ignore[attr-defined]  # of the meetings that are above this room
    consent_withdraw(speaker)
    return count


def consent_withdraw(speaker: Speaker) -> None:
    """The standing consent to know this voice ends; it stays as history."""
    speaker.consents.filter(kind=Consent.Kind.VOICE_ID, withdrawn_at=None).update(withdrawn_at=timezone.now())


def voices_withdraw(source: str) -> None:
    """Erase what was learned at the microphones whose source starts so; who is known by nothing else is unknown."""
    gone = Voiceprint.objects.filter(source__startswith=source)
    speakers = list(Speaker.objects.filter(voiceprints__in=gone).distinct())
    gone.delete()
    for speaker in speakers:
        if not speaker.voiceprints.exists():
            consent_withdraw(speaker)


def speaker_now(speaker_id: int) -> Speaker | None:
    """The speaker of this number, or who they turned out to be."""
    speaker = Speaker.objects.filter(pk=speaker_id).select_related("preset").first()
    for _step in range(20):
        if speaker is None or speaker.merged_into_id is None:
            break
        speaker = Speaker.objects.filter(pk=speaker.merged_into_id).select_related("preset").first()
    return speaker
