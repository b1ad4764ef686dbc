"""What a host says of itself every few seconds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from kombu import Consumer

from meetviz_site.local.workers import LocalWorkers
from tests.factories_models import install_paint_model
from workers import registry, tasks  # noqa: F401  (tasks makes hosts beat)
from workers.messages import QUEUE_CORE, QUEUE_PAINT, TASK_HEARTBEAT, Heartbeat

WITHIN_S = 60.0


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MEETVIZ_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("MEETVIZ_PROFILE", "cpu-server")
    registry.unload_all()
    yield tmp_path / "models"
    registry.unload_all()


def first_beat(queue_name: str) -> Heartbeat:
    """The first heartbeat of a real worker of this queue."""
    app = current_app._get_current_object()
    beats: list[Heartbeat] = []

    def on_message(body: Any, message: Any) -> None:
        message.ack()
        if message.headers["task"] == TASK_HEARTBEAT:
            beats.append(Heartbeat.from_wire(body[0][0]))

    workers = LocalWorkers(app, [queue_name])
    with app.connection_for_read() as connection:
        queue = app.amqp.queues[QUEUE_CORE]
        queue(connection.default_channel).declare()
        queue(connection.default_channel).purge()
        workers.start()
        try:
            deadline = time.monotonic() + WITHIN_S
            with Consumer(connection, [queue], callbacks=[on_message], accept=["msgpack", "json"]):
                while not beats:
                    connection.drain_events(timeout=max(0.05, deadline - time.monotonic()))
        finally:
            assert workers.stop(deadline_s=WITHIN_S)
    return beats[0]


def test_a_paint_host_tells_its_painter_its_profile_and_what_it_could_change_to(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_paint_model(models, "sdxs")
    install_paint_model(models, "sd-turbo")
    monkeypatch.setenv("MEETVIZ_PAINTER", "poster")
    beat = first_beat(QUEUE_PAINT)
    assert beat.engines["paint"]["name"] == "poster" and beat.engines["paint"]["profile"] == "cpu-server"
    assert set(beat.installed) == {"sd-turbo", "sdxs"} and beat.offers == [] and beat.fetching is None
