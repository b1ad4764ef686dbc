"""From sound to what Whisper writes and how sure it is, by faster-whisper's parts.

Not by its `transcribe`, for two reasons that were measured. With word times it goes on behind the last word, and each
time encodes 30 s anew: two seconds of sound cost seven encoder passes. And it encodes once more for the language.
Here a window of at most 30 s is encoded once, and language, words and their times come from that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from workers.engines.speech.whisper_gates import Segment
from workers.messages import SAMPLE_RATE_HZ, Word

Samples = npt.NDArray[np.float32]

WINDOW_SAMPLES = 30 * SAMPLE_RATE_HZ
"""What the encoder takes, and is padded to."""
_CUT_FROM_SAMPLES = 20 * SAMPLE_RATE_HZ
_QUIET_SAMPLES = SAMPLE_RATE_HZ // 5
MOST_TOKENS = 224
"""Half of the decoder's context, which is what the model was trained to write of 30 s."""
_TOKENS_AT_LEAST, _TOKENS_PER_S = 30, 20
"""Nobody says more than about 8 tokens a second (scripts that are spelled byte by byte need more): what goes on
beyond this is a loop, and costs time with every token."""
_PREPENDED, _APPENDED = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"
"""Marks that belong to the word behind them and before them, as faster-whisper has them by default."""
FLOOR_DBFS = -65.0
"""Quieter sound than this is silence."""
_LEAST_SAMPLES = SAMPLE_RATE_HZ // 10


