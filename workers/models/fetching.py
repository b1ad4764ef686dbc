"""Fetch a model: from the hub, going on where it stopped, or from a folder; in every case checked before it counts."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from workers.models import store
from workers.models.catalogue import Model
from workers.models.errors import ModelError, Trouble, disk_errors
from workers.models.hub import Checksum, Edition, Hub, HubFile, Interrupted
from workers.models.kind import check_kind
from workers.models.store import Manifest, State, StoredFile

TRIES = 5
"""In a row without a single new byte; any progress starts the count anew."""
WAIT_S = 0.5
"""Before the second try; doubled before each further one."""
ROOM_TO_SPARE_BYTES = 64_000_000
_READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull is."""

    model: str
    state: str
    """`waiting` (for another pull of the same model), `fetching`, `checking` or `done`."""
    done_bytes: int
    total_bytes: int


OnProgress = Callable[[Progress], None]
"""Called very often, from the thread that pulls."""


def pull(model: Model, on_progress: OnProgress = lambda _p: None, stop: threading.Event | None = None) -> Path:
    """Have this model installed and whole; its folder. What was fetched before an error stays for the next try.

    Raises ModelError; `stopped` when `stop` is set.
    """
    return _Pull(model, on_progress, stop or threading.Event()).run()


def copy(model: Model, source: Path, on_progress: OnProgress = lambda _p: None) -> Path:
    """Install a model from a folder that somebody brought here. Raises ModelError `wrong_kind` and others."""
    check_kind(model, source)
    return _Pull(model, on_progress, threading.Event()).copy_from(source)


