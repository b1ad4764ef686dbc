"""Which pictures nobody wants any more: what a paint host hears about the one in its hands.

A queue cannot tell: the request was taken from it. So the apps tell all paint hosts at once, over a fanout exchange,
and each remembers for a while. What is not heard (the broker was away) costs the rest of one picture, no more.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import socket
import threading
import time
from collections import OrderedDict
from typing import Any

from celery import current_app
from celery.signals import worker_process_init, worker_ready, worker_shutting_down
from kombu import Consumer, Exchange, Queue

from workers.messages import EXCHANGE_CANCEL, QUEUE_PAINT

log = logging.getLogger("meetviz.workers")

MOST_REMEMBERED = 200
REMEMBERED_S = 600.0
"""Longer than a request waits in a queue and is painted."""
LOOK_EVERY_S = 0.1
"""The broker inside the process is polled; Redis wakes the thread by itself."""
FIRST_AGAIN_AFTER_S, LATEST_AGAIN_AFTER_S = 0.5, 15.0

_number = itertools.count()


class Unwanted:
    """The ids of frames that were cancelled lately. Any thread may call anything."""

    def __init__(self, most: int = MOST_REMEMBERED, remembered_s: float = REMEMBERED_S) -> None:
        self._most = most
        self._remembered_s = remembered_s
        self._heard: OrderedDict[str, float] = OrderedDict()
        self._changed = threading.Condition()

    def add(self, frame_id: str) -> None:
        with self._changed:
            self._heard[frame_id] = time.monotonic()
            self._heard.move_to_end(frame_id)
            while len(self._heard) > self._most:
                self._heard.popitem(last=False)
            self._changed.notify_all()

    def __contains__(self, frame_id: str) -> bool:
        with self._changed:
            at = self._heard.get(frame_id)
            return at is not None and time.monotonic() - at <= self._remembered_s

    def wait_for(self, frame_id: str, timeout_s: float) -> bool:
        """Wait until this one is cancelled; False when that does not happen in time."""
        with self._changed:
            return self._changed.wait_for(lambda: frame_id in self._heard, timeout_s)


class Listener(threading.Thread):
    """Hears the exchange over a connection of its own, and connects again whenever it is lost."""

    def __init__(self, app: Any, unwanted: Unwanted) -> None:
        super().__init__(name="cancelling", daemon=True)
        self.owner_pid = os.getpid()
        self.listening = threading.Event()
        """Set while it hears."""
        self._app = app
        self._unwanted = unwanted
        self._stop_asked = threading.Event()

    def run(self) -> None:
        pause_s = FIRST_AGAIN_AFTER_S
        while not self._stop_asked.is_set():
            try:
                self._listen()
            except Exception as error:
                if self.listening.is_set():
                    pause_s = FIRST_AGAIN_AFTER_S
                self.listening.clear()
                log.warning("cancelling is not heard, trying again in %.0f s: %s", pause_s, type(error).__name__)
                self._stop_asked.wait(pause_s)
                pause_s = min(2 * pause_s, LATEST_AGAIN_AFTER_S)

    def stop(self) -> None:
        self._stop_asked.set()

    @property
    def is_of_use(self) -> bool:
        """False in a fork, which does not inherit the thread, and when it ends."""
        return self.owner_pid == os.getpid() and self.is_alive() and not self._stop_asked.is_set()

    def _listen(self) -> None:
        options = {"polling_interval": LOOK_EVERY_S, "socket_keepalive": True}
        # One name for each listener of each process: every one of them hears everything.
        name = f"{EXCHANGE_CANCEL}.{socket.gethostname()}.{os.getpid()}.{next(_number)}"
        exchange = Exchange(EXCHANGE_CANCEL, type="fanout")
        queue = Queue(name, exchange, exclusive=True, auto_delete=True, durable=False)
        with self._app.connection_for_read(transport_options=options) as connection:
            channel = connection.channel()
            with Consumer(channel, [queue], callbacks=[self._on_message], accept=["msgpack"], no_ack=True):
                try:
                    while not self._stop_asked.is_set():
                        with contextlib.suppress(TimeoutError):
                            connection.drain_events(timeout=1.0 if self.listening.is_set() else LOOK_EVERY_S)
                        # Redis is only asked to send when events are first drained.
                        self.listening.set()
                finally:
                    queue(channel).delete()

    def _on_message(self, body: Any, message: Any) -> None:
        frame_id = body.get("id") if isinstance(body, dict) else None
        if isinstance(frame_id, str) and len(frame_id) <= 64:
            self._unwanted.add(frame_id)


unwanted = Unwanted()
_listener: Listener | None = None
_starting = threading.Lock()


def is_cancelled(frame_id: str) -> bool:
    """Whether this frame was cancelled lately, as far as this process has heard. Takes microseconds."""
    return frame_id in unwanted


def listen(app: Any = None) -> Listener:
    """Begin to listen in this process, unless it does already."""
    global _listener
    with _starting:
        if _listener is None or not _listener.is_of_use:
            _listener = Listener(app or current_app._get_current_object(), unwanted)
            _listener.start()
        return _listener


@worker_ready.connect
def _begin(sender: Any, **kwargs: Any) -> None:
    if QUEUE_PAINT in [queue.name for queue in sender.task_consumer.queues]:
        listen(sender.app)


@worker_process_init.connect
def _begin_in_child(**kwargs: Any) -> None:
    """The processes of a pool paint, not the one that consumes."""
    if QUEUE_PAINT in current_app.amqp.queues.consume_from:
        listen()


@worker_shutting_down.connect
def _end(**kwargs: Any) -> None:
    if _listener is not None:
        _listener.stop()
