"""The pages around a meeting: owner link, room, TV, door, invites. Each asks `access` what it may show."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import segno
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from meetings.access import (
    AccessDenied,
    MeetingFull,
    Membership,
    TokenKind,
    join_by_invite,
    member_for,
    owner_link_use,
    token_for,
)
from meetings.forms import JoinForm
from meetings.models import Meeting
from meetings.selectors import meeting_dict
from meetings.services import invites_void, meeting_end

INTERVALS_S = (10, 12, 15, 20)

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
@require_GET
def owner_login(request: HttpRequest, token: str) -> HttpResponse:
    # A browser that only looks ahead must not use the link up.
    user = None if _is_prefetch(request) else owner_link_use(token)
    if user is None:
        return render(request, "meetings/owner_link.html", status=403)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return redirect("generation:home")


def _is_prefetch(request: HttpRequest) -> bool:
    names = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
    said = " ".join(request.headers.get(name, "") for name in names).lower()
    return any(word in said for word in ("prefetch", "prerender", "preview"))


@require_safe
@member_required
def room(request: HttpRequest, member: Membership) -> HttpResponse:
    meeting = member.meeting
    if meeting.ended_at:
        return redirect("generation:gallery", meeting.slug)
    if request.GET.get("part") == "who":
        return render(request, "meetings/parts/who.html")
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
    except MeetingFull as full:
        form.add_error("invite", str(full))
        return door(request, slug, "room", form)
    except AccessDenied:
        form.add_error("invite", _("This invite is not valid, or not valid any more. Ask for a new one."))
        return door(request, slug, "room", form)
    to = form.cleaned_data["to"] or "room"
    return redirect("generation:gallery" if to == "gallery" else f"meetings:{to}", slug)


@require_http_methods(["GET", "HEAD", "POST"])
@member_required
def invites(request: HttpRequest, member: Membership) -> HttpResponse:
    meeting = member.meeting
    if not member.can["invite"]:
        return door(request, meeting.slug, "room")
    if request.method == "POST":
        if member.can["end"]:
            invites_void(meeting)
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
    return redirect("generation:gallery", member.meeting.slug)
