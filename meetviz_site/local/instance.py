"""The one server of a home folder: who it is, and that there is only one."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Instance:
    """A running local server."""

    pid: int
    url: str


class AlreadyRunning(RuntimeError):
    """Another server serves this home folder."""

    def __init__(self, instance: Instance | None) -> None:
        super().__init__("already running")
        self.instance = instance


class InstanceFile:
    """`server.json` in the home folder, locked by the kernel for as long as its server lives."""

    def __init__(self, home: Path) -> None:
        self.path = home / "server.json"
        self._descriptor: int | None = None

    def claim(self, instance: Instance) -> None:
        """Raises AlreadyRunning, or OSError where the folder cannot be written."""
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise AlreadyRunning(_parse(self.path)) from None
            # The one before may have deleted the file between our two steps: then this lock guards nothing.
            if self.path.exists() and os.fstat(descriptor).st_ino == self.path.stat().st_ino:
                break
            os.close(descriptor)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(asdict(instance)).encode())
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def running_instance(home: Path) -> Instance | None:
    """The server that serves this home now (for commands that print addresses), or None."""
    path = home / "server.json"
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _parse(path)
    finally:
        os.close(descriptor)
    return None  # a file without a lock: its server was killed


def _parse(path: Path) -> Instance | None:
    try:
        return Instance(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
