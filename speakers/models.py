"""Speakers, voiceprints, consents and style presets."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, RegexValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from pgvector.django import VectorField

HEX_COLOUR = RegexValidator(r"^#[0-9a-fA-F]{6}$", _("A colour is written #rrggbb."))

MOST_ITEMS = 24  # colours of a palette, or muted topics
# Distinguishable from each other and from both themes' grounds; guests take them in turn.
SPEAKER_COLOURS = ("#f4b04a", "#7fb2bd", "#9aad62", "#e0714f", "#b493c9", "#5f8fd3", "#d98ba3", "#5fb59a")


class StylePreset(models.Model):
    """How a speaker's words want to be painted. Saving a change raises `version`; frames keep the version they used."""

    name = models.CharField(_("name"), max_length=80)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="presets", verbose_name=_("owner")
    )
    palette = models.JSONField(
        _("palette"), default=list, blank=True, help_text=_("Inks as #rrggbb, the main one first.")
    )
    style_words = models.CharField(_("style words"), max_length=300, blank=True)
    negative_words = models.CharField(_("never show"), max_length=300, blank=True)
    story = models.CharField(_("story preferences"), max_length=300, blank=True)
    strength = models.FloatField(_("strength"), default=0.7)
    muted_topics = models.JSONField(_("muted topics"), default=list, blank=True)
    version = models.PositiveIntegerField(_("version"), default=1, editable=False)
    is_default = models.BooleanField(_("given to new speakers"), default=False)

    class Meta:
        verbose_name = _("style preset")
        verbose_name_plural = _("style presets")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """What may be typed into the two JSON fields. Raises ValidationError."""
        for field, item in (("palette", HEX_COLOUR), ("muted_topics", MaxLengthValidator(80))):
            values = getattr(self, field)
            if not isinstance(values, list) or len(values) > MOST_ITEMS or not all(isinstance(v, str) for v in values):
                message = _("A list of at most %(most)d texts, please.") % {"most": MOST_ITEMS}
                raise ValidationError({field: message})
            for value in values:
                try:
                    item(value)
                except ValidationError as error:
                    raise ValidationError({field: error.messages}) from None

    def save(self, *args: object, **kwargs: object) -> None:
        if self.pk and not self._state.adding:
            self.version = (StylePreset.objects.filter(pk=self.pk).values_list("version", flat=True).first() or 0) + 1
            fields = kwargs.get("update_fields")
            if fields is not None:
                kwargs["update_fields"] = {*fields, "version"}  # type: ignore[misc]
        super().save(*args, **kwargs)  # type: ignore[arg-type]


class Speaker(models.Model):
    """A voice that the owner's meetings know, by name or still as a guest."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="speakers", verbose_name=_("owner")
    )
    name = models.CharField(_("name"), max_length=80)
    colour = models.CharField(_("colour"), max_length=7, default=SPEAKER_COLOURS[0], validators=[HEX_COLOUR])
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("user")
    )
    preset = models.ForeignKey(
        StylePreset, models.SET_NULL, null=True, blank=True, related_name="speakers", verbose_name=_("style preset")
    )
    is_guest = models.BooleanField(_("guest"), default=True, help_text=_("Nobody has said who this is yet."))
    merged_into = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="merged", verbose_name=_("merged into")
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("speaker")
        verbose_name_plural = _("speakers")
        ordering = ("name", "pk")

    def __str__(self) -> str:
        return self.name


class Voiceprint(models.Model):
    """A unit vector of one voice by one model. Vectors of different models are never compared."""

    speaker = models.ForeignKey(Speaker, models.CASCADE, related_name="voiceprints", verbose_name=_("speaker"))
    model = models.CharField(_("model"), max_length=80)
    vector = VectorField(_("vector"))
    speech_s = models.FloatField(_("seconds of speech"))
    quality = models.FloatField(_("quality"), default=1.0)
    source = models.CharField(
        _("source"), max_length=80, blank=True, help_text=_("The stream or enrolment it came from.")
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        verbose_name = _("voiceprint")
        verbose_name_plural = _("voiceprints")
        indexes = [models.Index(fields=["model", "speaker"])]

    def __str__(self) -> str:
        return f"{self.model} · {self.speech_s:.1f} s"


class Calibration(models.Model):
    """Thresholds of one voice model, measured on recordings here; they take the place of the shipped ones."""

    model = models.CharField(_("model"), max_length=80, unique=True)
    upper = models.FloatField(_("upper threshold"))
    lower = models.FloatField(_("lower threshold"))
    margin = models.FloatField(_("margin to the runner-up"))
    figures = models.JSONField(
        _("error rates"), default=dict, blank=True, help_text=_("Shares of 1, by seconds of speech.")
    )
    speakers = models.PositiveIntegerField(_("speakers measured"))
    recordings = models.PositiveIntegerField(_("recordings measured"))
    measured_at = models.DateTimeField(_("measured"), default=timezone.now)

    class Meta:
        verbose_name = _("calibration")
        verbose_name_plural = _("calibrations")

    def __str__(self) -> str:
        return self.model


class Enrolment(models.Model):
    """A recording of one person on its way to a voiceprint. The sound itself is never stored."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", verbose_name=_("owner"))
    speaker = models.ForeignKey(
        Speaker, models.CASCADE, null=True, blank=True, related_name="enrolments", verbose_name=_("speaker")
    )
    name = models.CharField(_("name"), max_length=80)
    state = models.CharField(_("state"), max_length=8, choices=State, default=State.WAITING)
    error = models.CharField(_("error"), max_length=40, blank=True)
    speech_s = models.FloatField(_("seconds of speech"), default=0.0)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("enrolment")
        verbose_name_plural = _("enrolments")

    def __str__(self) -> str:
        return f"{self.name}: {self.get_state_display()}"


class Consent(models.Model):
    """What a person allowed, when; withdrawn consents stay as history."""

    class Kind(models.TextChoices):
        VOICE_ID = "voice_id", _("recognise my voice")

    speaker = models.ForeignKey(Speaker, models.CASCADE, related_name="consents", verbose_name=_("speaker"))
    kind = models.CharField(_("kind"), max_length=20, choices=Kind)
    given_at = models.DateTimeField(_("given"), default=timezone.now)
    withdrawn_at = models.DateTimeField(_("withdrawn"), null=True, blank=True)

    class Meta:
        verbose_name = _("consent")
        verbose_name_plural = _("consents")
        constraints = [
            models.UniqueConstraint(
                fields=["speaker", "kind"], condition=models.Q(withdrawn_at=None), name="one_standing_consent"
            )
        ]

    def __str__(self) -> str:
        return str(self.get_kind_display())
