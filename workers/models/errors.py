"""What can go wrong with a model, by name."""

from __future__ import annotations

import contextlib
import enum
import errno
from collections.abc import Iterator
from pathlib import Path


class Trouble(enum.StrEnum):
    """Why a model cannot be had; the message of the ModelError says what to do."""

    OFFLINE = "offline"
    """The hub cannot be reached, or must not be (HF_HUB_OFFLINE)."""
    HUB_BUSY = "hub_busy"
    """It can be reached and does not serve at the moment."""
    REFUSED = "refused"
    """It wants an account, or a licence accepted."""
    NOT_FOUND = "not_found"
    DAMAGED = "damaged"
    """What came is not what the hub said would come."""
    DISK_FULL = "disk_full"
    NOT_WRITABLE = "not_writable"
    UNKNOWN_MODEL = "unknown_model"
    WRONG_KIND = "wrong_kind"
    """A folder that holds another model, or none."""
    LICENCE = "licence"
    """Its licence has to be accepted here first."""
    BUSY = "busy"
    """Somebody else is fetching the same model."""
    STOPPED = "stopped"


class ModelError(Exception):
    """A model could not be had. The message is one line for a person; `values` are what it names."""

    def __init__(self, trouble: Trouble, message: str, **values: object) -> None:
        super().__init__(message)
        self.trouble = trouble
        self.values = values


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Failing writes below `folder` as ModelErrors that say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ModelError(
                Trouble.DISK_FULL,
                f"The disk of {folder} is full. Free some space and pull again: what is here is kept.",
                folder=folder,
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise not_writable(folder) from error
        raise


def not_writable(folder: Path) -> ModelError:
    message = f"Cannot write to {folder}. Make it yours, or set MEETVIZ_MODELS_DIR to a folder that is."
    return ModelError(Trouble.NOT_WRITABLE, message, folder=folder)
