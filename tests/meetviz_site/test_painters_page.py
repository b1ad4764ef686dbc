"""The admin's page of painters: what it shows, and that nothing restricted is chosen unread."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import translation

from generation.models import AcceptedLicence
from generation.painter_choice import chosen_model
from meetings.access import owner_create
from meetviz_site.painters import PAINTERS
from meetviz_site.status import host_seen
from workers.messages import QUEUE_PAINT, QUEUE_SPEECH, EngineFacts, Heartbeat
from workers.models.catalogue import CATALOGUE

pytestmark = pytest.mark.django_db

PAGE = "/admin/generation/painterchoice/"


@pytest.fixture
def owner() -> Client:
    client = Client()
    client.force_login(owner_create())
    return client


def beat(name: str, *installed: str, queue: str = QUEUE_PAINT) -> None:
    facts = {"paint": EngineFacts("diffusers", "sd15-lcm", "cuda").to_wire()}
    host_seen(Heartbeat(queue, name, facts, 0.0, installed=list(installed)))


def card_of(page: str, model: str) -> str:
    """What the page says of one model, tags taken out."""
    (card,) = [card for card in re.split(r'<div class="painter[ "]', page)[1:] if f'value="{model}"' in card]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", card))


def choose(client: Client, model: str, *accepted: str) -> Any:
    return client.post(PAGE, {"model": model, **{f"accept_{name}": "on" for name in accepted}}, follow=True)


def test_the_page_is_found_in_the_admin_and_shows_every_paint_model(owner: Client) -> None:
    assert reverse("admin:generation_painterchoice_changelist") == PAGE
    assert PAGE in owner.get("/admin/").content.decode()
    page = owner.get(PAGE).content.decode()
    assert [name for name in PAINTERS if f'value="{name}"' not in page] == []
    assert "whisper" not in page and "style=" not in page
    card = card_of(page, "sdxl-lightning")
    for words in ("1024 × 1024", "Steps 4", "7.3", "9.0 GB", "OpenRAIL++-M", "models pull sdxl-lightning", "sketch"):
        assert words in card, words


def test_it_says_where_a_model_is_installed(owner: Client) -> None:
    assert "No paint host answers" in owner.get(PAGE).content.decode()
    beat("studio", "sd15-lcm", "sdxl-lcm")
    beat("cellar", "sd15-lcm")
    beat("ears", "sdxs", queue=QUEUE_SPEECH)
    page = owner.get(PAGE).content.decode()
    assert "cellar, studio" in card_of(page, "sd15-lcm") and "studio" in card_of(page, "sdxl-lcm")
    assert "models pull sdxs" in card_of(page, "sdxs") and "ears" not in page


def test_a_pick_counts_and_says_what_is_missing(owner: Client) -> None:
    beat("studio", "sd15-lcm")
    page = choose(owner, "sd15-lcm").content.decode()
    assert chosen_model() == "sd15-lcm" and "From the next picture on: sd15-lcm" in page
    assert "No paint host" not in page and "chosen" in card_of(page, "sd15-lcm")
    page = choose(owner, "sdxl-lcm").content.decode()
    assert "No paint host that answers has sdxl-lcm yet" in page
    choose(owner, "")
    assert chosen_model() == ""
    said = LogEntry.objects.order_by("action_time").values_list("change_message", flat=True)
    assert list(said) == ["- → sd15-lcm", "sd15-lcm → sdxl-lcm", "sdxl-lcm → -"]


def test_a_restricted_model_needs_its_box_ticked(owner: Client) -> None:
    answer = choose(owner, "sd-turbo")
    assert answer.status_code == 400 and chosen_model() == "" and not AcceptedLicence.objects.exists()
    assert "can be chosen once its licence is accepted" in card_of(answer.content.decode(), "sd-turbo")
    choose(owner, "sd-turbo", "sdxl-turbo")
    assert chosen_model() == "" and not AcceptedLicence.objects.exists()
    page = choose(owner, "sd-turbo", "sd-turbo").content.decode()
    accepted = AcceptedLicence.objects.get()
    turbo = CATALOGUE["sd-turbo"]
    assert (accepted.model, accepted.licence, accepted.licence_url) == (turbo.name, turbo.licence, turbo.licence_url)
    assert accepted.accepted_by_name == "owner" and chosen_model() == "sd-turbo"
    assert "Accepted by owner" in card_of(page, "sd-turbo") and 'name="accept_sd-turbo"' not in page
    assert 'name="accept_sdxl-turbo"' in page


def test_a_licence_may_be_accepted_without_choosing_the_model(owner: Client) -> None:
    page = choose(owner, "", "sdxl-turbo").content.decode()
    assert AcceptedLicence.objects.get().model == "sdxl-turbo" and chosen_model() == ""
    assert "Licence accepted: sdxl-turbo" in page


def test_another_licence_than_the_accepted_one_has_to_be_accepted_anew(owner: Client) -> None:
    AcceptedLicence.objects.create(model="sd-turbo", licence="an older one", accepted_by_name="anna")
    assert 'name="accept_sd-turbo"' in owner.get(PAGE).content.decode()
    assert choose(owner, "sd-turbo").status_code == 400


@pytest.mark.parametrize("wish", ["whisper-base", "../../etc", "SD15-LCM", "sd15-lcm\x00"])
def test_what_is_no_paint_model_cannot_be_chosen(owner: Client, wish: str) -> None:
    assert choose(owner, wish, "sd-turbo").status_code == 400
    assert chosen_model() == "" and not AcceptedLicence.objects.exists()


def test_only_who_may_change_it_can() -> None:
    assert Client().get(PAGE).status_code == 302
    user = get_user_model().objects.create_user("helper", is_staff=True)
    client = Client()
    client.force_login(user)
    assert client.get(PAGE).status_code == 403 and choose(client, "sd15-lcm").status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_painterchoice"))
    page = client.get(PAGE).content.decode()
    assert "disabled" in page and "submit-row" not in page
    assert choose(client, "sd15-lcm").status_code == 403 and chosen_model() == ""
    user.user_permissions.add(Permission.objects.get(codename="change_painterchoice"))
    choose(client, "sd15-lcm")
    assert chosen_model() == "sd15-lcm"


def test_accepted_licences_are_a_record_that_nobody_changes(owner: Client) -> None:
    choose(owner, "", "sd-turbo")
    row = AcceptedLicence.objects.get()
    assert "sd-turbo" in owner.get("/admin/generation/acceptedlicence/").content.decode()
    assert owner.post(f"/admin/generation/acceptedlicence/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert owner.get("/admin/generation/acceptedlicence/add/").status_code == 403
    assert owner.post(f"/admin/generation/acceptedlicence/{row.pk}/change/", {"model": "sdxs"}).status_code == 403


def test_the_page_speaks_russian(owner: Client) -> None:
    with translation.override("ru"):
        page = owner.get(PAGE, headers={"Accept-Language": "ru"}).content.decode()
    assert 'lang="ru"' in page and "sd15-lcm" in page
