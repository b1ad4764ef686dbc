"""The Celery workers of the one-command server, as threads of its process."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery
from celery.bootsteps import RUN
from celery.exceptions import WorkerShutdown
from celery.signals import worker_ready, worker_shutting_down
from celery.worker import WorkController
from celery.worker.consumer import Consumer
from django.db import connections

from workers.messages import QUEUE_CORE, QUEUE_PAINT, QUEUE_SPEECH

logger = logging.getLogger("meetviz.workers")

# The core queue stops last: the others hand it their results.
QUEUES = (QUEUE_CORE, QUEUE_SPEECH, QUEUE_PAINT)
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 8.0
LOOK_FOR_STOP_EVERY_S = 0.2


class WorkerError(RuntimeError):
    """A worker thread did not come up; the message says which."""


class ThreadConsumer(Consumer):
    """A consumer whose loop ends on a flag of its own.

    Celery's loop asks process-wide flags, which would stop all workers of the process together.
    """

    def __init__(self, *arguments: Any, controller: ThreadWorkController, **options: Any) -> None:
        self.loop = self._consume_until_stopped
        self._stop_asked: Callable[[], bool] = controller.stop_asked.is_set
        super().__init__(*arguments, controller=controller, **options)

    def _consume_until_stopped(
        self, _self: Any, connection: Any, consumer: Any, blueprint: Any, _hub: Any, qos: Any, *_rest: Any
    ) -> None:
        consumer.on_message = self.create_task_handler()
        consumer.consume()
        self.on_ready()
        while blueprint.state == RUN and self.connection:
            if self._stop_asked():
                raise WorkerShutdown(0)
            if qos.prev != qos.value:
                qos.update()
            self.perform_pending_operations()
            try:
                connection.drain_events(timeout=LOOK_FOR_STOP_EVERY_S)
            except TimeoutError:
                continue


class ThreadWorkController(WorkController):
    """A worker that leaves signals, logging and the standard streams to the process it lives in."""

    def __init__(self, *arguments: Any, stop_asked: threading.Event, **options: Any) -> None:
        self.stop_asked = stop_asked
        super().__init__(*arguments, **options)


class WorkerThread(threading.Thread):
    """One worker on one queue; one task at a time, in this thread."""

    def __init__(self, app: Celery, queue: str) -> None:
        super().__init__(name=f"worker-{queue}", daemon=True)
        self.app = app
        self.queue = queue
        self.ready = threading.Event()
        self.stop_asked = threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            ThreadWorkController(
                app=self.app,
                stop_asked=self.stop_asked,
                hostname=f"{self.queue}@{socket.gethostname()}",
                queues=[self.queue],
                pool="solo",
                concurrency=1,
                consumer_cls=ThreadConsumer,
                use_eventloop=False,
                ready_callback=self._on_ready,
                without_gossip=True,
                without_mingle=True,
                without_heartbeat=True,
                loglevel="WARNING",
            ).start()
        except BaseException as error:
            self.failure = error
            logger.exception("The %s worker ended unexpectedly", self.queue)
        finally:
            connections.close_all()
            self.ready.set()

    def _on_ready(self, consumer: Consumer) -> None:
        # What `celery worker` sends: heartbeats, the director's clock and engine loading listen to it.
        worker_ready.send(sender=consumer)
        self.ready.set()


class LocalWorkers:
    """The workers of this process: `start()`, then `stop()` once."""

    def __init__(self, app: Celery, queues: Sequence[str] = QUEUES) -> None:
        self.app = app
        self.threads = [WorkerThread(app, queue) for queue in queues]

    def start(self) -> None:
        """Start one after the other, each when the one before consumes. Raises WorkerError.

        Which queues a worker consumes is global to a Celery app: workers that start together would all take the queue
        of the last.
        """
        # Remote control is for workers elsewhere; here it would only be three more queues to poll.
        self.app.conf.worker_enable_remote_control = False
        for thread in self.threads:
            thread.start()
            if not thread.ready.wait(START_DEADLINE_S) or thread.failure is not None or not thread.is_alive():
                raise WorkerError(f"The {thread.queue} worker did not start: {thread.failure or 'no answer'}")

    def stop(self, deadline_s: float = STOP_DEADLINE_S) -> bool:
        """Let tasks in hand finish, and the core queue empty itself; False if the deadline cut that short."""
        deadline = time.monotonic() + deadline_s
        worker_shutting_down.send(sender=None, sig="SIGTERM", how="warm", exitcode=0)
        first = [thread for thread in self.threads if thread.queue != QUEUE_CORE]
        for thread in first:
            thread.stop_asked.set()
        drained = all([_join(thread, deadline) for thread in first])
        for thread in self.threads:
            if thread.queue == QUEUE_CORE:
                drained = self._wait_empty(thread, deadline) and drained
                thread.stop_asked.set()
                drained = _join(thread, deadline) and drained
        return drained

    def _wait_empty(self, thread: WorkerThread, deadline: float) -> bool:
        with self.app.connection_for_read() as connection:
            channel = connection.channel()
            while thread.is_alive() and time.monotonic() < deadline:
                if channel.queue_declare(thread.queue, passive=True).message_count == 0:
                    return True
                time.sleep(0.02)
        return False


def _join(thread: threading.Thread, deadline: float) -> bool:
    if thread.ident is not None:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not thread.is_alive()
