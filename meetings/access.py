"""Who may do what: the one check behind every page, socket and media file.

Invites are not stored. An invite is an HMAC over the meeting, its kind and the meeting's `invites_version`, so it can
be shown again at any time and all of them are void once the version is raised. Browsers carry it in the fragment of an
address (`#invite=…`), which no server log sees, and change it for a session.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from meetings.models import Meeting, OwnerLink, Participant, Role

SESSION_KEY = "meetviz_participants"
OWNER_LINK_LIFE = timedelta(days=7)


class TokenKind(enum.StrEnum):
    JOIN = "join"
    VIEW = "view"
    API = "api"


_ROLES = {TokenKind.JOIN: Role.PARTICIPANT, TokenKind.VIEW: Role.VIEWER, TokenKind.API: Role.OWNER}


class AccessDenied(Exception):
    """There is no way in: `code` is the close code of the live socket (4401 unknown, 4403 not allowed)."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Membership:
    """One person in one meeting."""

    meeting: Meeting
    participant: Participant

    @property
    def role(self) -> str:
        return self.participant.role

    @property
    def can(self) -> dict[str, bool]:
        """What this person may do; sent in `welcome` and used by pages to show only what works."""
        owner = self.role == Role.OWNER
        speaker = self.role in (Role.OWNER, Role.PARTICIPANT)
        return {
            "watch": True,
            "speak": speaker,
            "paint": speaker,
            "rate": speaker,
            "assign": speaker,
            "settings": owner or (speaker and self.meeting.open_settings),
            "invite": speaker,
            "end": owner,
        }


def token_for(meeting: Meeting, kind: TokenKind) -> str:
    digest = salted_hmac(
        "meetings.invite", f"{meeting.pk}:{kind}:{meeting.invites_version}", algorithm="sha256"
    ).digest()
    return f"{kind}-{base64.urlsafe_b64encode(digest[:24]).decode()}"


def role_of_token(meeting: Meeting, token: str) -> str | None:
    """The role that a token gives in this meeting, or None for a wrong one."""
    for kind, role in _ROLES.items():
        if constant_time_compare(token_for(meeting, kind), token):
            return role
    return None


def participant_for_user(meeting: Meeting, user: Any) -> Participant | None:
    """The user's own place in the meeting: the owner always has one, others once they joined by an invite."""
    if not user.is_authenticated:
        return None
    if meeting.owner_id == user.pk:
        participant, _created = Participant.objects.get_or_create(
            meeting=meeting,
            user=user,
            defaults={"role": Role.OWNER, "name": user.get_full_name() or user.get_username()},
        )
        return participant
    return Participant.objects.filter(meeting=meeting, user=user).first()


def member_for_session(meeting: Meeting, user: AbstractBaseUser | AnonymousUser, session: Any) -> Membership | None:
    """Membership by cookie: a user's own, or the guest place that this browser session took by an invite."""
    participant = participant_for_user(meeting, user)
    if participant is None:
        place = (session.get(SESSION_KEY) or {}).get(str(meeting.pk))
        if place and place.get("version") == meeting.invites_version:
            participant = Participant.objects.filter(pk=place["participant"], meeting=meeting).first()
    return Membership(meeting, participant) if participant else None


def member_for_token(meeting: Meeting, token: str, name: str = "") -> Membership:
    """Membership of a client that carries a token instead of a cookie; one place for each name, so that
    a client that comes back finds its own streams.

    Raises AccessDenied(4401) for a wrong token.
    """
    role = role_of_token(meeting, token)
    if role is None:
        raise AccessDenied(4401)
    place = {"meeting": meeting, "user": None, "role": role, "name": clean_name(name)}
    participant = Participant.objects.filter(**place).order_by("pk").first() or Participant.objects.create(**place)
    return Membership(meeting, participant)


def member_for(request: HttpRequest, meeting: Meeting) -> Membership | None:
    """Membership behind an HTTP request: the session, or `Authorization: Bearer <token>` of this meeting."""
    scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        try:
            return member_for_token(meeting, token.strip())
        except AccessDenied:
            return None
    return member_for_session(meeting, request.user, request.session)


def join_by_invite(request: HttpRequest, meeting: Meeting, token: str, name: str) -> Membership:
    """Give this browser session a place in the meeting. Raises AccessDenied(4401) for a wrong invite."""
    role = role_of_token(meeting, token)
    if role is None or role == Role.OWNER:
        raise AccessDenied(4401)
    user = request.user if request.user.is_authenticated else None
    if user and meeting.owner_id == user.pk:
        participant = participant_for_user(meeting, user)
        assert participant is not None
        return Membership(meeting, participant)
    if user:
        participant, _created = Participant.objects.update_or_create(
            meeting=meeting, user=user, defaults={"role": role, "name": clean_name(name) or user.get_username()}
        )
    else:
        participant = Participant.objects.create(meeting=meeting, role=role, name=clean_name(name))
    places = request.session.get(SESSION_KEY) or {}
    places[str(meeting.pk)] = {"participant": participant.pk, "version": meeting.invites_version}
    request.session[SESSION_KEY] = places
    return Membership(meeting, participant)


def clean_name(name: str) -> str:
    """A name as people may type it: one line, no control characters, 80 at most."""
    return " ".join("".join(c for c in str(name) if c.isprintable()).split())[:80]


def owner_create() -> Any:
    """The site's owner: its first superuser, made without a password when there is none yet."""
    user_model = get_user_model()
    owner = user_model.objects.filter(is_superuser=True).order_by("pk").first()
    return owner or user_model.objects.create_superuser(username="owner", password=None)


def owner_link_create(base_url: str) -> str:
    """A fresh one-time address that logs the owner in; makes the owner's account the first time."""
    owner = owner_create()
    token = secrets.token_urlsafe(24)
    now = timezone.now()
    with transaction.atomic():
        OwnerLink.objects.filter(expires_at__lt=now).delete()
        OwnerLink.objects.create(user=owner, token_hash=_hash(token), expires_at=now + OWNER_LINK_LIFE)
    return f"{base_url.rstrip('/')}/owner/{token}/"


def owner_link_use(token: str) -> Any | None:
    """The owner's user for a link that is used for the first time, else None."""
    now = timezone.now()
    link = OwnerLink.objects.filter(token_hash=_hash(token), expires_at__gt=now).select_related("user").first()
    # The UPDATE decides, so that two clicks at once log in only one.
    if link is None or not OwnerLink.objects.filter(pk=link.pk, used_at=None).update(used_at=now):
        return None
    return link.user


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
