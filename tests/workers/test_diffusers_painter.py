"""The real loading path with a tiny random pipeline: what a model host does, without a model's weight."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from workers.engines.base import EngineError
from workers.engines.paint.diffusers_painter import DiffusersPainter, fitting
from workers.messages import PaintRequest, Scene

pytestmark = pytest.mark.slow


def request(**settings: object) -> PaintRequest:
    values: dict = {
        "id": "f",
        "meeting": 1,
        "prompt": "a wooden bridge",
        "negative": "text",
        "scene": Scene(title="a wooden bridge"),
        "seed": 7,
        "width_px": 128,
        "height_px": 64,
        "steps": 3,
    }
    return PaintRequest(**(values | settings))


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.workers.tiny_models import save_tiny_pipeline

    return save_tiny_pipeline(tmp_path_factory.mktemp("models") / "tiny-sd", tmp_path_factory.mktemp("scratch"))


@pytest.fixture
def own_pipeline(pipeline: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(pipeline, tmp_path / "tiny-sd"))


@pytest.fixture(scope="session")
def painter(pipeline: Path) -> DiffusersPainter:
    return DiffusersPainter(pipeline, device="cpu", dtype="float32")


def pixels(painter: DiffusersPainter, **settings: object) -> np.ndarray:
    return np.asarray(painter.paint(request(**settings)).image)


def code_of(attempt: Callable[[], object]) -> str:
    with pytest.raises(EngineError) as caught:
        attempt()
    return caught.value.code


def test_importing_the_painter_imports_no_torch() -> None:
    source = "import sys, workers.engines.paint.diffusers_painter; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", source], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_it_paints_the_size_that_was_asked_for_and_says_what_it_is(painter: DiffusersPainter) -> None:
    painted = painter.paint(request())
    assert (painted.image.size, painted.image.mode, painted.seed) == ((128, 64), "RGB", 7)
    assert set(painted.timings_ms) == {"denoise", "decode"}
    assert painted.peak_memory_mb > 0
    facts = painter.facts()
    assert (facts.name, facts.model, facts.device, facts.demo) == ("diffusers", "tiny-sd", "cpu", False)


def test_the_same_seed_gives_the_same_picture(painter: DiffusersPainter) -> None:
    assert np.array_equal(pixels(painter), pixels(painter))


def test_seed_prompt_and_steps_change_the_picture(painter: DiffusersPainter) -> None:
    first = pixels(painter)
    assert not np.array_equal(first, pixels(painter, seed=8))
    assert not np.array_equal(first, pixels(painter, steps=5))
    assert not np.array_equal(first, pixels(painter, prompt="zzz"))


def test_the_negative_prompt_counts_only_with_guidance(painter: DiffusersPainter) -> None:
    assert np.array_equal(pixels(painter, negative="x"), pixels(painter, negative="yyyyy"))
    guided = {"guidance": 30.0, "steps": 5}
    assert not np.array_equal(pixels(painter, negative="x", **guided), pixels(painter, negative="yyyyy", **guided))


def test_a_picture_is_the_same_after_unloading(pipeline: Path) -> None:
    painter = DiffusersPainter(pipeline, device="cpu", dtype="float32")
    before = pixels(painter)
    painter.unload()
    assert np.array_equal(before, pixels(painter))


def test_every_step_is_reported(painter: DiffusersPainter) -> None:
    steps: list[tuple[int, int, object]] = []
    painter.paint(request(steps=4), lambda step, total, preview: steps.append((step, total, preview)))
    assert steps == [(1, 4, None), (2, 4, None), (3, 4, None), (4, 4, None)]


def test_the_callback_can_cancel(painter: DiffusersPainter) -> None:
    class Cancelled(RuntimeError):
        pass

    seen: list[int] = []

    def cancel(step: int, steps: int, preview: object) -> None:
        seen.append(step)
        raise Cancelled

    with pytest.raises(Cancelled):
        painter.paint(request(), cancel)
    assert seen == [1]
    assert painter.paint(request()).image.size == (128, 64)


@pytest.mark.parametrize("size", [(101, 67), (64, 64), (130, 72), (20, 10)])
def test_any_size_is_kept(painter: DiffusersPainter, size: tuple[int, int]) -> None:
    assert painter.paint(request(width_px=size[0], height_px=size[1], steps=1)).image.size == size


@pytest.mark.parametrize("prompt", ["", "   ", "a " * 5_000, "x" * 10_000, "мост 🌉 \u202e\x00", "a\nb\tc"])
def test_weird_prompts_are_painted_without_a_warning(
    painter: DiffusersPainter, prompt: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    assert painter.paint(request(prompt=prompt, negative=prompt, guidance=2.0, steps=1)).image.size == (128, 64)
    assert caplog.records == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("seed", [0, -1, 2**64, 2**31])
def test_any_seed_is_taken(painter: DiffusersPainter, seed: int) -> None:
    assert painter.paint(request(seed=seed, steps=1)).seed == seed


def test_fitting_keeps_whole_words() -> None:
    assert fitting("one two three", lambda text: len(text) <= 9) == "one two"
    assert fitting("one, two", lambda text: len(text) <= 5) == "one"
    assert fitting("x" * 50, lambda text: len(text) <= 10) == "x" * 10
    assert fitting("xyz", lambda text: not text) == ""


def test_lcm_scheduler_lora_and_tiny_vae_each_change_the_picture(pipeline: Path, tmp_path: Path) -> None:
    from tests.workers.tiny_models import save_tiny_lora, save_tiny_vae

    lora = save_tiny_lora(tmp_path / "lora", pipeline)
    vae = save_tiny_vae(tmp_path / "vae")
    settings: dict = {"device": "cpu", "dtype": "float32"}
    plain = pixels(DiffusersPainter(pipeline, **settings))
    lcm = pixels(DiffusersPainter(pipeline, scheduler="lcm", **settings))
    with_lora = pixels(DiffusersPainter(pipeline, lora_path=lora, **settings))
    with_vae = pixels(DiffusersPainter(pipeline, tiny_vae_path=vae, **settings))
    assert not np.array_equal(plain, lcm)
    assert not np.array_equal(lcm, with_lora)
    assert not np.array_equal(plain, with_vae)


def test_half_precision_paints_nearly_the_same(pipeline: Path, painter: DiffusersPainter) -> None:
    half = pixels(DiffusersPainter(pipeline, device="cpu", dtype="bfloat16")).astype(float)
    assert np.abs(half - pixels(painter)).mean() < 8


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nan_in_the_weights_is_a_black_picture_not_a_frame(own_pipeline: Path, dtype: str) -> None:
    from tests.workers.tiny_models import fill_with_nan

    fill_with_nan(own_pipeline)
    painter = DiffusersPainter(own_pipeline, device="cpu", dtype=dtype)
    steps: list[int] = []
    assert code_of(lambda: painter.paint(request(), lambda step, *rest: steps.append(step))) == "black_picture"
    # Half precision gets one more try in float32.
    assert steps == [1, 2, 3] * (1 if dtype == "float32" else 2)


def test_too_little_memory_has_its_own_code(painter: DiffusersPainter, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    painter.load()

    def full(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(painter._pipe.unet, "forward", full)
    assert code_of(lambda: painter.paint(request())) == "out_of_memory"


# Folders that are not whole


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="Copy the whole folder") as caught:
        DiffusersPainter(tmp_path / "nothing").load()
    assert caught.value.code == "model_missing"
    assert code_of(DiffusersPainter(tmp_path).load) == "model_missing"


def test_a_name_on_the_hub_is_not_a_folder() -> None:
    assert code_of(DiffusersPainter(Path("stabilityai/sd-turbo")).load) == "model_missing"


def test_pickled_weights_are_refused(own_pipeline: Path) -> None:
    file = own_pipeline / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_suffix(".bin"))
    with pytest.raises(EngineError, match="pickled") as caught:
        DiffusersPainter(own_pipeline).load()
    assert caught.value.code == "model_missing"


@pytest.mark.parametrize("keep_bytes", [0, 5, 100, -1])
def test_a_half_downloaded_file_is_noticed(own_pipeline: Path, keep_bytes: int) -> None:
    file = own_pipeline / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:keep_bytes])
    assert code_of(DiffusersPainter(own_pipeline).load) == "model_missing"


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_part_is_named(own_pipeline: Path, part: str) -> None:
    shutil.rmtree(own_pipeline / part)
    with pytest.raises(EngineError, match=part):
        DiffusersPainter(own_pipeline).load()


@pytest.mark.parametrize("index", ["", "[]", "{}", '{"_class_name": "NoSuchPipeline"}'])
def test_a_broken_index_is_noticed(own_pipeline: Path, index: str) -> None:
    (own_pipeline / "model_index.json").write_text(index, encoding="utf-8")
    assert code_of(DiffusersPainter(own_pipeline).load) == "model_missing"


def test_a_missing_shard_is_noticed(own_pipeline: Path) -> None:
    index = own_pipeline / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "diffusion_pytorch_model-00002-of-00002.safetensors"}}', encoding="utf-8")
    with pytest.raises(EngineError, match="00002-of-00002"):
        DiffusersPainter(own_pipeline).load()


def test_weights_in_the_fp16_variant_alone_are_found(own_pipeline: Path, painter: DiffusersPainter) -> None:
    for file in own_pipeline.rglob("*.safetensors"):
        file.rename(file.with_suffix(".fp16.safetensors"))
    variant = DiffusersPainter(own_pipeline, device="cpu", dtype="float32")
    assert np.array_equal(pixels(variant), pixels(painter))


def test_a_failed_load_can_be_repaired_and_tried_again(own_pipeline: Path) -> None:
    vae, aside = own_pipeline / "vae", own_pipeline.parent / "vae"
    vae.rename(aside)
    painter = DiffusersPainter(own_pipeline, device="cpu", dtype="float32")
    assert code_of(painter.load) == "model_missing"
    aside.rename(vae)
    assert painter.paint(request()).image.size == (128, 64)


def test_unknown_settings_are_refused(pipeline: Path) -> None:
    with pytest.raises(ValueError, match="scheduler"):
        DiffusersPainter(pipeline, scheduler="euler")
    assert code_of(DiffusersPainter(pipeline, dtype="int3").load) == "bad_setting"
