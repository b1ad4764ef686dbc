"""Small makers of test data: real rows and real messages, with only what a test cares about spelled out."""

from __future__ import annotations

import io
import time
import uuid
from datetime import timedelta
from typing import Any

import numpy as np
from django.contrib.auth import get_user_model
from django.utils import timezone
from PIL import Image

from generation.models import Frame
from meetings.access import Membership
from meetings.models import AudioStream, Meeting, Participant, Role, Utterance
from meetings.services import meeting_create
from speakers.models import Speaker, Voiceprint
from speakers.services import speaker_create
from workers.messages import (
    SAMPLE_RATE_HZ,
    EngineFacts,
    PaintRequest,
    PaintResult,
    SpeechResult,
    Transcript,
    VoiceEmbedding,
    Word,
)

VOICE_MODEL = "resemblyzer-ge2e-256"
OTHER_VOICE_MODEL = "ecapa-voxceleb-192"
DIMENSIONS = {VOICE_MODEL: 256, OTHER_VOICE_MODEL: 192}
GARDEN = "There is an old house near the river, and a wooden bridge with flowers."
HARBOUR = "A rocket stands on the moon next to a big telescope and a robot."


def user(name: str = "") -> Any:
    return get_user_model().objects.create_user(username=name or f"user-{uuid.uuid4().hex[:8]}")


def meeting(owner: Any = None, **values: Any) -> Meeting:
    return meeting_create(owner=owner or user(), title=values.pop("title", "Garden"), **{"language": "en", **values})


def participant(of: Meeting, name: str = "Anna", role: str = Role.PARTICIPANT, **values: Any) -> Participant:
    """Someone who agreed to everything but keeping the recording, unless told otherwise."""
    agreed = {"consent_transcribe": True, "consent_voice_id": True}
    return Participant.objects.create(meeting=of, name=name, role=role, **{**agreed, **values})


def member(of: Meeting, name: str = "Anna", role: str = Role.PARTICIPANT, **values: Any) -> Membership:
    return Membership(of, participant(of, name, role, **values))


def stream(of: Meeting, who: Participant | None = None, **values: Any) -> AudioStream:
    return AudioStream.objects.create(id=uuid.uuid4(), meeting=of, participant=who or participant(of), **values)


def voice(seed: int, *, speech_s: float = 4.0, model: str = VOICE_MODEL) -> VoiceEmbedding:
    """The voice of person number `seed`: random directions in so many dimensions are far from each other."""
    vector = np.random.default_rng(seed).normal(size=DIMENSIONS[model])
    return VoiceEmbedding((vector / np.linalg.norm(vector)).tolist(), model, speech_s)


def alike(to: VoiceEmbedding, cosine: float, *, speech_s: float | None = None) -> VoiceEmbedding:
    """A voice at exactly this cosine similarity to another."""
    base = np.asarray(to.vector)
    across = np.random.default_rng(999).normal(size=base.size)
    across -= across @ base * base
    across /= np.linalg.norm(across)
    mixed = cosine * base + np.sqrt(1 - cosine**2) * across
    return VoiceEmbedding(mixed.tolist(), to.model, to.speech_s if speech_s is None else speech_s)


def speaker(owner: Any, name: str = "Anna", *, sounds: VoiceEmbedding | None = None, is_guest: bool = False) -> Speaker:
    made = speaker_create(owner_id=owner.pk, name=name, is_guest=is_guest)
    if sounds:
        Voiceprint.objects.create(speaker=made, model=sounds.model, vector=sounds.vector, speech_s=sounds.speech_s)
    return made


def speech_result(
    of: AudioStream,
    text: str = GARDEN,
    *,
    first_s: float = 0.0,
    last_s: float | None = None,
    sounds: VoiceEmbedding | None = None,
    error: str = "",
    **values: Any,
) -> SpeechResult:
    """What a speech host sends after hearing `first_s`…`last_s` of a stream (three seconds if not said)."""
    last_s = first_s + 3.0 if last_s is None else last_s
    now = time.time()
    words = [Word(word, 200 * i, 200 * i + 180) for i, word in enumerate(text.split())]
    return SpeechResult(
        **{
            "id": str(uuid.uuid4()),
            "meeting": of.meeting_id,
            "stream": str(of.pk),
            "first_sample": round(first_s * SAMPLE_RATE_HZ),
            "last_sample": round(last_s * SAMPLE_RATE_HZ),
            "started_at": now - 3.0,
            "ended_at": now,
            "transcript": None if error else Transcript(text, "en", 0.9, words),
            "voice": sounds,
            "engine": EngineFacts("pocketsphinx", "en-us", demo=True),
            "error": error,
            "received_at": now,
            "decoded_at": now,
            "timings_ms": {"decode": 120.0},
            **values,
        }
    )


def utterance(of: Meeting, text: str = GARDEN, *, said_by: Speaker | None = None, ago_s: float = 1.0) -> Utterance:
    """A line that is already written down, by a stream of its own."""
    ended = timezone.now() - timedelta(seconds=ago_s)
    return Utterance.objects.create(
        meeting=of,
        stream=stream(of),
        first_sample=0,
        last_sample=3 * SAMPLE_RATE_HZ,
        started_at=ended - timedelta(seconds=3),
        ended_at=ended,
        heard_at=ended,
        text=text,
        language="en",
        speaker=said_by or speaker(of.owner),
        speaker_state=Utterance.SpeakerState.KNOWN,
    )


def webp(width_px: int, height_px: int, colour: str = "#e2563a") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width_px, height_px), colour).save(buffer, "WEBP")
    return buffer.getvalue()


def paint_result(of: PaintRequest | Frame, **values: Any) -> PaintResult:
    """What a paint host sends: a small but real picture."""
    now = time.time()
    return PaintResult(
        **{
            "id": str(of.pk if isinstance(of, Frame) else of.id),
            "meeting": of.meeting_id if isinstance(of, Frame) else of.meeting,
            "image": webp(64, 36),
            "thumbnail": webp(32, 18),
            "width_px": 64,
            "height_px": 36,
            "seed": 7,
            "layout": "horizon",
            "engine": EngineFacts("poster", "poster-1"),
            "started_at": now - 0.3,
            "painted_at": now,
            **values,
        }
    )
