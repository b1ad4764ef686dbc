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


class Cancelled(EngineError):
    """The picture is not wanted any more. `on_step` raises it; the painter lets it through."""

    def __init__(self) -> None:
        super().__init__("cancelled", "The picture is not wanted any more.")


class Engine(ABC):
    """Base of all engines: `load()` is idempotent and locked, so that any thread may call it at any time."""

    name: str
    model: str
    device: str = "cpu"
    demo: bool = False
    languages: tuple[str, ...] = ()
    translates: bool = False

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
            translates=self.translates,
        )

    @abstractmethod
    def _load(self) -> None: ...

    def _unload(self) -> None:  # noqa: B027  (an engine without anything to give back needs none)
        """Give back what `_load` took."""


class SpeechEngine(Engine):
    """Words from one utterance. `samples` are float32 in −1…1, shape (n,), mono, 16 kHz, everywhere here."""

    def transcribe(self, samples: np.ndarray, language: str, *, hint: str = "", prompt: str = "") -> Transcript:
        """Write down one utterance.

        `language`: `en`, `ru` or `auto`; `hint`: the language to take for `auto`, empty to find it out; `prompt`: what
        was said just before. Raises EngineError `language_unsupported` instead of inventing words.
        """
        self._check(language)
        self.load()
        return self._transcribe(samples, language if language != "auto" else hint or "auto", prompt)

    def interim(self, key: str, samples: np.ndarray, language: str, *, hint: str = "") -> Transcript:
        """What of an utterance is understood so far; `samples` is all of it from its beginning.

        `key` names the utterance: an engine may remember what it heard of it and decode only what is new.
        """
        self._check(language)
        self.load()
        return self._interim(key, samples, language if language != "auto" else hint or "auto")

    def english(self, samples: np.ndarray, language: str) -> str:
        """In English what the utterance says in `language`; empty where `translates` is False."""
        if not self.translates:
            return ""
        self.load()
        return self._english(samples, language)

    def _check(self, language: str) -> None:
        if language != "auto" and self.languages and language not in self.languages:
            raise EngineError("language_unsupported", f"{self.name} cannot do {language!r}, only {self.languages}")

    @abstractmethod
    def _transcribe(self, samples: np.ndarray, language: str, prompt: str) -> Transcript: ...

    def _interim(self, key: str, samples: np.ndarray, language: str) -> Transcript:
        return self._transcribe(samples, language, "")

    def _english(self, samples: np.ndarray, language: str) -> str:
        return ""


@dataclass(slots=True)
class VoiceWindow:
    """A short piece of an utterance as a vector, to find out where one voice follows another."""

    start_ms: int
    end_ms: int
    vector: np.ndarray
    """float32, (dimensions,), unit length."""


@dataclass(slots=True)
class HeardVoices:
    """The voices of an utterance: as if it were one, and piece by piece."""

    whole: VoiceEmbedding | None
    windows: list[VoiceWindow] = field(default_factory=list)
    """About 1.5 s each, starting about every 0.75 s, silences left out; empty for short utterances."""


class VoiceEngine(Engine):
    """A voice as a vector."""

    dimensions: int

    def embed(self, samples: np.ndarray) -> VoiceEmbedding | None:
        """Embed the voice in `samples` (float32, (n,), 16 kHz); None when there is too little speech to tell."""
        self.load()
        return self._embed(samples)

    def listen(self, samples: np.ndarray) -> HeardVoices:
        """The same for an utterance in which several people may speak one after the other."""
        self.load()
        return self._listen(samples)

    @abstractmethod
    def _embed(self, samples: np.ndarray) -> VoiceEmbedding | None: ...

    def _listen(self, samples: np.ndarray) -> HeardVoices:
        return HeardVoices(self._embed(samples))


@dataclass(slots=True)
class Painted:
    """What a painter gives back."""

    image: Image.Image
    """RGB."""
    seed: int
    steps: int = 0
    layout: str = ""
    compromises: list[str] = field(default_factory=list)
    """Codes of `PaintResult.compromises`."""
    timings_ms: dict[str, float] = field(default_factory=dict)
    peak_memory_mb: float = 0.0


OnStep = Callable[[int, int, Image.Image | None], None]
"""Called after each step with (step, steps, small RGB preview or None); raises Cancelled to stop the painter."""


class Painter(Engine):
    """Pictures from a request, strictly one after another."""

    profile: str = ""

    def __init__(self) -> None:
        super().__init__()
        self._painting = threading.Lock()

    def facts(self) -> EngineFacts:
        facts = super().facts()
        facts.profile = self.profile
        return facts

    def paint(self, request: PaintRequest, on_step: OnStep | None = None) -> Painted:
        """Paint one picture. Raises EngineError with a code when it cannot, Cancelled when `on_step` did."""
        self.load()
        with self._painting:
            return self._paint(request, on_step or (lambda step, steps, preview: None))

    def finish(self, frame_id: str) -> Painted | None:
        """The picture painted last, decoded in full where it was decoded quickly; None where that gives nothing
        better, was not asked for, or would take longer than a second."""
        with self._painting:
            return self._finish(frame_id)

    @abstractmethod
    def _paint(self, request: PaintRequest, on_step: OnStep) -> Painted: ...

    def _finish(self, frame_id: str) -> Painted | None:
        return None
