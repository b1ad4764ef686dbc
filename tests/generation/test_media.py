"""Picture files: for who is in the meeting, and as if they were not there for everyone else."""

from __future__ import annotations

import io

import pytest
from django.test import Client
from PIL import Image

from generation.models import Frame
from generation.outcomes import frame_painted
from meetings.access import TokenKind, token_for
from meetings.models import Meeting
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture
def frame() -> Frame:
    painting = Frame.objects.create(meeting=make.meeting(), state=Frame.State.PAINTING, alt={"en": "A house"})
    painted = frame_painted(make.paint_result(painting))
    assert painted is not None
    return painted


def addresses(frame: Frame) -> list[str]:
    return [f"/m/{frame.meeting.slug}/frames/{frame.pk}{end}" for end in (".webp", "/thumb.webp")]


def bearer(meeting: Meeting, kind: TokenKind) -> dict[str, str]:
    return {"Authorization": f"Bearer {token_for(meeting, kind)}"}


def test_the_owners_session_sees_picture_and_thumbnail(client: Client, frame: Frame) -> None:
    client.force_login(frame.meeting.owner)
    for address, size in zip(addresses(frame), [(64, 36), (32, 18)], strict=True):
        response = client.get(address)
        assert (response.status_code, response["Content-Type"]) == (200, "image/webp")
        picture = Image.open(io.BytesIO(b"".join(response.streaming_content)))
        assert (picture.format, picture.size) == ("WEBP", size)


@pytest.mark.parametrize("kind", list(TokenKind))
def test_a_bearer_token_of_the_meeting_sees_it(client: Client, frame: Frame, kind: TokenKind) -> None:
    for address in addresses(frame):
        assert client.get(address, headers=bearer(frame.meeting, kind)).status_code == 200


def test_a_guest_who_came_by_invite_sees_it(client: Client, frame: Frame) -> None:
    invite = {"invite": token_for(frame.meeting, TokenKind.VIEW), "name": "Max", "to": "room"}
    assert client.post(f"/m/{frame.meeting.slug}/join/", invite).status_code == 302
    for address in addresses(frame):
        assert client.get(address).status_code == 200


@pytest.mark.parametrize("who", ["nobody", "stranger", "token of another meeting", "wrong token", "void token"])
def test_everyone_else_is_told_that_there_is_nothing(client: Client, frame: Frame, who: str) -> None:
    headers = {}
    if who == "stranger":
        client.force_login(make.meeting().owner)
    elif who == "token of another meeting":
        headers = bearer(make.meeting(frame.meeting.owner), TokenKind.API)
    elif who == "wrong token":
        headers = {"Authorization": "Bearer join-wrong"}
    elif who == "void token":
        headers = bearer(frame.meeting, TokenKind.JOIN)
        Meeting.objects.filter(pk=frame.meeting.pk).update(invites_version=2)
    for address in addresses(frame):
        assert client.get(address, headers=headers).status_code == 404


def test_a_picture_is_not_found_under_another_meetings_address(client: Client, frame: Frame) -> None:
    other = make.meeting(frame.meeting.owner)
    client.force_login(frame.meeting.owner)
    assert client.get(f"/m/{other.slug}/frames/{frame.pk}.webp").status_code == 404


def test_a_frame_without_a_file_is_not_found(client: Client) -> None:
    waiting = Frame.objects.create(meeting=make.meeting())
    client.force_login(waiting.meeting.owner)
    for address in addresses(waiting):
        assert client.get(address).status_code == 404


def test_a_file_that_vanished_is_not_found(client: Client, frame: Frame) -> None:
    client.force_login(frame.meeting.owner)
    frame.image.storage.delete(frame.image.name)
    assert client.get(addresses(frame)[0]).status_code == 404


def test_browsers_keep_pictures_and_nobody_between_does(client: Client, frame: Frame) -> None:
    client.force_login(frame.meeting.owner)
    first = client.get(addresses(frame)[0])
    assert "private" in first["Cache-Control"] and "immutable" in first["Cache-Control"]
    again = client.get(addresses(frame)[0], headers={"If-None-Match": first["ETag"]})
    assert again.status_code == 304
    client.logout()
    assert client.get(addresses(frame)[0], headers={"If-None-Match": first["ETag"]}).status_code == 404


def test_pictures_are_only_read(client: Client, frame: Frame) -> None:
    client.force_login(frame.meeting.owner)
    assert client.post(addresses(frame)[0]).status_code == 405
    assert client.head(addresses(frame)[0]).status_code == 200
