"""When a picture fails: the order of what is tried, and real faults put into a real pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.workers.paint.painting import code_of, painter_of, pixels, request
from workers.engines.paint.diffusion.painter import DiffusersPainter
from workers.engines.paint.diffusion.recovery import (
    HALF_AGAIN_AFTER_S,
    Attempt,
    Failure,
    HalfPrecision,
    next_attempt,
    smaller_size,
)
from workers.engines.paint.plan import Limits

LIMITS = Limits(own_steps=4, least_steps=2, own_size=(512, 512), least_px=384)


def climb(failure: Failure, attempt: Attempt, **circumstances: bool) -> Attempt | None:
    return next_attempt(attempt, failure, LIMITS, **({"half": True, "can_offload": True} | circumstances))


def test_out_of_memory_means_smaller_then_offloaded_then_the_end() -> None:
    smaller = climb(Failure.MEMORY, Attempt(512, 512))
    assert smaller is not None
    assert ((smaller.width_px, smaller.height_px), smaller.compromises) == ((384, 384), ("smaller",))
    offloaded = climb(Failure.MEMORY, smaller)
    assert offloaded is not None
    assert ((offloaded.width_px, offloaded.offload), offloaded.compromises) == ((384, True), ("smaller", "offloaded"))
    assert climb(Failure.MEMORY, offloaded) is None


def test_where_parts_cannot_rest_elsewhere_smaller_is_all() -> None:
    smaller = climb(Failure.MEMORY, Attempt(512, 512), can_offload=False)
    assert smaller is not None
    assert climb(Failure.MEMORY, smaller, can_offload=False) is None


def test_a_picture_of_the_least_size_is_offloaded_at_once() -> None:
    attempt = climb(Failure.MEMORY, Attempt(384, 512))
    assert attempt is not None
    assert (attempt.offload, attempt.compromises) == (True, ("offloaded",))


def test_a_picture_that_was_made_smaller_for_the_deadline_may_become_smaller_still() -> None:
    attempt = climb(Failure.MEMORY, Attempt(512, 512, compromises=("smaller",)))
    assert attempt is not None
    assert (attempt.width_px, attempt.compromises) == (384, ("smaller",))


def test_black_means_float32_once_and_only_after_half_precision() -> None:
    attempt = climb(Failure.BLACK, Attempt(512, 512))
    assert attempt is not None
    assert (attempt.float32, attempt.compromises) == (True, ("float32",))
    assert climb(Failure.BLACK, attempt) is None
    assert climb(Failure.BLACK, Attempt(512, 512), half=False) is None


def test_a_compiled_model_is_simplified_twice() -> None:
    attempt: Attempt | None = Attempt(512, 512)
    for _ in range(2):
        assert attempt is not None
        attempt = climb(Failure.COMPILED, attempt)
    assert attempt is not None
    assert attempt.compromises == ()
    assert climb(Failure.COMPILED, attempt) is None


@pytest.mark.parametrize("size", [(512, 512), (768, 512), (512, 1024), (2048, 600), (392, 400)])
def test_smaller_keeps_the_shape_and_the_least_size(size: tuple[int, int]) -> None:
    smaller = smaller_size(*size, LIMITS)
    assert smaller is not None
    assert smaller[0] * smaller[1] < size[0] * size[1]
    assert min(smaller) >= LIMITS.least_px
    assert smaller[0] / smaller[1] == pytest.approx(size[0] / size[1], rel=0.03)
    assert [side % 8 for side in smaller] == [0, 0]


def test_half_precision_gets_one_more_chance_after_a_while() -> None:
    half = HalfPrecision()
    assert half.allowed(0.0)
    half.failed(100.0)
    assert not half.allowed(100.0 + HALF_AGAIN_AFTER_S - 1)
    assert half.allowed(100.0 + HALF_AGAIN_AFTER_S)
    half.failed(100.0 + HALF_AGAIN_AFTER_S)
    assert not half.allowed(1e9)


# Real faults in a real pipeline


def faulty(painter: DiffusersPainter, fault: Any) -> Any:
    """`fault(module, inputs, output)` sees every output of the UNet and may change it or raise."""
    painter.load()
    assert painter._model is not None
    return painter._model.unet.register_forward_hook(fault)


def full_above(pixels: int) -> Any:
    """Memory that runs out for pictures of more than so many pixels."""
    import torch

    def fault(module: Any, inputs: Any, output: Any) -> None:
        if inputs[0].shape[-1] * inputs[0].shape[-2] * 64 > pixels:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    return fault


@pytest.mark.slow
def test_when_memory_runs_out_a_smaller_picture_is_painted(models: Path) -> None:
    painter = painter_of(models / "sd")
    hook = faulty(painter, full_above(150 * 150))
    painted = painter.paint(request(width_px=192, height_px=192))
    assert painted.compromises == ["smaller"]
    assert painted.image.size == (136, 136)
    hook.remove()
    assert painter.paint(request(width_px=192, height_px=192)).image.size == (192, 192)


@pytest.mark.slow
def test_when_nothing_fits_it_is_out_of_memory_and_the_next_picture_may_fit(models: Path) -> None:
    painter = painter_of(models / "sd")
    before = pixels(painter)
    hook = faulty(painter, full_above(0))
    assert code_of(lambda: painter.paint(request())) == "out_of_memory"
    hook.remove()
    assert np.array_equal(before, pixels(painter))


def nan_in_half(module: Any, inputs: Any, output: Any) -> Any:
    import torch

    return output if inputs[0].dtype is torch.float32 else (torch.full_like(output[0], float("nan")),)


@pytest.mark.slow
def test_what_is_black_in_half_precision_is_painted_in_float32(models: Path) -> None:
    import torch

    painter = painter_of(models / "sd", dtype="bfloat16")
    hook = faulty(painter, nan_in_half)
    painted = painter.paint(request())
    assert painted.compromises == ["float32"]
    again = painter.paint(request())
    assert again.compromises == []
    assert np.array_equal(np.asarray(painted.image), np.asarray(again.image))
    # Later half precision is tried again, once.
    assert painter._model is not None
    hook.remove()
    painter._half.failed_at -= HALF_AGAIN_AFTER_S
    painter.paint(request())
    assert painter._model.unet.dtype == torch.bfloat16


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nan_in_the_weights_is_a_black_picture_not_a_frame(own_pipeline: Path, dtype: str) -> None:
    from tests.workers.tiny_models import fill_with_nan

    fill_with_nan(own_pipeline)
    painter = painter_of(own_pipeline, dtype=dtype)
    steps: list[int] = []
    assert code_of(lambda: painter.paint(request(), lambda step, *rest: steps.append(step))) == "black_picture"
    # Half precision gets one more try in float32.
    assert steps == [1, 2, 3] * (1 if dtype == "float32" else 2)


@pytest.mark.slow
def test_previews_of_a_failing_picture_are_black_and_harm_nothing(own_pipeline: Path) -> None:
    from tests.workers.tiny_models import fill_with_nan

    fill_with_nan(own_pipeline)
    seen: list[Any] = []
    painter = painter_of(own_pipeline)
    code = code_of(lambda: painter.paint(request(previews=True), lambda step, steps, preview: seen.append(preview)))
    assert code == "black_picture"
    assert [np.asarray(preview).max() for preview in seen] == [0, 0, 0]


@pytest.mark.slow
def test_any_other_failure_has_its_code_and_leaves_the_painter_whole(models: Path) -> None:
    def fault(module: Any, inputs: Any, output: Any) -> None:
        raise RuntimeError("the network broke")

    painter = painter_of(models / "sd")
    before = pixels(painter)
    hook = faulty(painter, fault)
    assert code_of(lambda: painter.paint(request())) == "engine_failed"
    hook.remove()
    assert np.array_equal(before, pixels(painter))


@pytest.mark.slow
def test_a_compiled_model_that_fails_paints_without_being_compiled(
    models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no compiler on this host")

    plain = pixels(painter_of(models / "sd"))
    # The default compiler cannot be broken safely, so another that can takes its place.
    compiling = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **_: compiling(module, backend=broken))
    painter = painter_of(models / "sd", compile=True)
    assert np.array_equal(plain, pixels(painter))
    assert painter._model is not None
    assert not painter._model.compiled
    assert "compiled" in caplog.text
