"""`manage.py enrol NAME FILE…`: learn a voice from recordings of one person, with this machine's own voice engine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q
from django.utils.translation import gettext as _

from meetings.access import clean_name, owner_create
from meetviz_site.live.audio_file import AudioFileError, read_audio
from meetviz_site.recordings import RecordingRefused, teaching_of
from speakers.calibration import thresholds_for
from speakers.enrolment import EnrolmentRefused, refusal, voice_enrol
from workers import registry
from workers.engines.base import EngineError, VoiceEngine
from workers.messages import VoiceEmbedding

SHORTEST_S = 0.5
"""A file with less speech than a word says nothing of a voice."""


class Command(BaseCommand):
    help = (
        "Learn a voice from audio files (of any format) of one person, at least 5 s of speech together. Works beside a"
        " running server, on the same data. The recordings are not stored."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="whose voice it is; a name that is known already adds to that voice")
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="recordings of this person alone")
        parser.add_argument("--owner", metavar="USERNAME", help="whose meetings are to know the voice")
        parser.add_argument("--yes", action="store_true", help="this person agreed that their voice is recognised")

    def handle(self, *_args: Any, **options: Any) -> None:
        name = clean_name(options["name"])
        if not name:
            raise CommandError(_("Give the voice a name."))
        owner = _owner(options["owner"])
        # Files first: a typing mistake must not show after the question and the engine's start.
        recordings = [(path.name, _read(path)) for path in options["files"]]
        if not options["yes"]:
            _ask_consent(name)
        try:
            voices = self._voices(recordings)
        finally:
            registry.unload_all()
        voice = pooled([voice for _name, voice in voices])
        self._warn_of_strangers(voices, voice)
        try:
            speaker = voice_enrol(owner_id=owner.pk, name=name, voice=voice)
        except EnrolmentRefused as refused:
            raise CommandError(refusal(refused.code, voice.speech_s)) from None
        learned = _("%(name)s is known by voice now: %(seconds).1f s of speech, %(model)s.")
        self.stdout.write(learned % {"name": speaker.name, "seconds": voice.speech_s, "model": voice.model})

    def _voices(self, recordings: list[tuple[str, Any]]) -> list[tuple[str, VoiceEmbedding]]:
        """Each file's voice; what is too short for one counts as no speech."""
        engine = registry.voice_engine()
        voices: list[tuple[str, VoiceEmbedding]] = []
        for file, samples in recordings:
            voice = _embed(engine, file, samples)
            speech_s = voice.speech_s if voice else 0.0
            self.stdout.write(_("%(file)s: %(seconds).1f s of speech") % {"file": file, "seconds": speech_s})
            if voice:
                voices.append((file, voice))
        if not voices:
            raise CommandError(refusal("too_little_speech", 0.0))
        return voices

    def _warn_of_strangers(self, voices: list[tuple[str, VoiceEmbedding]], together: VoiceEmbedding) -> None:
        lower = thresholds_for(together.model).lower
        for file, voice in voices:
            if float(np.dot(voice.vector, together.vector)) < lower:
                warning = _("%(file)s does not sound like the others: is it the same person?") % {"file": file}
                self.stderr.write(self.style.WARNING(warning))


def pooled(voices: list[VoiceEmbedding]) -> VoiceEmbedding:
    """Several voices of one person and one model as one: the mean weighted by seconds of speech, unit length again."""
    weights = np.array([voice.speech_s for voice in voices])
    mean = weights @ np.array([voice.vector for voice in voices])
    length = float(np.linalg.norm(mean)) or 1.0
    return VoiceEmbedding((mean / length).tolist(), voices[0].model, float(weights.sum()))


def _embed(engine: VoiceEngine, file: str, samples: Any) -> VoiceEmbedding | None:
    try:
        teaching = teaching_of(samples)
        if teaching.speech_s < SHORTEST_S:
            return None
        return engine.embed(teaching.samples.astype(np.float32) / 32768.0)
    except RecordingRefused as refused:
        raise CommandError(f"{file}: {refused}") from None
    except EngineError as error:
        raise CommandError(_("The voice engine does not work here: %(reason)s") % {"reason": error}) from error


def _read(path: Path) -> Any:
    try:
        return read_audio(path)
    except AudioFileError as error:
        raise CommandError(str(error)) from error


def _owner(username: str | None) -> Any:
    """Whose voice list it goes to: the only one there is, or the one that is named."""
    users = get_user_model().objects.filter(is_active=True)
    if username:
        user = users.filter(username=username).first()
        if user is None:
            raise CommandError(_("There is no user called %(name)s.") % {"name": username})
        return user
    owners = users.filter(Q(is_superuser=True) | Q(meetings__isnull=False)).distinct().order_by("pk")
    if len(owners) > 1:
        names = ", ".join(owners.values_list("username", flat=True))
        raise CommandError(
            _("Several people own meetings here (%(names)s): say whose, with --owner.") % {"names": names}
        )
    return owners[0] if owners else owner_create()


def _ask_consent(name: str) -> None:
    if not sys.stdin.isatty():
        raise CommandError(
            _("Nobody can be asked here: add --yes if %(name)s agreed that their voice is recognised.") % {"name": name}
        )
    question = _("Has this person agreed that their voice is recognised? [y/N] ")
    if input(question).strip().lower() not in ("y", "yes", "д", "да"):
        raise CommandError(_("Without their yes no voice is learned."))
