"""Words by PocketSphinx 5, whose wheel carries an English model: the embedded engine that needs no download.

Finals are whole utterances, both passes: fed piece by piece its word error rate is a third higher, because its mean
normalisation needs the whole. Interims come from decoders of their own that run along (`running_decoders.py`). It holds
Python's global lock while it decodes, so a server runs it as `hosted(PocketSphinxEngine)`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from workers.engines.base import EngineError, SpeechEngine
from workers.engines.speech import language_doubt
from workers.engines.speech.running_decoders import RunningDecoders
from workers.messages import SAMPLE_RATE_HZ, Transcript, Word

FRAME_MS = 10
"""PocketSphinx counts time in frames of 10 ms."""

DECODER_OPTIONS: dict[str, Any] = {
    "loglevel": "FATAL",
    # The mean of the whole utterance.
    "cmn": "batch",
    # Measured on 2 minutes of read and synthetic speech: word error rate 0.25 at 0.19 of real time, where the defaults
    # (6.5, 8.5, 30000) have 0.26 at 0.24; fewer active models than this begin to cost words.
    "lw": 6.0,
    "fwdflatlw": 7.5,
    "maxhmmpf": 4000,
}

PHONE_LOOP_OPTIONS: dict[str, Any] = {"lw": 2.0, "beam": 1e-20, "pbeam": 1e-20}
"""Of the search for sounds in any order, which takes a quarter of the time that the words take."""
PHONE_LOOP = "phones"
_WORDS = "_default"
"""What PocketSphinx calls the search that it starts with."""
_PHONE_MODEL = "en-us/en-us-phone.lm.bin"

NOT_FOUND_OUT = 0.5
"""Probability of the language where it was to be found out and the engine knows one only: nobody may rely on it."""
KNOWN_OTHERWISE = 2.0
"""Nats for another language where a better engine heard the stream speak one that this engine does not know."""


@dataclass(frozen=True, slots=True)
class Gates:
    """When a result is not worth showing. Measured on speech of four corpora against noise, hum, clicks and tones."""

    min_speech_s: float = 0.2
    """Less sound than this is not decoded."""
    floor_dbfs: float = -65.0
    """Nor is anything quieter than this."""
    min_word_share: float = 0.3
    """Of the duration; the rest the recogniser itself calls silence or noise. Tones and beeps stay below 0.25."""
    min_confidence: float = 0.05
    """Mean posterior of the words, weighted by their duration; noisy recordings of real speech go down to 0.13."""
    min_confidence_of_few: float = 0.3
    """The same for one or two words, which noise becomes most easily."""
    max_word_s: float = 0.9
    """Mean duration of an interim's words, which have no confidence yet: noise becomes one word that never ends."""


TARGET_DBFS = -28.0
_PEAK = 0.95
_FEW_WORDS = 2
_PHANTOMS = frozenset(
    {"a", "ah", "an", "and", "eh", "er", "ha", "hm", "hmm", "huh", "mm", "of", "oh", "the", "ugh", "uh", "um"}
)
"""What sounds without words become; alone they say nothing that could be shown or painted."""
_FILLER = re.compile(r"^(<.*>|\[.*\]|\+\+.*\+\+)$")
_ALTERNATIVE = re.compile(r"\(\d+\)$")


class PocketSphinxEngine(SpeechEngine):
    """English, on one core, without a download."""

    name = "pocketsphinx"
    model = "en-us"
    demo = True
    languages = ("en",)

    def __init__(self, gates: Gates | None = None) -> None:
        super().__init__()
        self.gates = gates or Gates()

    def _load(self) -> None:
        try:
            from pocketsphinx import Decoder, get_model_path
        except ImportError as error:
            message = "PocketSphinx is not installed: install the pinned requirements"
            raise EngineError("engine_failed", message) from error
        try:
            self._decoder = Decoder(**DECODER_OPTIONS)
            _add_phone_loop(self._decoder, get_model_path(_PHONE_MODEL))
            self._running = RunningDecoders(lambda options: Decoder(**options))
            self._running.warm_up()
        except (RuntimeError, ValueError) as error:
            raise EngineError("engine_failed", f"PocketSphinx does not start: {error}") from error

    def _unload(self) -> None:
        del self._decoder, self._running

    def _transcribe(self, samples: np.ndarray, language: str, prompt: str) -> Transcript:
        pcm = prepared(samples, self.gates)
        if pcm is None:
            return Transcript("", "en", 0.0)
        # A decoder has one utterance at a time; the lock of the base class guards loading, and is free by now.
        with self._lock:
            words, heard = self._decode(pcm)
            confidence = mean_probability(words)
            probability = 1.0 if language == "en" else NOT_FOUND_OUT
            if not worth_showing(words, len(samples) / SAMPLE_RATE_HZ, self.gates):
                return Transcript("", "en", confidence, language_probability=probability)
            doubt = 0.0 if language == "en" else self._doubt(pcm, heard)
        if language not in ("auto", *self.languages):
            doubt += KNOWN_OTHERWISE
        return Transcript(
            tidy(word.text for word in words),
            "en",
            confidence,
            words,
            language_probability=probability,
            language_doubt=doubt,
        )

    def _interim(self, key: str, samples: np.ndarray, language: str) -> Transcript:
        if len(samples) < self.gates.min_speech_s * SAMPLE_RATE_HZ:
            return Transcript("", "en", 0.0)
        with self._lock:
            words = words_of(self._running.advance(key, samples))
        if not worth_showing_already(words, len(samples) / SAMPLE_RATE_HZ, self.gates):
            return Transcript("", "en", 0.0)
        return Transcript(tidy(word.text for word in words).removesuffix("."), "en", 0.0, words)

    def _decode(self, pcm: bytes) -> tuple[list[Word], list[language_doubt.HeardWord]]:
        """The words for people, and the same with their sounds and scores."""
        _search(self._decoder, pcm)
        return words_of(self._decoder), heard_words_of(self._decoder)

    def _doubt(self, pcm: bytes, heard: list[language_doubt.HeardWord]) -> float:
        """Evidence that this is not English. Clear English costs nothing: the sounds alone are looked for only where
        they could change anything."""
        at_most = language_doubt.evidence(heard)
        if at_most <= 0:
            return at_most
        with _phone_loop(self._decoder):
            _search(self._decoder, pcm)
            phones = heard_phones_of(self._decoder)
        return at_most if phones is None else language_doubt.evidence(heard, phones)


