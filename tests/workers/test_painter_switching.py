"""A paint host changes models while it runs: here with real pipelines of diffusers, tiny and random, in processes."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.workers.tiny_models import fill_with_nan, save_tiny_pipeline
from workers import registry
from workers.engines.base import EngineError, Painted
from workers.messages import QUEUE_PAINT, PaintRequest, Scene
from workers.models.store import MANIFEST, Manifest, StoredFile
from workers.places import MOST_STUMBLES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    return save_tiny_pipeline(folder / "model", folder / "scratch")


@pytest.fixture
def models(pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home with two models: one of everybody's and one that must be named."""
    monkeypatch.setenv("MEETVIZ_HOME", str(tmp_path))
    monkeypatch.setenv("MEETVIZ_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("MEETVIZ_PROFILE", "cpu-server")
    monkeypatch.setenv("MEETVIZ_PAINT_DTYPE", "float32")
    monkeypatch.delenv("MEETVIZ_PAINTER", raising=False)
    registry.unload_all()
    for name in ("sdxs", "sd-turbo"):
        install(pipeline, tmp_path / "models" / name)
    yield tmp_path / "models"
    registry.unload_all()


def install(pipeline: Path, folder: Path) -> None:
    shutil.copytree(pipeline, folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    stored = [StoredFile(path.relative_to(folder).as_posix(), path.stat().st_size, "0" * 64) for path in files]
    Manifest(folder.name, "here", "", 0.0, stored).write(folder / MANIFEST)


def paint(model: str = "") -> tuple[str, Painted]:
    """(name of what painted, the picture)"""
    painter = registry.painter(model, within_s=None)
    request = PaintRequest(
        "id", 1, "a bridge", "", Scene("bridge"), 7, model=model, width_px=64, height_px=64, steps=2, deadline_s=100
    )
    painted = painter.paint(request)
    facts = painter.facts()
    return facts.name if facts.demo else facts.model, painted


def child() -> int:
    pid = registry.painter(within_s=None).child_pid  # type: ignore[attr-defined]
    assert isinstance(pid, int)
    return pid


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_models_change_by_request_in_processes_of_their_own(models: Path) -> None:
    name, own = paint()
    assert (name, own.compromises) == ("sdxs", [])
    first = child()
    name, named = paint("sd-turbo")
    assert (name, named.compromises) == ("sd-turbo", [])
    facts = registry.facts(QUEUE_PAINT)["paint"]
    assert (facts.model, facts.device, facts.profile, facts.instead_of) == ("sd-turbo", "cpu", "cpu-server", "")
    # The same weights and the same seed: the same picture, whichever process painted it.
    assert np.array_equal(np.asarray(own.image), np.asarray(named.image))
    assert paint()[0] == "sdxs" and child() != first

    # A process that dies between two pictures costs loading again, and no picture.
    again = child()
    os.kill(again, signal.SIGKILL)
    name, after = paint()
    assert name == "sdxs" and np.array_equal(np.asarray(own.image), np.asarray(after.image))
    last = child()
    registry.unload_all()
    assert not is_running(last)


def test_a_model_that_only_paints_black_is_given_up_for_the_poster(models: Path) -> None:
    fill_with_nan(models / "sdxs")
    for _ in range(MOST_STUMBLES - 1):
        with pytest.raises(EngineError) as raised:
            paint()
        assert raised.value.code == "black_picture"
        del raised  # its traceback has the painter in hand
    name, painted = paint()
    assert (name, painted.compromises) == ("poster", ["other_model"])
    assert registry.facts(QUEUE_PAINT)["paint"].instead_of == "sdxs"
