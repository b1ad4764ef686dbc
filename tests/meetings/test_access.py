"""Who gets in: invites, sessions, owner links."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from django.http import HttpRequest
from django.test import RequestFactory
from django.utils import timezone

from meetings.access import (
    OWNER_LINK_LIFE,
    AccessDenied,
    TokenKind,
    clean_name,
    join_by_invite,
    member_for,
    member_for_session,
    member_for_token,
    owner_link_create,
    owner_link_use,
    role_of_token,
    token_for,
)
from meetings.models import Meeting, OwnerLink, Participant, Role
from tests import factories as make

pytestmark = pytest.mark.django_db


def request_of(user: Any = None, *, token: str = "", session: SessionStore | None = None) -> HttpRequest:
    """A browser's request, with a session of its own unless given one."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = RequestFactory().get("/", headers=headers)
    request.user = user or AnonymousUser()
    request.session = session if session is not None else SessionStore()
    return request


# Tokens


@pytest.mark.parametrize(
    ("kind", "role"),
    [(TokenKind.JOIN, Role.PARTICIPANT), (TokenKind.VIEW, Role.VIEWER), (TokenKind.API, Role.OWNER)],
)
def test_each_kind_of_token_gives_its_role(kind: TokenKind, role: str) -> None:
    meeting = make.meeting()
    assert role_of_token(meeting, token_for(meeting, kind)) == role
    assert member_for_token(meeting, token_for(meeting, kind)).role == role


@pytest.mark.parametrize("kind", list(TokenKind))
def test_a_token_opens_no_other_meeting(kind: TokenKind) -> None:
    owner = make.user()
    here, there = make.meeting(owner), make.meeting(owner)
    with pytest.raises(AccessDenied) as denied:
        member_for_token(there, token_for(here, kind))
    assert denied.value.code == 4401


@pytest.mark.parametrize("kind", list(TokenKind))
def test_raising_the_version_makes_every_token_void(kind: TokenKind) -> None:
    meeting = make.meeting()
    token = token_for(meeting, kind)
    Meeting.objects.filter(pk=meeting.pk).update(invites_version=2)
    meeting.refresh_from_db()
    assert role_of_token(meeting, token) is None
    assert role_of_token(meeting, token_for(meeting, kind)) is not None


@pytest.mark.parametrize("wrong", ["", "join-", "join", "x" * 500, "join-\u0416", "join-\x00", "join-\ud800"])
def test_a_wrong_token_gives_nothing_and_breaks_nothing(wrong: str) -> None:
    meeting = make.meeting()
    assert role_of_token(meeting, wrong) is None
    assert role_of_token(meeting, token_for(meeting, TokenKind.JOIN)[:-1]) is None


def test_the_name_of_the_kind_cannot_be_exchanged() -> None:
    meeting = make.meeting()
    secret = token_for(meeting, TokenKind.VIEW).removeprefix("view-")
    assert role_of_token(meeting, f"api-{secret}") is None


def test_someone_who_comes_back_under_the_same_name_finds_the_same_place() -> None:
    meeting = make.meeting()
    token = token_for(meeting, TokenKind.JOIN)
    first = member_for_token(meeting, token, "Anna")
    assert member_for_token(meeting, token, " Anna\n").participant == first.participant
    assert member_for_token(meeting, token, "Robert").participant != first.participant
    viewer = member_for_token(meeting, token_for(meeting, TokenKind.VIEW), "Anna")
    assert viewer.participant != first.participant


def test_names_are_one_line_without_control_characters_and_not_too_long() -> None:
    assert clean_name("  An\x00na\u202e \n of\tthe  Hills ") == "Anna ofthe Hills"
    assert clean_name("\ud800Анна") == "Анна"
    assert len(clean_name("n" * 500)) == 80


# What people may do


def test_viewers_watch_participants_speak_only_the_owner_ends() -> None:
    meeting = make.meeting()
    viewer, guest, owner = (make.member(meeting, role=role) for role in (Role.VIEWER, Role.PARTICIPANT, Role.OWNER))
    assert [name for name, allowed in viewer.can.items() if allowed] == ["watch"]
    assert guest.can["speak"] and guest.can["paint"] and guest.can["invite"] and not guest.can["end"]
    assert all(owner.can.values())


def test_participants_change_settings_only_where_the_owner_lets_them() -> None:
    assert make.member(make.meeting()).can["settings"]
    closed = make.meeting(open_settings=False)
    assert not make.member(closed).can["settings"]
    assert make.member(closed, role=Role.OWNER).can["settings"]


# Sessions and requests


def test_an_invite_gives_the_browser_session_a_place_that_lasts() -> None:
    meeting, session = make.meeting(), SessionStore()
    member = join_by_invite(request_of(session=session), meeting, token_for(meeting, TokenKind.JOIN), "Anna")
    assert (member.role, member.participant.name) == (Role.PARTICIPANT, "Anna")
    again = member_for_session(meeting, AnonymousUser(), session)
    assert again is not None and again.participant == member.participant


