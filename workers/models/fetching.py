"""Fetch a model: from the hub, going on where it stopped, or from a folder; in every case checked before it counts."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from workers.models import store
from workers.models.catalogue import Model, Source
from workers.models.errors import ModelError, Trouble, disk_errors
from workers.models.hub import Checksum, Edition, Hub, HubFile, Interrupted
from workers.models.kind import check_kind
from workers.models.licences import check_accepted
from workers.models.paint_kind import brought_files
from workers.models.store import Manifest, Origin, State, StoredFile

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


@dataclass(frozen=True, slots=True)
class _Coming:
    """A file that is to be fetched."""

    place: str
    """Its path in the model's folder."""
    file: HubFile
    edition: Edition
    origin: int

    @property
    def part(self) -> str:
        """Named by its checksum, so that a part of an older edition is never continued with a newer one."""
        return f"{self.place}.{self.file.checksum[:12]}{store.PART}"


def pull(
    model: Model,
    on_progress: OnProgress = lambda _p: None,
    stop: threading.Event | None = None,
    extras: Iterable[str] = (),
) -> Path:
    """Have this model, with these extras, installed and whole; its folder. Extras that are here already stay.

    What was fetched before an error stays for the next try. Raises ModelError: `licence` where its licence was not
    accepted for this host, `unknown_model` for an extra that it does not have, `stopped` when `stop` is set.
    """
    check_accepted(model)
    return _Pull(model, on_progress, stop or threading.Event()).run(_known(model, extras))


def copy(model: Model, source: Path, on_progress: OnProgress = lambda _p: None) -> Path:
    """Install a model from a folder that somebody brought here. Raises ModelError `wrong_kind` and others."""
    check_accepted(model)
    check_kind(model, source)
    return _Pull(model, on_progress, threading.Event()).copy_from(source)


