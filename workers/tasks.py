"""The tasks of model hosts. Thin: unpack, call the engine, send the outcome to `core`.

Importing this module loads no engine and no ML library.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from celery import current_app, shared_task

# The heartbeat and cancelling listen to the worker's signals.
from workers import cancelling, guesses, heartbeat, pictures, registry  # noqa: F401
from workers.engines.base import EngineError, HeardVoices, VoiceEngine
from workers.faults import described, watch_tasks
from workers.messages import (
    QUEUE_CORE,
    QUEUE_SPEECH,
    SAMPLE_RATE_HZ,
    TASK_EMBED,
    TASK_EMBEDDED,
    TASK_ENGLISH,
    TASK_ENGLISH_HEARD,
    TASK_FETCH_MODELS,
    TASK_HEARD,
    TASK_INTERIM,
    TASK_INTERIM_HEARD,
    TASK_PAINT,
    TASK_PAINT_PROGRESS,
    TASK_PAINTED,
    TASK_TRANSCRIBE,
    EmbedRequest,
    EmbedResult,
    EnglishRequest,
    EnglishResult,
    FetchRequest,
    InterimRequest,
    InterimResult,
    PaintRequest,
    SpeechRequest,
    SpeechResult,
    Transcript,
    Turn,
    Wire,
    turn_id,
)
from workers.models.background import on_this_host
from workers.turns import words_by_turn

log = logging.getLogger("meetviz.workers")
watch_tasks()
_beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="voice")

ENGLISH_EXPIRES_S = 30.0


def _tell_core(task: str, message: Wire, app: Any = current_app) -> None:
    app.send_task(task, args=[message.to_wire()], queue=QUEUE_CORE)


@shared_task(name=TASK_TRANSCRIBE, acks_late=True, reject_on_worker_lost=True)
def transcribe(wire: dict) -> None:
    """Words and voice of one utterance. Whatever happens, `core` gets an outcome; a guess is kept for its final."""
    request = SpeechRequest.from_wire(wire)
    if request.guess:
        guesses.keep(request, hear(request))
        return
    result = guesses.take(request) or hear(request)
    _tell_core(TASK_HEARD, result)
    transcript = result.transcript
    if request.want_english and transcript and transcript.text and transcript.language != "en":
        _ask_for_english(english_requests(request, result))


def _ask_for_english(wishes: list[EnglishRequest]) -> None:
    """Put it behind the finals that wait already: captions come first."""
    for wish in wishes if registry.speech_engine().translates else ():
        current_app.send_task(TASK_ENGLISH, args=[wish.to_wire()], queue=QUEUE_SPEECH, expires=ENGLISH_EXPIRES_S)


def english_requests(request: SpeechRequest, result: SpeechResult) -> list[EnglishRequest]:
    """One for each line that the result becomes: the parts of several voices are said in English one by one."""
    language = result.transcript.language if result.transcript else request.language
    turns = [turn for turn in result.turns if turn.text.strip()]
    if not turns:
        return [EnglishRequest(request.id, request.meeting, request.pcm, language)]
    bytes_per_ms = 2 * SAMPLE_RATE_HZ // 1000
    starts = [0, *(turn.start_ms * bytes_per_ms for turn in turns[1:])]
    return [
        EnglishRequest(turn_id(request.id, number), request.meeting, request.pcm[start:end], language)
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(request.pcm)], strict=True))
    ]


@shared_task(name=TASK_ENGLISH)
def english(wire: dict) -> None:
    """In English what a final says; without it the prompt is written from the words themselves."""
    request = EnglishRequest.from_wire(wire)
    try:
        text = registry.speech_engine().english(_samples(request.pcm), request.language)
    except EngineError as error:
        log.warning("speech engine: %s", error.code)
        return
    if text:
        _tell_core(TASK_ENGLISH_HEARD, EnglishResult(request.id, request.meeting, text))


@shared_task(name=TASK_INTERIM)
def interim(wire: dict) -> None:
    """What is understood so far of someone who still speaks. May be lost, so nothing is tried twice."""
    request = InterimRequest.from_wire(wire)
    result = InterimResult(request.meeting, request.stream, request.first_sample, request.last_sample)
    start = time.perf_counter()
    try:
        heard = registry.speech_engine().interim(
            f"{request.stream}/{request.first_sample}",
            _samples(request.pcm),
            request.language,
            hint=request.language_hint,
        )
        result.text, result.language = heard.text, heard.language
    except EngineError as error:
        result.error = error.code
    result.decode_ms = round((time.perf_counter() - start) * 1000, 1)
    _tell_core(TASK_INTERIM_HEARD, result)


@shared_task(name=TASK_EMBED, acks_late=True, reject_on_worker_lost=True)
def embed(wire: dict) -> None:
    """The voice of one person's recording."""
    request = EmbedRequest.from_wire(wire)
    _tell_core(TASK_EMBEDDED, learn_voice(request))


