"""Meetings, people, streams and words in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from meetings.models import AudioStream, Meeting, Participant, Utterance
from meetings.services import invites_void, meeting_end


class ParticipantInline(admin.TabularInline):
    model = Participant
    extra = 0
    fields = ("name", "user", "role", "consent_transcribe", "consent_voice_id", "consent_keep", "consented_at")
    readonly_fields = ("consented_at",)


@admin.register(Meeting)
class MeetingAdmin(admin.ModelAdmin):
    list_display = ("title", "slug", "owner", "language", "mode", "created_at", "ended_at")
    list_filter = ("language", "mode")
    search_fields = ("title", "slug")
    readonly_fields = ("rev", "invites_version", "created_at")  # a lower version would make old invites good again
    inlines = (ParticipantInline,)
    actions = ("end", "void_invites")

    @admin.action(description=_("End the selected meetings"))
    def end(self, request: HttpRequest, meetings: QuerySet[Meeting]) -> None:
        for meeting in meetings:
            meeting_end(meeting)

    @admin.action(description=_("Make all invites so far void"))
    def void_invites(self, request: HttpRequest, meetings: QuerySet[Meeting]) -> None:
        for meeting in meetings:
            invites_void(meeting)


@admin.register(Participant)
class ParticipantAdmin(admin.ModelAdmin):
    list_display = ("__str__", "meeting", "role", "consent_transcribe", "consent_voice_id", "joined_at")
    list_filter = ("role",)
    search_fields = ("name",)
    raw_id_fields = ("meeting", "user")


@admin.register(AudioStream)
class AudioStreamAdmin(admin.ModelAdmin):
    list_display = ("id", "meeting", "participant", "language", "next_sample", "started_at", "closed_at")
    raw_id_fields = ("meeting", "participant", "speaker")


@admin.register(Utterance)
class UtteranceAdmin(admin.ModelAdmin):
    list_display = ("started_at", "meeting", "speaker", "speaker_state", "kind", "text")
    list_filter = ("kind", "speaker_state", "language")
    search_fields = ("text",)
    raw_id_fields = ("meeting", "stream", "speaker")
    readonly_fields = ("words", "engine", "timings_ms", "rev")
