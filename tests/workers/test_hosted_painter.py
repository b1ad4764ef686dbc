"""Painters in a child process: steps come over, wishes to stop go there, and a dead child costs one picture at most."""

from __future__ import annotations

import contextlib
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.workers.fragile_engines import EchoPainter
from tests.workers.test_child import needs_pidfd, wait_until_gone
from workers.engines.base import Cancelled, EngineError, OnStep
from workers.engines.child import HostedPainter, hosted
from workers.engines.hosting.serving import PAINTERS_NICENESS
from workers.hardware import probe
from workers.messages import PaintRequest, Reference, Scene

ENDLESS = 50_000_000
"""Steps that nobody waits for."""


@pytest.fixture
def painter(tmp_path: Path) -> Iterator[HostedPainter]:
    with host(tmp_path) as engine:
        yield engine


@contextlib.contextmanager
def host(folder: Path, **options: Any) -> Iterator[HostedPainter]:
    engine = hosted(EchoPainter, {"folder": str(folder)}, **options)
    try:
        yield engine
    finally:
        engine.unload()


def wish(prompt: str = "", **values: Any) -> PaintRequest:
    base = PaintRequest(str(uuid.uuid4()), 1, prompt, "", Scene(""), seed=7)
    return PaintRequest(**{**base.to_wire(), "scene": base.scene, **values})


def stop_at(step: int, error: BaseException) -> OnStep:
    def on_step(number: int, steps: int, preview: Image.Image | None) -> None:
        if number >= step:
            raise error

    return on_step


def stop_past_the_edge(folder: Path) -> OnStep:
    """Stop a picture whose painter has left its first step behind for certain, and does not know yet."""
    edge = folder / "edge"
    os.mkfifo(edge)

    def on_step(number: int, steps: int, preview: Image.Image | None) -> None:
        edge.read_text()
        edge.unlink()
        raise Cancelled

    return on_step


def test_a_picture_comes_over_sample_by_sample(painter: HostedPainter) -> None:
    painted = painter.paint(wish(width_px=1024, height_px=1024, references=[Reference(b"", "style")]))
    assert (painted.image.mode, painted.image.size, painted.seed, painted.steps) == ("RGB", (1024, 1024), 7, 3)
    assert painted.image.getpixel((0, 0)) == (7, 1, 2)
    assert np.asarray(painted.image).std() > 20
    assert painted.compromises == ["reference_ignored"]
    assert (painted.timings_ms, painted.peak_memory_mb) == ({"denoise": 1.5}, 42.0)


def test_the_child_stays_between_pictures_and_yields_to_speech(painter: HostedPainter) -> None:
    layouts = [painter.paint(wish()).layout.split() for _ in range(3)]
    assert {pid for pid, *_ in layouts} == {str(painter.child_pid)} != {str(os.getpid())}
    assert [count for _, count, *_ in layouts] == ["1", "2", "3"]
    assert int(layouts[0][2]) == min(19, os.nice(0) + PAINTERS_NICENESS)


def test_a_painter_has_all_cores_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with host(tmp_path) as all_cores, host(tmp_path, threads=1) as one:
        assert all_cores.paint(wish()).layout.split()[3] == str(probe().cores)
        assert one.paint(wish()).layout.split()[3] == "1"


def test_it_says_what_only_loading_shows(painter: HostedPainter) -> None:
    before = painter.facts()
    assert (before.name, before.model, before.device, before.profile) == ("echo", "unloaded", "cpu", "")
    painter.load()
    after = painter.facts()
    assert (after.name, after.model, after.device, after.profile) == ("echo", "loaded", "cuda:7", "gpu-server")
    assert after.load_ms > 0


def test_steps_come_over_in_order_with_their_previews(painter: HostedPainter) -> None:
    steps: list[tuple[int, int, tuple[int, ...] | None]] = []

    def on_step(step: int, of: int, preview: Image.Image | None) -> None:
        steps.append((step, of, preview.getpixel((63, 47)) if preview else None))  # type: ignore[arg-type]

    painter.paint(wish(steps=4, previews=True, seed=9), on_step)
    assert steps == [(step, 4, (step, 9, 0)) for step in (1, 2, 3, 4)]
    steps.clear()
    painter.paint(wish(steps=2), on_step)
    assert steps == [(1, 2, None), (2, 2, None)]


# Stopping


def test_a_cancelled_picture_stops_at_its_next_step_and_the_child_lives(painter: HostedPainter, tmp_path: Path) -> None:
    painter.load()
    pid = painter.child_pid
    with pytest.raises(Cancelled):
        painter.paint(wish(steps=ENDLESS), stop_at(3, Cancelled()))
    assert 3 <= int((tmp_path / "stopped").read_text()) < ENDLESS
    assert painter.paint(wish()).layout.split()[:2] == [str(pid), "2"]


def test_what_stops_one_picture_does_not_stop_the_next(painter: HostedPainter) -> None:
    for _ in range(20):
        with pytest.raises(Cancelled):
            painter.paint(wish(steps=ENDLESS), stop_at(1, Cancelled()))
        assert painter.paint(wish(steps=5)).steps == 5


@pytest.mark.parametrize(
    "error", [RuntimeError("enough"), TimeoutError(), ConnectionResetError(), EOFError(), KeyboardInterrupt()], ids=repr
)
def test_whatever_on_step_raises_comes_out_as_it_is(painter: HostedPainter, error: BaseException) -> None:
    painter.load()
    pid = painter.child_pid
    with pytest.raises(type(error)) as caught:
        painter.paint(wish(steps=ENDLESS), stop_at(2, error))
    assert caught.value is error
    assert painter.paint(wish()).layout.split()[0] == str(pid)


