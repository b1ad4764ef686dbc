"""Learning a voice from a recording of one person, made or uploaded for that.

A row waits here while a speech host listens to the recording; the sound itself travels with the request and is stored
nowhere. What is learned is a voiceprint of its own beside those from meetings.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import F, Max, Q, QuerySet
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from speakers.calibration import thresholds_for
from speakers.models import Consent, Enrolment, Speaker, Voiceprint
from speakers.services import (
    DIMENSIONS,
    ENROLMENT,
    UnusableVoice,
    speaker_create,
    speaker_now,
    speaker_rename,
    unit_vector,
    voice_was_forgotten,
    voiceprint_learn,
)
from workers.messages import EmbedResult, VoiceEmbedding

ENOUGH_SPEECH_S = 5.0
"""Where the error rate of the embedded engine has reached its floor (docs/measurements.md): a name can rest on it."""
KEPT_FOR = timedelta(days=1)
"""How long the outcome of an enrolment can be asked for."""
MOST_IN_A_WHILE = 30
A_WHILE = timedelta(minutes=10)


class EnrolmentRefused(Exception):
    """A voice that cannot be learned; `code` says why, `refusal` says it to a person."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def refusal(code: str, speech_s: float = 0.0) -> str:
    """Why a voice was not learned and what to do, for a person in their language."""
    sentences = {
        "too_little_speech": more_needed(speech_s),
        "not_usable": _("The voice engine could make nothing of this recording. Record it again, closer and clearer."),
        "unknown_model": _("The voice engine on the speech host is not one that this server knows. Update both."),
        "other_voice": _(
            "This does not sound like the voice that is known under this name. For another person choose another"
            " name; if it is the same person, delete the old voice first."
        ),
        "forgotten": _("This voice was deleted meanwhile, so nothing was learned."),
        "too_often": _("Too many recordings in a short time. Wait a few minutes and try again."),
    }
    return sentences.get(code) or _("The voice engine failed on this recording. Nothing was learned; try again.")


def more_needed(speech_s: float) -> str:
    """What is missing to `ENOUGH_SPEECH_S`, as in “3.2 s more needed”."""
    missing_s = max(0.1, round(ENOUGH_SPEECH_S - speech_s, 1))
    return _("%(seconds)s s more needed") % {"seconds": number_format(missing_s, 1)}


def enrolment_start(*, owner: Any, name: str) -> Enrolment:
    """A recording is about to go to a speech host. Raises EnrolmentRefused `too_often`."""
    now = timezone.now()
    own = Enrolment.objects.filter(owner=owner)
    own.filter(created_at__lt=now - KEPT_FOR).delete()
    if own.filter(created_at__gt=now - A_WHILE).count() >= MOST_IN_A_WHILE:
        raise EnrolmentRefused("too_often")
    # With its speaker, where there is one: forgetting them takes along what is on its way.
    return Enrolment.objects.create(owner=owner, name=name, speaker=speaker_called(owner_id=owner.pk, name=name))


def enrolment_fail(enrolment: Enrolment, code: str, speech_s: float = 0.0) -> None:
    """Nothing was learned; idempotent."""
    Enrolment.objects.filter(pk=enrolment.pk, state=Enrolment.State.WAITING).update(
        state=Enrolment.State.FAILED, error=code, speech_s=speech_s
    )


@transaction.atomic
def enrolment_finish(result: EmbedResult) -> None:
    """Write down what became of an enrolment: the speaker with consent and voiceprint, or why not. Idempotent; an
    enrolment that is gone (its owner or speaker was erased meanwhile) stays gone."""
    waiting = Enrolment.objects.select_for_update().filter(state=Enrolment.State.WAITING)
    enrolment = waiting.filter(pk=uuid.UUID(result.id)).first()
    if enrolment is None:
        return
    speech_s = result.speech_s if np.isfinite(result.speech_s) else 0.0
    try:
        if result.error or result.voice is None:
            raise EnrolmentRefused(result.error or "too_little_speech")
        speaker = voice_enrol(
            owner_id=enrolment.owner_id,
            name=enrolment.name,
            voice=result.voice,
            speaker=speaker_now(enrolment.speaker_id) if enrolment.speaker_id else None,
            agreed_at=enrolment.created_at,
        )
    except EnrolmentRefused as refused:
        enrolment_fail(enrolment, refused.code[:40], speech_s)
        return
    enrolment.speaker, enrolment.state, enrolment.speech_s = speaker, Enrolment.State.DONE, speech_s
    enrolment.save(update_fields=["speaker", "state", "speech_s"])


