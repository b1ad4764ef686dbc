"""The director's clock: asks for a look twice a second, and now and then whose voices are one, from a thread of
whichever process works on the `core` queue.

Several clocks (several core hosts) do no harm: claims in the database decide, and a look costs one query.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from celery.signals import worker_ready, worker_shutting_down

from generation.prompting import warm_up
from workers.messages import QUEUE_CORE

log = logging.getLogger("meetviz.pipeline")

TICK_S = 0.5
TIDY_VOICES_EVERY_S = 10.0
_stops: list[threading.Event] = []


@worker_ready.connect
def _begin(sender: Any, **kwargs: Any) -> None:
    if QUEUE_CORE not in [q.name for q in sender.task_consumer.queues]:
        return
    stop = threading.Event()
    _stops.append(stop)
    # The lexicon and the lemmas take some tenths of a second once; better now than in the first picture.
    threading.Thread(target=warm_up, name="warm-up", daemon=True).start()
    threading.Thread(target=_tick, args=(sender.app, stop), name="clock", daemon=True).start()


@worker_shutting_down.connect
def stop_all(**kwargs: Any) -> None:
    while _stops:
        _stops.pop().set()


def _tick(app: Any, stop: threading.Event) -> None:
    tidied_at = time.monotonic()
    while not stop.wait(TICK_S):
        try:
            # A look that nobody took within a tick is stale: the next one follows.
            app.send_task("pipeline.look", queue=QUEUE_CORE, expires=TICK_S * 4)
            if time.monotonic() - tidied_at >= TIDY_VOICES_EVERY_S:
                tidied_at = time.monotonic()
                app.send_task("pipeline.tidy_voices", queue=QUEUE_CORE, expires=TIDY_VOICES_EVERY_S)
        except Exception as error:
            log.warning("the clock cannot reach the broker: %s", type(error).__name__)
