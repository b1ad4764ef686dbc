"""Where models lie on this host, and whether they are whole.

    MEETVIZ_MODELS_DIR/
        whisper-base/               a whole model: its files and `meetviz-model.json`, the manifest
        sd-turbo/unet/ … onnx/      a paint model has folders; `onnx` is made on this host and in no manifest
        .fetching/whisper-base/     what there is of a model that is being fetched, and `plan.json`, what it will be
        .fetching/whisper-base.lock held while somebody fetches it
        licences.json               which licences somebody accepted for this host (`licences.py`)

A model comes to its place by a rename when all of it is there and its checksums are right: no other process ever sees
half of one there. Links inside a model's folder count as not there: what is checked must be what is loaded.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workers.environment import setting
from workers.models.catalogue import CATALOGUE, Model
from workers.models.entries import is_plain_path, matches
from workers.models.errors import ModelError, Trouble, disk_errors

MANIFEST = "meetviz-model.json"
PLAN = "plan.json"
PART = ".part"
EXPORTS = "onnx"
"""Folder of a model that was made from it here (`models export`): it stays while the weights are the same."""
_STAGING = ".fetching"
_CHECKOUT = Path(__file__).resolve().parents[2]
_READ_BYTES = 1024 * 1024

OnBytes = Callable[[int], None]
"""Called with the number of bytes that were read, again and again; may raise to stop."""


class State(enum.StrEnum):
    WHOLE = "whole"
    PARTLY = "partly"
    DAMAGED = "damaged"
    ABSENT = "absent"


@dataclass(slots=True)
class StoredFile:
    name: str
    """Its path in the model's folder."""
    size_bytes: int
    sha256: str
    origin: int = 0
    """Number of the manifest's origin that it came from."""


@dataclass(slots=True)
class Origin:
    """Where files came from."""

    source: str
    """Repository on the hub, or the folder that they were copied from."""
    commit: str
    """Empty for a copied folder."""


@dataclass(slots=True)
class Manifest:
    """What a model's folder holds and where it came from."""

    model: str
    source: str
    """Of the first origin, as is the commit."""
    commit: str
    fetched_at: float
    files: list[StoredFile] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    """Files that a check found to be wrong: such a model is not used until it is fetched again."""
    origins: list[Origin] = field(default_factory=list)
    extras: list[str] = field(default_factory=list)
    """Names of the extras that came along."""

    def __post_init__(self) -> None:
        self.origins = self.origins or [Origin(self.source, self.commit)]

    @classmethod
    def read(cls, file: Path) -> Manifest | None:
        """None where there is none that can be read."""
        try:
            values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            manifest = cls(**values)
            manifest.files = [StoredFile(**entry) for entry in values["files"]]
            manifest.origins = [entry if isinstance(entry, Origin) else Origin(**entry) for entry in manifest.origins]
            if not all(is_plain_path(stored.name) for stored in manifest.files):
                return None
            return manifest
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def own_files(self, model: Model) -> dict[str, str]:
        """Path and SHA-256 of the files that are the model's own and no extra's."""
        patterns = [place for source in model.sources for place in source.places + source.useful_places]
        return {
            file.name: file.sha256 for file in self.files if any(matches(file.name, pattern) for pattern in patterns)
        }

    def write(self, file: Path) -> None:
        write_safely(file, json.dumps(dataclasses.asdict(self), indent=1))


@dataclass(frozen=True, slots=True)
class Look:
    """What there is of a model on this host, by a glance at names and sizes."""

    model: Model
    state: State
    folder: Path
    here_bytes: int = 0
    all_bytes: int = 0
    problem: str = ""
    """What is wrong with it, where something is."""
    manifest: Manifest | None = None

    @property
    def extras(self) -> tuple[str, ...]:
        """Names of the extras that are installed with it."""
        return tuple(self.manifest.extras) if self.manifest and self.state == State.WHOLE else ()

    @property
    def can_do(self) -> tuple[str, ...]:
        """Uses of references that it can do as it lies here; of a model that is not, what it will be able to do."""
        return self.model.can_do(self.extras)


