"""Pages and files under attack: who gets in, what browsers are told, what a link or an invite is worth."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import SuspiciousFileOperation, ValidationError
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from generation.models import Frame
from generation.outcomes import frame_painted
from meetings.access import MOST_GUESTS, TokenKind, owner_link_create, token_for
from meetings.models import Meeting, Participant, Role
from meetings.services import invites_void
from tests import factories as make

pytestmark = pytest.mark.django_db

EVIL = """</script><script>alert(1)</script><img src=x onerror=alert(2)>" onload="x' {{7*7}} \u202e"""
STATIC = "/static/js/room/main.js"


@pytest.fixture
def frame(settings: Any, tmp_path: Path) -> Frame:
    settings.MEDIA_ROOT = tmp_path
    painting = Frame.objects.create(meeting=make.meeting(), state=Frame.State.PAINTING, alt={"en": EVIL}, prompt=EVIL)
    painted = frame_painted(make.paint_result(painting))
    assert painted is not None
    return painted


def guest_of(meeting: Meeting, kind: TokenKind = TokenKind.JOIN, **options: Any) -> Client:
    client = Client(**options)
    answer = client.post(f"/m/{meeting.slug}/join/", {"invite": token_for(meeting, kind), "name": "Eve"})
    assert answer.status_code == 302
    return client


def owner_of(meeting: Meeting) -> Client:
    client = Client()
    client.force_login(meeting.owner)
    return client


def addresses(frame: Frame) -> dict[str, int]:
    """Every address of a meeting, with what a stranger gets."""
    meeting = f"/m/{frame.meeting.slug}/"
    pages = {f"{meeting}{page}": 403 for page in ("", "tv/", "gallery/", "invites/", "invites/?part=1")}
    return pages | {f"{meeting}frames/{frame.pk}{end}": 404 for end in (".webp", "/thumb.webp")}


# The one check


@pytest.mark.parametrize(
    "who", ["nobody", "other owner", "other guest", "void guest", "removed guest", "forged session", "closed account"]
)
def test_whoever_is_not_in_the_meeting_gets_nothing_of_it(frame: Frame, who: str) -> None:
    meeting = frame.meeting
    other = make.meeting(meeting.owner)
    client = Client()
    if who == "other owner":
        client = owner_of(make.meeting())
    elif who == "other guest":
        client = guest_of(other)
    elif who == "void guest":
        client = guest_of(meeting)
        invites_void(meeting)
    elif who == "removed guest":
        client = guest_of(meeting)
        Participant.objects.filter(meeting=meeting, user=None).delete()
    elif who == "forged session":
        session = SessionStore(session_key="a" * 32)
        client.cookies["sessionid"] = session.session_key
    elif who == "closed account":
        client = owner_of(meeting)
        type(meeting.owner).objects.update(is_active=False)
    for address, status in addresses(frame).items():
        answer = client.get(address)
        assert answer.status_code == status, address
        assert meeting.title not in answer.content.decode(), address
    assert client.post(f"/m/{meeting.slug}/end/").status_code == 403
    assert client.post(f"/m/{meeting.slug}/invites/").status_code == 403
    meeting.refresh_from_db()
    assert meeting.ended_at is None and meeting.invites_version == 1 + (who == "void guest")


def every_address(patterns: list[Any], prefix: str = "/") -> list[str]:
    found = []
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            found += [] if "admin" in route else every_address(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern):
            route = route.replace("<slug:slug>", "{slug}").replace("<str:token>", "{token}")
            route = re.sub(r"<uuid:\w+>", str(uuid.uuid4()), route)
            found.append(re.sub(r"<int:\w+>", "1", route))
    return found


def test_no_address_takes_a_post_from_another_site() -> None:
    meeting = make.meeting()
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(meeting.owner)
    token = owner_link_create("http://testserver").rstrip("/").rsplit("/", 1)[1]
    routes = [route.format(slug=meeting.slug, token=token) for route in every_address(get_resolver().url_patterns)]
    assert len(routes) > 10
    before = Meeting.objects.values().get()
    data = {"title": "x", "language": "en", "name": "x", "invite": token_for(meeting, TokenKind.JOIN)}
    for route in [*routes, "/admin/login/", "/admin/meetings/meeting/"]:
        assert strict.post(route, data).status_code == 403, route
    assert Meeting.objects.values().get() == before


def test_a_hidden_picture_is_there_for_the_owner_only(frame: Frame) -> None:
    Frame.objects.update(hidden=True)
    address = f"/m/{frame.meeting.slug}/frames/{frame.pk}.webp"
    assert guest_of(frame.meeting).get(address).status_code == 404
    assert owner_of(frame.meeting).get(address).status_code == 200


