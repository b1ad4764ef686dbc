"""The model that the owner wants pictures painted with, and the licences accepted for it."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from generation.models import AcceptedLicence, PainterChoice
from generation.painter_choice import (
    LicenceNotAccepted,
    chosen_model,
    licence_accept,
    licence_is_accepted,
    licences_accepted,
    painter_choose,
)
from tests import factories as make

pytestmark = pytest.mark.django_db

URL = "https://stability.ai/license"


def accept(model: str = "sd-turbo", licence: str = "Community", name: str = "") -> AcceptedLicence:
    return licence_accept(model=model, licence=licence, licence_url=URL, by=make.user(name))


def test_nobody_has_chosen_at_first_and_asking_costs_one_query(django_assert_num_queries) -> None:  # type: ignore[no-untyped-def]
    with django_assert_num_queries(1):
        assert chosen_model() == ""


def test_a_choice_counts_from_then_on_and_can_be_taken_back() -> None:
    owner = make.user()
    painter_choose(model="sdxl-lightning", by=owner)
    assert chosen_model() == "sdxl-lightning"
    painter_choose(model="sd15-lcm", by=owner)
    assert (chosen_model(), PainterChoice.objects.count()) == ("sd15-lcm", 1)
    painter_choose(model="", by=owner)
    assert chosen_model() == ""


def test_there_is_one_choice_for_the_site() -> None:
    painter_choose(model="sd15-lcm", by=make.user())
    with pytest.raises(IntegrityError), transaction.atomic():
        PainterChoice.objects.create(pk=2, model="sdxs")


def test_a_restricted_model_is_not_chosen_before_its_licence_is_accepted() -> None:
    with pytest.raises(LicenceNotAccepted, match="sd-turbo"):
        painter_choose(model="sd-turbo", by=make.user(), licence="Community")
    assert chosen_model() == ""
    accept()
    painter_choose(model="sd-turbo", by=make.user(), licence="Community")
    assert chosen_model() == "sd-turbo"


def test_a_licence_counts_for_its_model_and_under_its_name_only() -> None:
    accept()
    assert licence_is_accepted("sd-turbo", "Community")
    assert not licence_is_accepted("sd-turbo", "Community 2") and not licence_is_accepted("sdxl-turbo", "Community")


def test_who_accepted_first_stays_written_down_even_without_the_account() -> None:
    first = accept(name="anna")
    accept(name="robert")
    assert AcceptedLicence.objects.get() == first
    first.accepted_by.delete()
    first.refresh_from_db()
    assert (first.accepted_by, first.accepted_by_name) == (None, "anna")
    assert licence_is_accepted("sd-turbo", "Community")


def test_the_choice_stays_when_the_account_goes() -> None:
    owner = make.user()
    painter_choose(model="sd15-lcm", by=owner)
    owner.delete()
    assert chosen_model() == "sd15-lcm"


def test_the_newest_acceptance_of_each_model_is_told() -> None:
    accept(licence="old")
    newest = accept(licence="new")
    assert licences_accepted() == {"sd-turbo": newest}