def learn_voice(request: EmbedRequest) -> EmbedResult:
    """Run the voice engine over a recording; errors become codes in the result."""
    result = EmbedResult(request.id)
    try:
        result.voice = registry.voice_engine().embed(_samples(request.pcm))
        result.speech_s = result.voice.speech_s if result.voice else 0.0
        result.error = "" if result.voice else "too_little_speech"
    except EngineError as error:
        log.warning("voice engine: %s", error.code)
        result.error = error.code
    except Exception as error:
        log.error("voice engine failed: %s", described(error))
        result.error = "engine_failed"
    return result


def hear(request: SpeechRequest) -> SpeechResult:
    """Run the engines over one utterance; errors become codes in the result."""
    received = time.time()
    result = SpeechResult(
        id=request.id,
        meeting=request.meeting,
        stream=request.stream,
        first_sample=request.first_sample,
        last_sample=request.last_sample,
        level_dbfs=request.level_dbfs,
        started_at=request.started_at,
        ended_at=request.ended_at,
        received_at=received,
    )
    try:
        samples = _samples(request.pcm)
        # Beside the words: both engines work outside this process.
        listening = _beside.submit(_voice_of, samples) if request.want_voice else None
        speech = registry.speech_engine()
        start = time.perf_counter()
        result.transcript = speech.transcribe(
            samples, request.language, hint=request.language_hint, prompt=request.prompt
        )
        result.timings_ms["decode"] = round((time.perf_counter() - start) * 1000, 1)
        result.engine = speech.facts()
        if listening is not None and result.transcript.text:
            start = time.perf_counter()
            voices, engine = listening.result()
            result.voice_engine = engine.facts()
            result.turns = _turns(samples, voices, result.transcript, engine)
            result.voice = None if result.turns else voices.whole
            result.timings_ms["voice"] = round((time.perf_counter() - start) * 1000, 1)
    except EngineError as error:
        log.warning("speech engine: %s", error.code)
        result.error = "" if result.transcript else error.code
    except Exception as error:
        log.error("speech engine failed: %s", described(error))
        result.error = "" if result.transcript else "engine_failed"
    result.decoded_at = time.time()
    return result


def _samples(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768.0


def _voice_of(samples: np.ndarray) -> tuple[HeardVoices, VoiceEngine]:
    engine = registry.voice_engine()
    return engine.listen(samples), engine


def _turns(samples: np.ndarray, voices: HeardVoices, transcript: Transcript, engine: VoiceEngine) -> list[Turn]:
    """Each voice's part of the utterance with its embedding; empty when it is one voice throughout.

    Who speaks twice is embedded once, from all that they say here: two short turns tell a voice better than one.
    """
    spoken = words_by_turn(voices.windows, transcript, samples, engine.model)
    for voice in {part.voice for part in spoken}:
        own = [part.turn for part in spoken if part.voice == voice]
        embedding = engine.embed(np.concatenate([_cut_out(samples, turn) for turn in own]))
        for turn in own:
            turn.voice = embedding
    return [part.turn for part in spoken]


def _cut_out(samples: np.ndarray, turn: Turn) -> np.ndarray:
    return samples[turn.start_ms * SAMPLE_RATE_HZ // 1000 : turn.end_ms * SAMPLE_RATE_HZ // 1000]


@shared_task(name=TASK_FETCH_MODELS)
def fetch_models(wire: dict) -> None:
    """Begin to fetch models in the background; the heartbeat says how far it is."""
    request = FetchRequest.from_wire(wire)
    on_this_host.begin(request.models, request.accepted)


@shared_task(name=TASK_PAINT, acks_late=True, reject_on_worker_lost=True)
def paint(wire: dict) -> None:
    """One picture. Whatever happens, `core` gets an outcome, and where there is time a better edition after it."""
    request = PaintRequest.from_wire(wire)
    cancelling.listen()
    app = current_app._get_current_object()
    for result in pictures.editions(
        request, lambda step: _tell_core(TASK_PAINT_PROGRESS, step, app), cancelling.is_cancelled
    ):
        _tell_core(TASK_PAINTED, result)
