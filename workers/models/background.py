"""Fetching beside a host's work: a press in the room asks for it, heartbeats say how far it is."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from workers.faults import described
from workers.messages import Fetching
from workers.models.catalogue import CATALOGUE
from workers.models.errors import ModelError, Trouble

if TYPE_CHECKING:
    from workers.models.fetching import Progress

log = logging.getLogger("meetviz.workers")

SHOW_DONE_S = 20.0
"""How long the end of it is told: long enough for everybody to have seen it."""
BY_THE_SITE = "the site's owner, on its pages"
"""What the file of licences says of those that came with a press."""
_CODES = {Trouble.HUB_BUSY: "offline", Trouble.NOT_FOUND: "refused"}
"""Troubles that a room need not tell apart; the log does."""


class Background:
    """Fetches models in a thread of its own, one after the other; for one host."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: list[str] = []
        self._accepted: set[str] = set()
        self._sizes: dict[str, int] = {}
        """Bytes of each of them: about, until the hub has said it."""
        self._done: dict[str, int] = {}
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._told: Fetching | None = None
        self._ended_at = 0.0
        self.on_news: Callable[[], None] = lambda: None
        """Called when it begins, ends or fails, and after each model."""

    def begin(self, names: Iterable[str], accepted: Iterable[str] = ()) -> None:
        """Fetch these; returns at once. What is being fetched already is not asked for twice.

        `accepted`: those of them whose licences the site's owner has accepted; this host writes that down.
        """
        wanted = [name for name in names if name in CATALOGUE]
        with self._lock:
            if self._thread is None:
                self._names, self._sizes, self._done = [], {}, {}
            self._accepted |= set(accepted)
            for name in wanted:
                if name not in self._names:
                    self._names.append(name)
                    self._sizes[name] = CATALOGUE[name].size_bytes
            if not self._names or self._thread is not None:
                return
            self._stop = threading.Event()
            self._told = self._fetching(self._names[0], "fetching")
            self._thread = threading.Thread(target=self._run, args=(self._stop,), name="fetch-models", daemon=True)
            self._thread.start()
        self.on_news()

    def state(self) -> Fetching | None:
        """How far it is; None when nothing is being fetched. A failure is told until the next `begin`."""
        with self._lock:
            told = self._told
            if told and told.state == "done" and time.monotonic() - self._ended_at > SHOW_DONE_S:
                told = self._told = None
            return told

    @property
    def is_busy(self) -> bool:
        return self._thread is not None

    def stop(self, within_s: float = 2.0) -> None:
        """End it; what is here stays for the next time."""
        self._stop.set()
        thread = self._thread
        if thread is not None:
            thread.join(within_s)

    def _run(self, stop: threading.Event) -> None:
        # Its HTTP client takes a tenth of a second to import, which a host that fetches nothing need not spend.
        from workers.models.fetching import pull
        from workers.models.licences import accept

        number = 0
        while True:
            with self._lock:
                if number == len(self._names):
                    self._end("done")
                    break
                name = self._names[number]
                accepted = name in self._accepted
            try:
                if accepted:
                    accept(CATALOGUE[name], BY_THE_SITE)
                pull(CATALOGUE[name], self._on_progress, stop)
                log.info("fetched model=%s", name)
            except ModelError as error:
                log.warning("model=%s not fetched: %s", name, error)
                with self._lock:
                    self._end("failed", name, _CODES.get(error.trouble, str(error.trouble)))
                break
            except Exception as error:
                log.error("model=%s not fetched: %s", name, described(error))
                with self._lock:
                    self._end("failed", name, "failed")
                break
            number += 1
            self.on_news()
        self.on_news()

    def _on_progress(self, progress: Progress) -> None:
        with self._lock:
            self._sizes[progress.model] = progress.total_bytes
            self._done[progress.model] = progress.done_bytes
            state = progress.state if progress.state == "checking" else "fetching"
            self._told = self._fetching(progress.model, state)

    def _end(self, state: str, name: str = "", code: str = "") -> None:
        self._told = self._fetching(name or self._names[-1], state, code)
        self._ended_at = time.monotonic()
        self._thread = None

    def _fetching(self, name: str, state: str, error: str = "") -> Fetching:
        return Fetching(name, sum(self._done.values()), sum(self._sizes.values()), state, error)


on_this_host = Background()
