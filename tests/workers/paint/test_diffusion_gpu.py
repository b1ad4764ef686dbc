"""The same painter on a real graphics card, where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.workers.paint.painting import code_of, painter_of, pixels, reference, request

pytestmark = [pytest.mark.slow, pytest.mark.gpu]


@pytest.fixture(autouse=True)
def _card() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")


@pytest.mark.parametrize("model", ["sd", "xl"])
def test_a_seed_paints_nearly_the_same_picture_as_on_the_cpu(whole: Path, model: str) -> None:
    on_cpu = pixels(painter_of(whole / model)).astype(float)
    for dtype, most in (("float32", 2.0), ("float16", 8.0)):
        on_card = pixels(painter_of(whole / model, device="cuda", dtype=dtype))
        assert np.abs(on_card - on_cpu).mean() < most


@pytest.mark.parametrize("model", ["sd", "xl"])
@pytest.mark.parametrize("settings", [{}, {"storage": "float16", "text_encoder_device": "cpu"}, {"offload": "model"}])
def test_every_reference_is_used(whole: Path, model: str, settings: dict[str, Any]) -> None:
    painter = painter_of(whole / model, device="cuda", **settings)
    wanted = [reference(use) for use in ("start", "style", "subject", "depth", "canny", "scribble")]
    painted = painter.paint(request(references=wanted, previews=True, steps=8))
    assert (painted.image.size, painted.compromises) == ((128, 64), [])
    assert painted.peak_memory_mb > 0
    assert painter.paint(request()).image.size == (128, 64)


def test_previews_come_one_step_late(whole: Path) -> None:
    seen: list[Any] = []
    painter = painter_of(whole / "sd", device="cuda")
    painter.paint(request(previews=True, steps=4), lambda step, steps, preview: seen.append(preview and preview.size))
    assert seen == [None, (128, 64), (128, 64), (128, 64)]


def test_a_compiled_model_paints_and_forgets_nothing(whole: Path) -> None:
    painter = painter_of(whole / "sd", device="cuda", compile=True)
    first = pixels(painter)
    assert np.abs(first.astype(float) - pixels(painter_of(whole / "sd"))).mean() < 4
    assert np.array_equal(first, pixels(painter))


def test_when_memory_runs_out_parts_rest_in_main_memory(whole: Path) -> None:
    import torch

    painter = painter_of(whole / "sd", device="cuda")
    painter.load()
    model = painter._model
    assert model is not None

    def full(module: Any, inputs: Any) -> None:
        if not model.offloaded:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    hook = model.unet.register_forward_pre_hook(full)
    painted = painter.paint(request())
    assert "offloaded" in painted.compromises
    hook.remove()


def test_unloading_gives_the_cards_memory_back(whole: Path) -> None:
    import gc

    import torch

    gc.collect()
    before = torch.cuda.memory_allocated()
    painter = painter_of(whole / "xl", device="cuda")
    painter.paint(request())
    assert torch.cuda.memory_allocated() > before
    painter.unload()
    gc.collect()
    assert torch.cuda.memory_allocated() <= before + 2**20


def test_a_card_that_is_not_there_is_told(whole: Path) -> None:
    import torch

    painter = painter_of(whole / "sd", device=f"cuda:{torch.cuda.device_count()}")
    assert code_of(painter.load) in ("bad_setting", "engine_failed")