@transaction.atomic
def voice_enrol(
    *, owner_id: int, name: str, voice: VoiceEmbedding, speaker: Speaker | None = None, agreed_at: Any = None
) -> Speaker:
    """Take the voice into `speaker`, else into the owner's speaker of this name (made if there is none), with consent
    and voiceprint.

    `agreed_at` is when the person agreed (now if not given): a voice that was deleted since is not learned again.
    Raises EnrolmentRefused: `too_little_speech`, `not_usable`, `unknown_model`, `other_voice`, `forgotten`.
    """
    vector = _checked(voice)
    speaker = speaker or speaker_called(owner_id=owner_id, name=name)
    if speaker is None:
        taken = Speaker.objects.filter(owner_id=owner_id, merged_into=None).values_list("colour", flat=True)
        speaker = speaker_create(owner_id=owner_id, name=name, is_guest=False, taken_colours=taken)
    elif agreed_at and voice_was_forgotten(speaker, since=agreed_at):
        raise EnrolmentRefused("forgotten")
    _refuse_a_stranger(speaker, voice, vector)
    if speaker.is_guest:
        speaker_rename(speaker, name)
    Consent.objects.get_or_create(speaker=speaker, kind=Consent.Kind.VOICE_ID, withdrawn_at=None)
    voiceprint_learn(speaker=speaker, voice=voice, source=ENROLMENT)
    return speaker


def _checked(voice: VoiceEmbedding) -> np.ndarray:
    """The voice as a unit vector. Raises EnrolmentRefused."""
    if voice.model not in DIMENSIONS:
        raise EnrolmentRefused("unknown_model")
    try:
        vector = unit_vector(voice)
    except UnusableVoice:
        raise EnrolmentRefused("not_usable") from None
    if not np.isfinite(voice.speech_s):
        raise EnrolmentRefused("not_usable")
    if voice.speech_s < ENOUGH_SPEECH_S:
        raise EnrolmentRefused("too_little_speech")
    return vector


def _refuse_a_stranger(speaker: Speaker, voice: VoiceEmbedding, vector: np.ndarray) -> None:
    """Two people's voices under one name would be nobody's: below the threshold at which a voice is called new."""
    prints = speaker.voiceprints.filter(model=voice.model).values_list("vector", flat=True)
    cosines = [float(vector @ np.asarray(known)) for known in prints if len(known) == len(vector)]
    if cosines and max(cosines) < thresholds_for(voice.model).lower:
        raise EnrolmentRefused("other_voice")


def speaker_called(*, owner_id: int, name: str) -> Speaker | None:
    """The owner's speaker of this name, however it is capitalised; of several the one with a voice, then the oldest."""
    called = Speaker.objects.filter(owner_id=owner_id, merged_into=None, name__iexact=name)
    return called.annotate(heard=Max("voiceprints__speech_s")).order_by(F("heard").desc(nulls_last=True), "pk").first()


def known_voices(owner: Any) -> QuerySet[Speaker]:
    """The owner's people: everyone with a name, and guests whose voice is known; their voiceprints come along."""
    theirs = Speaker.objects.filter(owner=owner, merged_into=None)
    shown = theirs.filter(Q(is_guest=False) | Q(pk__in=Voiceprint.objects.values("speaker")))
    return shown.prefetch_related("voiceprints").order_by("is_guest", "name", "pk")
