"""The pages around a meeting: start page, room, door, gallery, invites. Each asks `access` what it may show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import segno
from django.apps import apps
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.core.paginator import Paginator
from django.db.models import F, Max, Min, Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.urls import reverse
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from meetings.access import (
    SESSION_KEY,
    AccessDenied,
    Membership,
    TokenKind,
    join_by_invite,
    member_for,
    owner_link_use,
    token_for,
)
from meetings.forms import JoinForm, MeetingForm
from meetings.models import Meeting, Utterance
from meetings.selectors import meeting_dict, utterances_of
from meetings.services import meeting_create, meeting_end

MEETINGS_PER_PAGE = 24
FRAMES_PER_PAGE = 40
THUMBNAILS_PER_CARD = 4
INTERVALS_S = (10, 12, 15, 20)
STAGES = {
    "heard": gettext_lazy("words heard after"),
    "waited": gettext_lazy("waited"),
    "prompted": gettext_lazy("prompt written"),
    "painted": gettext_lazy("painted in"),
    "stored": gettext_lazy("stored"),
    "shown": gettext_lazy("shown after"),
    "total": gettext_lazy("from word to picture"),
}

View = Callable[..., HttpResponse]


def door(request: HttpRequest, slug: str, to: str, form: JoinForm | None = None) -> HttpResponse:
    """The page for someone who is not let in. The same for every slug, so it tells nothing, not even whether the
    meeting exists."""
    context = {"slug": slug, "form": form or JoinForm(initial={"to": to})}
    return render(request, "meetings/door.html", context, status=403)


def member_required(view: View) -> View:
    """Hand the view its `Membership` in place of the slug; everyone else gets the door."""

    @wraps(view)
    def checked(request: HttpRequest, slug: str, **kwargs: Any) -> HttpResponse:
        meeting = Meeting.objects.select_related("owner", "preset").filter(slug=slug).first()
        member = member_for(request, meeting) if meeting else None
        if member is None:
            return door(request, slug, view.__name__)
        return view(request, member, **kwargs)

    return never_cache(checked)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def home(request: HttpRequest) -> HttpResponse:
    if request.method == "POST" and request.user.is_authenticated:
        form = MeetingForm(request.POST)
        if form.is_valid():
            return redirect(meeting_create(owner=request.user, **form.cleaned_data))
    else:
        form = MeetingForm()
    page = Paginator(_meetings_of(request), MEETINGS_PER_PAGE).get_page(request.GET.get("page"))
    _add_voices(list(page.object_list))
    return render(request, "meetings/home.html", {"form": form, "page": page, "meetings": page.object_list})


def _meetings_of(request: HttpRequest) -> QuerySet[Meeting]:
    """What this person owns or has joined, by account or by the invites that this browser has used."""
    places = request.session.get(SESSION_KEY) or {}
    joined = Q(pk__in=[])
    for meeting, place in places.items():
        joined |= Q(pk=meeting, invites_version=place["version"], participants=place["participant"])
    if request.user.is_authenticated:
        joined |= Q(owner=request.user) | Q(participants__user=request.user)
    # By name, not by import: the rooms depend one way, and pictures know meetings.
    frames = apps.get_model("generation", "Frame").objects.filter(state="ready", hidden=False)
    latest = Prefetch("frames", frames.order_by("-ready_at")[:THUMBNAILS_PER_CARD], to_attr="latest_frames")
    found = Meeting.objects.filter(pk__in=Meeting.objects.filter(joined).values("pk"))
    return (
        found.annotate(first_word=Min("utterances__started_at"), last_word=Max("utterances__ended_at"))
        .prefetch_related(latest)
        .order_by("-created_at")
    )


def _add_voices(meetings: list[Meeting]) -> None:
    """Put the speakers' names and colours and the length in minutes on each meeting of a page, with one query."""
    lines = Utterance.objects.filter(meeting__in=meetings).exclude(speaker=None).order_by()
    voices: dict[int, list[dict[str, str]]] = {}
    for meeting, name, colour in lines.values_list("meeting", "speaker__name", "speaker__colour").distinct():
        voices.setdefault(meeting, []).append({"name": name, "colour": colour})
    for meeting in meetings:
        meeting.voices = voices.get(meeting.pk, [])  # type: ignore[attr-defined]
        first, last = meeting.first_word, meeting.last_word  # type: ignore[attr-defined]
        seconds = (last - first).total_seconds() if first else 0
        meeting.minutes = max(1, round(seconds / 60)) if seconds else 0  # type: ignore[attr-defined]


@never_cache
@require_safe
def owner_login(request: HttpRequest, token: str) -> HttpResponse:
    user = owner_link_use(token)
    if user is None:
        return render(request, "meetings/owner_link.html", status=403)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return redirect("meetings:home")


@require_safe
@member_required
def room(request: HttpRequest, member: Membership) -> HttpResponse:
    meeting = member.meeting
    if meeting.ended_at:
        return redirect("meetings:gallery", meeting.slug)
    context = {
        "meeting": meeting,
        "intervals": INTERVALS_S,
        "can_end": member.can["end"],
        "config": _room_config(member),
    }
    return render(request, "meetings/room.html", context)


