"""Who may have models fetched from the room, and what the room is told of them."""

from __future__ import annotations

from typing import Any

import pytest
from celery import current_app
from django.contrib.auth import get_user_model
from kombu import Consumer

from generation.painter_choice import licence_accept
from meetings.access import Membership, member_for_session, member_for_token, token_for
from meetings.access import TokenKind as Kind
from meetings.models import Meeting
from meetings.services import Refused
from meetviz_site.fetching import may_fetch, models_fetch
from meetviz_site.live.snapshot import welcome
from meetviz_site.status import host_seen, hosts_alive, status_of
from tests import factories as make
from workers.messages import (
    QUEUE_PAINT,
    QUEUE_SPEECH,
    TASK_FETCH_MODELS,
    EngineFacts,
    Fetching,
    FetchRequest,
    Heartbeat,
    ModelOffer,
)
from workers.models.catalogue import CATALOGUE

pytestmark = pytest.mark.django_db

SPEECH = ModelOffer("whisper-base", "speech", 148_000_000)
VOICE = ModelOffer("ecapa-voxceleb", "voice", 89_000_000)
PAINTER = ModelOffer("sd15-lcm", "paint", 2_280_000_000)
TURBO = ModelOffer("sd-turbo", "paint", 2_590_000_000)


def beat(host: str, *offers: ModelOffer, fetching: Fetching | None = None, **engines: EngineFacts) -> None:
    facts = {role: engine.to_wire() for role, engine in engines.items()}
    host_seen(Heartbeat(QUEUE_SPEECH, host, facts, 0.0, offers=list(offers), fetching=fetching))


def models_told(meeting: Meeting) -> dict[str, Any]:
    return status_of(meeting).to_dict()["models"]


def owner_of(meeting: Meeting, *, staff: bool) -> Membership:
    user = meeting.owner
    user.is_staff = staff
    user.save()
    member = member_for_session(meeting, user, {})
    assert member is not None
    return member


def asked(wanted: Any = None, queue_name: str = QUEUE_SPEECH) -> list[FetchRequest]:
    """What a press by someone who may do it puts on a queue."""
    found: list[FetchRequest] = []

    def on_message(body: Any, message: Any) -> None:
        message.ack()
        assert message.headers["task"] == TASK_FETCH_MODELS
        found.append(FetchRequest.from_wire(body[0][0]))

    app = current_app._get_current_object()
    with app.connection_for_read() as connection:
        queue = app.amqp.queues[queue_name](connection.default_channel)
        queue.declare()
        queue.purge()
        models_fetch(owner_of(make.meeting(), staff=True), wanted, hosts_alive())
        with Consumer(connection, [queue], callbacks=[on_message], accept=["msgpack"]):
            while not found:
                connection.drain_events(timeout=10)
    return found


# Who


def test_the_owner_of_the_site_in_a_meeting_of_their_own_may_fetch() -> None:
    member = owner_of(make.meeting(), staff=True)
    assert may_fetch(member)
    assert welcome(member)["you"]["can"]["fetch_models"] is True


@pytest.mark.parametrize("kind", list(Kind))
def test_nobody_may_by_a_token_not_even_by_the_owners(kind: Kind) -> None:
    meeting = make.meeting()
    member = member_for_token(meeting, token_for(meeting, kind), "Anna")
    assert welcome(member)["you"]["can"]["fetch_models"] is False
    beat("one", SPEECH)
    with pytest.raises(Refused) as caught:
        models_fetch(member, None, hosts_alive())
    assert caught.value.code == "not_allowed"


def test_an_owner_of_a_meeting_who_does_not_run_the_site_may_not() -> None:
    assert not may_fetch(owner_of(make.meeting(), staff=False))


def test_staff_in_somebody_elses_meeting_may_not() -> None:
    meeting = make.meeting()
    user = get_user_model().objects.create_user("helper", is_staff=True)
    participant = meeting.participants.create(user=user, role="participant", name="Helper")
    assert not may_fetch(Membership(meeting, participant))


# What


def test_a_press_asks_for_all_that_is_on_offer() -> None:
    beat("one", SPEECH, VOICE)
    assert asked() == [FetchRequest(["whisper-base", "ecapa-voxceleb"])]


