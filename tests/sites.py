"""Whole sites for tests: real processes, real sockets. Nothing here waits by the clock."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_WITHIN_S = 60.0
STOP_WITHIN_S = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A child process whose output can be waited for, line by line."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self._popen = subprocess.Popen(
            arguments,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._new: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self.lines.append(line.rstrip())
            self._new.put(line.rstrip())
        self._new.put(None)

    def wait_for_line(self, pattern: str, within_s: float = START_WITHIN_S) -> re.Match[str]:
        """The first line from here on that matches; fails with the whole output when none comes."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                line = self._new.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(
                    f"no line like {pattern!r} within {within_s} s:\n" + "\n".join(self.lines)
                ) from None
            if line is None:
                raise AssertionError(f"the process ended before {pattern!r}:\n" + "\n".join(self.lines))
            if match := re.search(pattern, line):
                return match

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end and wait for it; its exit code."""
        if self._popen.poll() is None:
            self._popen.send_signal(how)
            try:
                self._popen.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._popen.pid, signal.SIGKILL)
                self._popen.wait()
                raise AssertionError("the process did not end when asked:\n" + "\n".join(self.lines)) from None
        return self._popen.returncode


@dataclass
class Site:
    """A running MeetViz: its address, and what one does from outside."""

    url: str
    environment: dict[str, str]
    processes: list[Process] = field(default_factory=list)

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    def manage(self, *arguments: str, within_s: float = 60.0) -> str:
        """Run a management command beside the running site; its output."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=within_s,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def new_meeting(self, title: str = "Garden by the river", language: str = "en") -> dict[str, str]:
        return json.loads(self.manage("new_meeting", title, "--language", language, "--json"))

    def owner_link(self) -> str:
        """A fresh one-time link."""
        code = "from meetings.access import owner_link_create; print(owner_link_create('" + self.url + "'))"
        return self.manage("shell", "--no-imports", "-c", code).strip().splitlines()[-1]

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()


def environment_for(home: Path, port: int, **values: str) -> dict[str, str]:
    """The environment of a site: nothing of the tests' own but what is named."""
    drop = ("DATABASE_URL", "REDIS_URL", "MEETVIZ_", "DJANGO_", "PORT", "HOST", "SECRET_KEY", "ALLOWED_HOSTS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(drop)}
    return {**kept, "MEETVIZ_HOME": str(home), "PORT": str(port), "PYTHONUNBUFFERED": "1", **values}


@contextlib.contextmanager
def local_site(home: Path, **values: str) -> Iterator[Site]:
    """The one-command server in a process of its own."""
    port = free_port()
    environment = environment_for(home, port, **values)
    process = Process([sys.executable, "manage.py", "serve_local"], environment)
    site = Site(f"http://localhost:{port}", environment, [process])
    try:
        process.wait_for_line("Owner link")
        yield site
    finally:
        site.stop()
