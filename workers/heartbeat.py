"""Says every few seconds which queue this process consumes and with which engines; loads them when the worker is ready.

Each beat also looks whether other models are installed by now. While models are being fetched it beats faster.

Listens to Celery's signals; the local server sends them for its worker threads as `celery worker` does for a process.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from typing import Any

from celery.signals import worker_ready, worker_shutting_down

from workers import registry
from workers.faults import described
from workers.messages import QUEUE_CORE, QUEUE_PAINT, QUEUE_SPEECH, TASK_HEARTBEAT, Heartbeat
from workers.models.background import on_this_host

log = logging.getLogger("meetviz.workers")

BEAT_S = 5.0
FETCHING_BEAT_S = 0.5


class Heart(threading.Thread):
    """The heartbeat of one queue in this process."""

    def __init__(self, app: Any, queue: str) -> None:
        super().__init__(name=f"heartbeat-{queue}", daemon=True)
        self._app = app
        self._queue = queue
        self._news = threading.Event()
        self._stopped = False

    def run(self) -> None:
        # Beside the beats: a large model may take longer to load than a host may be silent.
        threading.Thread(target=self._load, name=f"load-{self._queue}", daemon=True).start()
        while not self._stopped:
            self._news.clear()
            self._beat()
            self._news.wait(FETCHING_BEAT_S if self._fetches and on_this_host.is_busy else BEAT_S)

    def beat_now(self) -> None:
        """There is something to tell."""
        self._news.set()

    def stop(self) -> None:
        self._stopped = True
        self._news.set()

    @property
    def _fetches(self) -> bool:
        return self._queue in (QUEUE_SPEECH, QUEUE_PAINT)

    def _load(self) -> None:
        registry.load(self._queue)
        self.beat_now()

    def _beat(self) -> None:
        beat = Heartbeat(self._queue, f"{socket.gethostname()}-{os.getpid()}", {}, time.time())
        try:
            registry.refresh(self._queue)
            beat.engines = {role: facts.to_wire() for role, facts in registry.facts(self._queue).items()}
            if self._fetches:
                beat.offers = registry.offers(self._queue)
                beat.fetching = on_this_host.state()
            beat.installed = registry.installed(self._queue)
        except Exception as error:
            # A host without an engine still consumes its queue, and its tasks say what is wrong.
            log.warning("engines of %s: %s", self._queue, described(error))
        try:
            self._app.send_task(TASK_HEARTBEAT, args=[beat.to_wire()], queue=QUEUE_CORE, expires=BEAT_S * 3)
        except Exception as error:
            log.warning("heartbeat of %s not sent: %s", self._queue, type(error).__name__)


_hearts: list[Heart] = []


@worker_ready.connect
def _begin(sender: Any, **kwargs: Any) -> None:
    for queue in [q.name for q in sender.task_consumer.queues]:
        heart = Heart(sender.app, queue)
        _hearts.append(heart)
        heart.start()


@worker_shutting_down.connect
def _end(**kwargs: Any) -> None:
    while _hearts:
        _hearts.pop().stop()
    on_this_host.stop()


def _beat_everywhere() -> None:
    for heart in list(_hearts):
        heart.beat_now()


registry.on_change.append(_beat_everywhere)
on_this_host.on_news = _beat_everywhere
