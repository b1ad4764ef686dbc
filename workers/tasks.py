"""The tasks of model hosts. Thin: unpack, call the engine, send the outcome to `core`.

Importing this module loads no engine and no ML library.
"""

from __future__ import annotations

import io
import logging
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from celery import current_app, shared_task
from PIL import Image

from workers import guesses, heartbeat, registry  # noqa: F401  (heartbeat listens to the worker's signals)
from workers.engines.base import EngineError
from workers.faults import described, watch_tasks
from workers.messages import (
    QUEUE_CORE,
    TASK_HEARD,
    TASK_PAINT,
    TASK_PAINT_PROGRESS,
    TASK_PAINTED,
    TASK_TRANSCRIBE,
    EngineFacts,
    PaintProgress,
    PaintRequest,
    PaintResult,
    SpeechRequest,
    SpeechResult,
    VoiceEmbedding,
    Wire,
)

log = logging.getLogger("meetviz.workers")
watch_tasks()
_beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="voice")

THUMBNAIL_WIDTH_PX = 320
WEBP_QUALITY = 84


def _tell_core(task: str, message: Wire) -> None:
    current_app.send_task(task, args=[message.to_wire()], queue=QUEUE_CORE)


@shared_task(name=TASK_TRANSCRIBE, acks_late=True, reject_on_worker_lost=True)
def transcribe(wire: dict) -> None:
    """Words and voice of one utterance. Whatever happens, `core` gets an outcome; a guess is kept for its final."""
    request = SpeechRequest.from_wire(wire)
    if request.guess:
        guesses.keep(request, hear(request))
    else:
        _tell_core(TASK_HEARD, guesses.take(request) or hear(request))


def hear(request: SpeechRequest) -> SpeechResult:
    """Run the engines over one utterance; errors become codes in the result."""
    received = time.time()
    result = SpeechResult(
        id=request.id,
        meeting=request.meeting,
        stream=request.stream,
        first_sample=request.first_sample,
        last_sample=request.last_sample,
        settled_sample=request.settled_sample or request.last_sample,
        started_at=request.started_at,
        ended_at=request.ended_at,
        received_at=received,
    )
    try:
        samples = np.frombuffer(request.pcm, dtype="<i2").astype(np.float32) / 32768.0
        # Beside the words: both engines work outside this process.
        listening = _beside.submit(_voice_of, samples) if request.want_voice else None
        speech = registry.speech_engine()
        start = time.perf_counter()
        result.transcript = speech.transcribe(samples, request.language)
        result.timings_ms["decode"] = round((time.perf_counter() - start) * 1000, 1)
        result.engine = speech.facts()
        if listening is not None and result.transcript.text:
            start = time.perf_counter()
            result.voice, result.voice_engine = listening.result()
            result.timings_ms["voice"] = round((time.perf_counter() - start) * 1000, 1)
    except EngineError as error:
        log.warning("speech engine: %s", error.code)
        result.error = "" if result.transcript else error.code
    except Exception as error:
        log.error("speech engine failed: %s", described(error))
        result.error = "" if result.transcript else "engine_failed"
    result.decoded_at = time.time()
    return result


def _voice_of(samples: np.ndarray) -> tuple[VoiceEmbedding | None, EngineFacts]:
    engine = registry.voice_engine()
    return engine.embed(samples), engine.facts()


@shared_task(name=TASK_PAINT, acks_late=True, reject_on_worker_lost=True)
def paint(wire: dict) -> None:
    """One picture. Whatever happens, `core` gets an outcome."""
    request = PaintRequest.from_wire(wire)

    def on_step(step: int, steps: int, preview: Image.Image | None) -> None:
        _tell_core(TASK_PAINT_PROGRESS, PaintProgress(request.id, request.meeting, step, steps))

    _tell_core(TASK_PAINTED, make_picture(request, on_step))


def make_picture(request: PaintRequest, on_step=None) -> PaintResult:  # type: ignore[no-untyped-def]
    """Run the painter and encode what it made; errors become codes in the result."""
    result = PaintResult(id=request.id, meeting=request.meeting, seed=request.seed, started_at=time.time())
    try:
        engine = registry.painter()
        start = time.perf_counter()
        painted = engine.paint(request, on_step)
        result.timings_ms = {**painted.timings_ms, "paint": round((time.perf_counter() - start) * 1000, 1)}
        start = time.perf_counter()
        result.image = _webp(painted.image)
        result.thumbnail = _webp(_thumbnail(painted.image))
        result.timings_ms["encode"] = round((time.perf_counter() - start) * 1000, 1)
        result.width_px, result.height_px = painted.image.size
        result.seed, result.layout = painted.seed, painted.layout
        result.peak_memory_mb = painted.peak_memory_mb
        result.engine = engine.facts()
    except EngineError as error:
        log.warning("painter: %s", error.code)
        result.error = error.code
    except Exception as error:
        log.error("painter failed: %s", described(error))
        result.error = "engine_failed"
    result.painted_at = time.time()
    return result


def _thumbnail(image: Image.Image) -> Image.Image:
    height = max(1, round(image.height * THUMBNAIL_WIDTH_PX / image.width))
    return image.resize(
        (THUMBNAIL_WIDTH_PX, height), Image.Resampling.BOX if image.width > 640 else Image.Resampling.BICUBIC
    )


def _webp(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    # Method 2 is a third of the default's time for a file 5 % larger: the picture is wanted now.
    image.save(buffer, "WEBP", quality=WEBP_QUALITY, method=2)
    return buffer.getvalue()