def test_a_painter_that_finishes_without_another_step_is_cancelled_all_the_same(
    painter: HostedPainter, tmp_path: Path
) -> None:
    painter.load()
    pid = painter.child_pid
    with pytest.raises(Cancelled):
        painter.paint(wish("does not look up"), stop_past_the_edge(tmp_path))
    assert painter.paint(wish()).layout.split()[:2] == [str(pid), "2"]


@needs_pidfd
def test_a_painter_that_does_not_stop_is_ended(painter: HostedPainter, tmp_path: Path) -> None:
    painter.load()
    pid = painter.child_pid
    assert pid is not None
    painter.stop_within_s = 0.2
    with pytest.raises(Cancelled):
        painter.paint(wish("hangs"), stop_past_the_edge(tmp_path))
    wait_until_gone(pid)
    assert painter.paint(wish()).image.size == (96, 64)
    assert painter.child_pid != pid


@needs_pidfd
def test_a_painter_that_dies_while_it_is_stopped_was_stopped(painter: HostedPainter, tmp_path: Path) -> None:
    painter.load()
    pid = painter.child_pid
    assert pid is not None
    with pytest.raises(Cancelled):
        painter.paint(wish("dies always"), stop_past_the_edge(tmp_path))
    wait_until_gone(pid)
    assert painter.paint(wish()).seed == 7


# Dying


def test_a_picture_whose_painter_died_is_begun_once_more(painter: HostedPainter) -> None:
    painter.load()
    pid = painter.child_pid
    steps: list[int] = []
    painted = painter.paint(wish("dies once"), lambda step, of, preview: steps.append(step))
    assert steps == [1, 1, 2, 3]
    assert painted.layout.split()[:2] == [str(painter.child_pid), "1"]
    assert painter.child_pid != pid


def test_a_picture_that_kills_twice_is_not_tried_a_third_time(painter: HostedPainter, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="keeps dying") as caught:
        painter.paint(wish("dies always"))
    assert caught.value.code == "engine_failed"
    assert (tmp_path / "deaths").read_text() == "2"
    assert painter.paint(wish()).seed == 7


@needs_pidfd
def test_a_death_between_pictures_does_not_count_against_the_next(painter: HostedPainter, tmp_path: Path) -> None:
    painter.load()
    pid = painter.child_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)
    painter.paint(wish("dies once"))
    assert (tmp_path / "deaths").read_text() == "1"


@needs_pidfd
def test_a_painter_that_says_nothing_for_too_long_is_ended(tmp_path: Path) -> None:
    with host(tmp_path, timeout_s=5) as painter:
        painter.load()
        pid = painter.child_pid
        assert pid is not None
        with pytest.raises(EngineError, match="longer than 5 s"):
            painter.paint(wish("hangs"))
        wait_until_gone(pid)
        assert painter.paint(wish()).seed == 7


@pytest.mark.parametrize(("prompt", "code"), [("no memory", "out_of_memory"), ("breaks", "engine_failed")])
def test_errors_come_over_with_their_code_and_the_child_lives(painter: HostedPainter, prompt: str, code: str) -> None:
    painter.load()
    pid = painter.child_pid
    with pytest.raises(EngineError) as caught:
        painter.paint(wish(prompt))
    assert caught.value.code == code
    assert painter.paint(wish()).layout.split()[0] == str(pid)


# The second edition


def test_the_second_edition_comes_from_the_child_that_painted(painter: HostedPainter) -> None:
    request = wish()
    painted = painter.paint(request)
    better = painter.finish(request.id)
    assert better is not None
    assert better.image.tobytes() == painted.image.rotate(180).tobytes()
    assert better.timings_ms == {"decode_full": 2.5}
    assert painter.finish(str(uuid.uuid4())) is None


def test_without_the_child_that_painted_there_is_no_second_edition(painter: HostedPainter) -> None:
    request = wish()
    assert painter.finish(request.id) is None
    assert painter.child_pid is None, "a child was started for nothing"
    painter.paint(request)
    assert painter.child_pid is not None
    os.kill(painter.child_pid, signal.SIGKILL)
    assert painter.finish(request.id) is None


# A real one


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.workers.tiny_models import save_tiny_pipeline

    folder = tmp_path_factory.mktemp("tiny")
    return save_tiny_pipeline(folder / "model", folder)


def test_a_real_pipeline_paints_the_same_picture_there_as_here(tiny_model: Path) -> None:
    from workers.engines.paint.diffusion.painter import DiffusersPainter

    options: dict[str, Any] = {"folder": str(tiny_model), "settings": {"device": "cpu", "dtype": "float32"}}
    request = wish("a bridge", width_px=64, height_px=64, steps=3)
    there, here = hosted(DiffusersPainter, options, timeout_s=180), DiffusersPainter(**options)
    steps: list[tuple[int, int]] = []
    try:
        first = there.paint(request, lambda step, of, preview: steps.append((step, of)))
        pid = there.child_pid
        with pytest.raises(Cancelled):
            there.paint(wish("a bridge", width_px=64, height_px=64, steps=50), stop_at(2, Cancelled()))
        again = there.paint(request)
        assert (there.child_pid, there.facts().device) == (pid, "cpu")
    finally:
        there.unload()
    wanted = np.asarray(here.paint(request).image, int)
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert first.image.tobytes() == again.image.tobytes()
    # Sums in another order, where the number of threads differs.
    assert np.abs(np.asarray(first.image, int) - wanted).max() <= 1
