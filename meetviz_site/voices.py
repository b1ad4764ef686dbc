"""`/voices/`: the voices that somebody's meetings know, and teaching new ones by microphone or file.

Here and not in `speakers`: it reads sound (`meetings.audio`) and tells open rooms of changed names.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any

from celery import current_app
from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_POST, require_safe
from kombu.exceptions import OperationalError

from meetings.access import clean_name
from meetings.corrections import speaker_erase, speaker_name
from meetviz_site.recordings import (
    MOST_BYTES,
    InMemoryUpload,
    RecordingRefused,
    Teaching,
    recording_of,
    teaching_of,
    too_large,
)
from speakers.enrolment import (
    ENOUGH_SPEECH_S,
    EnrolmentRefused,
    enrolment_fail,
    enrolment_start,
    known_voices,
    refusal,
    speaker_called,
)
from speakers.models import Enrolment, Speaker
from workers.messages import QUEUE_SPEECH, TASK_EMBED, EmbedRequest

VOICES_PER_PAGE = 60
LATE_AFTER_S = 20.0
"""A speech host takes a second or two; one that is busy with a meeting a little longer."""


class NameForm(forms.Form):
    """What somebody is called."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=80)

    def clean_name(self) -> str:
        name = clean_name(self.cleaned_data["name"])
        if not name:
            raise forms.ValidationError(_("Give the voice a name."))
        return name


class EnrolForm(NameForm):
    """Whose voice is to be learned, and that they agreed."""

    consent = forms.BooleanField(
        error_messages={"required": gettext_lazy("Tick that this person agreed: without a yes no voice is learned.")}
    )


def signed_in(view: Callable[..., Any]) -> Callable[..., Any]:
    """Only for people with an account; everyone else is shown the start page, scripts get 403."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        if request.method == "GET" and "json" not in request.headers.get("Accept", ""):
            return redirect("generation:home")
        return _problem("signed_out", _("You are not signed in any more. Open the start page and sign in."), 403)

    return never_cache(checked)


@signed_in
@require_safe
def voices(request: HttpRequest) -> HttpResponse:
    page = Paginator(known_voices(request.user), VOICES_PER_PAGE).get_page(request.GET.get("page"))
    context = {"page": page, "enough_s": ENOUGH_SPEECH_S, "most_bytes": MOST_BYTES}
    part = request.GET.get("part")
    return render(request, "speakers/parts/known.html" if part else "speakers/voices.html", context)


# Exempt, so that how much comes in and where it is kept is settled before anything reads it; the inner view is not.
@csrf_exempt
@signed_in
@require_POST
def enrol(request: HttpRequest) -> HttpResponse:
    """A recording (`sound`, once or more), a `name` and a `consent`: 202 and where the outcome can be asked for."""
    length = str(request.META.get("CONTENT_LENGTH") or "")
    if length.isdecimal() and int(length) > MOST_BYTES:
        return _refused(too_large(), 413)
    request.upload_handlers = [InMemoryUpload(request)]
    return _enrol(request)


@csrf_protect
def _enrol(request: HttpRequest) -> HttpResponse:
    form = EnrolForm(request.POST)
    if not form.is_valid():
        field, errors = next(iter(form.errors.items()))
        return _problem(f"bad_{field}", str(errors[0]), 400)
    try:
        enrolment = enrolment_start(owner=request.user, name=form.cleaned_data["name"])
    except EnrolmentRefused as refused:
        return _problem(refused.code, refusal(refused.code), 429)
    try:
        teaching = teaching_of(recording_of(request.FILES.getlist("sound")))
    except RecordingRefused as refused:
        enrolment_fail(enrolment, refused.code)
        return _refused(refused, 400)
    try:
        _listen(enrolment, teaching)
    except OperationalError:
        enrolment_fail(enrolment, "engine_failed")
        return _problem("no_broker", _("The speech hosts cannot be reached right now. Try again in a moment."), 503)
    enrolment.refresh_from_db()
    return JsonResponse(_outcome(enrolment), status=202)


def _listen(enrolment: Enrolment, teaching: Teaching) -> None:
    """To the speech hosts with what is enough; what is too little needs none to say so."""
    if teaching.speech_s < ENOUGH_SPEECH_S:
        enrolment_fail(enrolment, "too_little_speech", teaching.speech_s)
        return
    wish = EmbedRequest(str(enrolment.pk), teaching.pcm())
    current_app.send_task(TASK_EMBED, args=[wish.to_wire()], queue=QUEUE_SPEECH)


@signed_in
@require_safe
def outcome(request: HttpRequest, enrolment_id: uuid.UUID) -> HttpResponse:
    """What became of a recording so far."""
    enrolment = Enrolment.objects.select_related("speaker").filter(pk=enrolment_id, owner=request.user).first()
    if enrolment is None:
        return _problem("unknown", _("This recording is not known any more. Send it again."), 404)
    return JsonResponse(_outcome(enrolment))


def _outcome(enrolment: Enrolment) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "id": str(enrolment.pk),
        "state": enrolment.state,
        "speech_s": round(enrolment.speech_s, 1),
        "enough_s": ENOUGH_SPEECH_S,
    }
    if enrolment.state == Enrolment.State.FAILED:
        answer |= {"code": enrolment.error, "message": refusal(enrolment.error, enrolment.speech_s)}
    elif enrolment.state == Enrolment.State.DONE and enrolment.speaker:
        message = _("%(name)s is known by voice now.") % {"name": enrolment.speaker.name}
        answer |= {"speaker": enrolment.speaker.pk, "message": message}
    else:
        late = (timezone.now() - enrolment.created_at).total_seconds() > LATE_AFTER_S
        answer["message"] = (
            _("No speech host has answered yet. It is learned as soon as one does; you may leave this page.")
            if late
            else _("Listening to the recording …")
        )
    return answer


@signed_in
@require_POST
def rename(request: HttpRequest, speaker_id: int) -> HttpResponse:
    speaker = _own(request, speaker_id)
    form = NameForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Give the voice a name."))
    elif (namesake := _other_called(speaker, form.cleaned_data["name"])) is not None:
        message = _("There is a voice called %(name)s already. If it is the same person, merge the two in a meeting.")
        messages.error(request, message % {"name": namesake.name})
    else:
        speaker_name(speaker, form.cleaned_data["name"])
        messages.success(request, _("The new name stands."))
    return redirect("voices:list")


def _other_called(speaker: Speaker, name: str) -> Speaker | None:
    namesake = speaker_called(owner_id=speaker.owner_id, name=name)
    return namesake if namesake != speaker else None


@signed_in
@require_POST
def forget(request: HttpRequest, speaker_id: int) -> HttpResponse:
    speaker = _own(request, speaker_id)
    name = speaker.name
    speaker_erase(speaker)
    messages.success(request, _("The voice of %(name)s is deleted.") % {"name": name})
    return redirect("voices:list")


def _own(request: HttpRequest, speaker_id: int) -> Speaker:
    """One of this person's speakers; 404 for everybody else's: who may not see it need not know it is there."""
    return get_object_or_404(Speaker, pk=speaker_id, owner=request.user, merged_into=None)


def _refused(refused: RecordingRefused, status: int) -> JsonResponse:
    return _problem(refused.code, str(refused), status)


def _problem(code: str, message: str, status: int) -> JsonResponse:
    return JsonResponse({"state": "refused", "code": code, "message": message}, status=status)
