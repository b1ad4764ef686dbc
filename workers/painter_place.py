"""The painter's place: it changes models by request, and a picture never waits for a model longer than it may take.

Each request says which model should paint it (nothing: what the settings and the profile say). If that is not the one
at work it is loaded first: beside the old one where both fit into memory, else after the old one was unloaded. A
request waits for that as long as its deadline; then whatever is at hand paints it (the old model, or the poster), and
the loading goes on. So the first picture after a start may be a poster, and says so.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from workers.engines.base import Engine, OnStep, Painted
from workers.engines.paint.exported import manifest
from workers.messages import PaintRequest
from workers.models import store
from workers.models.catalogue import CATALOGUE, Role
from workers.models.choice import DEMO, Candidate
from workers.places import Held, Place, Running
from workers.tested import current_profile

OTHER_MODEL = "other_model"
"""Code of `PaintResult.compromises`."""
MOST_TRIES = 20
"""More than there are models to try: a change that ends without an outcome must not be begun for ever."""


class HeldPainter(Held):
    """A painter in somebody's hands. Its pictures say where another model should have painted them."""

    def __init__(self, place: Place, running: Running, wanted: str) -> None:
        super().__init__(place, running)
        self._wanted = wanted
        """Name of the model that should paint."""

    def paint(self, request: PaintRequest, on_step: OnStep | None = None) -> Painted:
        if self._instead is not None:
            painted: Painted = self._instead.paint(request, on_step)
            return painted
        painted = self._ask(self._running.engine.paint, request, on_step)  # type: ignore[attr-defined]
        if self._instead is None and self._running.candidate.name != self._wanted:
            painted.compromises = [*(code for code in painted.compromises if code != OTHER_MODEL), OTHER_MODEL]
        return painted


class PainterPlace(Place):
    """The place of a host's painter."""

    again_after_s = 3_600.0
    """Longer than for words: where two models do not fit, trying one again costs a minute of posters."""

    def __init__(
        self,
        wish: Callable[[], str],
        make: Callable[[Candidate], Engine],
        on_change: Callable[[], None] = lambda: None,
        fit_together: Callable[[Candidate, Candidate], bool] = lambda old, new: True,
    ) -> None:
        """As of `Place`. `wish` counts for requests that name no model."""
        self._asked = ""
        self._setting = wish
        self._served: str | None = None
        """What was asked for when the one at work was chosen."""
        self._turn = threading.Lock()
        """Of those who ask: two that want different models are served one after the other."""
        self._stand_in: Running | None = None
        self._first: tuple[Running, threading.Thread] | None = None
        """Who is being loaded for a first time, and who loads."""
        super().__init__(Role.PAINT, lambda: self._asked or wish(), make, on_change, fit_together)

    def hold(self, model: str = "", within_s: float | None = None) -> HeldPainter:
        """The painter with this model; empty for what the settings say.

        Where it is not loaded within this time (None: however long it takes), whatever is at hand. A model that cannot
        be had is replaced by the next best, in the end by the poster.
        """
        until = None if within_s is None else time.monotonic() + within_s
        with self._taking_turns(until) as mine:
            tries = 0
            while mine and tries < MOST_TRIES:
                tries += 1
                with self._lock:
                    self._asked = model
                    running = self._begun()
                    if running.ready and (model == self._served or running.candidate == self._best()):
                        self._served = model
                        return self._held_for(running, model)
                    self._served = None
                    work = self._changing or self._begin_work(running)
                work.join(None if until is None else max(0.0, until - time.monotonic()))
                mine = not work.is_alive()
        return self._at_hand(model)

    def _begin_work(self, running: Running) -> threading.Thread:
        """Load what is wanted, or change to it; the lock is held."""
        if running.ready:
            return self._begin_change()
        if self._first is not None and self._first[0] is running and self._first[1].is_alive():
            return self._first[1]
        work = threading.Thread(target=self._load_first, args=(running,), name="load-painter", daemon=True)
        self._first = running, work
        work.start()
        return work

    @contextlib.contextmanager
    def _taking_turns(self, until: float | None) -> Iterator[bool]:
        """Whether it is our turn before the time is over."""
        mine = self._turn.acquire(timeout=-1 if until is None else max(0.0, until - time.monotonic()))
        try:
            yield mine
        finally:
            if mine:
                self._turn.release()

    def _at_hand(self, model: str) -> HeldPainter:
        """What can paint at once."""
        with self._lock:
            running = self._running
            if running is None or not running.ready:
                if self._stand_in is None:
                    demo = Candidate(Role.PAINT, DEMO[Role.PAINT], DEMO[Role.PAINT])
                    self._stand_in = Running(demo, self._make(demo))
                running = self._stand_in
            return self._held_for(running, model)

    def unload(self) -> None:
        with self._lock:
            standing_in, self._stand_in = self._stand_in, None
            self._asked, self._served, self._first = "", None, None
        super().unload()
        if standing_in is not None:
            standing_in.engine.unload()

    def _held_for(self, running: Running, model: str) -> HeldPainter:
        held = HeldPainter(self, running, self._candidates(model or self._setting())[0].name)
        running.held.add(held)
        return held

    def _next(self) -> Held:
        return self.hold(self._asked)

    def _give_up(self, running: Running) -> None:
        # What failed may have failed for lack of memory: the next must not be loaded beside it.
        self._retiring.append(running)
        self._retire(running, self.users_let_go_within_s)

    def _look(self) -> Any:
        """Without what requests ask for, which is no news about what is installed; with what was exported."""
        own = Path(self._setting()).expanduser()
        folders = [own, *(store.folder_of(model) for model in CATALOGUE.values() if model.role == Role.PAINT)]
        exports = tuple(_changed_at(folder / manifest.FOLDER / manifest.FILE) for folder in folders)
        return self._setting(), current_profile().name, store.stamp(), store.stamp_of_folder(own), exports


def _changed_at(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
