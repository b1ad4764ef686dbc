"""Two workers as threads over the in-process broker, in a process of their own; prints what came of it as JSON."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading

from celery import Celery

from meetviz_site.local.workers import LocalWorkers
from workers.app import broker_settings

WATCHED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
ROUNDS = 25


def process_state() -> list[object]:
    return [
        [str(signal.getsignal(number)) for number in WATCHED_SIGNALS],
        [str(handler) for handler in logging.getLogger().handlers],
        sys.stdout is sys.__stdout__ and sys.stderr is sys.__stderr__,
    ]


def main() -> None:
    before = process_state()
    app = Celery("two-queues", fixups=[])
    app.conf.update(broker_settings(""))
    ran: dict[str, list[str]] = {"speech": [], "core": []}
    core_done = threading.Semaphore(0)
    in_hand, may_finish = threading.Event(), threading.Event()

    @app.task(name="pipeline.store")
    def store(number: int) -> None:
        ran["core"].append(threading.current_thread().name)
        core_done.release()

    @app.task(name="workers.transcribe")
    def transcribe(number: int, wait: bool = False) -> None:
        ran["speech"].append(threading.current_thread().name)
        if wait:
            in_hand.set()
            assert may_finish.wait(10)
        store.delay(number)

    workers = LocalWorkers(app, ("core", "speech"))
    workers.start()
    for number in range(ROUNDS):
        transcribe.delay(number)
    delivered = all(core_done.acquire(timeout=20) for _ in range(ROUNDS))

    # One task is in hand when the stop comes: it finishes, and so does what it hands to the core queue.
    transcribe.delay(ROUNDS, wait=True)
    assert in_hand.wait(10)
    stopped: list[bool] = []
    stopper = threading.Thread(target=lambda: stopped.append(workers.stop(deadline_s=15)))
    stopper.start()
    may_finish.set()
    stopper.join()
    print(
        json.dumps(
            {
                "delivered": delivered,
                "speech_ran_in": sorted(set(ran["speech"])),
                "core_ran_in": sorted(set(ran["core"])),
                "core_tasks": len(ran["core"]),
                "drained": stopped,
                "process_untouched": process_state() == before,
                "threads_left": [t.name for t in threading.enumerate() if t is not threading.main_thread()],
            }
        )
    )


if __name__ == "__main__":
    main()
