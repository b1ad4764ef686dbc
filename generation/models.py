"""Frames (the pictures of a meeting), where each came from, references and ratings."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from meetings.models import Meeting, Participant, Utterance
from speakers.models import Speaker


def frame_path(frame: Frame, filename: str) -> str:
    return f"meetings/{frame.meeting.slug}/frames/{filename}"


class Frame(models.Model):
    """One picture, from the wish for it to the file.

    While it waits it holds no prompt: that is written from the freshest context at the moment it is claimed.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        PAINTING = "painting", _("painting")
        READY = "ready", _("ready")
        FAILED = "failed", _("failed")
        SKIPPED = "skipped", _("skipped")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    meeting = models.ForeignKey(Meeting, models.CASCADE, related_name="frames", verbose_name=_("meeting"))
    state = models.CharField(_("state"), max_length=8, choices=State, default=State.WAITING)
    forced = models.BooleanField(_("asked for by a person"), default=False)
    asked_by = models.ForeignKey(
        Participant, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("asked by")
    )
    hint = models.CharField(_("hint"), max_length=300, blank=True)
    scene = models.JSONField(_("scene"), default=dict, blank=True)
    prompt = models.TextField(_("prompt"), blank=True)
    prompt_local = models.TextField(_("prompt in the meeting's language"), blank=True)
    negative = models.TextField(_("negative prompt"), blank=True)
    alt = models.JSONField(_("alternative text"), default=dict, blank=True)
    styles = models.JSONField(_("styles"), default=list, blank=True)
    seed = models.BigIntegerField(_("seed"), default=0)
    settings = models.JSONField(_("settings"), default=dict, blank=True)
    engine = models.JSONField(_("engine"), default=dict, blank=True)
    timings_ms = models.JSONField(_("timings, ms"), default=dict, blank=True)
    image = models.FileField(_("picture"), upload_to=frame_path, blank=True)
    thumbnail = models.FileField(_("thumbnail"), upload_to=frame_path, blank=True)
    width_px = models.PositiveIntegerField(_("width, px"), default=0)
    height_px = models.PositiveIntegerField(_("height, px"), default=0)
    error = models.CharField(_("error"), max_length=40, blank=True)
    attempt = models.PositiveSmallIntegerField(_("attempt"), default=0)
    lease_until = models.DateTimeField(_("lease"), null=True, blank=True)
    requested_at = models.DateTimeField(_("requested"), default=timezone.now)
    not_before = models.DateTimeField(
        _("not before"), default=timezone.now, help_text=_("Words still being heard get this long to arrive.")
    )
    newest_words_at = models.DateTimeField(_("newest words in it"), null=True, blank=True)
    claimed_at = models.DateTimeField(_("claimed"), null=True, blank=True)
    ready_at = models.DateTimeField(_("ready"), null=True, blank=True)
    shown_at = models.DateTimeField(_("first shown"), null=True, blank=True)
    hidden = models.BooleanField(_("hidden"), default=False)
    rev = models.PositiveBigIntegerField(_("revision"), default=0)

    class Meta:
        verbose_name = _("frame")
        verbose_name_plural = _("frames")
        ordering = ("requested_at",)
        constraints = [
            models.UniqueConstraint(
                fields=["meeting"], condition=models.Q(state="painting"), name="one_painting_per_meeting"
            ),
            models.UniqueConstraint(
                fields=["meeting"], condition=models.Q(state="waiting"), name="one_waiting_per_meeting"
            ),
        ]
        indexes = [
            models.Index(fields=["meeting", "state", "ready_at"]),
            models.Index(fields=["state", "requested_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.get_state_display()} {self.id}"


class Reference(models.Model):
    """An image that pictures may lean on, bound to a meeting, a speaker or a place."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    image = models.FileField(_("image"), upload_to="references/")
    meeting = models.ForeignKey(
        Meeting, models.CASCADE, null=True, blank=True, related_name="references", verbose_name=_("meeting")
    )
    speaker = models.ForeignKey(
        Speaker, models.CASCADE, null=True, blank=True, related_name="references", verbose_name=_("speaker")
    )
    place = models.CharField(_("place"), max_length=80, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("reference")
        verbose_name_plural = _("references")

    def __str__(self) -> str:
        return self.place or str(self.id)


class FrameSource(models.Model):
    """What a frame came from: the utterances quoted under it, the references used."""

    frame = models.ForeignKey(Frame, models.CASCADE, related_name="sources", verbose_name=_("frame"))
    utterance = models.ForeignKey(
        Utterance, models.CASCADE, null=True, blank=True, related_name="+", verbose_name=_("utterance")
    )
    reference = models.ForeignKey(
        Reference, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("reference")
    )
    position = models.PositiveSmallIntegerField(_("position"), default=0)

    class Meta:
        verbose_name = _("source of a frame")
        verbose_name_plural = _("sources of a frame")
        ordering = ("position",)

    def __str__(self) -> str:
        return f"{self.frame_id} #{self.position}"


class Rating(models.Model):
    frame = models.ForeignKey(Frame, models.CASCADE, related_name="ratings", verbose_name=_("frame"))
    participant = models.ForeignKey(Participant, models.CASCADE, related_name="+", verbose_name=_("participant"))
    value = models.SmallIntegerField(_("value"), validators=[MinValueValidator(-1), MaxValueValidator(1)])
    note = models.CharField(_("note"), max_length=300, blank=True)
    rated_at = models.DateTimeField(_("rated"), auto_now=True)

    class Meta:
        verbose_name = _("rating")
        verbose_name_plural = _("ratings")
        constraints = [models.UniqueConstraint(fields=["frame", "participant"], name="one_rating_each")]

    def __str__(self) -> str:
        return f"{self.value:+d}"


class PainterChoice(models.Model):
    """Which model the owner of this site wants pictures painted with: one row, or none while nobody chose."""

    ONLY = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY, editable=False)
    model = models.CharField(_("model"), max_length=60, blank=True)
    """Name in the catalogue; empty: each paint host's own choice."""
    chosen_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("chosen by")
    )
    chosen_at = models.DateTimeField(_("chosen"), default=timezone.now)

    class Meta:
        verbose_name = _("painter")
        verbose_name_plural = _("painter")
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="one_painter_choice")]

    def __str__(self) -> str:
        return self.model or str(_("each host's own choice"))


class AcceptedLicence(models.Model):
    """Somebody accepted for this site what a paint model's licence asks for. Kept as it was: a record."""

    model = models.CharField(_("model"), max_length=60)
    licence = models.CharField(_("licence"), max_length=120)
    """Its name when it was accepted: another one has to be accepted anew."""
    licence_url = models.URLField(_("address of the licence"), blank=True)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+", verbose_name=_("accepted by")
    )
    accepted_by_name = models.CharField(_("account"), max_length=150)
    """Stays when the account goes."""
    accepted_at = models.DateTimeField(_("accepted"), default=timezone.now)

    class Meta:
        verbose_name = _("accepted licence")
        verbose_name_plural = _("accepted licences")
        ordering = ("-accepted_at",)
        constraints = [models.UniqueConstraint(fields=["model", "licence"], name="licence_accepted_once")]

    def __str__(self) -> str:
        return f"{self.model}: {self.licence}"
