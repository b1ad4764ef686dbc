"""Engines that fail in ways real ones do: tests host them in a child process."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import numpy as np
from PIL import Image

from workers.engines.base import Cancelled, EngineError, OnStep, Painted, Painter, SpeechEngine, VoiceEngine
from workers.messages import PaintRequest, Transcript, VoiceEmbedding


class EchoEngine(SpeechEngine):
    """Says what it is asked, by whom, and in which process it is."""

    name, model, languages = "echo", "none", ("en",)

    def _load(self) -> None:
        self.said = 0

    def _transcribe(self, samples: np.ndarray, language: str, prompt: str) -> Transcript:
        self.said += 1
        print("a library that talks to stdout")
        return Transcript(f"{os.getpid()} {self.said} {language} {len(samples)} {samples.dtype}", "en")


class TouchyEngine(SpeechEngine):
    """Dies, hangs or complains, as the first sample asks for."""

    name, model = "touchy", "none"

    def _load(self) -> None:
        pass

    def _transcribe(self, samples: np.ndarray, language: str, prompt: str) -> Transcript:
        match int(samples[0]):
            case 1:
                os.kill(os.getpid(), signal.SIGKILL)
            case 2:
                threading.Event().wait()
            case 3:
                raise EngineError("too_noisy", "please speak up")
            case 4:
                raise ZeroDivisionError("division by zero")
        return Transcript("fine")


class AbsentEngine(SpeechEngine):
    """Its model is not there."""

    name, model = "absent", "none"

    def _load(self) -> None:
        raise EngineError("model_missing", "the model is not installed")

    def _transcribe(self, samples: np.ndarray, language: str, prompt: str) -> Transcript:
        raise AssertionError("an engine that does not load is never asked")


class EchoVoice(VoiceEngine):
    name, model, dimensions = "echo", "echo-2", 2

    def _load(self) -> None:
        pass

    def _embed(self, samples: np.ndarray) -> VoiceEmbedding | None:
        return VoiceEmbedding([0.6, 0.8], self.model, len(samples) / 16_000) if len(samples) else None


class EchoPainter(Painter):
    """A noisy picture with its seed in the corner; says in `layout` where it was painted, and how many were before.

    `prompt` says what goes wrong, at the second step; `folder` is for traces that outlive the process, and for `edge`,
    a named pipe at which it waits before that.
    """

    name, model = "echo", "unloaded"

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = Path(folder)
        self._last: tuple[str, Image.Image] | None = None

    def _load(self) -> None:
        self.model, self.device, self.profile = "loaded", "cuda:7", "gpu-server"
        self._pictures = 0

    def _paint(self, request: PaintRequest, on_step: OnStep) -> Painted:
        self._pictures += 1
        wish, steps = request.prompt, request.steps or 3
        for step in range(1, steps + 1):
            if step == 2:
                self._go_wrong(wish)
            if wish == "does not look up" and step > 1:
                continue
            preview = Image.new("RGB", (64, 48), (step, request.seed % 256, 0)) if request.previews else None
            try:
                on_step(step, steps, preview)
            except Cancelled:
                (self._folder / "stopped").write_text(str(step))
                raise
        size = (request.width_px or 96, request.height_px or 64)
        image = Image.effect_noise(size, 80).convert("RGB")
        image.putpixel((0, 0), (request.seed % 256, 1, 2))
        self._last = request.id, image
        return Painted(
            image,
            request.seed,
            steps=steps,
            layout=f"{os.getpid()} {self._pictures} {os.nice(0)} {os.environ.get('OMP_NUM_THREADS')}",
            compromises=["reference_ignored"] if request.references else [],
            timings_ms={"denoise": 1.5},
            peak_memory_mb=42.0,
        )

    def _finish(self, frame_id: str) -> Painted | None:
        if self._last is None or self._last[0] != frame_id:
            return None
        return Painted(self._last[1].rotate(180), 5, timings_ms={"decode_full": 2.5})

    def _go_wrong(self, wish: str) -> None:
        edge = self._folder / "edge"
        if edge.exists():
            edge.write_text("")  # a named pipe: goes on when the test reads it
        trail = self._folder / "deaths"
        deaths = int(trail.read_text()) if trail.exists() else 0
        match wish:
            case "dies once" if not deaths:
                trail.write_text("1")
                os.kill(os.getpid(), signal.SIGKILL)
            case "dies always":
                trail.write_text(str(deaths + 1))
                os.kill(os.getpid(), signal.SIGKILL)
            case "hangs":
                threading.Event().wait()
            case "no memory":
                raise EngineError("out_of_memory", "take a smaller picture")
            case "breaks":
                raise ZeroDivisionError("division by zero")
