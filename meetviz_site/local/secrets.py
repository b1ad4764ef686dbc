"""Secrets that the local server makes for itself and keeps in files only their owner can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


class SecretError(RuntimeError):
    """A secret file cannot be made or read; the message says which and what to do."""


def read_or_create_secret(path: Path, *, n_bytes: int = 48) -> str:
    """The secret in `path`; made on first use, mode 600, its folder mode 700 if that has to be made too.

    Several processes may call this at once and all get the same secret: it is written whole under a name of its own
    and linked into place, and the link can be made only once. Raises SecretError.
    """
    path = Path(path)
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise SecretError(f"Cannot read {path}: {error.strerror}. Start MeetViz as the user who owns it.") from error
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(n_bytes))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)
            except FileExistsError:
                pass  # another process was first: its secret counts
            except OSError:
                # A file system without hard links; the gap for a race is one system call wide.
                if not path.exists():
                    os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        return _read(path)
    except OSError as error:
        raise SecretError(f"Cannot write {path}: {error.strerror}. Set MEETVIZ_HOME to a folder you own.") from error


def _read(path: Path) -> str:
    """The secret; a file that others can read (a restored backup, say) is narrowed to its owner first."""
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    secret = path.read_text().strip()
    if len(secret) < 32:
        raise SecretError(f"{path} holds no usable secret (fewer than 32 characters). Delete it and start again.")
    return secret