def test_an_address_of_a_meeting_stays_inside_the_folder_of_its_files() -> None:
    meeting = make.meeting()
    meeting.slug = "../../outside"
    with pytest.raises(ValidationError, match="slug"):
        meeting.full_clean()
    frame = Frame(meeting=meeting)
    with pytest.raises(SuspiciousFileOperation):
        frame.image.field.generate_filename(frame, "x.webp")


# Coming in


def test_a_session_from_before_the_door_is_worth_nothing_afterwards() -> None:
    here, there = make.meeting(), make.meeting()
    planted = guest_of(there).cookies["sessionid"].value
    victim = Client()
    victim.cookies["sessionid"] = planted
    victim.post(f"/m/{here.slug}/join/", {"invite": token_for(here, TokenKind.JOIN), "name": "Anna"})
    attacker = Client()
    attacker.cookies["sessionid"] = planted
    assert victim.get(f"/m/{here.slug}/").status_code == 200
    assert attacker.get(f"/m/{here.slug}/").status_code == 403


def test_an_owner_login_changes_the_session_too() -> None:
    client = guest_of(make.meeting())
    before = client.cookies["sessionid"].value
    client.get(owner_link_create("http://testserver").removeprefix("http://testserver"))
    assert client.cookies["sessionid"].value != before


def test_coming_again_takes_no_second_place() -> None:
    meeting = make.meeting()
    client = guest_of(meeting)
    for name in ("Eve", "Eva", ""):
        client.post(f"/m/{meeting.slug}/join/", {"invite": token_for(meeting, TokenKind.JOIN), "name": name})
    assert Participant.objects.get(user=None).name == "Eva"


def test_a_meeting_holds_so_many_guests_and_says_so_and_passing_ones_make_room() -> None:
    meeting = make.meeting()
    Participant.objects.bulk_create(Participant(meeting=meeting, name=str(n)) for n in range(MOST_GUESTS))
    full = Client().post(f"/m/{meeting.slug}/join/", {"invite": token_for(meeting, TokenKind.JOIN), "name": "Eve"})
    assert full.status_code == 403 and "as many guests" in full.content.decode()
    bearer = {"Authorization": f"Bearer {token_for(meeting, TokenKind.VIEW)}"}
    assert Client().get(f"/m/{meeting.slug}/gallery/", headers=bearer).status_code == 403
    assert owner_of(meeting).get(f"/m/{meeting.slug}/").status_code == 200
    speaker = Participant.objects.filter(user=None).order_by("pk").last()
    make.stream(meeting, speaker)
    Participant.objects.filter(user=None).update(joined_at="2020-01-01T00:00:00Z")
    guest_of(meeting)
    left = Participant.objects.filter(meeting=meeting, user=None)
    assert speaker in left and left.count() == 2


