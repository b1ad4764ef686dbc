"""The pages that show pictures: everyone's meetings, and the gallery of one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Max, Min, Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language, gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from generation.models import Frame
from meetings.access import SESSION_KEY, Membership
from meetings.forms import MeetingForm
from meetings.models import Meeting, Utterance
from meetings.selectors import utterances_of
from meetings.services import meeting_create
from meetings.views import member_required

MEETINGS_PER_PAGE = 24
FRAMES_PER_PAGE = 40
THUMBNAILS_PER_CARD = 4
STAGES = {
    "heard": gettext_lazy("words heard after"),
    "waited": gettext_lazy("waited"),
    "prompted": gettext_lazy("prompt written"),
    "painted": gettext_lazy("painted in"),
    "stored": gettext_lazy("stored"),
    "shown": gettext_lazy("shown after"),
    "total": gettext_lazy("from word to picture"),
}


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
    return render(request, "generation/home.html", {"form": form, "page": page, "meetings": page.object_list})


def _meetings_of(request: HttpRequest) -> QuerySet[Meeting]:
    """What this person owns or has joined, by account or by the invites that this browser has used."""
    places = request.session.get(SESSION_KEY) or {}
    joined = Q(pk__in=[])
    for meeting, place in places.items():
        joined |= Q(pk=meeting, invites_version=place["version"], participants=place["participant"])
    if request.user.is_authenticated:
        joined |= Q(owner=request.user) | Q(participants__user=request.user)
    frames = Frame.objects.filter(state=Frame.State.READY, hidden=False)
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


@dataclass(slots=True)
class Moment:
    """One picture of the timeline with the words that were said before it; the last one may have only words."""

    frame: Frame | None = None
    lines: list[Utterance] = field(default_factory=list)
    quotes: list[Utterance] = field(default_factory=list)
    alt: str = ""

    @property
    def timings(self) -> list[tuple[Any, float]]:
        """What each stage took, ms, in the order in which it happened."""
        if self.frame is None:
            return []
        return [(name, self.frame.timings_ms[key]) for key, name in STAGES.items() if key in self.frame.timings_ms]


@require_safe
@member_required
def gallery(request: HttpRequest, member: Membership) -> HttpResponse:
    meeting = member.meeting
    frames = meeting.frames.filter(state=Frame.State.READY, hidden=False).order_by("ready_at")
    page = Paginator(frames.prefetch_related("sources__utterance__speaker"), FRAMES_PER_PAGE).get_page(
        request.GET.get("page")
    )
    context = {"meeting": meeting, "page": page, "moments": _moments(meeting, frames, page)}
    return render(request, "generation/gallery.html", context)


def _moments(meeting: Meeting, all_frames: QuerySet[Frame], page: Any) -> list[Moment]:
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
        quotes = [source.utterance for source in frame.sources.all() if source.utterance and source.utterance.text]
        alt = frame.alt.get(language) or frame.alt.get("en", "")
        moments.append(Moment(frame, said or quotes, quotes, alt))
    return [*moments, Moment(lines=waiting)] if waiting else moments
