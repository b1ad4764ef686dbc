"""Words by faster-whisper: every size of Whisper, multilingual and English-only, on CTranslate2.

The model lies in a folder on this host; nothing is downloaded here. Traps that are dealt with: decoding at one
temperature only (trying again at higher ones turns 1 s into 20–50 s); the text of one utterance never conditions the
next one but by our own short prompt; what silence and noise become is refused by `whisper_gates`.
"""

from __future__ import annotations

import gc
import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workers.engines.base import EngineError, SpeechEngine
from workers.engines.speech.whisper_decoding import Heard, WhisperDecoder, Wish, prepared
from workers.engines.speech.whisper_folder import look_over, missing
from workers.engines.speech.whisper_gates import Judged, judge, sentences, usable_prompt
from workers.hardware import CudaDevice, probe, speech_compute_type
from workers.messages import Transcript, Word

log = logging.getLogger("meetviz.workers")

FINAL_BEAM = 5
"""As Whisper's paper and both libraries decode; a beam keeps it from loops, which greedy decoding falls into. What it
costs is in docs/measurements.md."""
SAFE_COMPUTE_TYPE = "int8_float32"
_ASCII_SHARE = 0.8
"""Of the letters of an English text."""


class WhisperEngine(SpeechEngine):
    """Whisper from a folder in CTranslate2's format.

    `folder`: with model.bin, config.json, tokenizer.json and vocabulary. `device`: `auto`, `cpu`, `cuda` or `cuda:1`.
    `compute_type`: `auto` (by the hardware), or one of CTranslate2's. Making one looks at the folder and at the
    hardware, and loads nothing; whatever is wrong with them is said by `load`.
    """

    name = "faster-whisper"

    def __init__(self, folder: str, device: str = "auto", compute_type: str = "auto") -> None:
        super().__init__()
        self._folder = Path(folder)
        self._asked_device = device
        self._asked_compute_type = compute_type
        self.model = self._folder.name
        self.device = _device(device)
        self.compute_type = ""
        """What it computes with, known once it is loaded."""
        self._decoder: WhisperDecoder | None = None
        self._model: Any = None
        try:
            facts = look_over(self._folder)
        except EngineError:
            return
        self.languages, self.translates = facts.languages, facts.translates

    # Loading

    def _load(self) -> None:
        facts = look_over(self._folder)
        self.languages, self.translates = facts.languages, facts.translates
        try:
            self._open(self._asked_compute_type)
        except EngineError as error:
            # A model too large for the card is too slow for the CPU: the host takes a smaller one.
            if self._asked_device != "auto" or self.device == "cpu" or error.code == "out_of_memory":
                raise
            # A card without CUDA's libraries beside it, or of a kind that the library does not know.
            log.warning("the graphics card cannot run the speech model: the CPU does")
            self.device = "cpu"
            self._open(self._asked_compute_type)

    def _open(self, compute_type: str) -> None:
        """Load with this compute type, `auto` included. Raises EngineError."""
        try:
            import ctranslate2
            from faster_whisper import WhisperModel
        except ImportError as error:
            message = "faster-whisper is not installed: install the pinned requirements"
            raise EngineError("engine_failed", message) from error
        kind, index = _kind_and_index(self.device)
        try:
            if compute_type == "auto":
                supported = ctranslate2.get_supported_compute_types(kind, index)
                compute_type = speech_compute_type(_card(kind, index), supported)
            self._model = WhisperModel(
                str(self._folder),
                device=kind,
                device_index=index,
                compute_type=compute_type,
                cpu_threads=_threads(),
                local_files_only=True,
            )
            if self._model.model.n_mels != len(self._model.feature_extractor.mel_filters):
                raise missing(self._folder, "preprocessor_config.json is missing or belongs to another model")
            self._decoder = WhisperDecoder(self._model)
            self.compute_type = self._model.model.compute_type
            if kind != "cpu":
                # CUDA's libraries are looked for at the first use: now, rather than when somebody speaks.
                self._decoder.hear(np.zeros(16_000, np.float32), Wish("en"))
        except EngineError:
            self._unload()
            raise
        except Exception as error:
            self._unload()
            raise _load_error(error, self._folder, self.device) from error

    def _unload(self) -> None:
        if self._model is not None:
            self._model.model.unload_model()
        self._model = self._decoder = None
        gc.collect()

    # Hearing

    def _transcribe(self, samples: np.ndarray, language: str, prompt: str) -> Transcript:
        before = usable_prompt(prompt)
        return self._write_down(samples, Wish(self._code(language), beam_size=FINAL_BEAM, words=True, prompt=before))

    def _interim(self, key: str, samples: np.ndarray, language: str) -> Transcript:
        # One pass over all of it: the encoder takes 30 s at a time however little of them is new.
        return self._write_down(samples, Wish(self._code(language)))

    def _english(self, samples: np.ndarray, language: str) -> str:
        text = self._write_down(samples, Wish(self._code(language), task="translate")).text
        # Small models sometimes write the language that was spoken after all.
        return text if _is_english(text) else ""

    def _write_down(self, samples: np.ndarray, wish: Wish) -> Transcript:
        sound = prepared(samples)
        if sound is None:
            return Transcript(
                "", wish.language, 0.0, language_probability=float(bool(wish.language)), rejected="silence"
            )
        heard, judged = self._hear(sound, wish)
        if judged.rejected == "broken_output" and self.compute_type == "float16" and self._asked_compute_type == "auto":
            log.warning("broken output in half precision: decoding again in %s, from here on", SAFE_COMPUTE_TYPE)
            self._reopen(SAFE_COMPUTE_TYPE)
            heard, judged = self._hear(sound, wish)
        words = [word for segment in judged.kept for word in segment.words]
        return Transcript(
            text=" ".join(segment.text for segment in judged.kept),
            language=heard.language,
            confidence=_confidence(judged),
            words=words,
            language_probability=heard.language_probability,
            rejected=judged.rejected,
        )

    def _hear(self, sound: np.ndarray, wish: Wish) -> tuple[Heard, Judged]:
        decoder = self._decoder
        if decoder is None:
            raise EngineError("engine_failed", "the speech engine was unloaded while it worked")
        try:
            heard = decoder.hear(sound, wish)
        except RuntimeError as error:
            raise _run_error(error) from error
        parts = [sentence for segment in heard.segments for sentence in sentences(segment)]
        return heard, judge(parts, prompt=wish.prompt)

    def _reopen(self, compute_type: str) -> None:
        with self._lock:
            self._unload()
            self._open(compute_type)

    def _code(self, language: str) -> str:
        """The language to decode in, empty to find it out. Raises EngineError `language_unsupported`.

        An English-only model takes a hint for English, too: what is not to be English, `transcribe` refused before.
        """
        if self.languages == ("en",):
            return "en"
        if language == "auto":
            return ""
        if self._decoder is not None and not self._decoder.knows(language):
            raise EngineError("language_unsupported", f"{self.model} does not know the language {language!r}")
        return language


