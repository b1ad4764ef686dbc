"""Changes to speakers and their voiceprints."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import numpy as np
from django.db.models import F, Func, IntegerField
from pgvector.django import CosineDistance

from speakers.matching import MIN_CREATE_S, MIN_UPDATE_S, Candidate, merged_vector
from speakers.models import SPEAKER_COLOURS, Consent, Speaker, StylePreset, Voiceprint
from workers.messages import VoiceEmbedding

NEIGHBOURS = 8
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


def voice_candidates(*, owner_id: int, voice: VoiceEmbedding) -> list[Candidate]:
    """The owner's nearest voiceprints of the same model, best first. Raises UnusableVoice."""
    vector = unit_vector(voice)
    # PostgreSQL refuses to compare vectors of different lengths; one odd print must not cost anybody's words.
    dimensions = Func(F("vector"), function="vector_dims", output_field=IntegerField())
    nearest = (
        Voiceprint.objects.filter(model=voice.model, speaker__owner_id=owner_id, speaker__merged_into=None)
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
    """Take a confident utterance into the speaker's voiceprint; None when it holds too little speech.

    The first print needs 2 s, a change of one 3 s. Call it only where the person consented to voice recognition.
    """
    vector = unit_vector(voice)
    print_ = speaker.voiceprints.select_for_update().filter(model=voice.model).order_by("-speech_s").first()
    if print_ is None:
        if voice.speech_s < MIN_CREATE_S:
            return None
        Consent.objects.get_or_create(speaker=speaker, kind=Consent.Kind.VOICE_ID, withdrawn_at=None)
        return Voiceprint.objects.create(
            speaker=speaker, model=voice.model, vector=vector, speech_s=voice.speech_s, source=source
        )
    if voice.speech_s < MIN_UPDATE_S:
        return None
    print_.vector = merged_vector(np.asarray(print_.vector, dtype=np.float32), print_.speech_s, vector, voice.speech_s)
    print_.speech_s = F("speech_s") + voice.speech_s
    print_.save(update_fields=["vector", "speech_s", "updated_at"])
    return print_


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
    """Forget how someone sounds: every voiceprint goes, the standing consent is withdrawn. Returns how many went."""
    from django.utils import timezone

    count, _by_model = speaker.voiceprints.all().delete()
    speaker.consents.filter(kind=Consent.Kind.VOICE_ID, withdrawn_at=None).update(withdrawn_at=timezone.now())
    return count
