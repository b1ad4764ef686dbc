"""Engines that live in a process of their own.

Some engines hold Python's global lock while they compute (PocketSphinx was measured to stop a whole process for 9 s),
or may take the process down with them. `hosted(PocketSphinxEngine)` is the same engine to its user, but its work
happens in a child: a fresh interpreter (never a fork of a threaded parent, never a second run of `__main__`), asked
over a socket pair. How they talk, and how a child ends, is in `workers.engines.hosting`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, overload

import numpy as np

from workers.engines.base import (
    Engine,
    EngineError,
    HeardVoices,
    OnStep,
    Painted,
    Painter,
    SpeechEngine,
    VoiceEngine,
)
from workers.engines.hosting.process import Child, ChildDied, Interrupted
from workers.hardware import probe
from workers.messages import EngineFacts, PaintRequest, Transcript, VoiceEmbedding

MOST_CHILDREN = 2
"""For one question: what kills a child twice is not tried a third time."""


class _Hosted(Engine):
    """What the hosted engines share: a child that is started when needed and once more when it dies."""

    def __init__(self, engine_class: type[Engine], options: dict[str, Any], threads: int, timeout_s: float) -> None:
        super().__init__()
        if engine_class.__module__ == "__main__":
            raise ValueError(f"{engine_class.__qualname__} must be in a module that a child can import")
        self._engine_class = engine_class
        self._options = options
        self._threads = threads
        self._timeout_s = timeout_s
        self._asking = threading.Lock()
        self._child: Child | None = None
        # What an engine says of itself without loading anything.
        engine = engine_class(**options)
        self.name = engine.name
        self.demo = engine.demo
        self._learn(engine.facts())

    @property
    def child_pid(self) -> int | None:
        """Process id of the child, None while there is none."""
        child = self._child
        return child.pid if child and child.ours else None

    def _load(self) -> None:
        self._ask("load")

    def _unload(self) -> None:
        with self._asking:
            self._end()

    def _ask(self, method: str, *arguments: Any, on_step: OnStep | None = None, stop_within_s: float = 0.0) -> Any:
        """Ask the child, with one fresh child if it dies. Raises EngineError; Interrupted where `on_step` raised."""
        with self._asking:
            for _ in range(MOST_CHILDREN):
                try:
                    with self._in_time():
                        child = self._ready()
                        return child.ask(method, arguments, self._timeout_s, on_step, stop_within_s)
                except ChildDied:
                    self._end()
            raise EngineError("engine_failed", f"{self.name} keeps dying in its process; the log has its last words")

    def _ready(self) -> Child:
        """The child with its engine loaded. Raises as `Child.ask`."""
        if self._child is None or not self._child.is_ready():
            self._end()
            self._child = Child(self._engine_class, self._options, self._threads)
            # A child that hangs while it starts would not read a large question; a small one fits.
            self._child.ask("load", (), self._timeout_s)
            self._learn(self._child.ask("facts", (), self._timeout_s))
        return self._child

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            self._end()
            raise EngineError("engine_failed", f"{self.name} took longer than {self._timeout_s:.0f} s") from None

    def _learn(self, facts: EngineFacts) -> None:
        """What only loading shows: on which device it runs after all, what the model's files say."""
        self.model, self.device = facts.model, facts.device
        self.languages, self.translates = tuple(facts.languages), facts.translates

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


class HostedSpeechEngine(_Hosted, SpeechEngine):
    """A SpeechEngine whose work happens in a child process."""

    def _transcribe(self, samples: np.ndarray, language: str, prompt: str) -> Transcript:
        transcript: Transcript = self._ask("_transcribe", samples, language, prompt)
        return transcript

    def _interim(self, key: str, samples: np.ndarray, language: str) -> Transcript:
        transcript: Transcript = self._ask("_interim", key, samples, language)
        return transcript

    def _english(self, samples: np.ndarray, language: str) -> str:
        text: str = self._ask("_english", samples, language)
        return text


class HostedVoiceEngine(_Hosted, VoiceEngine):
    """A VoiceEngine whose work happens in a child process."""

    def __init__(
        self, engine_class: type[VoiceEngine], options: dict[str, Any], threads: int, timeout_s: float
    ) -> None:
        super().__init__(engine_class, options, threads, timeout_s)
        self.dimensions = engine_class.dimensions

    def _embed(self, samples: np.ndarray) -> VoiceEmbedding | None:
        embedding: VoiceEmbedding | None = self._ask("_embed", samples)
        return embedding

    def _listen(self, samples: np.ndarray) -> HeardVoices:
        heard: HeardVoices = self._ask("_listen", samples)
        return heard


class HostedPainter(_Hosted, Painter):
    """A Painter whose work happens in a child process.

    Each step comes over while it paints; `on_step` holds the child up for as long as it takes. When it raises, the
    child leaves the picture at its next step and is ready for another. A picture during which the child dies is begun
    anew in a fresh one, its steps counting from 1 again: once, for it may be the picture that kills.
    """

    stop_within_s = 10.0
    """How long a child may take to its next step (three times the longest so far, where that is more) before it is
    ended, model and all."""

    def _paint(self, request: PaintRequest, on_step: OnStep) -> Painted:
        try:
            painted: Painted = self._ask("_paint", request, on_step=on_step, stop_within_s=self.stop_within_s)
        except Interrupted as stop:
            raise stop.reason from None
        return painted

    def _finish(self, frame_id: str) -> Painted | None:
        """Of a picture whose latents went down with a child there is no second edition, and nothing to try again."""
        with self._asking:
            if self._child is None or not self._child.is_ready():
                return None
            try:
                with self._in_time():
                    painted: Painted | None = self._child.ask("_finish", (frame_id,), self._timeout_s)
            except ChildDied:
                self._end()
                return None
        return painted

    def _learn(self, facts: EngineFacts) -> None:
        super()._learn(facts)
        self.profile = facts.profile


@overload
def hosted(
    engine_class: type[SpeechEngine],
    options: dict[str, Any] | None = ...,
    *,
    threads: int | None = ...,
    timeout_s: float = ...,
) -> HostedSpeechEngine: ...
@overload
def hosted(
    engine_class: type[VoiceEngine],
    options: dict[str, Any] | None = ...,
    *,
    threads: int | None = ...,
    timeout_s: float = ...,
) -> HostedVoiceEngine: ...
@overload
def hosted(
    engine_class: type[Painter],
    options: dict[str, Any] | None = ...,
    *,
    threads: int | None = ...,
    timeout_s: float = ...,
) -> HostedPainter: ...
def hosted(
    engine_class: Any, options: dict[str, Any] | None = None, *, threads: int | None = None, timeout_s: float = 60.0
) -> Any:
    """An engine of this class that works in a child process.

    `options`: the keyword arguments that make it, values that JSON can spell; making one must be cheap and load
    nothing. `threads`: of the libraries that compute in the child; one where nothing is said, all cores for a painter.
    `timeout_s` bounds loading, every call, and of a picture the time from one step to the next; a child that takes
    longer is killed and the call raises EngineError.
    """
    if issubclass(engine_class, Painter):
        return HostedPainter(engine_class, options or {}, threads or probe().cores, timeout_s)
    host: Any = HostedSpeechEngine if issubclass(engine_class, SpeechEngine) else HostedVoiceEngine
    return host(engine_class, options or {}, threads or 1, timeout_s)
