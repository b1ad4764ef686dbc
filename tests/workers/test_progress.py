"""What is told of a picture while it is painted: the newest, not too often, and never at the painter's cost."""

from __future__ import annotations

import base64
import io
import threading
import time
import uuid

import numpy as np
import pytest
from PIL import Image

from workers.engines.base import Cancelled
from workers.messages import PaintProgress, PaintRequest, Scene
from workers.progress import MOST_A_SECOND, MOST_URL_CHARS, Progress, preview_url

WITHIN_S = 60.0


class Told:
    """Everything that was told, and a gate that holds it up while it is closed."""

    def __init__(self) -> None:
        self.messages: list[PaintProgress] = []
        self._changed = threading.Condition()
        self.begun = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, message: PaintProgress) -> None:
        self.begun.set()
        assert self.gate.wait(WITHIN_S)
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    def steps(self, count: int) -> list[int]:
        """The steps that were told, as soon as there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.messages) >= count, WITHIN_S)
            return [message.step for message in self.messages]


@pytest.fixture
def told() -> Told:
    return Told()


def request() -> PaintRequest:
    return PaintRequest(str(uuid.uuid4()), 4, "a bridge", "", Scene(""), seed=1)


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 255, (height, width, 3), dtype=np.uint8))


def opened(url: str) -> Image.Image:
    head, _, data = url.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_step_is_told_with_its_preview(told: Told) -> None:
    asked = request()
    with Progress(asked, told) as progress:
        progress.on_step(1, 4, Image.new("RGB", (64, 48), (250, 10, 10)))
    assert told.steps(1) == [1]
    (message,) = told.messages
    assert (message.id, message.meeting, message.step, message.steps) == (asked.id, 4, 1, 4)
    preview = opened(message.preview)
    assert (preview.format, preview.size) == ("JPEG", (64, 48))


def test_a_step_without_a_preview_is_told_without_one(told: Told) -> None:
    with Progress(request(), told) as progress:
        progress.on_step(1, 1, None)
    assert told.steps(1) == [1]
    assert [message.preview for message in told.messages] == [""]


def test_the_painter_never_waits_and_the_newest_wins(told: Told) -> None:
    """A hundred steps while the broker takes none."""
    told.gate.clear()
    with Progress(request(), told) as progress:
        progress.on_step(1, 100, None)
        assert told.begun.wait(WITHIN_S)
        for step in range(2, 101):
            progress.on_step(step, 100, noise(64, 64))
        told.gate.set()
    assert told.steps(2) == [1, 100]
    assert told.messages[-1].preview


def test_what_is_told_is_told_at_a_bearable_rate(told: Told) -> None:
    start = time.monotonic()
    with Progress(request(), told) as progress:
        step = 0
        while len(told.messages) < 4:
            step += 1
            progress.on_step(step, 0, None)
        progress.on_step(step + 1, 0, None)
    while (steps := told.steps(5))[-1] != step + 1:
        assert time.monotonic() - start < WITHIN_S, "the last step is told whenever it comes"
    assert steps == sorted(set(steps))
    # The first one comes at once, and the last one without waiting.
    assert len(steps) <= 2 + MOST_A_SECOND * (time.monotonic() - start)


def test_nothing_is_told_where_nothing_happened(told: Told) -> None:
    with Progress(request(), told):
        pass
    assert told.messages == []


def test_a_broker_that_fails_costs_messages_and_nothing_else() -> None:
    tried = threading.Event()

    def tell(message: PaintProgress) -> None:
        tried.set()
        raise ConnectionError("no broker")

    with Progress(request(), tell) as progress:
        progress.on_step(1, 2, None)
        assert tried.wait(WITHIN_S)
        progress.on_step(2, 2, None)


def test_a_broker_that_hangs_does_not_keep_the_picture(told: Told) -> None:
    told.gate.clear()
    with Progress(request(), told) as progress:
        progress.on_step(1, 2, None)
        assert told.begun.wait(WITHIN_S)
        progress.on_step(2, 2, None)
    assert told.messages == []
    told.gate.set()


def test_a_cancelled_frame_stops_the_painter_and_tells_no_more(told: Told) -> None:
    asked, unwanted = request(), set[str]()
    with Progress(asked, told, unwanted.__contains__) as progress:
        progress.on_step(1, 9, None)
        assert told.begun.wait(WITHIN_S)
        unwanted.add(asked.id)
        with pytest.raises(Cancelled):
            progress.on_step(2, 9, None)
    assert told.steps(1) == [1]


# Previews


@pytest.mark.parametrize("size", [(64, 64), (512, 512), (2048, 1536), (4000, 100), (1, 1)])
def test_a_preview_is_small_whatever_it_shows(size: tuple[int, int]) -> None:
    url = preview_url(noise(*size))
    assert len(url) <= MOST_URL_CHARS
    preview = opened(url)
    assert max(preview.size) <= 512
    assert preview.width / preview.height == pytest.approx(size[0] / size[1], rel=0.05)


def test_a_plain_preview_keeps_its_pixels() -> None:
    assert opened(preview_url(Image.new("RGB", (512, 384), (9, 90, 200)))).size == (512, 384)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_a_preview_in_another_mode_is_shown_too(mode: str) -> None:
    assert opened(preview_url(Image.new(mode, (32, 32)))).size == (32, 32)
