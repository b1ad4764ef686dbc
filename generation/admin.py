"""Frames, references and ratings in the admin."""

from __future__ import annotations

from django.contrib import admin

from generation.models import Frame, FrameSource, Rating, Reference


class FrameSourceInline(admin.TabularInline):
    model = FrameSource
    extra = 0
    raw_id_fields = ("utterance", "reference")


@admin.register(Frame)
class FrameAdmin(admin.ModelAdmin):
    list_display = ("id", "meeting", "state", "forced", "requested_at", "ready_at", "error")
    list_filter = ("state", "forced", "hidden")
    date_hierarchy = "requested_at"
    search_fields = ("prompt", "meeting__title")
    raw_id_fields = ("meeting", "asked_by")
    readonly_fields = ("rev", "timings_ms", "engine", "scene", "styles", "settings")
    inlines = (FrameSourceInline,)


@admin.register(Reference)
class ReferenceAdmin(admin.ModelAdmin):
    list_display = ("id", "meeting", "speaker", "place", "created_at")
    raw_id_fields = ("meeting", "speaker")


@admin.register(Rating)
class RatingAdmin(admin.ModelAdmin):
    list_display = ("frame", "participant", "value", "rated_at")
    list_filter = ("value",)
    raw_id_fields = ("frame", "participant")
