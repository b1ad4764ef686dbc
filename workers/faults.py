"""What may be logged of an error: its type and where it happened, never its message.

Messages of exceptions quote the values that caused them, and here those are what people said.
"""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

from celery.signals import task_failure

log = logging.getLogger("meetviz.workers")


def described(error: BaseException) -> str:
    """`TypeError at painter.py:84 < tasks.py:104`: the innermost places first."""
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    return f"{type(error).__name__} at {' < '.join(reversed(places[-4:]))}" if places else type(error).__name__


def watch_tasks() -> None:
    """Log failed tasks ourselves, in place of Celery, whose line quotes the message and the arguments."""
    logging.getLogger("celery.app.trace").setLevel(logging.CRITICAL + 1)
    logging.getLogger("celery.worker.consumer.consumer").addFilter(_without_body)
    task_failure.connect(_task_failed, weak=False, dispatch_uid="faults")


def _without_body(record: logging.LogRecord) -> bool:
    """Of a message that cannot be used (of another version, or unreadable) Celery would quote the whole body."""
    if "body" in str(record.msg):
        what = str(record.msg).strip().splitlines()[0].split(":")[0].split("%")[0].strip()
        record.msg, record.args, record.exc_info = "message of the broker ignored: %s", (what,), None
    return True


def _task_failed(sender: Any = None, exception: BaseException | None = None, **kwargs: Any) -> None:
    if exception is not None:
        log.error("task %s failed: %s", getattr(sender, "name", "?"), described(exception))