def _device(asked: str) -> str:
    if asked == "auto":
        cards = probe().cuda
        return f"cuda:{max(cards, key=lambda card: card.memory_mb).index}" if cards else "cpu"
    return asked


def _kind_and_index(device: str) -> tuple[str, int]:
    """`cuda:1` as CTranslate2 wants it. Raises EngineError `bad_setting`."""
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or not (index or "0").isdigit():
        raise EngineError("bad_setting", f"The speech device must be auto, cpu, cuda or cuda:1, not {device!r}.")
    return kind, int(index or 0)


def _card(kind: str, index: int) -> CudaDevice | None:
    """The card that a device names; None for the CPU."""
    if kind == "cpu":
        return None
    # A card that only CTranslate2 sees is taken for a recent one.
    return next((card for card in probe().cuda if card.index == index), CudaDevice(index, "", (8, 0), 0))


def _threads() -> int:
    """As many as this process was given (`hosted(…, threads=…)` says it this way), else the physical cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) > 0 else probe().cores


def _confidence(judged: Judged) -> float:
    """Mean probability of the words; of the tokens, where no words were asked for."""
    words: Sequence[Word] = [word for segment in judged.kept for word in segment.words]
    if words:
        return round(sum(word.probability for word in words) / len(words), 4)
    if not judged.kept:
        return 0.0
    return round(math.exp(sum(segment.avg_logprob for segment in judged.kept) / len(judged.kept)), 4)


def _is_english(text: str) -> bool:
    letters = [char for char in text if char.isalpha()]
    return bool(letters) and sum(char.isascii() for char in letters) >= _ASCII_SHARE * len(letters)


def _load_error(error: Exception, folder: Path, device: str) -> EngineError:
    said = str(error)
    if _is_out_of_memory(error):
        return _run_error(error)
    if device != "cpu" and ("CUDA" in said or "libcu" in said):
        return EngineError("engine_failed", f"The speech model does not run on {device}: {said[:300]}")
    if isinstance(error, ValueError) and "compute type" in said:
        return EngineError("bad_setting", f"The speech model cannot run like this here: {said[:300]}")
    return missing(folder, f"it does not load ({type(error).__name__}: {said[:200]})")


def _run_error(error: Exception) -> EngineError:
    if _is_out_of_memory(error):
        return EngineError("out_of_memory", "The speech model does not fit into memory: take a smaller one.")
    return EngineError("engine_failed", f"The speech engine failed: {type(error).__name__}: {str(error)[:300]}")


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "out of memory" in str(error) or "bad_alloc" in str(error)
