"""Pictures that nobody wants any more: told over the brokers that MeetViz runs on, heard by every paint host."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Consumer, Exchange

from tests.live.servers import CELERY, own_redis
from tests.sites import Process, environment_for
from workers.app import broker_settings
from workers.cancelling import Listener, Unwanted
from workers.messages import (
    EXCHANGE_CANCEL,
    QUEUE_CORE,
    QUEUE_PAINT,
    TASK_PAINT,
    TASK_PAINTED,
    PaintRequest,
    PaintResult,
    Scene,
)

WITHIN_S = 60.0


@pytest.fixture(scope="module", params=["memory", "redis"])
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "memory":
        yield ""
    else:
        with own_redis(tmp_path_factory.mktemp("redis")) as address:
            yield address


@pytest.fixture
def app(broker: str) -> Iterator[Celery]:
    app = Celery("cancelling", set_as_current=False)
    app.conf.update(broker_settings(broker))
    yield app
    app.close()


@contextmanager
def listening(app: Celery, **options: Any) -> Iterator[tuple[Listener, Unwanted]]:
    unwanted = Unwanted(**options)
    listener = Listener(app, unwanted)
    listener.start()
    try:
        assert listener.listening.wait(WITHIN_S)
        yield listener, unwanted
    finally:
        listener.stop()
        listener.join(WITHIN_S)
        assert not listener.is_alive()


def announce(app: Celery, body: Any, serializer: str = "msgpack") -> None:
    exchange = Exchange(EXCHANGE_CANCEL, type="fanout")
    with app.producer_pool.acquire(block=True) as producer:
        producer.publish(body, exchange=exchange, declare=[exchange], serializer=serializer)


def told_until_heard(app: Celery, unwanted: Unwanted, frame_id: str) -> None:
    """A fanout exchange keeps nothing for who is not there yet."""
    deadline = time.monotonic() + WITHIN_S
    announce(app, {"id": frame_id})
    while not unwanted.wait_for(frame_id, 1.0):
        assert time.monotonic() < deadline
        announce(app, {"id": frame_id})


def new_id() -> str:
    return str(uuid.uuid4())


def test_a_host_hears_what_is_cancelled_and_nothing_else(app: Celery) -> None:
    cancelled, wanted = new_id(), new_id()
    with listening(app) as (_listener, unwanted):
        assert cancelled not in unwanted
        told_until_heard(app, unwanted, cancelled)
        assert cancelled in unwanted
        assert wanted not in unwanted


def test_every_host_hears_it(app: Celery) -> None:
    frame_id = new_id()
    with listening(app) as (_, here), listening(app) as (_, there):
        told_until_heard(app, here, frame_id)
        told_until_heard(app, there, frame_id)


def test_what_is_no_cancellation_is_passed_over(app: Celery) -> None:
    frame_id = new_id()
    with listening(app) as (listener, unwanted):
        for body in ({}, [], "x", None, {"id": 5}, {"id": "x" * 100_000}, {"id": [frame_id]}):
            announce(app, body)
        told_until_heard(app, unwanted, frame_id)
        assert listener.is_alive()
        assert "x" * 100_000 not in unwanted


def test_a_message_in_another_format_does_not_silence_the_host(app: Celery) -> None:
    frame_id = new_id()
    with listening(app) as (_, unwanted):
        announce(app, {"id": new_id()}, serializer="json")
        told_until_heard(app, unwanted, frame_id)


def test_nobody_need_listen(app: Celery) -> None:
    announce(app, {"id": new_id()})


def test_a_lost_connection_is_made_again(tmp_path: Path) -> None:
    """The server closes every connection, as it does when it restarts."""
    with own_redis(tmp_path) as address:
        app = Celery("cancelling", set_as_current=False)
        app.conf.update(broker_settings(address))
        with listening(app) as (listener, unwanted):
            told_until_heard(app, unwanted, new_id())
            server = redis.Redis.from_url(address)
            own = str(server.connection_pool.connection_kwargs["db"])
            ours = [client["id"] for client in server.client_list(_type="pubsub") if client["db"] == own]
            assert ours
            for client in ours:
                server.client_kill_filter(_id=client)
            told_until_heard(app, unwanted, new_id())
            assert listener.is_alive()
        app.close()


def test_a_broker_that_is_away_is_asked_again_and_again() -> None:
    app = Celery("cancelling", set_as_current=False)
    app.conf.update(broker_settings("redis://127.0.0.1:1/0"))
    listener = Listener(app, Unwanted())
    listener.start()
    assert not listener.listening.wait(0.2)
    assert listener.is_alive()
    listener.stop()
    listener.join(WITHIN_S)
    assert not listener.is_alive()


@pytest.mark.parametrize("pool", ["solo", "prefork", "threads"])
def test_a_paint_host_hears_it_in_whatever_process_or_thread_it_paints(pool: str, tmp_path: Path) -> None:
    """As `celery worker` runs it; whoever hears nothing paints the picture."""
    painted: list[PaintResult] = []

    def on_message(body: Any, message: Any) -> None:
        message.ack()
        if message.headers["task"] == TASK_PAINTED:
            painted.append(PaintResult.from_wire(body[0][0]))

    with own_redis(tmp_path) as address:
        environment = {**environment_for(tmp_path, 0), "REDIS_URL": address}
        worker = Process([*CELERY, "-A", "workers.app", "worker", "-Q", "paint", "-P", pool, "-c", "1"], environment)
        app = Celery("cancelling", set_as_current=False)
        app.conf.update(broker_settings(address))
        try:
            deadline = time.monotonic() + WITHIN_S
            with app.connection_for_read() as connection:
                queue = app.amqp.queues[QUEUE_CORE]
                with Consumer(connection.default_channel, [queue], callbacks=[on_message], accept=["msgpack"]):
                    # The first may be painted, or come before the host listens.
                    while not painted or painted[-1].error != "cancelled":
                        frame_id, before = new_id(), len(painted)
                        announce(app, {"id": frame_id})
                        request = PaintRequest(frame_id, 1, "", "", Scene(""), seed=1, width_px=64, height_px=64)
                        app.send_task(TASK_PAINT, args=[request.to_wire()], queue=QUEUE_PAINT)
                        while len(painted) == before:
                            connection.drain_events(timeout=max(0.05, deadline - time.monotonic()))
        finally:
            worker.stop()
            app.close()
    assert painted[-1].image == b""


# Remembering


def test_the_oldest_are_forgotten_first() -> None:
    unwanted = Unwanted(most=3)
    for name in "abcd":
        unwanted.add(name)
    assert [name for name in "abcd" if name in unwanted] == ["b", "c", "d"]
    unwanted.add("b")
    unwanted.add("e")
    assert [name for name in "abcde" if name in unwanted] == ["b", "d", "e"]


def test_what_was_long_ago_is_forgotten() -> None:
    unwanted = Unwanted(remembered_s=-1.0)
    unwanted.add("a")
    assert "a" not in unwanted
