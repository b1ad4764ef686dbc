"""What a model host does with a request: real engines, real queue, an outcome whatever happens."""

from __future__ import annotations

import io
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from celery import current_app
from kombu import Consumer, Exchange
from PIL import Image

from meetviz_site.live.audio_file import read_audio
from meetviz_site.local.workers import LocalWorkers
from workers import cancelling, registry
from workers.messages import (
    EXCHANGE_CANCEL,
    QUEUE_CORE,
    QUEUE_PAINT,
    QUEUE_SPEECH,
    SAMPLE_RATE_HZ,
    TASK_HEARD,
    TASK_HEARTBEAT,
    TASK_PAINT,
    TASK_PAINT_PROGRESS,
    TASK_PAINTED,
    TASK_TRANSCRIBE,
    Heartbeat,
    PaintProgress,
    PaintRequest,
    PaintResult,
    Scene,
    SpeechRequest,
    SpeechResult,
    Thing,
)
from workers.pictures import THUMBNAIL_WIDTH_PX, make_picture
from workers.tasks import hear

WITHIN_S = 60.0


@pytest.fixture(scope="module")
def first_line(dialogue: Path) -> bytes:
    """The words "Good morning everyone. Today we plan the new garden by the river.", PCM16."""
    return read_audio(dialogue)[round(0.4 * SAMPLE_RATE_HZ) : round(4.3 * SAMPLE_RATE_HZ)].tobytes()


@pytest.fixture(scope="module", autouse=True)
def engines() -> Iterator[None]:
    yield
    registry.unload_all()