def _known(model: Model, extras: Iterable[str]) -> list[str]:
    names = list(dict.fromkeys(extras))
    for name in names:
        if model.extra(name) is None:
            known = ", ".join(extra.name for extra in model.extras) or "none"
            message = f"{model.name} has no extra {name!r}. There are: {known}."
            raise ModelError(Trouble.UNKNOWN_MODEL, message, model=f"{model.name} + {name}", known=known)
    return names


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

    def run(self, extras: list[str]) -> Path:
        with store.locked(self._model, self._wait):
            seen = store.look(self._model)
            here = seen.manifest.extras if seen.manifest else []
            extras = [*here, *(name for name in extras if name not in here)]
            adding = seen.state == State.WHOLE and len(extras) > len(here)
            if seen.state == State.WHOLE and not adding and self._is_right(seen):
                return seen.folder
            # To a whole model only the extras are added: its own files stay at the commit that they are of.
            kept = seen.manifest if adding else None
            sources = self._model.sources_with(extras)
            with Hub() as hub:
                there = len(self._model.sources_with(here)) if kept else 0
                origins, coming = self._coming(hub, sources[there:], kept)
                with disk_errors(store.models_dir()):
                    self._prepare(coming, kept, origins)
                    stored = [self._have(hub, one) for one in coming]
            files = [*(kept.files if kept else []), *stored]
            first = origins[0]
            manifest = Manifest(
                self._model.name, first.source, first.commit, time.time(), files, origins=origins, extras=extras
            )
            return self._install(manifest)

    def copy_from(self, source: Path) -> Path:
        with store.locked(self._model, self._wait):
            files = brought_files(self._model, source)
            self._total = sum(path.stat().st_size for path in files.values())
            with disk_errors(store.models_dir()):
                shutil.rmtree(self._staging, ignore_errors=True)
                self._staging.mkdir(parents=True)
                self._check_room(self._total)
                stored = [self._copied(path, place) for place, path in sorted(files.items())]
            extras = self._model.extras_among(files)
            return self._install(
                Manifest(self._model.name, str(source.absolute()), "", time.time(), stored, extras=extras)
            )

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

    def _coming(self, hub: Hub, sources: Iterable[Source], kept: Manifest | None) -> tuple[list[Origin], list[_Coming]]:
        """What is to be fetched from these sources, and all origins of the model. Raises ModelError."""
        origins = list(kept.origins) if kept else []
        taken = {file.name for file in kept.files} if kept else set()
        coming: list[_Coming] = []
        editions: dict[str, Edition] = {}
        for source in sources:
            if source.repository not in editions:
                editions[source.repository] = self._edition(hub, source.repository)
            edition = editions[source.repository]
            self._check_lacks(hub, source, edition)
            origin = Origin(edition.repository, edition.commit)
            if origin not in origins:
                origins.append(origin)
            for file in edition.files:
                place = source.place_of(file.name)
                if place and place not in taken:
                    taken.add(place)
                    coming.append(_Coming(place, file, edition, origins.index(origin)))
        return origins, coming

    def _edition(self, hub: Hub, repository: str) -> Edition:
        """What the hub has now. Raises ModelError."""
        self._tell("fetching")
        for number in range(TRIES):
            self._look_for_stop()
            try:
                return hub.edition(repository)
            except Interrupted:
                if number < TRIES - 1:
                    self._stop.wait(WAIT_S * 2**number)
        raise self._busy(hub)

    def _check_lacks(self, hub: Hub, source: Source, edition: Edition) -> None:
        if lacking := source.lacks([file.name for file in edition.files]):
            raise ModelError(
                Trouble.NOT_FOUND,
                f"{source.repository} lacks {', '.join(lacking)}, so it is not the model it should be. Copy the"
                " model with --from FOLDER.",
                host=hub.host,
                repository=source.repository,
            )

    def _prepare(self, coming: list[_Coming], kept: Manifest | None, origins: list[Origin]) -> None:
        """Write down what is to come, keep what is here of it, throw away the rest, see that the disk has room."""
        self._total = sum(one.file.size_bytes for one in coming)
        self._staging.mkdir(parents=True, exist_ok=True)
        files = [StoredFile(one.place, one.file.size_bytes, one.file.sha256, one.origin) for one in coming]
        here = store.tidy(self._staging, {place for one in coming for place in (one.place, one.part)})
        self._check_room(self._total - here)
        plan = Manifest(self._model.name, origins[0].source, origins[0].commit, time.time(), files, origins=origins)
        plan.write(self._staging / store.PLAN)
        for file in kept.files if kept else []:
            place = self._staging / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(store.folder_of(self._model) / file.name, place)

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

    def _have(self, hub: Hub, one: _Coming) -> StoredFile:
        """Have this file in the staging folder, right to the last bit: from an earlier try, or from the hub."""
        file, path = one.file, self._staging / one.place
        path.parent.mkdir(parents=True, exist_ok=True)
        damaged = store.folder_of(self._model) / one.place
        if not path.exists() and _is_file(damaged) and damaged.stat().st_size == file.size_bytes:
            _link_or_copy(damaged, path)  # of a model of which only another file is wrong
        if path.exists():
            checksum, before = Checksum(file), self._done
            self._state = "checking"
            self._read(path, checksum)
            if checksum.is_right():
                return StoredFile(one.place, file.size_bytes, checksum.sha256, one.origin)
            self._done = before
            path.unlink()
        return self._fetch(hub, one, path)

    def _fetch(self, hub: Hub, one: _Coming, path: Path) -> StoredFile:
        file, part = one.file, self._staging / one.part
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
                    with hub.open(one.edition, file, size) as (first, pieces):
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
                f"{one.place} of {self._model.name} is not the file that {hub.host} announced, and was removed."
                " Pull again; if it stays so, something between here and there changes files (a proxy?).",
                file=one.place,
                model=self._model.name,
                host=hub.host,
            )
        part.rename(path)
        return StoredFile(one.place, file.size_bytes, checksum.sha256, one.origin)

    def _read(self, path: Path, checksum: Checksum) -> int:
        """Add what is here already to the checksum; how many bytes that is."""
        size = 0
        with path.open("rb") as stream:
            while piece := stream.read(_READ_BYTES):
                checksum.update(piece)
                size += len(piece)
                self._add(len(piece))
        return size

    def _copied(self, source: Path, place: str) -> StoredFile:
        """Copy one file and read the copy back: what counts is what this disk has."""
        target = self._staging / place
        target.parent.mkdir(parents=True, exist_ok=True)
        size = source.stat().st_size
        with source.open("rb") as stream, target.open("wb") as out:
            while piece := stream.read(_READ_BYTES):
                out.write(piece)
                self._add(len(piece))
        sha256 = store.sha256_of(source)
        if store.sha256_of(target) != sha256:
            raise ModelError(Trouble.DAMAGED, f"{place} was not copied properly. Check the disks.", file=place)
        return StoredFile(place, size, sha256)

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


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _link_or_copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