@require_safe
@member_required
def tv(request: HttpRequest, member: Membership) -> HttpResponse:
    context = {"meeting": member.meeting, "config": _room_config(member)}
    return render(request, "meetings/tv.html", context)


def _room_config(member: Membership) -> dict[str, Any]:
    """What the room's scripts need before the socket speaks."""
    meeting = member.meeting
    return {
        "slug": meeting.slug,
        "meeting": meeting_dict(meeting),
        "me": {
            "participant": member.participant.pk,
            "name": member.participant.name,
            "role": member.role,
            "can": member.can,
        },
        "ws_path": f"/ws/meetings/{meeting.slug}/",
        "worklet_url": static("js/room/capture-worklet.js"),
        "invites_url": reverse("meetings:invites", args=[meeting.slug]),
    }


@never_cache
@require_POST
def join(request: HttpRequest, slug: str) -> HttpResponse:
    form = JoinForm(request.POST)
    if not form.is_valid():
        return door(request, slug, "room", form)
    meeting = Meeting.objects.filter(slug=slug).first()
    try:
        if meeting is None:
            raise AccessDenied(4404)
        join_by_invite(request, meeting, form.cleaned_data["invite"], form.cleaned_data["name"])
    except AccessDenied:
        form.add_error("invite", _("This invite is not valid, or not valid any more. Ask for a new one."))
        return door(request, slug, "room", form)
    to = form.cleaned_data["to"] or "room"
    return redirect("meetings:gallery" if to == "gallery" else f"meetings:{to}", slug)


@require_http_methods(["GET", "HEAD", "POST"])
@member_required
def invites(request: HttpRequest, member: Membership) -> HttpResponse:
    meeting = member.meeting
    if not member.can["invite"]:
        return door(request, meeting.slug, "room")
    if request.method == "POST":
        if member.can["end"]:
            Meeting.objects.filter(pk=meeting.pk).update(invites_version=F("invites_version") + 1)
            messages.success(request, _("All invites so far are void. These are the new ones."))
        return redirect("meetings:invites", meeting.slug)
    address = request.build_absolute_uri(meeting.get_absolute_url())
    host = request.get_host().rsplit(":", 1)[0]
    context = {
        "meeting": meeting,
        "links": [_invite(address, token_for(meeting, kind), kind) for kind in (TokenKind.JOIN, TokenKind.VIEW)],
        "local_only": host in ("localhost", "127.0.0.1", "[::1]"),
        "insecure": not request.is_secure(),
        "public_url": settings.PUBLIC_URL,
        "can_void": member.can["end"],
    }
    part = request.GET.get("part")
    return render(request, "meetings/parts/invites.html" if part else "meetings/invites.html", context)


def _invite(address: str, token: str, kind: TokenKind) -> dict[str, Any]:
    link = f"{address}#invite={token}"
    return {"kind": str(kind), "link": link, "qr": segno.make(link, error="m").svg_inline(border=1, omitsize=True)}


@require_POST
@member_required
def end(request: HttpRequest, member: Membership) -> HttpResponse:
    if not member.can["end"]:
        return door(request, member.meeting.slug, "room")
    meeting_end(member.meeting)
    return redirect("meetings:gallery", member.meeting.slug)


@dataclass(slots=True)
class Moment:
    """One picture of the timeline with the words that were said before it; the last one may have only words."""

    frame: Any = None
    lines: list[Utterance] = field(default_factory=list)
    quotes: list[Utterance] = field(default_factory=list)
    alt: str = ""

    @property
    def timings(self) -> list[tuple[Any, float]]:
        """What each stage took, ms, in the order in which it happened."""
        return [(name, self.frame.timings_ms[key]) for key, name in STAGES.items() if key in self.frame.timings_ms]


@require_safe
@member_required
def gallery(request: HttpRequest, member: Membership) -> HttpResponse:
    meeting = member.meeting
    frames = meeting.frames.filter(state="ready", hidden=False).order_by("ready_at")  # type: ignore[attr-defined]
    page = Paginator(frames.prefetch_related("sources__utterance__speaker"), FRAMES_PER_PAGE).get_page(
        request.GET.get("page")
    )
    context = {"meeting": meeting, "page": page, "moments": _moments(meeting, frames, page)}
    return render(request, "meetings/gallery.html", context)


def _moments(meeting: Meeting, all_frames: QuerySet[Any], page: Any) -> list[Moment]:
    """The pictures of a page in order, each with what was said since the one before."""
    frames = list(page.object_list)
    lines = utterances_of(meeting).filter(kind=Utterance.Kind.WORDS).order_by("ended_at")
    if frames:
        previous = all_frames.filter(ready_at__lt=frames[0].ready_at).last()
        if previous:
            lines = lines.filter(ended_at__gt=previous.ready_at)
        if page.has_next():
            lines = lines.filter(ended_at__lte=frames[-1].ready_at)
    waiting = list(lines)
    language = (get_language() or "en")[:2]
    moments = []
    for frame in frames:
        said = [line for line in waiting if line.ended_at <= frame.ready_at]
        waiting = waiting[len(said) :]
        quotes = [source.utterance for source in frame.sources.all() if source.utterance]
        alt = frame.alt.get(language) or frame.alt.get("en", "")
        moments.append(Moment(frame, said or quotes, quotes, alt))
    return [*moments, Moment(lines=waiting)] if waiting else moments
