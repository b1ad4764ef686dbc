"""Says every few seconds which queue this process consumes and with which engines; loads them when the worker is ready.

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
from workers.messages import QUEUE_CORE, TASK_HEARTBEAT, Heartbeat

log = logging.getLogger("meetviz.workers")

BEAT_S = 5.0
_stops: list[threading.Event] = []


@worker_ready.connect
def _begin(sender: Any, **kwargs: Any) -> None:
    stop = threading.Event()
    _stops.append(stop)
    for queue in [q.name for q in sender.task_consumer.queues]:
        threading.Thread(target=_beat, args=(sender.app, queue, stop), name=f"heartbeat-{queue}", daemon=True).start()


@worker_shutting_down.connect
def _end(**kwargs: Any) -> None:
    while _stops:
        _stops.pop().set()


def _beat(app: Any, queue: str, stop: threading.Event) -> None:
    _say(app, queue)
    for engine in registry.engines_of(queue).values():
        try:
            engine.load()
        except Exception as error:
            log.warning("engine %s did not load: %s", engine.name, described(error))
    while not stop.is_set():
        _say(app, queue)
        stop.wait(BEAT_S)


def _say(app: Any, queue: str) -> None:
    engines = {role: engine.facts().to_wire() for role, engine in registry.engines_of(queue).items()}
    beat = Heartbeat(queue=queue, host=f"{socket.gethostname()}-{os.getpid()}", engines=engines, at=time.time())
    try:
        app.send_task(TASK_HEARTBEAT, args=[beat.to_wire()], queue=QUEUE_CORE, expires=BEAT_S * 3)
    except Exception as error:
        log.warning("heartbeat of %s not sent: %s", queue, type(error).__name__)
