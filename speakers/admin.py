"""Speakers, voices and styles in the admin."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from speakers.models import HEX_COLOUR, Calibration, Consent, Speaker, StylePreset, Voiceprint
from speakers.services import voice_delete


def swatches(colours: list[str]) -> SafeString:
    """Colours as small squares; anything that is not #rrggbb is left out."""
    colours = colours if isinstance(colours, list) else []
    valid = [(c,) for c in colours if isinstance(c, str) and HEX_COLOUR.regex.fullmatch(c)]
    # As a picture: the pages' policy allows no inline styles.
    square = '<svg width="18" height="18" aria-hidden="true"><rect width="18" height="18" fill="{}"/></svg>'
    return format_html_join("", square, valid)


class ConsentInline(admin.TabularInline):
    model = Consent
    extra = 0


@admin.register(Speaker)
class SpeakerAdmin(admin.ModelAdmin):
    list_display = ("name", "swatch", "is_guest", "preset", "voiceprint_count", "created_at")
    list_filter = ("is_guest", "preset")
    search_fields = ("name",)
    raw_id_fields = ("user", "merged_into")
    inlines = (ConsentInline,)
    actions = ("delete_voice",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Speaker]:
        return super().get_queryset(request).annotate(prints=Count("voiceprints"))

    @admin.display(description=_("colour"))
    def swatch(self, speaker: Speaker) -> SafeString:
        return swatches([speaker.colour])

    @admin.display(description=_("voiceprints"), ordering="prints")
    def voiceprint_count(self, speaker: Speaker) -> int:
        return speaker.prints  # type: ignore[attr-defined]

    @admin.action(description=_("Delete the voices of the selected speakers"))
    def delete_voice(self, request: HttpRequest, speakers: QuerySet[Speaker]) -> None:
        gone = sum(voice_delete(speaker) for speaker in speakers)
        self.message_user(request, _("Voiceprints deleted: %(count)d") % {"count": gone}, messages.SUCCESS)


@admin.register(Voiceprint)
class VoiceprintAdmin(admin.ModelAdmin):
    list_display = ("speaker", "model", "speech_s", "quality", "updated_at")
    list_filter = ("model",)
    raw_id_fields = ("speaker",)
    exclude = ("vector",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(Calibration)
class CalibrationAdmin(admin.ModelAdmin):
    """What `manage.py calibrate_voices` measured, to look at; deleting a row gives the shipped thresholds back."""

    list_display = ("model", "upper", "lower", "margin", "speakers", "recordings", "measured_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Calibration | None = None) -> bool:
        return False


@admin.register(StylePreset)
class StylePresetAdmin(admin.ModelAdmin):
    list_display = ("name", "inks", "strength", "is_default", "version", "owner")
    list_filter = ("is_default",)
    search_fields = ("name", "style_words")

    @admin.display(description=_("palette"))
    def inks(self, preset: StylePreset) -> SafeString:
        return format_html("{}", swatches(preset.palette))
