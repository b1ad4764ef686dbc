"""Who comes in by the live socket: a token, or a browser's session from a page of this site."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host
from django.utils import translation

from meetings.access import AccessDenied, Membership, member_for_session, member_for_token
from meetings.models import Meeting
from meetings.services import consent_record, name_record
from meetviz_site.live.codes import CloseCode

THIS_MACHINE = ("localhost", "127.0.0.1", "::1")

Scope = dict[str, Any]
"""Of the ASGI connection."""


def admit(scope: Scope, hello: dict[str, Any]) -> Membership:
    """Who is this, in this meeting? Raises AccessDenied with the close code, or MeetingFull."""
    meeting = Meeting.objects.filter(slug=scope["url_route"]["kwargs"]["slug"]).first()
    if meeting is None:
        raise AccessDenied(CloseCode.NO_SUCH_MEETING)
    token, name = hello.get("token"), hello.get("name")
    name = name if isinstance(name, str) else ""
    if token is not None:
        member = member_for_token(meeting, token if isinstance(token, str) else "", name)
    else:
        user = scope["user"]
        found = member_for_session(meeting, user, scope["session"]) if same_origin(scope) else None
        if found is None:
            signed_in = same_origin(scope) and user.is_authenticated
            raise AccessDenied(CloseCode.NOT_ALLOWED if signed_in else CloseCode.NOT_AUTHENTICATED)
        member = found
    if meeting.ended_at:
        raise AccessDenied(CloseCode.MEETING_ENDED)
    if isinstance(hello.get("consent"), dict):
        consent_record(member.participant, hello["consent"], name)
    elif token is None:
        name_record(member.participant, name)
    return member


def same_origin(scope: Scope) -> bool:
    """Cookies count only for pages of this site: a socket has no CSRF token."""
    headers = dict(scope["headers"])
    origin = headers.get(b"origin", b"").decode("latin-1")
    host = headers.get(b"host", b"").decode("latin-1")
    if not origin or not validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS):
        return False
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    # Where the site is served by https, nobody on the way may speak for it by a page of plain http.
    secure = parts.scheme == "https" or not settings.SESSION_COOKIE_SECURE or parts.hostname in THIS_MACHINE
    return secure and parts.netloc == host


def language_of(scope: Scope) -> str:
    """The viewer's language: the language cookie of the pages, else what the browser prefers, else the site's."""
    cookie = (scope.get("cookies") or {}).get(settings.LANGUAGE_COOKIE_NAME, "")
    header = dict(scope["headers"]).get(b"accept-language", b"").decode("latin-1")
    for wanted in [cookie, *(part.split(";")[0].strip() for part in header.split(","))]:
        try:
            if wanted:
                return translation.get_supported_language_variant(wanted)
        except LookupError:
            continue
    return settings.LANGUAGE_CODE
