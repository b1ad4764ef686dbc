"""Engines that fail in ways real ones do: tests host them in a child process."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np

from workers.engines.base import EngineError, SpeechEngine, VoiceEngine
from workers.messages import Transcript, VoiceEmbedding


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