@pytest.mark.parametrize("to", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example"])
def test_nothing_redirects_elsewhere(to: str) -> None:
    meeting = make.meeting()
    client = Client()
    form = {"invite": token_for(meeting, TokenKind.JOIN), "name": "Eve", "to": to, "next": to}
    answers = [
        client.post(f"/m/{meeting.slug}/join/", form),
        client.post("/i18n/setlang/", {"language": "ru", "next": to}, headers={"Referer": to}),
        owner_of(meeting).post("/account/logout/", {"next": to}),
        client.get(f"/m/{meeting.slug}/?next={to}"),
    ]
    for answer in answers:
        assert answer.headers.get("Location", "/").startswith("/")
        assert not answer.headers.get("Location", "/").startswith("//")


# Owner links


@pytest.mark.parametrize(
    "headers", [{"Sec-Purpose": "prefetch;prerender"}, {"Purpose": "prefetch"}, {"X-Moz": "prefetch"}]
)
def test_looking_ahead_does_not_use_the_owner_link_up(headers: dict[str, str]) -> None:
    path = owner_link_create("http://testserver").removeprefix("http://testserver")
    ahead = Client()
    assert ahead.get(path, headers=headers).status_code == 403 and "sessionid" not in ahead.cookies
    assert ahead.head(path).status_code == 405
    assert ahead.get(path).status_code == 302
    assert Client().get(path).status_code == 403


# What browsers are told


def test_every_answer_carries_the_policy(frame: Frame) -> None:
    owner = owner_of(frame.meeting)
    paths = ["/", "/healthz", "/nothing", "/admin/", STATIC, *addresses(frame)]
    answers = [owner.get(path) for path in paths] + [Client().get(path) for path in addresses(frame)]
    answers.append(Client(enforce_csrf_checks=True).post("/"))
    answers.append(Client(raise_request_exception=False).get("/", headers={"Host": "evil.example"}))
    for answer in answers:
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'self'" and "script-src" not in policy and "style-src" not in policy
        assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
        assert "evil" not in policy["connect-src"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "microphone=(self)" in answer.headers["Permissions-Policy"]
    page = owner.get("/")
    assert "ws://testserver" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Frame-Options"] == "DENY" and page.headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("host", ["evil.example", "testserver.evil.example", "testserver@evil.example", "a b", "[::"])
def test_another_host_name_is_refused_without_a_word_about_the_site(host: str) -> None:
    answer = Client(raise_request_exception=False).get("/", headers={"Host": host})
    assert answer.status_code == 400
    assert host not in answer.content.decode() and "Traceback" not in answer.content.decode()


# Markup


def test_nothing_that_people_type_or_say_becomes_markup(frame: Frame) -> None:
    meeting, owner = frame.meeting, owner_of(frame.meeting)
    Meeting.objects.update(title=EVIL)
    said_by = make.speaker(meeting.owner, EVIL[:80])
    make.utterance(meeting, EVIL, said_by=said_by)
    meeting.utterances.update(language='"><b>')
    type(said_by).objects.update(colour='"/><s>')
    meeting.owner.first_name = EVIL[:100]
    meeting.owner.save()
    Frame.objects.update(hint=EVIL, engine={"name": EVIL, "model": EVIL, "demo": EVIL}, alt={"en": EVIL})
    paths = ["/", *list(addresses(frame))[:5], "/admin/speakers/speaker/", "/admin/meetings/utterance/"]
    type(meeting.owner).objects.update(is_staff=True, is_superuser=True)
    for path in paths:
        body = owner.get(path).content.decode()
        assert len(body) > 500, path
        for bad in ("<script>alert", "<img src=x", '"><b>', '"/><s>', 'onload="x', ">49<"):
            assert bad not in body, (path, bad)
    door = Client().post(f"/m/{meeting.slug}/join/", {"invite": EVIL, "name": EVIL, "to": EVIL}).content.decode()
    assert "<script>alert" not in door and 'onload="x' not in door


def test_a_swatch_is_a_colour_or_nothing() -> None:
    from speakers.admin import swatches

    assert swatches(["#ffffff\n", "red", 'url("//x")', 7, None]) == swatches("#ffffff") == swatches({}) == ""
    assert 'fill="#e2563a"' in swatches(["#e2563a"]) and "style" not in swatches(["#e2563a"])


@pytest.mark.parametrize("query", ["page=" + "9" * 5000, "page=-1", "page=%00", "page[]=1", "part=%ff"])
def test_odd_queries_break_nothing(query: str, frame: Frame) -> None:
    owner = owner_of(frame.meeting)
    for path in ("/", f"/m/{frame.meeting.slug}/gallery/", f"/m/{frame.meeting.slug}/invites/"):
        assert owner.get(f"{path}?{query}").status_code == 200


@pytest.mark.parametrize("text", ["\x00", "\ud800", "x" * 100_000, "\r\nSet-Cookie: a=b", "{{7*7}}", "%s%n"])
def test_odd_texts_in_forms_break_nothing(text: str) -> None:
    meeting = make.meeting()
    owner, client = owner_of(meeting), Client()
    posted = text.encode("utf-8", "surrogatepass").decode("latin-1")
    for form in ({"invite": posted, "name": "a"}, {"invite": token_for(meeting, TokenKind.JOIN), "name": posted}):
        assert client.post(f"/m/{meeting.slug}/join/", form).status_code in (302, 400, 403)
    assert owner.post("/", {"title": posted, "language": "en"}).status_code in (200, 302, 400)
    for made in Meeting.objects.all():
        answer = owner.get(f"/m/{made.slug}/gallery/")
        assert answer.status_code == 200 and "a" not in answer.cookies


def test_viewers_get_no_token_and_no_consents_of_others(frame: Frame) -> None:
    meeting = frame.meeting
    make.participant(meeting, "Anna", Role.PARTICIPANT)
    viewer = guest_of(meeting, TokenKind.VIEW)
    for page in ("", "tv/", "gallery/"):
        body = viewer.get(f"/m/{meeting.slug}/{page}").content.decode()
        for kind in TokenKind:
            assert token_for(meeting, kind) not in body
        assert "consent_" not in body and "invites_version" not in body and meeting.owner.username not in body
