from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from meetviz_site.local import cluster
from meetviz_site.local.postgres import DATABASE, EmbeddedPostgres, PostgresError, ensure_postgres
from tests.sites import ROOT, environment_for

GONE_WITHIN_S = 20.0


@pytest.fixture
def home() -> Iterator[Path]:
    """Directly under the temporary folder: as root the server runs as another user, who must be able to get there."""
    folder = Path(tempfile.mkdtemp(prefix="meetviz-pg-"))
    yield folder
    pid = cluster.running_pid(cluster.Cluster.of(folder))
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        wait_gone(pid)
    shutil.rmtree(folder, ignore_errors=True)


class User:
    """Another process that uses the server of a home."""

    def __init__(self, home: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.meetviz_site.local.pg_user", str(home)],
            cwd=ROOT,
            env=environment_for(home, 8000),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.server_pid = int(self.process.stdout.readline())

    def leave(self) -> None:
        self.process.communicate(timeout=GONE_WITHIN_S)
        assert self.process.returncode == 0

    def be_killed(self) -> None:
        self.process.kill()
        self.process.communicate()


def wait_gone(pid: int) -> bool:
    """True when the process has ended (a zombie that nobody collects counts as ended)."""
    deadline = time.monotonic() + GONE_WITHIN_S
    try:
        process = psutil.Process(pid)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            select.select([], [], [], 0.02)
    except psutil.NoSuchProcess:
        pass
    return True


def leftovers(home: Path) -> list[str]:
    folder = home / "pg"
    return [name for name in os.listdir(folder) if name.startswith(".s.PGSQL") or name == "postmaster.pid"]


def test_it_serves_pgvector_and_lowers_cyrillic_in_any_locale(home: Path) -> None:
    server = ensure_postgres(home, durable=False)
    with psycopg.connect(server.dsn) as connection:
        assert connection.info.dbname == DATABASE
        assert connection.execute("SELECT lower('ПРИВЕТ, Мир'), current_setting('fsync')").fetchone() == (
            "привет, мир",
            "off",
        )
        connection.execute("CREATE EXTENSION vector")
        assert connection.execute("SELECT '[3,4]'::vector <-> '[0,0]'").fetchone() == (5.0,)
    server.stop()


def test_real_data_waits_for_the_disk_and_outlives_the_server(home: Path) -> None:
    server = ensure_postgres(home)
    with psycopg.connect(server.dsn) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('lighthouse')")
    server.stop()
    assert leftovers(home) == []
    again = ensure_postgres(home)
    with psycopg.connect(again.dsn) as connection:
        assert connection.execute("SELECT word FROM kept").fetchone() == ("lighthouse",)
    again.stop()


def test_it_listens_on_no_network_and_never_runs_as_root(home: Path) -> None:
    server = ensure_postgres(home, durable=False)
    assert server.pid is not None
    process = psutil.Process(server.pid)
    assert process.uids().effective != 0
    assert process.net_connections("inet") == []
    assert (home / "pg").stat().st_mode & 0o077 == 0
    server.stop()


def test_the_first_user_starts_it_and_the_last_one_ends_it(home: Path) -> None:
    first, second = User(home), User(home)
    assert first.server_pid == second.server_pid
    first.leave()
    third = User(home)
    assert third.server_pid == first.server_pid
    third.leave()
    assert psutil.pid_exists(first.server_pid)
    second.leave()
    assert wait_gone(first.server_pid)
    assert leftovers(home) == []


def test_a_killed_user_does_not_keep_it_running(home: Path) -> None:
    killed, other = User(home), User(home)
    killed.be_killed()
    other.leave()
    assert wait_gone(killed.server_pid)
    assert leftovers(home) == []


def test_after_the_only_user_was_killed_the_next_one_takes_over_and_ends_it(home: Path) -> None:
    killed = User(home)
    killed.be_killed()
    assert leftovers(home) != []
    following = User(home)
    following.leave()
    assert wait_gone(killed.server_pid)
    assert wait_gone(following.server_pid)
    assert leftovers(home) == []


def test_it_starts_over_a_pid_file_whose_number_went_to_another_program(home: Path) -> None:
    killed = User(home)
    with psycopg.connect(ensure_postgres(home).dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    ensure_postgres(home).stop()
    killed.be_killed()
    os.kill(killed.server_pid, signal.SIGKILL)
    assert wait_gone(killed.server_pid)
    pid_file = home / "pg" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

    server = ensure_postgres(home)
    with psycopg.connect(server.dsn) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
    server.stop()
    assert leftovers(home) == []


def test_a_server_that_died_under_us_is_started_again(home: Path) -> None:
    server = ensure_postgres(home, durable=False)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    dead = server.pid
    assert wait_gone(dead)
    again = ensure_postgres(home, durable=False)
    assert again.pid != dead
    psycopg.connect(again.dsn).close()
    again.stop()


def test_a_half_made_cluster_is_made_anew(home: Path) -> None:
    (home / "pg.new").mkdir()
    (home / "pg.new" / "PG_VERSION").write_text("18\n")
    server = ensure_postgres(home, durable=False)
    psycopg.connect(server.dsn).close()
    server.stop()
    assert not (home / "pg.new").exists()


def test_a_home_too_deep_for_a_socket_gets_one_elsewhere_and_removes_it(home: Path) -> None:
    deep = home / ("a-rather-long-folder-name-" * 4) / "and, a comma"
    server = ensure_postgres(deep, durable=False)
    socket_dir = server.cluster.socket_dir
    assert socket_dir.parent == Path("/tmp")
    assert socket_dir.stat().st_mode & 0o077 == 0
    with psycopg.connect(server.dsn) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    server.stop()
    assert not socket_dir.exists()


def test_what_people_said_does_not_get_into_its_log(home: Path) -> None:
    server = ensure_postgres(home, durable=False)
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE said (words text UNIQUE)")
        connection.execute("INSERT INTO said VALUES ('my secret garden')")
        for statement in ("INSERT INTO said VALUES ('my secret garden')", "SELECT 'my secret garden' FROM nowhere"):
            with pytest.raises(psycopg.Error):
                connection.execute(statement)
    server.stop()
    log = (home / "log" / "postgres.log").read_text()
    assert "shut down" in log
    assert "secret garden" not in log


def test_use_by_processes_that_cannot_be_seen_is_not_taken_for_a_crash(home: Path) -> None:
    """As when two containers share a folder: the pid file names nobody here, yet someone holds the data."""
    ensure_postgres(home, durable=False).stop()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, os, sys; fd = os.open(sys.argv[1], os.O_RDONLY); fcntl.flock(fd, fcntl.LOCK_SH);"
            "print('held', flush=True); sys.stdin.read()",
            str(home / "pg"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(PostgresError, match="Other processes use the database"):
        EmbeddedPostgres(home, durable=False).start()
    holder.communicate()
    ensure_postgres(home, durable=False).stop()


def test_a_home_that_cannot_be_made_is_said_in_one_line(home: Path) -> None:
    (home / "file").write_text("")
    with pytest.raises(PostgresError) as caught:
        ensure_postgres(home / "file" / "home")
    assert "\n" not in str(caught.value)