def models_dir() -> Path:
    """`MEETVIZ_MODELS_DIR`, else `models` in MEETVIZ_HOME."""
    home = setting("MEETVIZ_HOME", str(_CHECKOUT / "var"))
    return Path(setting("MEETVIZ_MODELS_DIR") or Path(home) / "models").expanduser().absolute()


def fetching_forbidden() -> bool:
    """Whether the owner of this machine wants nothing fetched."""
    return setting("HF_HUB_OFFLINE").lower() in ("1", "on", "yes", "true")


def folder_of(model: Model) -> Path:
    return models_dir() / model.name


def staging_of(model: Model) -> Path:
    return models_dir() / _STAGING / model.name


def named(name: str) -> Model:
    """The catalogue's model. Raises ModelError `unknown_model`."""
    if name not in CATALOGUE:
        message = f"There is no model {name!r}. There are: {', '.join(CATALOGUE)}."
        raise ModelError(Trouble.UNKNOWN_MODEL, message, model=name, known=", ".join(CATALOGUE))
    return CATALOGUE[name]


def look(model: Model) -> Look:
    """What there is of it: cheap, reads no weights."""
    folder = folder_of(model)
    if not folder.is_dir():
        return _look_at_staging(model)
    sizes = _sizes(folder)
    here = sum(sizes.values())
    manifest = Manifest.read(folder / MANIFEST)
    if manifest is None:
        problem = f"it has no {MANIFEST}: somebody put it there by hand, or it is half a copy"
        return Look(model, State.DAMAGED, folder, here, model.size_bytes, problem)
    whole = sum(file.size_bytes for file in manifest.files)
    wrong = [f"{file.name} is missing" for file in manifest.files if file.name not in sizes]
    wrong += [
        f"{file.name} has {sizes[file.name]} bytes instead of {file.size_bytes}"
        for file in manifest.files
        if sizes.get(file.name, file.size_bytes) != file.size_bytes
    ]
    wrong += [f"{name} was found to be damaged" for name in manifest.damaged]
    listed = [file.name for file in manifest.files]
    wrong += [f"{pattern} is missing" for pattern in model.lacks(listed, manifest.extras)]
    state = State.DAMAGED if wrong else State.WHOLE
    return Look(model, state, folder, here, whole, "; ".join(wrong), manifest)


def _look_at_staging(model: Model) -> Look:
    folder = staging_of(model)
    here = sum(size for name, size in _sizes(folder).items() if name != PLAN)
    if not here:
        return Look(model, State.ABSENT, folder_of(model), 0, model.size_bytes)
    plan = Manifest.read(folder / PLAN)
    whole = sum(file.size_bytes for file in plan.files) if plan else model.size_bytes
    return Look(model, State.PARTLY, folder, here, whole, "only a part of it was fetched")


def stamp() -> tuple[Any, ...]:
    """Changes when a model comes, goes, or is found to be damaged: two looks at inodes for each model, no more."""
    return tuple(_stamp_of(path) for model in CATALOGUE.values() for path in _stamped(folder_of(model)))


def stamp_of_folder(folder: Path) -> tuple[Any, ...]:
    """The same for a folder that is not of the catalogue."""
    return tuple(_stamp_of(path) for path in _stamped(folder))


