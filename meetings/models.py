"""Meetings, the people in them, their audio streams and what was heard."""

from __future__ import annotations

import secrets
import uuid

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, validate_slug
from django.db import models
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from pgvector.django import VectorField

from speakers.models import Speaker, StylePreset


def new_slug() -> str:
    """Ten characters that nobody guesses: the slug is an address, not a secret, but it should not be enumerable."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    return "".join(secrets.choice(alphabet) for _i in range(10))


class Language(models.TextChoices):
    ENGLISH = "en", _("English")
    RUSSIAN = "ru", _("Russian")
    AUTO = "auto", _("Automatic")


class Meeting(models.Model):
    class Mode(models.TextChoices):
        AUTO = "auto", _("Auto")
        SUGGEST = "suggest", _("Suggest")
        MANUAL = "manual", _("On demand")

    slug = models.CharField(_("address"), max_length=40, unique=True, default=new_slug, validators=[validate_slug])
    title = models.CharField(_("title"), max_length=120)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="meetings", verbose_name=_("owner")
    )
    language = models.CharField(_("language"), max_length=4, choices=Language, default=Language.AUTO)
    mode = models.CharField(_("mode"), max_length=8, choices=Mode, default=Mode.AUTO)
    interval_s = models.PositiveSmallIntegerField(
        _("seconds between pictures"), default=12, validators=[MinValueValidator(10), MaxValueValidator(20)]
    )
    context_minutes = models.PositiveSmallIntegerField(
        _("minutes of context"), default=5, validators=[MinValueValidator(1), MaxValueValidator(60)]
    )
    retention_days = models.PositiveIntegerField(_("days kept"), default=30)
    paused = models.BooleanField(_("painting paused"), default=False)
    preset = models.ForeignKey(
        StylePreset, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("style of the room")
    )
    open_settings = models.BooleanField(_("participants may change settings"), default=True)
    rev = models.PositiveBigIntegerField(_("revision"), default=0, editable=False)
    invites_version = models.PositiveIntegerField(
        _("version of the invites"), default=1, help_text=_("Raise it to make every invite so far void.")
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("meeting")
        verbose_name_plural = _("meetings")
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("meetings:room", args=[self.slug])


class Role(models.TextChoices):
    OWNER = "owner", _("owner")
    PARTICIPANT = "participant", _("participant")
    VIEWER = "viewer", _("viewer")


class Participant(models.Model):
    """A user or guest in one meeting, with what they agreed to."""

    meeting = models.ForeignKey(Meeting, models.CASCADE, related_name="participants", verbose_name=_("meeting"))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="+", verbose_name=_("user")
    )
    name = models.CharField(_("name"), max_length=80, blank=True)
    role = models.CharField(_("role"), max_length=12, choices=Role, default=Role.PARTICIPANT)
    consent_transcribe = models.BooleanField(_("agreed to transcription and painting"), default=False)
    consent_voice_id = models.BooleanField(_("agreed to voice recognition"), default=False)
    consent_keep = models.BooleanField(_("agreed to keep the recording"), default=False)
    consented_at = models.DateTimeField(_("agreed at"), null=True, blank=True)
    by_token = models.BooleanField(default=False, editable=False)
    """Taken by a client that carries a token and says a name; a browser's place belongs to its session alone."""
    joined_at = models.DateTimeField(_("joined"), default=timezone.now, editable=False)
    connected_until = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("participant")
        verbose_name_plural = _("participants")
        constraints = [
            models.UniqueConstraint(
                fields=["meeting", "user"], condition=models.Q(user__isnull=False), name="user_once_per_meeting"
            )
        ]

    def __str__(self) -> str:
        return self.name or str(self.get_role_display())


class AudioStream(models.Model):
    """One microphone or file, by the uuid that its client chose.

    `next_sample` is the promise of the live socket: the outcome of every sample before it is in this database.
    """

    id = models.UUIDField(primary_key=True)
    meeting = models.ForeignKey(Meeting, models.CASCADE, related_name="streams", verbose_name=_("meeting"))
    participant = models.ForeignKey(Participant, models.CASCADE, related_name="streams", verbose_name=_("participant"))
    label = models.CharField(_("label"), max_length=120, blank=True)
    language = models.CharField(_("language"), max_length=4, choices=Language, default=Language.AUTO)
    next_sample = models.PositiveBigIntegerField(_("next durable sample"), default=0)
    openings = models.PositiveIntegerField(default=0, editable=False)
    """How often it was opened or resumed: of two processes that think they hold it, the later one does."""
    heard_language = models.CharField(
        _("language heard"), max_length=8, blank=True, help_text=_("Locked once the engine was sure of it.")
    )
    language_doubt = models.FloatField(default=0.0, editable=False)
    """Evidence so far that the engine does not know the language spoken here (nats)."""
    foreign = models.BooleanField(
        _("in another language"), default=False, help_text=_("The engine at work does not know it.")
    )
    speaker = models.ForeignKey(
        Speaker, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("last speaker")
    )
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    closed_at = models.DateTimeField(_("closed"), null=True, blank=True)

    class Meta:
        verbose_name = _("audio stream")
        verbose_name_plural = _("audio streams")

    def __str__(self) -> str:
        return str(self.id)