class _Pull:
    """One pull of one model."""

    def __init__(self, model: Model, on_progress: OnProgress, stop: threading.Event) -> None:
        self._model = model
        self._on_progress = on_progress
        self._stop = stop
        self._staging = store.staging_of(model)
        self._state = "fetching"
        self._done = 0
        self._total = model.size_bytes

    def run(self) -> Path:
        with store.locked(self._model, self._wait):
            seen = store.look(self._model)
            if seen.state == State.WHOLE and self._is_right(seen):
                return seen.folder
            with Hub() as hub:
                edition = self._edition(hub)
                with disk_errors(store.models_dir()):
                    self._prepare(edition)
                    stored = [self._have(hub, edition, file) for file in edition.files]
            manifest = Manifest(self._model.name, edition.repository, edition.commit, time.time(), stored)
            return self._install(manifest)

    def copy_from(self, source: Path) -> Path:
        with store.locked(self._model, self._wait):
            files = sorted(path for path in source.iterdir() if path.is_file() and self._model.wants(path.name))
            self._total = sum(path.stat().st_size for path in files)
            with disk_errors(store.models_dir()):
                shutil.rmtree(self._staging, ignore_errors=True)
                self._staging.mkdir(parents=True)
                self._check_room(self._total)
                stored = [self._copied(path) for path in files]
            return self._install(Manifest(self._model.name, str(source.absolute()), "", time.time(), stored))

    def _install(self, manifest: Manifest) -> Path:
        folder = store.install(self._model, manifest)
        self._tell("done")
        return folder

    # Before the bytes

    def _wait(self) -> None:
        self._tell("waiting")
        self._look_for_stop()

    def _is_right(self, seen: store.Look) -> bool:
        self._total = seen.all_bytes
        self._state = "checking"
        if store.verify(self._model, self._add):
            self._done, self._state = 0, "fetching"
            return False
        self._tell("done")
        return True

    def _edition(self, hub: Hub) -> Edition:
        """What the hub has now of the files that belong to the model. Raises ModelError."""
        self._tell("fetching")
        for number in range(TRIES):
            self._look_for_stop()
            try:
                edition = hub.edition(self._model.repository)
                break
            except Interrupted:
                if number == TRIES - 1:
                    raise self._busy(hub) from None
                self._stop.wait(WAIT_S * 2**number)
        files = tuple(file for file in edition.files if self._model.wants(file.name))
        if lacking := self._model.lacks([file.name for file in files]):
            raise ModelError(
                Trouble.NOT_FOUND,
                f"{self._model.repository} lacks {', '.join(lacking)}, so it is not the model it should be. Copy the"
                " model with --from FOLDER.",
                host=hub.host,
                repository=self._model.repository,
            )
        return Edition(edition.repository, edition.commit, files)

    def _prepare(self, edition: Edition) -> None:
        """Write down what is to come, keep what is here of it, throw away the rest, see that the disk has room."""
        self._total = sum(file.size_bytes for file in edition.files)
        self._staging.mkdir(parents=True, exist_ok=True)
        files = [StoredFile(file.name, file.size_bytes, file.sha256) for file in edition.files]
        plan = Manifest(self._model.name, edition.repository, edition.commit, time.time(), files)
        plan.write(self._staging / store.PLAN)
        keep = {store.PLAN, *(file.name for file in edition.files), *map(_part_name, edition.files)}
        here = 0
        for path in list(self._staging.iterdir()):
            if path.name not in keep:
                path.unlink()
            elif path.name != store.PLAN:
                here += path.stat().st_size
        self._check_room(self._total - here)

    def _check_room(self, needed_bytes: int) -> None:
        free = shutil.disk_usage(self._staging).free
        if needed_bytes + ROOM_TO_SPARE_BYTES > free:
            raise ModelError(
                Trouble.DISK_FULL,
                f"{self._model.name} needs {needed_bytes // 1_000_000} MB, and the disk of {store.models_dir()} has"
                f" {free // 1_000_000} MB left. Free some space, or set MEETVIZ_MODELS_DIR to another disk.",
                folder=store.models_dir(),
                needed_mb=needed_bytes // 1_000_000,
                free_mb=free // 1_000_000,
            )

    # The bytes

    def _have(self, hub: Hub, edition: Edition, file: HubFile) -> StoredFile:
        """Have this file in the staging folder, right to the last bit: from an earlier try, or from the hub."""
        path = self._staging / file.name
        damaged = store.folder_of(self._model) / file.name
        if not path.exists() and damaged.is_file() and damaged.stat().st_size == file.size_bytes:
            _link_or_copy(damaged, path)  # of a model of which only another file is wrong
        if path.exists():
            checksum, before = Checksum(file), self._done
            self._state = "checking"
            self._read(path, checksum)
            if checksum.is_right():
                return StoredFile(file.name, file.size_bytes, checksum.sha256)
            self._done = before
            path.unlink()
        return self._fetch(hub, edition, file, path)

    def _fetch(self, hub: Hub, edition: Edition, file: HubFile, path: Path) -> StoredFile:
        part = self._staging / _part_name(file)
        checksum, before = Checksum(file), self._done
        size = 0
        if part.exists() and 0 < part.stat().st_size <= file.size_bytes:
            self._state = "checking"
            size = self._read(part, checksum)
        self._state, failures = "fetching", 0
        with part.open("ab") as out:
            if out.tell() != size:
                out.truncate(size)
            while size < file.size_bytes:
                self._look_for_stop()
                begin = size
                try:
                    with hub.open(edition, file, size) as (first, pieces):
                        if first != size:
                            # A server without ranges begins at the beginning, and so must the file and its checksum.
                            if first != 0:
                                raise Interrupted("another range than asked for")
                            out.truncate(0)
                            size, checksum, self._done = 0, Checksum(file), before
                        for piece in pieces:
                            out.write(piece)
                            checksum.update(piece)
                            size += len(piece)
                            self._add(len(piece))
                            if size > file.size_bytes:
                                break
                    if size < file.size_bytes:
                        raise Interrupted("the end came early")
                except Interrupted:
                    failures = 0 if size > begin else failures + 1
                    if failures >= TRIES:
                        raise self._busy(hub) from None
                    self._stop.wait(WAIT_S * 2 ** max(0, failures - 1))
        if size != file.size_bytes or not checksum.is_right():
            part.unlink(missing_ok=True)
            raise ModelError(
                Trouble.DAMAGED,
                f"{file.name} of {self._model.name} is not the file that {hub.host} announced, and was removed."
                " Pull again; if it stays so, something between here and there changes files (a proxy?).",
                file=file.name,
                model=self._model.name,
                host=hub.host,
            )
        part.rename(path)
        return StoredFile(file.name, file.size_bytes, checksum.sha256)

    def _read(self, path: Path, checksum: Checksum) -> int:
        """Add what is here already to the checksum; how many bytes that is."""
        size = 0
        with path.open("rb") as stream:
            while piece := stream.read(_READ_BYTES):
                checksum.update(piece)
                size += len(piece)
                self._add(len(piece))
        return size

    def _copied(self, source: Path) -> StoredFile:
        """Copy one file and read the copy back: what counts is what this disk has."""
        size = source.stat().st_size
        with source.open("rb") as stream, (self._staging / source.name).open("wb") as out:
            while piece := stream.read(_READ_BYTES):
                out.write(piece)
                self._add(len(piece))
        sha256 = store.sha256_of(source)
        if store.sha256_of(self._staging / source.name) != sha256:
            raise ModelError(
                Trouble.DAMAGED, f"{source.name} was not copied properly. Check the disks.", file=source.name
            )
        return StoredFile(source.name, size, sha256)

    def _busy(self, hub: Hub) -> ModelError:
        return ModelError(
            Trouble.HUB_BUSY,
            f"{hub.host} breaks off again and again. Pull again later: what is here is kept.",
            host=hub.host,
        )

    # Telling

    def _add(self, count: int) -> None:
        self._done += count
        self._look_for_stop()
        self._tell(self._state)

    def _tell(self, state: str) -> None:
        done = self._total if state == "done" else min(self._done, self._total)
        self._on_progress(Progress(self._model.name, state, done, self._total))

    def _look_for_stop(self) -> None:
        if self._stop.is_set():
            raise ModelError(Trouble.STOPPED, f"Fetching {self._model.name} was stopped; what is here is kept.")


def _part_name(file: HubFile) -> str:
    """Named by its checksum, so that a part of an older edition is never continued with a newer one."""
    return f"{file.name}.{file.checksum[:12]}{store.PART}"


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
