"""Every page, asked by everyone: who gets in, what is shown, and in which language."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polib
import pytest
from django.conf import settings
from django.test import Client

from generation.models import Frame, FrameSource
from generation.outcomes import frame_painted
from meetings.access import TokenKind, owner_link_create, token_for
from meetings.models import Meeting
from meetings.services import meeting_end
from meetings.templatetags.icons import icon_svg
from tests import factories

pytestmark = pytest.mark.django_db

MEMBERS_PAGES = ("", "gallery/", "tv/", "invites/")


@pytest.fixture
def meeting() -> Meeting:
    return factories.meeting(title="Secret garden")


@pytest.fixture
def owner(meeting: Meeting) -> Client:
    client = Client()
    client.force_login(meeting.owner)
    return client


def guest(meeting: Meeting, kind: TokenKind = TokenKind.JOIN, name: str = "Olga") -> Client:
    client = Client()
    invite = token_for(meeting, kind)
    answer = client.post(f"/m/{meeting.slug}/join/", {"name": name, "invite": invite, "to": "room"})
    assert answer.status_code == 302
    return client


def picture(meeting: Meeting, settings: Any, tmp_path: Path) -> Frame:
    settings.MEDIA_ROOT = tmp_path
    frame = Frame.objects.create(
        meeting=meeting,
        state=Frame.State.PAINTING,
        prompt="a house by a river",
        alt={"en": "A house by a river", "ru": "Дом у реки"},
    )
    FrameSource.objects.create(frame=frame, utterance=factories.utterance(meeting, "An old house stands by the river."))
    painted = frame_painted(factories.paint_result(frame))
    assert painted is not None
    return painted


def test_strangers_learn_what_it_is_and_how_to_get_in(client: Client) -> None:
    page = client.get("/").content.decode()
    assert "one-time owner link" in page
    assert "invite link" in page
    assert "new-meeting" not in page


@pytest.mark.parametrize("page", MEMBERS_PAGES)
def test_the_door_tells_a_stranger_nothing_not_even_that_the_meeting_exists(
    client: Client, meeting: Meeting, page: str
) -> None:
    real = client.get(f"/m/{meeting.slug}/{page}")
    none = client.get(f"/m/nothing-here/{page}")
    assert real.status_code == none.status_code == 403
    body = real.content.decode()
    assert meeting.title not in body
    unlike = re.compile(r'value="[A-Za-z0-9]{64}"')
    assert unlike.sub("", body).replace(meeting.slug, "nothing-here") == unlike.sub("", none.content.decode())


def test_a_wrong_invite_is_refused_alike_for_real_and_invented_meetings(client: Client, meeting: Meeting) -> None:
    for slug in (meeting.slug, "nothing-here"):
        answer = client.post(f"/m/{slug}/join/", {"invite": "join-wrong", "name": "Eve"})
        assert answer.status_code == 403
        assert "not valid" in answer.content.decode()
    assert not meeting.participants.exists()


def test_an_invite_works_as_a_code_and_as_the_whole_address(client: Client, meeting: Meeting) -> None:
    address = f"http://testserver/m/{meeting.slug}/#invite={token_for(meeting, TokenKind.JOIN)}"
    answer = client.post(f"/m/{meeting.slug}/join/", {"invite": f" {address} ", "name": "Olga"})
    assert answer.headers["Location"] == f"/m/{meeting.slug}/"
    room = client.get(f"/m/{meeting.slug}/")
    assert room.status_code == 200
    assert meeting.title in room.content.decode()


def test_an_invite_of_another_meeting_opens_nothing(client: Client, meeting: Meeting) -> None:
    other = token_for(factories.meeting(), TokenKind.JOIN)
    assert client.post(f"/m/{meeting.slug}/join/", {"invite": other}).status_code == 403


def test_the_api_token_is_no_invite(client: Client, meeting: Meeting) -> None:
    token = token_for(meeting, TokenKind.API)
    assert client.post(f"/m/{meeting.slug}/join/", {"invite": token}).status_code == 403


def test_the_owner_link_logs_in_once(client: Client) -> None:
    path = owner_link_create("http://testserver").removeprefix("http://testserver")
    assert client.get(path).headers["Location"] == "/"
    assert "new-meeting" in client.get("/").content.decode()
    again = Client().get(path)
    assert again.status_code == 403
    assert "sessionid" not in again.cookies


def test_the_owner_starts_a_meeting_and_lands_in_its_room(owner: Client, meeting: Meeting) -> None:
    answer = owner.post("/", {"title": "A bridge", "language": "ru"}, follow=True)
    made = Meeting.objects.get(title="A bridge")
    assert (made.owner, made.language) == (meeting.owner, "ru")
    assert answer.redirect_chain[-1][0] == f"/m/{made.slug}/"


def test_strangers_and_guests_cannot_start_meetings(client: Client, meeting: Meeting) -> None:
    for someone in (client, guest(meeting)):
        someone.post("/", {"title": "Mine", "language": "en"})
    assert not Meeting.objects.filter(title="Mine").exists()


def test_the_start_page_lists_only_what_is_ones_own(owner: Client, meeting: Meeting) -> None:
    factories.meeting(title="Of somebody else")
    for someone in (owner, guest(meeting)):
        page = someone.get("/").content.decode()
        assert meeting.title in page
        assert "Of somebody else" not in page


def test_a_card_shows_pictures_people_and_length(
    owner: Client, meeting: Meeting, settings: Any, tmp_path: Path
) -> None:
    frame = picture(meeting, settings, tmp_path)
    page = owner.get("/").content.decode()
    assert f"/frames/{frame.pk}/thumb.webp" in page
    assert "Anna" in page
    assert "1 minute" in page


def test_the_start_page_asks_as_many_questions_for_ten_meetings_as_for_one(
    owner: Client, meeting: Meeting, django_assert_max_num_queries: Any
) -> None:
    for number in range(10):
        factories.utterance(factories.meeting(meeting.owner, title=f"Meeting {number}"))
    with django_assert_max_num_queries(9):
        owner.get("/")


def test_the_room_gets_what_its_scripts_need_and_what_this_person_may_do(owner: Client, meeting: Meeting) -> None:
    for someone, role, may_end in ((owner, "owner", True), (guest(meeting, TokenKind.VIEW), "viewer", False)):
        answer = someone.get(f"/m/{meeting.slug}/")
        config = answer.context["config"]
        assert config["ws_path"] == f"/ws/meetings/{meeting.slug}/"
        assert config["me"]["role"] == role
        assert config["me"]["can"]["end"] is may_end
        assert (f"/m/{meeting.slug}/end/" in answer.content.decode()) is may_end


def test_pages_have_no_inline_handlers_and_no_script_but_data(owner: Client, meeting: Meeting) -> None:
    for path in ("/", *(f"/m/{meeting.slug}/{page}" for page in MEMBERS_PAGES)):
        body = owner.get(path).content.decode()
        assert not re.search(r"<[^>]+\son\w+=", body), path
        inline = re.findall(r"<script(?![^>]*\bsrc=)([^>]*)>", body)
        assert all('type="application/json"' in attributes for attributes in inline), path
        assert not re.search(r'(?:src|href)="(?:https?:)?//(?!fontawesome\.com)', body), path


def test_members_pages_are_never_stored_by_caches(owner: Client, meeting: Meeting) -> None:
    for page in MEMBERS_PAGES:
        assert "no-store" in owner.get(f"/m/{meeting.slug}/{page}").headers["Cache-Control"]


def test_a_title_cannot_become_markup(owner: Client, meeting: Meeting) -> None:
    Meeting.objects.filter(pk=meeting.pk).update(title="</script><script>alert(1)</script>")
    for path in ("/", f"/m/{meeting.slug}/", f"/m/{meeting.slug}/gallery/", f"/m/{meeting.slug}/invites/"):
        assert "<script>alert" not in owner.get(path).content.decode()


def test_an_ended_meeting_leads_to_its_gallery(owner: Client, meeting: Meeting) -> None:
    meeting_end(meeting)
    assert owner.get(f"/m/{meeting.slug}/").headers["Location"] == f"/m/{meeting.slug}/gallery/"


def test_only_the_owner_ends_a_meeting_and_only_by_post(owner: Client, meeting: Meeting) -> None:
    assert guest(meeting).post(f"/m/{meeting.slug}/end/").status_code == 403
    assert owner.get(f"/m/{meeting.slug}/end/").status_code == 405
    meeting.refresh_from_db()
    assert meeting.ended_at is None
    owner.post(f"/m/{meeting.slug}/end/")
    meeting.refresh_from_db()
    assert meeting.ended_at is not None


def test_the_gallery_shows_time_picture_words_and_who(
    owner: Client, meeting: Meeting, settings: Any, tmp_path: Path
) -> None:
    frame = picture(meeting, settings, tmp_path)
    factories.utterance(meeting, "And then we went home.", ago_s=-30)
    page = owner.get(f"/m/{meeting.slug}/gallery/").content.decode()
    assert f"/frames/{frame.pk}.webp" in page
    for shown in ("An old house stands by the river.", "Anna", "A house by a river", "a house by a river", "poster-1"):
        assert shown in page
    assert "from word to picture" in page
    assert page.index("An old house stands") < page.index("And then we went home.")


def test_invites_show_links_that_work_and_codes_to_scan(owner: Client, meeting: Meeting) -> None:
    page = owner.get(f"/m/{meeting.slug}/invites/").content.decode()
    for kind in (TokenKind.JOIN, TokenKind.VIEW):
        assert f"http://testserver/m/{meeting.slug}/#invite={token_for(meeting, kind)}" in page
    assert token_for(meeting, TokenKind.API) not in page
    assert page.count("<svg viewBox") + page.count('class="segno"') >= 2
    assert "<html" not in owner.get(f"/m/{meeting.slug}/invites/?part=1").content.decode()


def test_viewers_see_no_invites(meeting: Meeting) -> None:
    answer = guest(meeting, TokenKind.VIEW).get(f"/m/{meeting.slug}/invites/")
    assert answer.status_code == 403
    assert token_for(meeting, TokenKind.JOIN) not in answer.content.decode()


def test_the_owner_makes_all_invites_void(owner: Client, meeting: Meeting) -> None:
    came = guest(meeting)
    came.post(f"/m/{meeting.slug}/invites/")
    assert came.get(f"/m/{meeting.slug}/").status_code == 200, "a guest made the invites void"
    old = token_for(meeting, TokenKind.JOIN)
    owner.post(f"/m/{meeting.slug}/invites/")
    assert came.get(f"/m/{meeting.slug}/").status_code == 403
    assert Client().post(f"/m/{meeting.slug}/join/", {"invite": old}).status_code == 403


def test_forms_refuse_posts_from_other_sites(meeting: Meeting) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(meeting.owner)
    for path in ("/", f"/m/{meeting.slug}/end/", f"/m/{meeting.slug}/invites/", f"/m/{meeting.slug}/join/"):
        assert strict.post(path, {"title": "x", "language": "en"}).status_code == 403
    meeting.refresh_from_db()
    assert meeting.ended_at is None


def test_the_language_switch_changes_page_dates_and_plurals(
    owner: Client, meeting: Meeting, settings: Any, tmp_path: Path
) -> None:
    picture(meeting, settings, tmp_path)
    owner.post("/i18n/setlang/", {"language": "ru", "next": "/"})
    page = owner.get(f"/m/{meeting.slug}/gallery/").content.decode()
    assert '<html lang="ru">' in page
    assert "1 картина" in page
    assert 'alt="Дом у реки"' in page
    assert "от слова до картины" in page
    room = owner.get(f"/m/{meeting.slug}/").content.decode()
    assert "Нарисовать сейчас" in room
    assert '"few": "{n} человека"' in room


def test_every_word_is_translated_and_the_compiled_file_is_the_translation() -> None:
    folder = Path(settings.BASE_DIR) / "locale/ru/LC_MESSAGES"
    source = polib.pofile(str(folder / "django.po"))
    assert [entry.msgid for entry in source.untranslated_entries() + source.fuzzy_entries()] == []
    compiled = {(e.msgctxt, e.msgid): (e.msgstr, e.msgstr_plural) for e in polib.mofile(str(folder / "django.mo"))}
    wanted = {(e.msgctxt, e.msgid): (e.msgstr, e.msgstr_plural) for e in source.translated_entries() if not e.obsolete}
    assert compiled == wanted


def test_every_text_of_the_scripts_exists(owner: Client, meeting: Meeting) -> None:
    from meetings.templatetags.room_text import PLURALS, TEXTS

    scripts = "\n".join(path.read_text() for path in (Path(settings.BASE_DIR) / "static/js/room").glob("*.js"))
    used = set(re.findall(r'(?<![\w.])t\("([a-z_]+)"', scripts))
    assert len(used) > 40
    assert used <= set(TEXTS)
    assert set(re.findall(r'(?<![\w.])tn\("([a-z_]+)"', scripts)) <= set(PLURALS)


def test_an_icon_is_one_clean_svg_and_an_unknown_one_is_named() -> None:
    svg = icon_svg("microphone", "solid")
    assert svg.startswith("<svg ") and "<!--" not in svg and 'aria-hidden="true"' in svg
    with pytest.raises(ValueError, match="no icon solid/no-such-icon"):
        icon_svg("no-such-icon", "solid")


def test_healthz_answers_without_a_session(client: Client) -> None:
    answer = client.get("/healthz")
    assert answer.content == b"ok"
    assert not answer.cookies


def test_the_dialog_about_voices_is_fetched_when_it_is_needed_and_only_by_who_is_in_the_meeting(client: Client) -> None:
    meeting = factories.meeting()
    address = f"{meeting.get_absolute_url()}?part=who"
    assert b"who-dialog" not in client.get(address).content
    client.force_login(meeting.owner)
    assert b"who-dialog" not in client.get(meeting.get_absolute_url()).content
    part = client.get(address).content.decode()
    assert part.count("<dialog") == 1 and 'id="who-dialog"' in part and "<html" not in part


def test_an_icon_is_drawn_once_in_the_room_and_then_referred_to(client: Client) -> None:
    meeting = factories.meeting()
    client.force_login(meeting.owner)
    page = client.get(meeting.get_absolute_url()).content.decode()
    drawn, referred = re.findall(r'<path id="(icon-of-[^"]+)"', page), re.findall(r'<use href="#([^"]+)"', page)
    assert len(drawn) == len(set(drawn)) and referred and set(referred) <= set(drawn)
    assert "<use" not in client.get("/").content.decode(), "elsewhere each icon stands for itself"
