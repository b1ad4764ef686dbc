"""One embedded PostgreSQL per home folder, shared by all processes that want it: the first starts it, the last ends it.

Who uses it is kept by the kernel, not in a file: each process holds a shared `flock` on the data folder, and starting
and stopping happen under an exclusive one on the home folder. A process that is killed has left by the same moment,
and no lock file stays behind.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import logging
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg

from meetviz_site.local import cluster as pg
from meetviz_site.local.account import PostgresError, account_for
from meetviz_site.local.cluster import Cluster

__all__ = ["DATABASE", "EmbeddedPostgres", "PostgresError", "ensure_postgres", "stop_all"]

logger = logging.getLogger("meetviz.postgres")

DATABASE = "meetviz"
MUTEX_DEADLINE_S = 120.0

_servers: dict[Path, EmbeddedPostgres] = {}
_servers_lock = threading.RLock()
_ending = False


def ensure_postgres(home: Path, *, durable: bool = True) -> EmbeddedPostgres:
    """The embedded server of this home, running; started if no process runs it yet, repaired if it died.

    Any thread may call it, often: it costs a look at one file when all is well. It ends with the last process that
    asked for it. `durable=False` is for tests: started so, the server does not wait for the disk. Raises PostgresError.
    """
    if _ending:
        # A thread that outlives the end must not start the database again.
        raise PostgresError("MeetViz is stopping; its database has ended.")
    home = Path(home).expanduser().resolve()
    with _servers_lock:
        server = _servers.get(home)
        if server is None:
            server = EmbeddedPostgres(home, durable=durable)
            server.start()
            _servers[home] = server
        elif not server.is_running():
            server.start()
        return server


def stop_all(*, hurry: bool = False) -> None:
    """At the end of the process: let go of every server it uses, for good (at exit this happens by itself)."""
    global _ending
    _ending = True
    with _servers_lock:
        for server in list(_servers.values()):
            server.stop(hurry=hurry)


class EmbeddedPostgres:
    """This process's share of the server of one home folder."""

    def __init__(self, home: Path, *, durable: bool = True) -> None:
        self.home = home
        self.durable = durable
        self.cluster = Cluster.of(home)
        self.pid: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._share: int | None = None  # descriptor of the data folder that carries the shared lock

    @property
    def dsn(self) -> str:
        """For psycopg, psql and every other libpq client on this machine."""
        return f"postgresql://{pg.SUPERUSER}@/{DATABASE}?host={quote(str(self.cluster.socket_dir), safe='')}"

    def django_settings(self) -> dict[str, str]:
        """The entries of `DATABASES` that this server decides; the database's name stays Django's to choose."""
        return {"USER": pg.SUPERUSER, "PASSWORD": "", "HOST": str(self.cluster.socket_dir), "PORT": str(pg.PORT)}

    def is_running(self) -> bool:
        return self.pid is not None and pg.running_pid(self.cluster) == self.pid

    def start(self) -> None:
        """Attach to the running server or start it, and make the database if it is missing. Raises PostgresError."""
        try:
            self._start()
        except PermissionError as error:
            raise PostgresError(
                f"Cannot write {error.filename or self.home}: {error.strerror}. Set MEETVIZ_HOME to a folder you own."
            ) from error
        except OSError as error:
            raise PostgresError(f"The embedded PostgreSQL did not start: {error}.") from error
        atexit.register(self.stop)

    def _start(self) -> None:
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        account = account_for(self.cluster.data)
        with _exclusive(self.home):
            if not self.cluster.is_made():
                pg.make(self.cluster, account, durable=self.durable)
            if self._share is None:
                self._share = os.open(self.cluster.data, os.O_RDONLY | os.O_DIRECTORY)
            known_dead, self.pid = self.pid, pg.running_pid(self.cluster)
            if self.pid is None:
                if known_dead is None and not _try_lock(self._share, fcntl.LOCK_EX):
                    os.close(self._share)
                    self._share = None
                    # Also so when they live in another container: two servers on one folder would destroy the data.
                    raise PostgresError(
                        f"Other processes use the database in {self.cluster.data}, but no server is to be seen. "
                        "End them first (another container, or a MeetViz that just crashed?)."
                    )
                self._child = pg.start(self.cluster, account, durable=self.durable)
                self.pid = self._child.pid
            fcntl.flock(self._share, fcntl.LOCK_SH)
            self._make_database()

    def _make_database(self) -> None:
        try:
            psycopg.connect(self.dsn, connect_timeout=30).close()
        except psycopg.OperationalError as error:
            if "does not exist" not in str(error):
                raise PostgresError(f"The embedded PostgreSQL takes no connections: {error}") from error
            admin = self.dsn.replace(f"@/{DATABASE}?", f"@/{pg.SUPERUSER}?")
            with psycopg.connect(admin, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def stop(self, *, hurry: bool = False) -> None:
        """Leave the server; if no other process uses it, it ends, and this returns when it has. Safe to repeat."""
        with _servers_lock:
            atexit.unregister(self.stop)
            _servers.pop(self.home, None)
            if self._share is None:
                return
            share, self._share = self._share, None
            pid, self.pid = self.pid, None
            child, self._child = self._child, None
            try:
                with _exclusive(self.home):
                    if pid is not None and _try_lock(share, fcntl.LOCK_EX) and pg.running_pid(self.cluster) == pid:
                        pg.stop(self.cluster, pid, child, hurry=hurry)
            except OSError as error:  # the home folder was deleted under a running server
                logger.warning("Could not leave the embedded PostgreSQL in order: %s", error)
                if pid is not None:
                    pg.stop(self.cluster, pid, child, hurry=True)
            finally:
                os.close(share)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Hold the lock under which servers of this home start and stop."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + MUTEX_DEADLINE_S
        while not _try_lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise PostgresError(f"Another MeetViz process has been starting or stopping in {folder} for too long.")
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _forget_after_fork() -> None:
    """A forked child is no user of its parent's share; closing its copies leaves the parent's lock in place."""
    global _servers_lock
    _servers_lock = threading.RLock()
    for server in _servers.values():
        if server._share is not None:
            with contextlib.suppress(OSError):
                os.close(server._share)
        server._share = server.pid = server._child = None
        atexit.unregister(server.stop)
    _servers.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
