"""Which system user runs the embedded PostgreSQL, and that it gets to its files. PostgreSQL refuses to run as root."""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

logger = logging.getLogger("meetviz.postgres")

ROOT_RUNS_AS = "pgserver"


class PostgresError(RuntimeError):
    """The embedded PostgreSQL cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Account:
    """The system user that owns the data and runs the server."""

    uid: int
    gid: int

    def popen_arguments(self) -> dict[str, Any]:
        """What makes `subprocess` run a program as this user; nothing where that is the user of this process."""
        if os.geteuid() != 0:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def account_for(data: Path) -> Account:
    """Who runs the server on this data. PostgreSQL refuses root, so root lends it to someone else.

    That is whoever owns the data or the home folder already (so `sudo make run` once does no harm), else a system
    user of its own, else `nobody` where no user can be added.
    """
    if os.geteuid() != 0:
        if data.exists() and data.stat().st_uid != os.geteuid():
            raise PostgresError(
                f"{data} belongs to another user. Start MeetViz as that user, or set MEETVIZ_HOME to a folder of yours."
            )
        return Account(os.geteuid(), os.getegid())
    for folder in (data, data.parent):
        if folder.exists() and folder.stat().st_uid != 0:
            status = folder.stat()
            with contextlib.suppress(KeyError):
                pwd.getpwuid(status.st_uid)  # initdb wants a user with a name
                return Account(status.st_uid, status.st_gid)
    for attempt in ("look", "add"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(ROOT_RUNS_AS)
            return Account(entry.pw_uid, entry.pw_gid)
        if attempt == "look":
            _add_system_user()
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def _add_system_user() -> None:
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ROOT_RUNS_AS],
            check=True,
            capture_output=True,
        )


def open_the_way(path: Path, account: Account) -> None:
    """Root only: let the account pass through (not list) the folders above `path`, or say plainly that it cannot."""
    if os.geteuid() != 0:
        return
    for folder in path.resolve().parents:
        status = folder.stat()
        if status.st_uid == account.uid:
            bit = stat.S_IXUSR
        elif status.st_gid == account.gid:
            bit = stat.S_IXGRP
        else:
            bit = stat.S_IXOTH
        if status.st_mode & bit:
            continue
        try:
            folder.chmod(stat.S_IMODE(status.st_mode) | bit)
        except OSError as error:
            raise PostgresError(
                f"The database does not run as root, and its own user cannot pass through {folder} ({error.strerror}). "
                "Set MEETVIZ_HOME to a folder outside it."
            ) from error
        if folder != path.parent:
            logger.warning("Let the database's own user pass through %s (it stays unlistable).", folder)