@dataclass(frozen=True, slots=True)
class Wish:
    """How to decode."""

    language: str = ""
    """Empty: find out."""
    task: str = "transcribe"
    beam_size: int = 1
    words: bool = False
    """With a time for each word."""
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the decoder wrote of an utterance, before anybody judged it."""

    segments: tuple[Segment, ...]
    """One for each window of 30 s."""
    language: str
    language_probability: float
    """1 where the language was told."""


class WhisperDecoder:
    """A loaded model (faster_whisper.WhisperModel). The same sound gives the same words."""

    def __init__(self, model: Any) -> None:
        from faster_whisper.tokenizer import Tokenizer
        from faster_whisper.transcribe import get_suppressed_tokens

        self._model = model
        self._tokenizer = Tokenizer
        self.multilingual = bool(model.model.is_multilingual)
        tokenizer = self._tokenizer(model.hf_tokenizer, self.multilingual, "transcribe", "en")
        # Brackets, notes and other marks of what is not speech: the same for every language and task.
        self._suppressed = list(get_suppressed_tokens(tokenizer, [-1]))

    def knows(self, language: str) -> bool:
        if not self.multilingual:
            return language == "en"
        return self._model.hf_tokenizer.token_to_id(f"<|{language}|>") is not None

    def hear(self, samples: Samples, wish: Wish) -> Heard:
        """Decode an utterance. `samples`: as `prepared` leaves them."""
        language, probability = wish.language, 1.0
        if not self.multilingual:
            language = "en"
        segments = []
        prompt = wish.prompt
        for start, window in windows(samples):
            encoded = self._encode(window)
            if not language:
                language, probability = self._language_of(encoded)
            tokenizer = self._tokenizer(self._model.hf_tokenizer, self.multilingual, wish.task, language)
            segment = self._decode(encoded, window, tokenizer, wish, prompt)
            if segment is not None:
                segments.append(_later(segment, start * 1000 // SAMPLE_RATE_HZ))
            # What was said before the first window says nothing about the second; and what Whisper wrote itself would
            # only make it repeat that.
            prompt = ""
        return Heard(tuple(segments), language, probability)

    def _encode(self, window: Samples) -> Any:
        from faster_whisper.audio import pad_or_trim

        features = self._model.feature_extractor(window)
        return self._model.encode(pad_or_trim(features[:, :-1]))

    def _language_of(self, encoded: Any) -> tuple[str, float]:
        token, probability = self._model.model.detect_language(encoded)[0][0]
        return token.removeprefix("<|").removesuffix("|>"), round(float(probability), 4)

    def _decode(self, encoded: Any, window: Samples, tokenizer: Any, wish: Wish, prompt: str) -> Segment | None:
        before = tokenizer.encode(" " + prompt) if prompt else []
        # Without time tokens: the sound is cut at pauses already, word times come from the attention, and the fewer
        # tokens the sooner the words are there.
        start = self._model.get_prompt(tokenizer, before, without_timestamps=True)
        most = min(MOST_TOKENS, _TOKENS_AT_LEAST + _TOKENS_PER_S * len(window) // SAMPLE_RATE_HZ)
        (result,) = self._model.model.generate(
            encoded,
            [start],
            beam_size=wish.beam_size,
            # CTranslate2 writes at most half of this, and at most what the prompt leaves.
            max_length=min(2 * MOST_TOKENS, max(2 * most, most + len(start))),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=self._suppressed,
        )
        tokens = result.sequences_ids[0]
        text = tokenizer.decode(tokens).strip()
        if not text:
            return None
        # The score is the mean over the tokens; the end, which is not among them, counts as one more.
        average = result.scores[0] * len(tokens) / (len(tokens) + 1)
        words: tuple[Word, ...] = ()
        if wish.words and math.isfinite(average):
            words = self._words(encoded, window, tokenizer, tokens)
        duration_ms = len(window) * 1000 // SAMPLE_RATE_HZ
        return Segment(text, 0, duration_ms, average, result.no_speech_prob, words)

    def _words(self, encoded: Any, window: Samples, tokenizer: Any, tokens: list[int]) -> tuple[Word, ...]:
        duration_s = len(window) / SAMPLE_RATE_HZ
        segment = {"seek": 0, "start": 0.0, "end": duration_s, "tokens": tokens}
        frames = len(window) // self._model.feature_extractor.hop_length
        self._model.add_word_timestamps([[segment]], tokenizer, encoded, frames, _PREPENDED, _APPENDED, 0.0)
        return tuple(in_order(segment.get("words") or (), duration_s))


def prepared(samples: Samples) -> Samples | None:
    """Sound without broken numbers and without a constant part; None when there is nothing to decode."""
    clean: Samples = np.nan_to_num(np.asarray(samples, dtype=np.float32).reshape(-1), posinf=0, neginf=0)
    if len(clean) < _LEAST_SAMPLES:
        return None
    clean = np.clip(clean, -1, 1)
    clean = clean - clean.mean()
    if float(np.sqrt(np.mean(clean * clean))) < 10 ** (FLOOR_DBFS / 20):
        return None
    return clean


def windows(samples: Samples) -> Iterator[tuple[int, Samples]]:
    """(first sample, piece) of at most 30 s each, cut where it is quietest between 20 and 30 s."""
    start = 0
    while len(samples) - start > WINDOW_SAMPLES:
        window = samples[start : start + WINDOW_SAMPLES]
        tail = window[_CUT_FROM_SAMPLES:]
        blocks = tail[: len(tail) // _QUIET_SAMPLES * _QUIET_SAMPLES].reshape(-1, _QUIET_SAMPLES)
        quietest = int(np.argmin((blocks * blocks).mean(axis=1)))
        cut = _CUT_FROM_SAMPLES + quietest * _QUIET_SAMPLES + _QUIET_SAMPLES // 2
        yield start, window[:cut]
        start += cut
    if len(samples) - start >= _LEAST_SAMPLES:
        yield start, samples[start:]


def in_order(words: Any, duration_s: float) -> Iterator[Word]:
    """faster-whisper's words with whole milliseconds, one behind the other, inside the sound."""
    last_ms, end_ms = 0, round(duration_s * 1000)
    for word in words:
        text = str(word["word"]).strip()
        if not text:
            continue
        start = min(end_ms, max(last_ms, round(float(word["start"]) * 1000)))
        last_ms = min(end_ms, max(start, round(float(word["end"]) * 1000)))
        probability = float(word["probability"])
        yield Word(text, start, last_ms, round(min(1.0, max(0.0, probability)), 4))


def _later(segment: Segment, by_ms: int) -> Segment:
    words = tuple(Word(w.text, w.start_ms + by_ms, w.end_ms + by_ms, w.probability) for w in segment.words)
    return Segment(
        segment.text,
        segment.start_ms + by_ms,
        segment.end_ms + by_ms,
        segment.avg_logprob,
        segment.no_speech_prob,
        words,
    )
