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
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.translation import gettext as _

from meetings.models import Meeting, OwnerLink, Participant, Role

SESSION_KEY = "meetviz_participants"
OWNER_LINK_LIFE = timedelta(days=7)
# More than the largest meeting that is meant; a bound, so that one invite cannot fill the database.
MOST_GUESTS = 500
# When it is reached, guests who left this long after they came, and never spoke, make room.
PASSING_AFTER = timedelta(minutes=10)


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


class MeetingFull(AccessDenied):
    """The way in is right, but there is no place left; the message is for a person."""

    def __init__(self) -> None:
        super().__init__(4403)

    def __str__(self) -> str:
        return _("This meeting has as many guests as it can hold. Try again later.")


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
    given = token.encode("utf-8", "replace")  # JSON can spell characters that no encoding has
    for kind, role in _ROLES.items():
        if constant_time_compare(token_for(meeting, kind), given):
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
            defaults={"role": Role.OWNER, "name": clean_name(user.get_full_name())},
        )
        return participant
    return Participant.objects.filter(meeting=meeting, user=user).first()


def member_for_session(meeting: Meeting, user: AbstractBaseUser | AnonymousUser, session: Any) -> Membership | None:
    """Membership by cookie: a user's own, or the guest place that this browser session took by an invite."""
    participant = participant_for_user(meeting, user)
    if participant is None:
        participant = _place_of_session(meeting, session)
    return Membership(meeting, participant) if participant else None


def _place_of_session(meeting: Meeting, session: Any) -> Participant | None:
    place = (session.get(SESSION_KEY) or {}).get(str(meeting.pk))
    if not place or place.get("version") != meeting.invites_version:
        return None
    return Participant.objects.filter(pk=place["participant"], meeting=meeting, user=None).first()


def member_for_token(meeting: Meeting, token: str, name: str = "") -> Membership:
    """Membership of a client that carries a token instead of a cookie; one place for each name, so that
    a client that comes back finds its own streams. Never the place of a browser: who holds an invite could else be
    anyone in the meeting by saying their name.

    Raises AccessDenied(4401) for a wrong token, MeetingFull.
    """
    role = role_of_token(meeting, token)
    if role is None:
        raise AccessDenied(4401)
    place = {"user": None, "role": role, "name": clean_name(name), "by_token": True}
    participant = Participant.objects.filter(meeting=meeting, **place).order_by("pk").first()
    return Membership(meeting, participant or _new_guest(meeting, **place))


def _new_guest(meeting: Meeting, **values: Any) -> Participant:
    """A place for someone without an account. Raises MeetingFull."""
    guests = Participant.objects.filter(meeting=meeting, user=None)
    if values["role"] != Role.OWNER and guests.count() >= MOST_GUESTS:
        now = timezone.now()
        passing = guests.filter(streams=None, joined_at__lt=now - PASSING_AFTER).exclude(connected_until__gt=now)
        Participant.objects.filter(pk__in=passing.values("pk")).delete()
        if guests.count() >= MOST_GUESTS:
            raise MeetingFull
    return Participant.objects.create(meeting=meeting, **values)


@dataclass(frozen=True, slots=True)
class Place:
    """What an open socket was let in with."""

    participant: int
    invites_version: int


def turned_out(meeting_id: int, places: Iterable[Place]) -> dict[Place, int]:
    """Those of the places that are none any more, with the close code of each: the meeting was deleted (4404) or has
    ended (4410), the person was removed or their account closed, the invite they came by is void (4401)."""
    places = set(places)
    meeting = Meeting.objects.filter(pk=meeting_id).first()
    if meeting is None or meeting.ended_at:
        return dict.fromkeys(places, 4410 if meeting else 4404)
    people = Participant.objects.filter(meeting=meeting, pk__in={place.participant for place in places})
    accounts = {pk: (user, active) for pk, user, active in people.values_list("pk", "user", "user__is_active")}

    def stands(place: Place) -> bool:
        user, active = accounts.get(place.participant, (None, None))
        if place.participant not in accounts:
            return False
        return bool(active) if user else place.invites_version == meeting.invites_version

    return {place: 4401 for place in places if not stands(place)}


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
    """Give this browser session a place in the meeting; the one that it has, if it comes again.

    Raises AccessDenied(4401) for a wrong invite, MeetingFull. Invites hold 192 bits, so guessing is no way in however
    often somebody tries.
    """
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
            meeting=meeting,
            user=user,
            defaults={"role": role, "name": clean_name(name) or clean_name(user.get_username())},
        )
    else:
        participant = _place_of_session(meeting, request.session)
        if participant is None:
            participant = _new_guest(meeting, user=None, role=role, name=clean_name(name))
            # A session that somebody else put into this browser must not be let in along.
            request.session.cycle_key()
        else:
            participant.role, participant.name = role, clean_name(name) or participant.name
            participant.save(update_fields=["role", "name"])
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
