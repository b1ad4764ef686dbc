"""The place of an engine on a host, which one model after another may take without a restart.

Whoever asks for the engine gets it in their hands (`Held`): it stays loaded until they let go, whatever the host
changes to meanwhile. A model that does not load, or fails again and again, is replaced by the next best, in the end by
the demo engine, which needs no model: a room must never fall silent over a damaged file.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
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
from workers.tested import current_profile

log = logging.getLogger("meetviz.workers")

MOST_STUMBLES = 3
"""Failed calls in a row after which a model is given up."""
AGAIN_AFTER_S = 600.0
"""A model that failed may have lacked memory for a while: it is tried again."""
_LOOK_FOR_USERS_EVERY_S = 0.05
_WORK = frozenset({"transcribe", "interim", "english", "embed", "listen", "paint", "finish"})
_BROKEN = frozenset({"engine_failed", "engine_missing", "model_missing", "out_of_memory", "black_picture"})
"""Codes of errors that speak against the model and not against what it was asked."""
USERS_LET_GO_WITHIN_S = 5.0
"""Where two models do not fit beside each other the old one's users are waited for, but not for ever: whoever is in the
middle of a call is waited for by the engine itself."""


class Running:
    """An engine at work, and who has it in their hands."""

    def __init__(self, candidate: Candidate, engine: Engine) -> None:
        self.candidate = candidate
        self.engine = engine
        self.held: weakref.WeakSet[Held] = weakref.WeakSet()
        self.ready = candidate.demo  # a demo engine loads at its first call
        self.stumbles = 0


class Held:
    """An engine in somebody's hands: used like the engine itself, and loaded for as long as this object lives."""

    def __init__(self, place: Place, running: Running) -> None:
        self._place = place
        self._running = running
        self._instead: Held | None = None
        """The engine that took over when this one was given up."""

    def __getattr__(self, name: str) -> Any:
        if self._instead is not None:
            return getattr(self._instead, name)
        value = getattr(self._running.engine, name)
        return functools.partial(self._ask, value) if name in _WORK else value

    def _ask(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            answer = work(*args, **kwargs)
        except EngineError as error:
            other = self._place.stumbled(self._running, self) if error.code in _BROKEN else None
            if other is None:
                raise
            log.warning("%s failed again (%s); %s takes over", self.name, error.code, other.name)
            self._instead = other
            return getattr(other, work.__name__)(*args, **kwargs)
        self._running.stumbles = 0
        return answer


class Place:
    """One role of this host: the engine in it, and how it changes. Any thread may call anything at any time."""

    again_after_s = AGAIN_AFTER_S
    users_let_go_within_s = USERS_LET_GO_WITHIN_S

    def __init__(
        self,
        role: Role,
        wish: Callable[[], str],
        make: Callable[[Candidate], Engine],
        on_change: Callable[[], None] = lambda: None,
        fit_together: Callable[[Candidate, Candidate], bool] = lambda old, new: True,
    ) -> None:
        """`wish` reads the setting, `make` makes an engine without loading it, `on_change` hears of every change.

        `fit_together`: whether a new model can be loaded beside the old one; if not, the old one goes first.
        """
        self._role = role
        self._wish = wish
        self._make = make
        self._on_change = on_change
        self._fit_together = fit_together
        self._lock = threading.Lock()
        self._first_load = threading.Lock()
        self._running: Running | None = None
        self._failed: dict[Candidate, float] = {}
        """When; replaced and never changed, so that it can be read without the lock."""
        self._seen: Any = None
        self._changing: threading.Thread | None = None
        self._retiring: list[Running] = []

    def hold(self) -> Held:
        """The engine. Where the first one is a model it is loaded now, so that another can take over if it fails."""
        while True:
            with self._lock:
                running = self._begun()
                if running.ready:
                    return self._held(running)
            self._load_first(running)

    def _held(self, running: Running) -> Held:
        """The lock is held."""
        held = Held(self, running)
        running.held.add(held)
        return held

    def facts(self) -> EngineFacts:
        """What is at work, or is about to be; never waits for a load."""
        with self._lock:
            running = self._begun()
            facts = running.engine.facts()
            best = self._candidates()[0]
            # Another edition of the same model is no other model to anybody who looks at the pictures.
            another = best.name != running.candidate.name
            facts.instead_of = best.name if another and not self._can(best) else ""
            return facts

    def refresh(self) -> None:
        """See whether another model should be at work; if so, change to it in the background."""
        with self._lock:
            if self._running is None or not self._running.ready or self._changing is not None:
                return
            seen, now = self._look(), time.monotonic()
            if seen != self._seen:
                self._failed = {}
            elif all(now - at < self.again_after_s for at in self._failed.values()):
                return
            self._failed = {candidate: at for candidate, at in self._failed.items() if now - at < self.again_after_s}
            self._seen = seen
            if self._best() != self._running.candidate:
                self._begin_change()

    def _begin_change(self) -> threading.Thread:
        """The lock is held."""
        self._changing = threading.Thread(target=self._change, name=f"change-{self._role}", daemon=True)
        self._changing.start()
        return self._changing

    def stumbled(self, running: Running, by: Held) -> Held | None:
        """A call failed: the engine that takes over, None while the failing one deserves another chance."""
        with self._lock:
            running.stumbles += 1
            if running.candidate.demo or running.stumbles < MOST_STUMBLES:
                return None
            running.held.discard(by)
            self._put_aside(running.candidate)
            was_at_work = self._running is running
            if was_at_work:
                self._running = None
        if was_at_work:
            self._give_up(running)
        self._on_change()
        return self._next()

    def _give_up(self, running: Running) -> None:
        """Unload what failed."""
        self._retire_beside(running)

    def _next(self) -> Held:
        return self.hold()

    def unload(self) -> None:
        """Give back the memory of whatever is loaded; the next `hold` chooses anew."""
        with self._lock:
            engines = [running.engine for running in (self._running, *self._retiring) if running is not None]
            self._running, self._failed = None, {}
        for engine in engines:
            engine.unload()

    # Choosing

    def _candidates(self, wish: str | None = None) -> list[Candidate]:
        looks = {name: store.look(model) for name, model in CATALOGUE.items() if model.role == self._role}
        return candidates(self._role, self._wish() if wish is None else wish, looks, probe(), current_profile())

    def _can(self, candidate: Candidate) -> bool:
        return candidate.demo or not (candidate.problem or candidate in self._failed)

    def _best(self) -> Candidate:
        return next(candidate for candidate in self._candidates() if self._can(candidate))

    def _look(self) -> Any:
        """Changes when another choice might be right; costs a few looks at inodes."""
        wish = self._wish()
        return wish, current_profile().name, store.stamp(), store.stamp_of_folder(Path(wish).expanduser())

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

    def _begun(self) -> Running:
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
                self._running = Running(best, self._make(best))
        return self._running

    def _load_first(self, running: Running) -> None:
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
                if not old.candidate.demo and not best.demo and not self._fit_together(old.candidate, best):
                    self._exchange(old)
                    return
                new = None
                with self._putting_aside(best):
                    new = Running(best, self._make(best))
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

    def _exchange(self, old: Running) -> None:
        """Let the old one go, then load the best; whoever asks meanwhile waits for it as at the first load."""
        with self._lock:
            if self._running is not old:
                return
            self._running = None
            self._retiring.append(old)
            self._begun()
        self._retire(old, self.users_let_go_within_s)
        while True:
            with self._lock:
                running = self._begun()
            if running.ready:
                log.info("%s: %s in place of %s", self._role, running.candidate.name, old.candidate.name)
                return
            self._load_first(running)

    def _take_over(self, new: Running, old: Running) -> bool:
        """False where the old one is not at work any more: somebody unloaded it meanwhile."""
        with self._lock:
            if self._running is not old:
                return False
            self._running, self._changing = new, None
            self._retire_beside(old)
            return True

    def _retire_beside(self, running: Running) -> None:
        self._retiring.append(running)
        threading.Thread(target=self._retire, args=(running,), name=f"retire-{self._role}", daemon=True).start()

    def _retire(self, running: Running, within_s: float = math.inf) -> None:
        """Unload an engine when the last of those who have it in their hands has let go, or this time is over."""
        until = time.monotonic() + within_s
        while running.held and time.monotonic() < until:
            time.sleep(_LOOK_FOR_USERS_EVERY_S)
        running.engine.unload()
        with self._lock:
            self._retiring.remove(running)