def test_a_place_in_one_meeting_is_none_in_another() -> None:
    owner, session = make.user(), SessionStore()
    here, there = make.meeting(owner), make.meeting(owner)
    join_by_invite(request_of(session=session), here, token_for(here, TokenKind.JOIN), "Anna")
    assert member_for_session(there, AnonymousUser(), session) is None


def test_a_session_that_names_somebody_elses_place_gets_nothing() -> None:
    here, there = make.meeting(), make.meeting()
    stranger = make.participant(there)
    session = SessionStore()
    session["meetviz_participants"] = {str(here.pk): {"participant": stranger.pk, "version": here.invites_version}}
    assert member_for_session(here, AnonymousUser(), session) is None


def test_void_invites_end_the_guests_sessions_too() -> None:
    meeting, session = make.meeting(), SessionStore()
    join_by_invite(request_of(session=session), meeting, token_for(meeting, TokenKind.VIEW), "Anna")
    Meeting.objects.filter(pk=meeting.pk).update(invites_version=2)
    meeting.refresh_from_db()
    assert member_for_session(meeting, AnonymousUser(), session) is None


@pytest.mark.parametrize("token_of", [TokenKind.API, None])
def test_a_browser_joins_neither_by_the_api_token_nor_by_a_wrong_one(token_of: TokenKind | None) -> None:
    meeting = make.meeting()
    token = token_for(meeting, token_of) if token_of else "join-nothing"
    with pytest.raises(AccessDenied) as denied:
        join_by_invite(request_of(), meeting, token, "Anna")
    assert denied.value.code == 4401
    assert not Participant.objects.exists()


def test_the_owner_is_always_in_and_stays_owner_when_following_an_invite() -> None:
    meeting = make.meeting()
    member = member_for_session(meeting, meeting.owner, SessionStore())
    assert member is not None and member.role == Role.OWNER
    joined = join_by_invite(request_of(meeting.owner), meeting, token_for(meeting, TokenKind.VIEW), "Me")
    assert joined.role == Role.OWNER
    assert Participant.objects.count() == 1


def test_a_signed_in_stranger_is_in_only_after_an_invite() -> None:
    meeting, stranger = make.meeting(), make.user("robert")
    assert member_for_session(meeting, stranger, SessionStore()) is None
    join_by_invite(request_of(stranger), meeting, token_for(meeting, TokenKind.JOIN), "")
    member = member_for_session(meeting, stranger, SessionStore())
    assert member is not None and (member.role, member.participant.name) == (Role.PARTICIPANT, "robert")


def test_a_request_is_let_in_by_bearer_token_of_this_meeting_only() -> None:
    here, there = make.meeting(), make.meeting()
    token = token_for(here, TokenKind.VIEW)
    assert member_for(request_of(token=token), here) is not None
    assert member_for(request_of(token=token), there) is None
    assert member_for(request_of(), here) is None


def test_a_wrong_bearer_token_is_not_saved_by_a_good_session() -> None:
    meeting = make.meeting()
    assert member_for(request_of(meeting.owner, token="join-wrong"), meeting) is None


# Owner links


def test_an_owner_link_works_once() -> None:
    link = owner_link_create("http://localhost:8000/")
    token = link.removeprefix("http://localhost:8000/owner/").rstrip("/")
    owner = owner_link_use(token)
    assert owner is not None and owner.is_superuser
    assert owner_link_use(token) is None


def test_the_link_itself_is_not_stored() -> None:
    token = owner_link_create("http://localhost:8000").rstrip("/").rsplit("/", 1)[1]
    assert token not in OwnerLink.objects.get().token_hash


def test_an_old_or_wrong_owner_link_does_not_work() -> None:
    token = owner_link_create("http://localhost:8000").rstrip("/").rsplit("/", 1)[1]
    assert owner_link_use(token + "x") is None
    OwnerLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert owner_link_use(token) is None


def test_links_are_for_one_and_the_same_owner_and_old_ones_are_swept_away() -> None:
    first = owner_link_create("http://localhost:8000").rstrip("/").rsplit("/", 1)[1]
    OwnerLink.objects.update(expires_at=timezone.now() - OWNER_LINK_LIFE)
    second = owner_link_create("http://localhost:8000").rstrip("/").rsplit("/", 1)[1]
    assert OwnerLink.objects.count() == 1
    assert owner_link_use(first) is None and owner_link_use(second) is not None


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_once_log_in_only_one() -> None:
    token = owner_link_create("http://localhost:8000").rstrip("/").rsplit("/", 1)[1]
    start, users = threading.Barrier(4), []

    def click() -> None:
        start.wait(10)
        users.append(owner_link_use(token))
        connection.close()

    clicks = [threading.Thread(target=click) for _ in range(4)]
    for thread in clicks:
        thread.start()
    for thread in clicks:
        thread.join(30)
    assert len(users) == 4 and sum(user is not None for user in users) == 1