@pytest.fixture
def other_painter(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """For tests that choose the painter by the environment: engines are made anew before and after."""
    registry.unload_all()
    yield monkeypatch
    registry.unload_all()


def speech_request(pcm: bytes, **values: Any) -> SpeechRequest:
    base = SpeechRequest(str(uuid.uuid4()), 1, str(uuid.uuid4()), 800, 800 + len(pcm) // 2, pcm, "en", want_voice=True)
    return SpeechRequest(**{**base.to_wire(), "started_at": 10.0, "ended_at": 14.0, **values})


def paint_request(**values: Any) -> PaintRequest:
    scene = Scene(title="a bridge", things=[Thing("bridge", "bridge"), Thing("river", "river")])
    return PaintRequest(**{"id": str(uuid.uuid4()), "meeting": 1, "prompt": "a bridge", "negative": "", "scene": scene,
                           "seed": 11, "width_px": 512, "height_px": 288, **values})  # fmt: skip


# Hearing


def test_speech_comes_back_as_words_with_times_and_a_voice(first_line: bytes) -> None:
    request = speech_request(first_line)
    result = hear(request)
    assert (result.id, result.stream, result.first_sample, result.last_sample) == (
        request.id, request.stream, request.first_sample, request.last_sample,
    )  # fmt: skip
    assert (result.started_at, result.ended_at, result.error) == (10.0, 14.0, "")
    assert result.transcript is not None and {"morning", "garden"} & set(result.transcript.text.lower().split())
    starts = [word.start_ms for word in result.transcript.words]
    assert starts == sorted(starts) and starts[0] >= 0 and result.transcript.words[-1].end_ms <= 4000
    assert result.voice is not None and result.voice.model == "resemblyzer-ge2e-256"
    assert np.linalg.norm(result.voice.vector) == pytest.approx(1.0, abs=1e-3)
    assert 1.0 < result.voice.speech_s <= 4.0
    assert result.engine is not None and result.engine.demo
    assert {"decode", "voice"} <= set(result.timings_ms)


def test_without_consent_no_voice_is_computed(first_line: bytes) -> None:
    result = hear(speech_request(first_line, want_voice=False))
    assert result.transcript is not None and result.transcript.text
    assert result.voice is None and result.voice_engine is None and "voice" not in result.timings_ms


def test_a_language_that_the_engine_cannot_do_is_an_error_not_invented_words(first_line: bytes) -> None:
    result = hear(speech_request(first_line, language="ru"))
    assert (result.error, result.transcript, result.voice) == ("language_unsupported", None, None)


@pytest.mark.parametrize(
    "pcm", [b"", bytes(2), bytes(32_000), b"\xff\x7f" * 8_000], ids=["none", "one", "zeros", "full scale"]
)
def test_sound_without_words_gives_no_words_and_no_error(pcm: bytes) -> None:
    result = hear(speech_request(pcm))
    assert result.error == ""
    assert result.transcript is not None and result.transcript.text == ""
    assert result.voice is None


def test_half_a_sample_is_an_error_and_the_host_lives_on(first_line: bytes) -> None:
    assert hear(speech_request(first_line[:20_001])).error == "engine_failed"
    assert hear(speech_request(first_line)).error == ""


# Painting


def test_a_picture_comes_back_with_its_thumbnail_and_facts() -> None:
    steps: list[tuple[int, int]] = []
    result = make_picture(paint_request(), lambda step, of, preview: steps.append((step, of)))
    assert result.error == ""
    picture, thumbnail = Image.open(io.BytesIO(result.image)), Image.open(io.BytesIO(result.thumbnail))
    assert (picture.format, picture.size) == ("WEBP", (512, 288))
    assert picture.size == (result.width_px, result.height_px)
    assert (thumbnail.format, thumbnail.size) == ("WEBP", (THUMBNAIL_WIDTH_PX, 180))
    assert len(picture.convert("RGB").getcolors(2**24)) > 50
    assert result.engine is not None and (result.engine.name, result.seed) == ("poster", 11)
    assert steps and [step for step, _of in steps] == sorted(step for step, _of in steps)
    assert {"paint", "encode"} <= set(result.timings_ms)
    assert result.painted_at >= result.started_at


def test_a_painter_that_can_stop_half_way_says_so() -> None:
    def stop(step: int, of: int, preview: Image.Image | None) -> None:
        raise RuntimeError("enough")

    result = make_picture(paint_request(), stop)
    assert (result.error, result.image) == ("engine_failed", b"")
    assert make_picture(paint_request()).error == ""


@pytest.mark.parametrize("wish", ["oil", "/nowhere/a-model"])
def test_where_the_painter_cannot_be_had_the_poster_stands_in_and_says_so(
    other_painter: pytest.MonkeyPatch, wish: str
) -> None:
    other_painter.setenv("MEETVIZ_PAINTER", wish)
    result = make_picture(paint_request())
    assert (result.error, result.compromises) == ("", ["other_model"])
    assert result.engine is not None
    assert result.engine.demo


# Over the queue


def test_workers_take_from_their_queues_and_tell_core(first_line: bytes) -> None:
    """Requests go in by name, outcomes come out on the core queue, in the order of progress and picture."""
    got: dict[str, list[dict[str, Any]]] = {}

    def on_message(body: Any, message: Any) -> None:
        message.ack()
        got.setdefault(message.headers["task"], []).append(body[0][0])

    app = current_app._get_current_object()
    speech, painting = speech_request(first_line), paint_request()
    workers = LocalWorkers(app, [QUEUE_SPEECH, QUEUE_PAINT])
    with app.connection_for_read() as connection:
        queue = app.amqp.queues[QUEUE_CORE]
        queue(connection.default_channel).declare()
        queue(connection.default_channel).purge()
        workers.start()
        try:
            app.send_task(TASK_TRANSCRIBE, args=[speech.to_wire()], queue=QUEUE_SPEECH)
            app.send_task(TASK_PAINT, args=[painting.to_wire()], queue=QUEUE_PAINT)
            deadline = time.monotonic() + WITHIN_S
            with Consumer(connection, [queue], callbacks=[on_message], accept=["msgpack", "json"]):
                while not (TASK_HEARD in got and TASK_PAINTED in got and TASK_HEARTBEAT in got):
                    connection.drain_events(timeout=max(0.05, deadline - time.monotonic()))
        finally:
            assert workers.stop(deadline_s=WITHIN_S)
    heard = SpeechResult.from_wire(got[TASK_HEARD][0])
    assert heard.id == speech.id and heard.transcript is not None and heard.transcript.text
    painted = PaintResult.from_wire(got[TASK_PAINTED][0])
    assert painted.id == painting.id and painted.image[:4] == b"RIFF"
    progress = [PaintProgress.from_wire(wire) for wire in got[TASK_PAINT_PROGRESS]]
    assert {step.id for step in progress} == {painting.id}
    assert {Heartbeat.from_wire(wire).queue for wire in got[TASK_HEARTBEAT]} <= {QUEUE_SPEECH, QUEUE_PAINT}


def test_a_cancelled_request_that_still_waits_is_answered_without_a_picture() -> None:
    """Told to all paint hosts while the request waits behind another; the host goes on with the next."""
    app = current_app._get_current_object()
    unwanted, wanted = paint_request(), paint_request(finish=True)
    results: list[PaintResult] = []
    told: list[PaintProgress] = []

    def on_message(body: Any, message: Any) -> None:
        message.ack()
        if message.headers["task"] == TASK_PAINTED:
            results.append(PaintResult.from_wire(body[0][0]))
        elif message.headers["task"] == TASK_PAINT_PROGRESS:
            told.append(PaintProgress.from_wire(body[0][0]))

    workers = LocalWorkers(app, [QUEUE_PAINT])
    with app.connection_for_read() as connection:
        queue = app.amqp.queues[QUEUE_CORE]
        queue(connection.default_channel).declare()
        queue(connection.default_channel).purge()
        workers.start()
        try:
            assert cancelling.listen().listening.wait(WITHIN_S)
            exchange = Exchange(EXCHANGE_CANCEL, type="fanout")
            with app.producer_pool.acquire(block=True) as producer:
                producer.publish({"id": unwanted.id}, exchange=exchange, declare=[exchange], serializer="msgpack")
            assert cancelling.unwanted.wait_for(unwanted.id, WITHIN_S)
            for request in (unwanted, wanted):
                app.send_task(TASK_PAINT, args=[request.to_wire()], queue=QUEUE_PAINT)
            deadline = time.monotonic() + WITHIN_S
            with Consumer(connection, [queue], callbacks=[on_message], accept=["msgpack", "json"]):
                while len(results) < 2:
                    connection.drain_events(timeout=max(0.05, deadline - time.monotonic()))
        finally:
            assert workers.stop(deadline_s=WITHIN_S)
    assert [(result.id, result.error) for result in results] == [(unwanted.id, "cancelled"), (wanted.id, "")]
    assert (results[0].image, results[1].image[:4]) == (b"", b"RIFF")
    assert {step.id for step in told} == {wanted.id}
