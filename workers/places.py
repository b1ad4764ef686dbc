"""The place of an engine on a host, which one model after another may take without a restart.

Whoever asks for the engine gets it in their hands (`Held`): it stays loaded until they let go, whatever the host
changes to meanwhile. A model that does not load, or fails again and again, is replaced by the next best, in the end by
the demo engine, which needs no model: a room must never fall silent over a damaged file.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from workers.engines.base import Engine, EngineError
from workers.faults import described
from workers.hardware import probe
from workers.messages import EngineFacts
from workers.models import store
from workers.models.catalogue import CATALOGUE, Role
from workers.models.choice import Candidate, candidates

log = logging.getLogger("meetviz.workers")

MOST_STUMBLES = 3
"""Failed calls in a row after which a model is given up."""
AGAIN_AFTER_S = 600.0
"""A model that failed may have lacked memory for a while: it is tried again."""
_LOOK_FOR_USERS_EVERY_S = 0.05
_WORK = frozenset({"transcribe", "interim", "english", "embed", "listen"})
_BROKEN = frozenset({"engine_failed", "model_missing", "out_of_memory"})
"""Codes of errors that speak against the model and not against what it was asked."""


class _Running:
    """An engine at work, and who has it in their hands."""

    def __init__(self, candidate: Candidate, engine: Engine) -> None:
        self.candidate = candidate
        self.engine = engine
        self.held: weakref.WeakSet[Held] = weakref.WeakSet()
        self.ready = candidate.demo  # a demo engine loads at its first call
        self.stumbles = 0


class Held:
    """An engine in somebody's hands: used like the engine itself, and loaded for as long as this object lives."""

    def __init__(self, place: Place, running: _Running) -> None:
        self._place = place
        self._running = running

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._running.engine, name)
        return functools.partial(self._ask, value) if name in _WORK else value

    def _ask(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            answer = work(*args, **kwargs)
        except EngineError as error:
            other = self._place.stumbled(self._running) if error.code in _BROKEN else None
            if other is None:
                raise
            log.warning("%s failed again (%s); %s takes over", self.name, error.code, other.name)
            return getattr(other, work.__name__)(*args, **kwargs)
        self._running.stumbles = 0
        return answer


class Place:
    """One role of this host: the engine in it, and how it changes. Any thread may call anything at any time."""

    def __init__(
        self,
        role: Role,
        wish: Callable[[], str],
        make: Callable[[Candidate], Engine],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`wish` reads the setting, `make` makes an engine without loading it, `on_change` hears of every change."""
        self._role = role
        self._wish = wish
        self._make = make
        self._on_change = on_change
        self._lock = threading.Lock()
        self._first_load = threading.Lock()
        self._running: _Running | None = None
        self._failed: dict[Candidate, float] = {}
        """When; replaced and never changed, so that it can be read without the lock."""
        self._seen: Any = None
        self._changing: threading.Thread | None = None
        self._retiring: list[_Running] = []

    def hold(self) -> Held:
        """The engine. Where the first one is a model it is loaded now, so that another can take over if it fails."""
        while True:
            with self._lock:
                running = self._begun()
                if running.ready:
                    held = Held(self, running)
                    running.held.add(held)
                    return held
            self._load_first(running)

    def facts(self) -> EngineFacts:
        """What is at work, or is about to be; never waits for a load."""
        with self._lock:
            running = self._begun()
            facts = running.engine.facts()
            best = self._candidates()[0]
            facts.instead_of = best.name if best != running.candidate and not self._can(best) else ""
            return facts

    def refresh(self) -> None:
        """See whether another model should be at work; if so, change to it in the background."""
        with self._lock:
            if self._running is None or not self._running.ready or self._changing is not None:
                return
            seen, now = self._look(), time.monotonic()
            if seen != self._seen:
                self._failed = {}
            elif all(now - at < AGAIN_AFTER_S for at in self._failed.values()):
                return
            self._failed = {candidate: at for candidate, at in self._failed.items() if now - at < AGAIN_AFTER_S}
            self._seen = seen
            if self._best() == self._running.candidate:
                return
            self._changing = threading.Thread(target=self._change, name=f"change-{self._role}", daemon=True)
            self._changing.start()

    def stumbled(self, running: _Running) -> Held | None:
        """A call failed: the engine that takes over, None while the failing one deserves another chance."""
        with self._lock:
            running.stumbles += 1
            if running.candidate.demo or running.stumbles < MOST_STUMBLES:
                return None
            self._put_aside(running.candidate)
            if self._running is running:
                self._running = None
                self._retire_beside(running)
        self._on_change()
        return self.hold()

    def unload(self) -> None:
        """Give back the memory of whatever is loaded; the next `hold` chooses anew."""
        with self._lock:
            engines = [running.engine for running in (self._running, *self._retiring) if running is not None]
            self._running, self._failed = None, {}
        for engine in engines:
            engine.unload()

    # Choosing

    def _candidates(self) -> list[Candidate]:
        looks = {name: store.look(model) for name, model in CATALOGUE.items() if model.role == self._role}
        return candidates(self._role, self._wish(), looks, probe())

    def _can(self, candidate: Candidate) -> bool:
        return candidate.demo or not (candidate.problem or candidate in self._failed)

    def _best(self) -> Candidate:
        return next(candidate for candidate in self._candidates() if self._can(candidate))

    def _look(self) -> Any:
        """Changes when another choice might be right; costs a few looks at inodes."""
        wish = self._wish()
        return wish, store.stamp(), store.stamp_of_folder(Path(wish).expanduser())

    def _put_aside(self, candidate: Candidate) -> None:
        self._failed = {**self._failed, candidate: time.monotonic()}

    @contextlib.contextmanager
    def _putting_aside(self, candidate: Candidate) -> Iterator[None]:
        """A model that fails here is put aside, and the log says why; a demo engine that fails is an error."""
        try:
            yield
        except Exception as error:
            if candidate.demo:
                raise
            why = str(error) if isinstance(error, EngineError) else described(error)
            log.warning("%s: %s does not work here: %s", self._role, candidate.name, why)
            self._put_aside(candidate)

    # Beginning

    def _begun(self) -> _Running:
        """What is at work; the lock is held. Makes an engine where there is none, which is quick: nothing is loaded."""
        while self._running is None:
            self._seen = self._look()
            best = self._best()
            for candidate in self._candidates():
                if candidate == best:
                    break
                if candidate.problem:
                    log.warning("%s: %s cannot be used: %s", self._role, candidate.name, candidate.problem)
            with self._putting_aside(best):
                self._running = _Running(best, self._make(best))
        return self._running

    def _load_first(self, running: _Running) -> None:
        with self._first_load:
            if running.ready or self._running is not running:
                return
            with self._putting_aside(running.candidate):
                running.engine.load()
                running.ready = True
            with self._lock:
                if not running.ready and self._running is running:
                    self._running = None
                wanted = self._running is running
            if not wanted:  # it failed, or somebody unloaded everything meanwhile
                running.engine.unload()
        self._on_change()

    # Changing

    def _change(self) -> None:
        """Load the best, put it in the place of what is at work, then let that go. Runs in a thread of its own."""
        try:
            while True:
                with self._lock:
                    best, old = self._best(), self._running
                if old is None or old.candidate == best:
                    return
                new = None
                with self._putting_aside(best):
                    new = _Running(best, self._make(best))
                    new.engine.load()
                    new.ready = True
                if new is not None:
                    if new.ready and self._take_over(new, old):
                        log.info("%s: %s takes over from %s", self._role, best.name, old.candidate.name)
                        return
                    new.engine.unload()
        except Exception as error:
            log.error("%s: no change of engine: %s", self._role, described(error))
        finally:
            with self._lock:
                if self._changing is threading.current_thread():
                    self._changing = None
            self._on_change()

    def _take_over(self, new: _Running, old: _Running) -> bool:
        """False where the old one is not at work any more: somebody unloaded it meanwhile."""
        with self._lock:
            if self._running is not old:
                return False
            self._running, self._changing = new, None
            self._retire_beside(old)
            return True

    def _retire_beside(self, running: _Running) -> None:
        self._retiring.append(running)
        threading.Thread(target=self._retire, args=(running,), name=f"retire-{self._role}", daemon=True).start()

    def _retire(self, running: _Running) -> None:
        """Unload an engine when the last of those who have it in their hands has let go."""
        while running.held:
            time.sleep(_LOOK_FOR_USERS_EVERY_S)
        running.engine.unload()
        with self._lock:
            self._retiring.remove(running)
