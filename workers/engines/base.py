"""What every engine has in common: it loads lazily, once, says what it is, can unload, never downloads by itself."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from workers.messages import EngineFacts, PaintRequest, Transcript, VoiceEmbedding


class EngineError(Exception):
    """An engine could not do its work. `code` goes into the result; the message says what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Engine(ABC):
    """Base of all engines: `load()` is idempotent and locked, so that any thread may call it at any time."""

    name: str
    model: str
    device: str = "cpu"
    demo: bool = False
    languages: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded = False
        self._load_ms = 0.0

    def load(self) -> None:
        """Load the model if it is not loaded. Raises EngineError when it cannot be had."""
        with self._lock:
            if self._loaded:
                return
            start = time.perf_counter()
            self._load()
            self._load_ms = (time.perf_counter() - start) * 1000
            self._loaded = True

    def unload(self) -> None:
        """Give the memory back; the next use loads again."""
        with self._lock:
            if self._loaded:
                self._unload()
                self._loaded = False

    def facts(self) -> EngineFacts:
        return EngineFacts(
            name=self.name,
            model=self.model,
            device=self.device,
            demo=self.demo,
            load_ms=round(self._load_ms, 1),
            languages=list(self.languages),
        )

    @abstractmethod
    def _load(self) -> None: ...

    def _unload(self) -> None:  # noqa: B027  (an engine without anything to give back needs none)
        """Give back what `_load` took."""


class SpeechEngine(Engine):
    """Words from one utterance."""

    def transcribe(self, samples: np.ndarray, language: str) -> Transcript:
        """Write down one utterance.

        `samples`: float32 in −1…1, shape (n,), mono, 16 kHz. `language`: `en`, `ru` or `auto`.
        Raises EngineError `language_unsupported` instead of inventing words.
        """
        if language != "auto" and self.languages and language not in self.languages:
            raise EngineError("language_unsupported", f"{self.name} cannot do {language!r}, only {self.languages}")
        self.load()
        return self._transcribe(samples, language)

    @abstractmethod
    def _transcribe(self, samples: np.ndarray, language: str) -> Transcript: ...


class VoiceEngine(Engine):
    """A voice as a vector."""

    dimensions: int

    def embed(self, samples: np.ndarray) -> VoiceEmbedding | None:
        """Embed the voice in `samples` (float32, (n,), 16 kHz); None when there is too little speech to tell."""
        self.load()
        return self._embed(samples)

    @abstractmethod
    def _embed(self, samples: np.ndarray) -> VoiceEmbedding | None: ...


@dataclass(slots=True)
class Painted:
    """What a painter gives back."""

    image: Image.Image
    """RGB, of the size that was asked for."""
    seed: int
    layout: str = ""
    timings_ms: dict[str, float] = field(default_factory=dict)
    peak_memory_mb: float = 0.0


OnStep = Callable[[int, int, Image.Image | None], None]
"""Called after each step with (step, steps, small preview or None); may raise to cancel."""


class Painter(Engine):
    """Pictures from a request, strictly one after another."""

    def __init__(self) -> None:
        super().__init__()
        self._painting = threading.Lock()

    def paint(self, request: PaintRequest, on_step: OnStep | None = None) -> Painted:
        """Paint one picture. Raises EngineError with a code when it cannot."""
        self.load()
        with self._painting:
            return self._paint(request, on_step or (lambda step, steps, preview: None))

    @abstractmethod
    def _paint(self, request: PaintRequest, on_step: OnStep) -> Painted: ...
