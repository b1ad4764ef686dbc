"""The one-command server as a person meets it: started, used, stopped, killed, and refused for good reasons."""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from meetviz_site.local.instance import running_instance
from tests.meetviz_site.local.test_postgres import leftovers, wait_gone
from tests.sites import ROOT, Process, environment_for, free_port

SERVE = [sys.executable, "manage.py", "serve_local"]


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="meetviz-home-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def serving(home: Path, port: int, **values: str) -> Iterator[Process]:
    process = Process(SERVE, environment_for(home, port, **values))
    try:
        process.wait_for_line("Owner link")
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.stop()


def refused(home: Path, port: int, command: list[str] = SERVE, **values: str) -> str:
    """Start where it cannot work: the one line that it says before it gives up."""
    done = subprocess.run(
        command, cwd=ROOT, env=environment_for(home, port, **values), capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 1, done.stdout + done.stderr
    said = (done.stdout + done.stderr).strip().splitlines()
    assert len(said) == 1, said
    return said[0]


def page(port: int) -> int:
    with urllib.request.urlopen(f"http://localhost:{port}/", timeout=10) as answer:
        return answer.status


def wait_for_text(path: Path, text: str) -> None:
    """Until the file holds the text."""
    deadline = time.monotonic() + 60
    while text not in (path.read_text() if path.exists() else ""):
        assert time.monotonic() < deadline, f"{text!r} never came into {path}"
        select.select([], [], [], 0.05)


def family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def nothing_is_left(home: Path, processes: list[psutil.Process]) -> None:
    assert all(wait_gone(process.pid) for process in processes)
    assert leftovers(home) == []
    assert not (home / "server.json").exists()
    assert running_instance(home) is None


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_serves_pages_and_leaves_nothing_behind_when_stopped(home: Path, how: signal.Signals) -> None:
    port = free_port()
    with serving(home, port) as process:
        assert page(port) == 200
        instance = running_instance(home)
        assert instance is not None
        assert (instance.pid, instance.url) == (process.pid, f"http://localhost:{port}")
        processes = family(process.pid)
        assert any(one.name().startswith("postgres") for one in processes)
        assert process.stop(how) == 0
        nothing_is_left(home, processes)
    assert (home / "secret_key").stat().st_mode & 0o777 == 0o600


def test_its_log_goes_to_a_file_and_the_console_stays_quiet(home: Path) -> None:
    """Each Celery worker sets up Django again, and with it the log: only what survives that counts."""
    with serving(home, free_port()) as process:
        wait_for_text(home / "log" / "meetviz.log", "serving url=")
        process.stop(signal.SIGINT)
        assert "stopped pid=" in (home / "log" / "meetviz.log").read_text()
        assert [line for line in process.lines if " INFO " in line] == []


def test_a_second_start_finds_the_same_data_and_does_not_prepare_it_again(home: Path) -> None:
    port = free_port()
    with serving(home, port) as process:
        assert any("Preparing" in line for line in process.lines)
        secret = (home / "secret_key").read_text()
    with serving(home, port) as process:
        assert not any("Preparing" in line for line in process.lines)
        assert (home / "secret_key").read_text() == secret
        assert page(port) == 200


def test_a_start_after_kill_9_recovers_by_itself(home: Path) -> None:
    port = free_port()
    with serving(home, port) as process:
        processes = family(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        assert wait_gone(process.pid)
    with serving(home, port) as process:
        assert page(port) == 200
        processes += family(process.pid)
        assert process.stop(signal.SIGINT) == 0
        nothing_is_left(home, processes)


def test_a_start_after_kill_9_of_everything_recovers_by_itself(home: Path) -> None:
    port = free_port()
    with serving(home, port) as process:
        processes = family(process.pid)
        for one in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        assert all(wait_gone(one.pid) for one in processes)
    assert "postmaster.pid" in leftovers(home)
    with serving(home, port):
        assert page(port) == 200


def test_a_second_ctrl_c_ends_it_at_once_and_still_leaves_nothing(home: Path) -> None:
    with serving(home, free_port()) as process:
        processes = family(process.pid)
        os.kill(process.pid, signal.SIGINT)
        process.wait_for_line("Stopping")
        assert process.stop(signal.SIGINT) in (0, 130)  # 0: the first had already done it
        nothing_is_left(home, processes)


def test_ctrl_c_while_it_is_still_starting_leaves_nothing(home: Path) -> None:
    process = Process(SERVE, environment_for(home, free_port()))
    process.wait_for_line("Preparing")
    processes = family(process.pid)
    process.stop(signal.SIGINT)
    nothing_is_left(home, processes)


def test_a_command_beside_the_server_shares_its_database_and_leaves_it_running(home: Path) -> None:
    port = free_port()
    code = "from django.contrib.auth import get_user_model as m; print('users', m().objects.count())"
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", code]
    environment = environment_for(home, port)
    with serving(home, port):
        beside = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
        assert beside.stdout.strip() == "users 1", beside.stderr
        assert page(port) == 200
    alone = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert alone.stdout.strip() == "users 1", alone.stderr
    assert leftovers(home) == []


def test_a_second_server_for_the_same_home_names_the_first_ones_address(home: Path) -> None:
    port = free_port()
    with serving(home, port):
        line = refused(home, free_port())
        assert "already running" in line
        assert f"http://localhost:{port}" in line
        assert page(port) == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_busy_port_is_one_line_that_names_another(home: Path, host: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as other:
        try:
            other.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        other.listen()
        port = other.getsockname()[1]
        line = refused(home, port)
    assert f"Port {port} is in use" in line
    assert f"PORT={port + 1} make run" in line
    assert not (home / "pg").exists()  # refused before anything was started
    assert not (home / "server.json").exists()


def test_a_full_disk_is_one_line(home: Path) -> None:
    line = refused(home, free_port(), MEETVIZ_MIN_FREE_MB="999999999")
    assert "is full" in line
    assert str(home) in line


def test_a_disk_that_fills_while_the_database_is_made_is_one_line_and_leaves_nothing(home: Path) -> None:
    """A real disk of 24 MB: PostgreSQL needs more than that for its first files."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root, to make a small disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(home)], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    try:
        line = refused(home, free_port(), MEETVIZ_MIN_FREE_MB="1")
        assert "No space left on device" in line
        assert sorted(path.name for path in home.iterdir()) == ["log", "secret_key"]
    finally:
        subprocess.run(["umount", str(home)], check=True)


def command_for(user: dict) -> list[str] | None:
    """What starts the server for this user: our Python, or the system's with our packages, or nothing that they may."""
    packages = str(Path(psutil.__file__).parent.parent)
    manage = "import runpy, sys; sys.argv = ['manage.py', *sys.argv[1:]]; runpy.run_path('manage.py', None, '__main__')"
    system = f"/usr/bin/python3.{sys.version_info.minor}"
    # -S keeps the system's own packages out.
    for python, prepare in (
        ([sys.executable], ""),
        ([system, "-S"], f"import sys; sys.path.append({packages!r}); "),
    ):
        with contextlib.suppress(OSError):
            if subprocess.run([*python, "-c", prepare + "import django"], cwd=ROOT, **user).returncode == 0:
                return [*python, "-c", prepare + manage, *SERVE[2:]]
    return None


def test_it_runs_for_an_ordinary_user(home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("already an ordinary user: every other test here shows it")
    user = pwd.getpwnam("nobody")
    os.chown(home, user.pw_uid, user.pw_gid)
    port = free_port()
    command = command_for({"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []})
    if command is None:
        pytest.skip("no Python with our packages that an ordinary user may start")
    become = f"import os; os.setgroups([]); os.setgid({user.pw_gid}); os.setuid({user.pw_uid}); "
    process = Process(
        [sys.executable, "-c", become + f"os.execv({command[0]!r}, {command!r})"], environment_for(home, port)
    )
    try:
        process.wait_for_line("Owner link")
        assert page(port) == 200
        processes = family(process.pid)
        assert {one.uids().effective for one in processes} == {user.pw_uid}
        assert process.stop(signal.SIGINT) == 0
        nothing_is_left(home, processes)
    finally:
        process.stop()
