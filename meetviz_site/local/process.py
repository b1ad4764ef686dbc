"""What the local server does to its own process: logs, and children that must not outlive it."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings
from django.utils import log

MAX_LOG_BYTES = 5_000_000


def configure_logging(home: Path) -> None:
    """Everything from INFO up goes to a rotating file of the home folder, only warnings to the console.

    Written into Django's settings, because each Celery worker that starts calls `django.setup()`, which would put
    back whatever they say.
    """
    folder = home / "log"
    folder.mkdir(mode=0o700, exist_ok=True)
    config: dict[str, Any] = copy.deepcopy(settings.LOGGING)
    for handler in config["handlers"].values():
        handler["level"] = "WARNING"
    config["formatters"]["file"] = config["formatters"]["plain"]
    config["handlers"]["file"] = {
        "class": "logging.handlers.RotatingFileHandler",
        "filename": str(folder / "meetviz.log"),
        "maxBytes": MAX_LOG_BYTES,
        "backupCount": 3,
        "encoding": "utf-8",
        "formatter": "file",
    }
    config["root"]["handlers"] = [*config["root"]["handlers"], "file"]
    settings.LOGGING = config
    log.configure_logging(settings.LOGGING_CONFIG, config)


def end_children(*, except_pids: set[int | None], patience_s: float = 0.3) -> None:
    """End every descendant of this process but those named and theirs: first asked, then killed.

    Workers have drained by now, so no child has a duty left; engines' children ignore what asks them politely.
    """
    spared = {child.pid for pid in except_pids if pid for child in _children_of(pid)} | except_pids
    children = [child for child in psutil.Process().children(recursive=True) if child.pid not in spared]
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.terminate()
    _gone, alive = psutil.wait_procs(children, timeout=patience_s)
    for child in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(alive, timeout=3.0)


def _children_of(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