class Utterance(models.Model):
    """A stretch of one stream with its outcome: words under a speaker's name, or a gap that nobody will ever hear."""

    class Kind(models.TextChoices):
        WORDS = "words", _("words")
        GAP = "gap", _("gap")
        HELD = "held", _("held back")
        """Words that nobody sees yet: perhaps they were never said in a language that the engine knows."""

    class SpeakerState(models.TextChoices):
        KNOWN = "known", _("known")
        GUEST = "guest", _("guest")
        UNSURE = "unsure", _("unsure")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    meeting = models.ForeignKey(Meeting, models.CASCADE, related_name="utterances", verbose_name=_("meeting"))
    stream = models.ForeignKey(
        AudioStream, models.CASCADE, null=True, blank=True, related_name="utterances", verbose_name=_("stream")
    )
    kind = models.CharField(_("kind"), max_length=5, choices=Kind, default=Kind.WORDS)
    first_sample = models.PositiveBigIntegerField(_("first sample"))
    last_sample = models.PositiveBigIntegerField(_("last sample"), help_text=_("One past the last."))
    started_at = models.DateTimeField(_("started"))
    ended_at = models.DateTimeField(_("ended"))
    text = models.TextField(_("text"), blank=True)
    text_en = models.TextField(_("text in English"), blank=True)
    language = models.CharField(_("language"), max_length=8, blank=True)
    language_doubt = models.FloatField(default=0.0, editable=False)
    """Evidence that the engine does not know the language of this line (nats)."""
    confidence = models.FloatField(_("confidence"), default=1.0)
    words = models.JSONField(_("words"), default=list, blank=True)
    reason = models.CharField(_("reason of the gap"), max_length=40, blank=True)
    speaker = models.ForeignKey(
        Speaker, models.SET_NULL, null=True, blank=True, related_name="utterances", verbose_name=_("speaker")
    )
    speaker_confidence = models.FloatField(_("confidence in the speaker"), default=0.0)
    speaker_state = models.CharField(_("speaker is"), max_length=8, choices=SpeakerState, default=SpeakerState.GUEST)
    speaker_confirmed = models.BooleanField(_("confirmed by a person"), default=False)
    not_speakers = models.JSONField(default=list, blank=True, editable=False)
    """Speakers (primary keys) that a person said it was not."""
    level_dbfs = models.FloatField(_("loudness, dBFS"), default=0.0)
    engine = models.JSONField(_("engine"), default=dict, blank=True)
    timings_ms = models.JSONField(_("timings, ms"), default=dict, blank=True)
    heard_at = models.DateTimeField(_("heard"), default=timezone.now)
    rev = models.PositiveBigIntegerField(_("revision"), default=0)

    class Meta:
        verbose_name = _("utterance")
        verbose_name_plural = _("utterances")
        ordering = ("started_at", "first_sample")
        constraints = [models.UniqueConstraint(fields=["stream", "first_sample"], name="utterance_once_per_place")]
        indexes = [
            models.Index(fields=["meeting", "ended_at"]),
            models.Index(fields=["meeting", "rev"]),
            models.Index(fields=["heard_at"], name="utterance_held_back", condition=models.Q(kind="held")),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.first_sample}–{self.last_sample}"


class HeardVoice(models.Model):
    """The voice of one utterance, kept only with its speaker's consent: what confirming, merging and splitting need."""

    utterance = models.OneToOneField(Utterance, models.CASCADE, related_name="voice")
    speaker = models.ForeignKey(Speaker, models.CASCADE, related_name="heard_voices")
    """Whose it is taken for; erasing that person's voice erases it."""
    model = models.CharField(max_length=80)
    vector = VectorField()
    speech_s = models.FloatField()
    learnt = models.BooleanField(default=False)
    """Whether the speaker's voiceprint was learned from it: prints can be learned again without a line."""

    class Meta:
        verbose_name = _("voice heard")
        verbose_name_plural = _("voices heard")

    def __str__(self) -> str:
        return f"{self.model} · {self.speech_s:.1f} s"


class OwnerLink(models.Model):
    """A link that logs the owner in, once. Only the token's hash is kept."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    token_hash = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("owner link")
        verbose_name_plural = _("owner links")

    def __str__(self) -> str:
        return f"{self.user_id} {self.expires_at:%Y-%m-%d}"
