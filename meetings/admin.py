"""Meetings, people, streams and words in the admin."""

from __future__ import annotations

from collections import defaultdict

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.forms import BaseModelFormSet, ModelForm
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from meetings.announce import open_meetings
from meetings.corrections import lines_leave, speaker_erase
from meetings.merging import speakers_join
from meetings.models import AudioStream, Meeting, Participant, Utterance
from meetings.services import invites_void, meeting_end, voices_forget
from speakers.admin import SpeakerAdmin
from speakers.models import Speaker


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

    def save_formset(self, request: HttpRequest, form: ModelForm, formset: BaseModelFormSet, change: bool) -> None:
        super().save_formset(request, form, formset, change)
        for participant in form.instance.participants.filter(consent_voice_id=False):
            voices_forget(participant)

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

    def save_model(self, request: HttpRequest, obj: Participant, form: ModelForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not obj.consent_voice_id:
            voices_forget(obj)


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
    readonly_fields = ("words", "engine", "timings_ms", "rev", "level_dbfs")
    actions = ("split",)

    @admin.action(description=_("The selected lines are somebody else's: a new guest's"))
    def split(self, request: HttpRequest, lines: QuerySet[Utterance]) -> None:
        by_meeting = defaultdict(list)
        for meeting_id, pk in lines.filter(kind=Utterance.Kind.WORDS).values_list("meeting", "pk"):
            by_meeting[meeting_id].append(pk)
        for meeting in Meeting.objects.filter(pk__in=by_meeting):
            lines_leave(meeting, by_meeting[meeting.pk])


@admin.action(description=_("The selected speakers are one: merge them"))
def merge(model_admin: SpeakerAdmin, request: HttpRequest, speakers: QuerySet[Speaker]) -> None:
    """Into the one with a name, of several the oldest. People of different owners stay apart."""
    people = sorted(speakers.filter(merged_into=None), key=lambda speaker: (speaker.is_guest, speaker.pk))
    if len(people) < 2 or len({speaker.owner_id for speaker in people}) > 1:
        message = _("Select two or more speakers of one owner who are not merged yet.")
        model_admin.message_user(request, message, messages.ERROR)
        return
    with transaction.atomic():
        open_meetings(*people)
        for speaker in people[1:]:
            speakers_join(speaker, people[0])
    model_admin.message_user(request, _("All of them are %(name)s now.") % {"name": people[0].name}, messages.SUCCESS)


@admin.action(description=_("Forget the selected speakers: voice and name"))
def forget(model_admin: SpeakerAdmin, request: HttpRequest, speakers: QuerySet[Speaker]) -> None:
    for speaker in speakers.filter(merged_into=None):
        speaker_erase(speaker)
    model_admin.message_user(request, _("Their voices and names are gone."), messages.SUCCESS)


# Speakers know nothing of meetings; what changes the lines of meetings is added to their page from here.
SpeakerAdmin.actions = (*SpeakerAdmin.actions, merge, forget)