def _stamped(folder: Path) -> tuple[Path, Path]:
    return folder, folder / MANIFEST


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def verify(model: Model, on_bytes: OnBytes = lambda _count: None) -> list[str]:
    """Read every byte of an installed model and compare; what is wrong, empty when nothing is.

    What is found is noted in the manifest, so that a host that runs stops using a damaged model. Raises ModelError
    `not_found` when there is nothing to verify.
    """
    seen = look(model)
    if seen.state == State.ABSENT:
        message = f"{model.name} is not installed. Get it with: manage.py models pull {model.name}"
        raise ModelError(Trouble.NOT_FOUND, message, model=model.name)
    if seen.manifest is None:
        return [seen.problem]
    wrong, damaged = [], []
    for file in seen.manifest.files:
        path = seen.folder / file.name
        if path.is_symlink() or not path.is_file():
            wrong.append(f"{file.name} is missing")
        elif path.stat().st_size != file.size_bytes:
            wrong.append(f"{file.name} has {path.stat().st_size} bytes instead of {file.size_bytes}")
        elif sha256_of(path, on_bytes) != file.sha256:
            wrong.append(f"{file.name} is damaged: its checksum is not the one it was fetched with")
            damaged.append(file.name)
    if damaged != seen.manifest.damaged:
        seen.manifest.damaged = damaged
        with contextlib.suppress(OSError):  # a folder that only somebody else may write
            seen.manifest.write(seen.folder / MANIFEST)
    return wrong


def sha256_of(file: Path, on_bytes: OnBytes = lambda _count: None) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(_READ_BYTES):
            digest.update(piece)
            on_bytes(len(piece))
    return digest.hexdigest()


@contextlib.contextmanager
def locked(model: Model, on_wait: Callable[[], None] | None = None, again_after_s: float = 0.2) -> Iterator[None]:
    """Be the only one to fetch this model, across threads and processes; the lock ends with its holder.

    While somebody else holds it, `on_wait` is called again and again; it may raise to give up. Without one, raises
    ModelError `busy` at once.
    """
    with disk_errors(models_dir()):
        lock = _open_lock(model.name)
    with lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if on_wait is None:
                    message = f"{model.name} is being fetched by somebody else at this moment."
                    raise ModelError(Trouble.BUSY, message, model=model.name) from None
                on_wait()
                time.sleep(again_after_s)
        yield


@contextlib.contextmanager
def held(name: str) -> Iterator[None]:
    """Wait to be the only one who changes the small file of this name. Raises OSError."""
    with _open_lock(name) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _open_lock(name: str) -> Any:
    path = models_dir() / _STAGING / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a")


def install(model: Model, manifest: Manifest) -> Path:
    """Put the staged model at its place in one step. The caller holds the lock and has checked every file."""
    staging, folder = staging_of(model), folder_of(model)
    with disk_errors(models_dir()):
        for file in manifest.files:
            _sync(staging / file.name)
        (staging / PLAN).unlink(missing_ok=True)
        manifest.write(staging / MANIFEST)
        old = staging.with_name(f"{model.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        before = Manifest.read(folder / MANIFEST)
        if folder.exists():  # a damaged one, or one without an extra
            folder.rename(old)
        staging.rename(folder)
        exports = old / EXPORTS
        same = before is not None and before.own_files(model) == manifest.own_files(model)
        if same and exports.is_dir() and not exports.is_symlink():
            exports.rename(folder / EXPORTS)
        _sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    return folder


def tidy(folder: Path, keep: Iterable[str]) -> int:
    """Remove everything below a staging folder but these paths, all links among it; the bytes of what stays."""
    wanted, here = set(keep), 0
    for root, folders, names in os.walk(folder, topdown=False):
        for name in (*names, *folders):
            path = Path(root, name)
            if path.is_symlink():
                path.unlink()
            elif path.is_dir():
                with contextlib.suppress(OSError):  # not empty: what is in it is wanted
                    path.rmdir()
            elif path.relative_to(folder).as_posix() in wanted:
                here += path.stat().st_size
            else:
                path.unlink()
    return here


def write_safely(file: Path, text: str) -> None:
    """Write a small file so that others see the old text or the new, never half of it."""
    draft = file.with_name(f"{file.name}.{os.getpid()}.new")
    try:
        draft.write_text(text, encoding="utf-8")
        _sync(draft)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sizes(folder: Path) -> dict[str, int]:
    """Path in the folder and size in bytes of each file, links left out; empty where there is no such folder."""
    sizes = {}
    for root, _folders, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            with contextlib.suppress(OSError):
                if not path.is_symlink():
                    sizes[path.relative_to(folder).as_posix()] = path.stat().st_size
    return sizes
