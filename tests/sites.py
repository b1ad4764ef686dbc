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
import urllib.request
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

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

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

    def new_meetings(self, count: int, language: str = "en") -> list[dict[str, str]]:
        """The same many times over, by one process: starting one takes longer than making a meeting."""
        code = "\n".join(
            [
                "from django.core.management import call_command",
                f"for number in range({count}):",
                f"    call_command('new_meeting', f'Meeting {{number}}', language={language!r}, json=True)",
            ]
        )
        return [json.loads(line) for line in self.shell(code).splitlines() if line.startswith("{")]

    def shell(self, code: str) -> str:
        """What a piece of Python prints that runs beside the site, on its data."""
        return self.manage("shell", "--no-imports", "-c", code)

    def wait_for_painter(self) -> None:
        """Until the painter's model is loaded: before that, what is at hand paints."""
        code = [
            "import time",
            "from meetviz_site.models import Host",
            "until = time.monotonic() + 100",
            "while not any(host.engines['paint']['load_ms'] for host in Host.objects.filter(queue='paint')):",
            "    assert time.monotonic() < until, 'the painter does not load'",
            "    time.sleep(0.2)",
        ]
        self.manage("shell", "--no-imports", "-c", "\n".join(code), within_s=120.0)

    def session_of(self, username: str) -> str:
        """The cookie header of somebody who is logged in; the account is made if there is none."""
        code = "\n".join(
            [
                "from django.contrib.auth import get_user_model",
                "from django.test import Client",
                f"user, _ = get_user_model().objects.get_or_create(username={username!r})",
                "client = Client()",
                "client.force_login(user)",
                "print(client.cookies['sessionid'].value)",
            ]
        )
        return f"sessionid={self.shell(code).strip().splitlines()[-1]}"

    def page(self, path: str, cookie: str, data: bytes | None = None) -> str:
        """A page of the site as a logged-in browser gets it; with `data` it is posted, from a page of the site."""
        headers = {"Cookie": cookie}
        if data is not None:
            token = self._csrf_token(cookie)
            headers = {"Cookie": f"{cookie}; csrftoken={token}", "X-CSRFToken": token, "Referer": self.url}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=30) as answer:
            return answer.read().decode()

    def _csrf_token(self, cookie: str) -> str:
        with urllib.request.urlopen(urllib.request.Request(self.url, headers={"Cookie": cookie}), timeout=30) as answer:
            return answer.headers["Set-Cookie"].split("csrftoken=")[1].split(";")[0]

    def end_meeting(self, meeting: dict[str, str]) -> None:
        """As its owner does, by the button on the page."""
        self.page(f"/m/{meeting['slug']}/end/", self.session_of("owner"), b"")

    def owner_link(self) -> str:
        """A fresh one-time link."""
        code = "from meetings.access import owner_link_create; print(owner_link_create('" + self.url + "'))"
        return self.shell(code).strip().splitlines()[-1]

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()

    def start(self) -> None:
        """The one-command server; also after it was killed or stopped, on the same data and port."""
        process = Process([sys.executable, "manage.py", "serve_local"], self.environment)
        self.processes = [process]
        process.wait_for_line("Owner link")


def environment_for(home: Path, port: int, **values: str) -> dict[str, str]:
    """The environment of a site: nothing of the tests' own but what is named."""
    drop = ("DATABASE_URL", "REDIS_URL", "MEETVIZ_", "DJANGO_", "PORT", "HOST", "SECRET_KEY", "ALLOWED_HOSTS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(drop)}
    return {**kept, "MEETVIZ_HOME": str(home), "PORT": str(port), "PYTHONUNBUFFERED": "1", **values}


@contextlib.contextmanager
def local_site(home: Path, **values: str) -> Iterator[Site]:
    """The one-command server in a process of its own."""
    port = free_port()
    site = Site(f"http://localhost:{port}", environment_for(home, port, **values))
    try:
        site.start()
        yield site
    finally:
        site.stop()