def _search(decoder: Any, pcm: bytes) -> None:
    decoder.start_utt()
    try:
        decoder.process_raw(pcm, no_search=False, full_utt=True)
    finally:
        decoder.end_utt()


def _add_phone_loop(decoder: Any, phone_model: str) -> None:
    """A second search on the same acoustic model, with options of its own: they are read when it is made."""
    config = decoder.config
    kept = {name: config[name] for name in PHONE_LOOP_OPTIONS}
    for name, value in PHONE_LOOP_OPTIONS.items():
        config[name] = value
    decoder.add_allphone_file(PHONE_LOOP, phone_model)
    for name, value in kept.items():
        config[name] = value


@contextlib.contextmanager
def _phone_loop(decoder: Any) -> Iterator[None]:
    decoder.activate_search(PHONE_LOOP)
    try:
        yield
    finally:
        decoder.activate_search(_WORDS)


def heard_words_of(decoder: Any) -> list[language_doubt.HeardWord]:
    """The words of the best hypothesis with the sounds of their pronunciations and the recogniser's scores."""
    return [
        language_doubt.HeardWord(
            tuple((decoder.lookup_word(segment.word) or "").split()),
            segment.start_frame,
            segment.end_frame,
            segment.ascore,
            segment.prob,
        )
        for segment in decoder.seg() or ()
        if not _FILLER.match(segment.word)
    ]


def heard_phones_of(decoder: Any) -> language_doubt.HeardPhones | None:
    """What a phone loop heard in each frame; None when it came to no end."""
    best = decoder.hyp()
    if best is None or best.score <= 0:
        return None
    by_frame: list[str] = []
    for segment in decoder.seg() or ():
        by_frame += [segment.word] * (segment.end_frame + 1 - len(by_frame))
    if not by_frame:
        return None
    fit = language_doubt.SCORE_SCALE * language_doubt.logarithm(best.score) / len(by_frame)
    return language_doubt.HeardPhones(by_frame, fit)


def words_of(decoder: Any) -> list[Word]:
    """The best hypothesis of a PocketSphinx decoder, without what it calls silence or noise."""
    words = []
    for segment in decoder.seg() or ():
        if _FILLER.match(segment.word):
            continue
        words.append(
            Word(
                text=_first_person(_ALTERNATIVE.sub("", segment.word).lower()),
                start_ms=segment.start_frame * FRAME_MS,
                end_ms=(segment.end_frame + 1) * FRAME_MS,
                probability=round(min(1.0, max(0.0, float(segment.prob))), 4),
            )
        )
    return words


def prepared(samples: np.ndarray, gates: Gates) -> bytes | None:
    """16-bit sound without a constant part, at the loudness the model likes; None when there is nothing to decode."""
    clean: npt.NDArray[np.float32] = np.nan_to_num(np.asarray(samples, dtype=np.float32), posinf=0, neginf=0)
    if len(clean) < gates.min_speech_s * SAMPLE_RATE_HZ:
        return None
    clean = clean - clean.mean()
    rms = float(np.sqrt(np.mean(clean * clean)))
    if rms < 10 ** (gates.floor_dbfs / 20):
        return None
    gain = min(10 ** (TARGET_DBFS / 20) / rms, _PEAK / float(np.abs(clean).max()))
    return (clean * (gain * 32767)).astype("<i2").tobytes()


def mean_probability(words: list[Word]) -> float:
    """Of the words, weighted by their duration; 0 for none."""
    duration_ms = sum(word.end_ms - word.start_ms for word in words)
    if not duration_ms:
        return 0.0
    return round(sum(word.probability * (word.end_ms - word.start_ms) for word in words) / duration_ms, 4)


def worth_showing(words: list[Word], duration_s: float, gates: Gates) -> bool:
    """Whether these words were said, as far as one can tell, rather than made of noise."""
    if not words:
        return False
    if sum(word.end_ms - word.start_ms for word in words) < gates.min_word_share * duration_s * 1000:
        return False
    few = len(words) <= _FEW_WORDS
    if mean_probability(words) < (gates.min_confidence_of_few if few else gates.min_confidence):
        return False
    return not all(word.text in _PHANTOMS for word in words)


def worth_showing_already(words: list[Word], duration_s: float, gates: Gates) -> bool:
    """The same of an unfinished utterance, by its words' times alone."""
    if not words:
        return False
    words_ms = sum(word.end_ms - word.start_ms for word in words)
    if words_ms < gates.min_word_share * duration_s * 1000 or words_ms > gates.max_word_s * 1000 * len(words):
        return False
    return not all(word.text in _PHANTOMS for word in words)


def tidy(words: Iterable[str]) -> str:
    """Make a line to read of recognised words: a capital in front, a full stop behind. The only place that does."""
    text = " ".join(words)
    return text[:1].upper() + text[1:] + "." if text else ""


def _first_person(word: str) -> str:
    return "I" + word[1:] if word == "i" or word.startswith("i'") else word