def test_a_press_may_name_what_it_wants() -> None:
    beat("one", SPEECH, VOICE)
    assert asked(["ecapa-voxceleb"]) == [FetchRequest(["ecapa-voxceleb"])]


@pytest.mark.parametrize("wanted", ["whisper-base", ["whisper-large-v3"], [7], {"whisper-base": 1}, [["whisper-base"]]])
def test_what_nobody_offers_cannot_be_asked_for(wanted: Any) -> None:
    beat("one", SPEECH)
    with pytest.raises(Refused) as caught:
        models_fetch(owner_of(make.meeting(), staff=True), wanted, hosts_alive())
    assert caught.value.code == "bad_value"


def test_where_nothing_is_missing_there_is_nothing_to_fetch() -> None:
    beat("one")
    with pytest.raises(Refused) as caught:
        models_fetch(owner_of(make.meeting(), staff=True), None, hosts_alive())
    assert caught.value.code == "nothing_to_fetch"


# Paint models


def accept(offer: ModelOffer) -> None:
    model = CATALOGUE[offer.model]
    licence_accept(model=model.name, licence=model.licence, licence_url=model.licence_url, by=make.user())


def test_a_paint_model_is_asked_for_where_pictures_are_painted() -> None:
    beat("one", SPEECH)
    beat("two", PAINTER)
    assert asked(queue_name=QUEUE_PAINT) == [FetchRequest(["sd15-lcm"])]
    assert asked() == [FetchRequest(["whisper-base"])]


def test_a_restricted_model_is_not_fetched_before_its_licence_is_accepted() -> None:
    beat("one", TURBO)
    owner = owner_of(make.meeting(), staff=True)
    with pytest.raises(Refused) as caught:
        models_fetch(owner, ["sd-turbo"], hosts_alive())
    assert caught.value.code == "licence_needed"
    with pytest.raises(Refused) as caught:
        models_fetch(owner, None, hosts_alive())
    assert caught.value.code == "nothing_to_fetch"


def test_an_accepted_licence_goes_along_to_the_host() -> None:
    beat("one", TURBO, PAINTER)
    accept(TURBO)
    assert asked(queue_name=QUEUE_PAINT) == [FetchRequest(["sd-turbo", "sd15-lcm"], accepted=["sd-turbo"])]


def test_the_room_is_told_which_offer_waits_for_a_licence() -> None:
    meeting = make.meeting()
    beat("one", TURBO, PAINTER)
    licence = CATALOGUE["sd-turbo"].licence
    assert models_told(meeting)["offers"] == [{**TURBO.to_wire(), "licence": licence}, PAINTER.to_wire()]
    accept(TURBO)
    assert models_told(meeting)["offers"] == [TURBO.to_wire(), PAINTER.to_wire()]


# What is told


def test_the_room_is_told_what_could_be_fetched() -> None:
    meeting = make.meeting()
    assert models_told(meeting) == {"offers": [], "fetching": None}
    beat("one", SPEECH)
    beat("two", SPEECH, VOICE)
    assert models_told(meeting) == {"offers": [SPEECH.to_wire(), VOICE.to_wire()], "fetching": None}


def test_the_host_that_is_at_it_is_told_before_one_that_failed() -> None:
    meeting = make.meeting()
    beat("one", fetching=Fetching("whisper-base", 5, 148_000_000))
    beat("two", fetching=Fetching("whisper-base", 0, 148_000_000, "failed", "offline"))
    assert models_told(meeting)["fetching"] == {
        "model": "whisper-base", "done_bytes": 5, "total_bytes": 148_000_000, "state": "fetching", "error": "",
    }  # fmt: skip
    beat("one")
    assert models_told(meeting)["fetching"]["error"] == "offline"


def test_an_engine_that_stands_in_for_a_failing_model_is_a_notice() -> None:
    meeting = make.meeting()
    beat("one", speech=EngineFacts("pocketsphinx", "en-us", demo=True, instead_of="whisper-small"))
    host_seen(Heartbeat("paint", "one", {"paint": EngineFacts("poster", "poster-1").to_wire()}, 0.0))
    notice = status_of(meeting).to_dict()["notice"]
    assert notice["code"] == "model_failed"
    assert "whisper-small" in notice["message"] and "pocketsphinx" in notice["message"]
    beat("one", speech=EngineFacts("faster-whisper", "whisper-small"))
    assert "notice" not in status_of(meeting).to_dict()
