"""The real loading and painting path with tiny random pipelines: what a model host does, without a model's weight."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.workers.paint.painting import code_of, painter_of, pixels, request
from workers.engines.base import Cancelled
from workers.engines.paint.diffusion.painter import DiffusersPainter

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def painter(models: Path) -> DiffusersPainter:
    return painter_of(models / "sd")


def test_importing_the_painter_imports_no_torch() -> None:
    source = "import sys, workers.engines.paint.diffusion.painter; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", source], cwd=Path(__file__).parents[3], check=False).returncode == 0


def test_it_paints_the_size_that_was_asked_for_and_says_what_it_is(painter: DiffusersPainter) -> None:
    painted = painter.paint(request())
    assert (painted.image.size, painted.image.mode, painted.seed, painted.steps) == ((128, 64), "RGB", 7, 3)
    assert set(painted.timings_ms) == {"text", "guides", "denoise", "decode"}
    assert painted.peak_memory_mb > 0
    assert painted.compromises == []
    facts = painter.facts()
    assert (facts.name, facts.model, facts.device, facts.demo) == ("diffusers", "sd", "cpu", False)


def test_an_xl_model_paints(models: Path) -> None:
    painter = painter_of(models / "xl")
    first = pixels(painter)
    assert first.shape == (64, 128, 3)
    assert not np.array_equal(first, pixels(painter, prompt="zzz"))
    assert not np.array_equal(first, pixels(painter, guidance=9.0))


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


@pytest.mark.parametrize("guidance", [0.0, -3.0, 1.0])
def test_guidance_of_one_and_less_is_none(painter: DiffusersPainter, guidance: float) -> None:
    assert np.array_equal(pixels(painter), pixels(painter, guidance=guidance))


def test_without_wishes_it_paints_as_the_model_was_made_to(models: Path) -> None:
    painter = painter_of(models / "sd", steps=4)
    painted = painter.paint(request(width_px=0, height_px=0, steps=0, guidance=None))
    assert (painted.image.size, painted.steps) == ((128, 128), 4)


def test_the_profile_says_how_much_is_painted_and_is_named(models: Path) -> None:
    painter = painter_of(models / "sd", profile="cpu-server", steps=2, width_px=96, height_px=72)
    painted = painter.paint(request(width_px=0, height_px=0, steps=0))
    assert (painted.image.size, painted.steps) == ((96, 72), 2)
    assert painter.facts().profile == "cpu-server"


def test_a_deadline_that_was_missed_saves_steps_of_the_next_picture(models: Path) -> None:
    painter = painter_of(models / "sd", steps=15)
    wishes = {"steps": 0, "deadline_s": 0.0}
    assert painter.paint(request(**wishes)).steps == 15  # nothing was measured yet
    hurried = painter.paint(request(**wishes))
    assert hurried.steps < 15
    assert "fewer_steps" in hurried.compromises


def test_a_picture_is_the_same_after_unloading(models: Path) -> None:
    painter = painter_of(models / "sd")
    before = pixels(painter)
    painter.unload()
    assert np.array_equal(before, pixels(painter))


def test_unloading_gives_the_model_back(models: Path) -> None:
    import gc
    import weakref

    painter = painter_of(models / "sd")
    painter.paint(request())
    assert painter._model is not None
    parts = [weakref.ref(painter._model.unet), weakref.ref(painter._model.pipe)]
    painter.unload()
    gc.collect()
    assert [part() for part in parts] == [None, None]


# Steps


def test_every_step_is_reported(painter: DiffusersPainter) -> None:
    steps: list[tuple[int, int, object]] = []
    painter.paint(request(steps=4), lambda step, total, preview: steps.append((step, total, preview)))
    assert steps == [(1, 4, None), (2, 4, None), (3, 4, None), (4, 4, None)]


def test_it_can_be_stopped_after_any_step_and_paints_on(painter: DiffusersPainter) -> None:
    seen: list[int] = []

    def cancel(step: int, steps: int, preview: object) -> None:
        seen.append(step)
        if step == 2:
            raise Cancelled

    before = pixels(painter)
    assert code_of(lambda: painter.paint(request(), cancel)) == "cancelled"
    assert seen == [1, 2]
    assert np.array_equal(before, pixels(painter))


def test_an_error_of_whoever_watches_comes_through_as_it_is(painter: DiffusersPainter) -> None:
    def fail(step: int, steps: int, preview: object) -> None:
        raise LookupError("theirs")

    with pytest.raises(LookupError, match="theirs"):
        painter.paint(request(), fail)


def previews_of(painter: DiffusersPainter, **settings: object) -> list[Image.Image | None]:
    seen: list[Image.Image | None] = []
    painter.paint(request(previews=True, **settings), lambda step, total, preview: seen.append(preview))
    return seen


@pytest.mark.parametrize("model", ["sd", "xl"])
def test_previews_are_small_pictures_in_the_shape_of_the_picture(models: Path, model: str) -> None:
    seen = previews_of(painter_of(models / model), steps=4)
    assert [preview and (preview.size, preview.mode) for preview in seen] == [((128, 64), "RGB")] * 4
    large = previews_of(painter_of(models / model), steps=3, width_px=320, height_px=160)
    assert {preview and preview.size for preview in large} == {(256, 128)}


def test_one_or_two_steps_have_no_previews(painter: DiffusersPainter) -> None:
    assert previews_of(painter, steps=1) == [None]
    assert previews_of(painter, steps=2) == [None, None]


def test_looking_changes_nothing(painter: DiffusersPainter) -> None:
    assert np.array_equal(pixels(painter, steps=4), pixels(painter, steps=4, previews=True))


# What people ask for


@pytest.mark.parametrize("size", [(101, 67), (64, 64), (130, 72), (20, 10)])
def test_any_size_is_kept(painter: DiffusersPainter, size: tuple[int, int]) -> None:
    assert painter.paint(request(width_px=size[0], height_px=size[1], steps=1)).image.size == size


@pytest.mark.parametrize("steps", [0, -5])
def test_no_steps_are_the_models_own(models: Path, steps: int) -> None:
    assert painter_of(models / "sd", steps=2).paint(request(steps=steps)).steps == 2


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "   ",
        "a " * 5_000,
        "x" * 10_000,
        "мост 🌉 \u202e\x00",
        "a\nb\tc",
        "جسر خشبي",
        "木の橋",
        "🌉" * 500,
        "é\u0301\ufeff",
    ],
)
def test_weird_prompts_are_painted_without_a_warning(
    painter: DiffusersPainter, prompt: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    assert painter.paint(request(prompt=prompt, negative=prompt, guidance=2.0, steps=1)).image.size == (128, 64)
    assert caplog.records == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("seed", [0, -1, 2**64, 2**31])
def test_any_seed_is_taken(painter: DiffusersPainter, seed: int) -> None:
    assert painter.paint(request(seed=seed, steps=1)).seed == seed


def test_a_prompt_is_encoded_once(models: Path) -> None:
    painter = painter_of(models / "xl")
    painter.load()
    assert painter._model is not None
    calls: list[int] = []
    encoder = painter._model.pipe.text_encoder
    encoder.register_forward_hook(lambda *_: calls.append(1))
    first = pixels(painter)
    assert np.array_equal(first, pixels(painter))
    assert len(calls) == 1
    pixels(painter, guidance=5.0)
    assert len(calls) > 1


# Parts and settings


def test_scheduler_lora_and_tiny_vae_each_change_the_picture(own_pipeline: Path, models: Path) -> None:
    import shutil

    extras = models / "extras" / "sd"
    plain = pixels(painter_of(own_pipeline))
    lcm = pixels(painter_of(own_pipeline, scheduler="lcm"))
    shutil.copytree(extras / "lora", own_pipeline / "meetviz" / "lora")
    with_lora = pixels(painter_of(own_pipeline))
    shutil.copytree(extras / "tiny_vae", own_pipeline / "meetviz" / "tiny_vae")
    with_vae = pixels(painter_of(own_pipeline))
    assert not np.array_equal(plain, lcm)
    assert not np.array_equal(lcm, with_lora)
    assert not np.array_equal(with_lora, with_vae)
    assert np.array_equal(with_lora, pixels(painter_of(own_pipeline, tiny_vae=False)))


def test_a_whole_distilled_unet_takes_the_place_of_the_folders_own(own_pipeline: Path, models: Path) -> None:
    from safetensors.torch import save_file

    from tests.workers.tiny_models import tiny_unet

    plain = pixels(painter_of(own_pipeline, scheduler="model"))
    weights = own_pipeline / "unet" / "diffusion_pytorch_model.safetensors"
    (own_pipeline / "meetviz" / "unet").mkdir(parents=True)
    weights.rename(own_pipeline / "meetviz" / "unet" / "sdxl_lightning_4step_unet.safetensors")
    moved = painter_of(own_pipeline, scheduler="model")
    assert np.array_equal(plain, pixels(moved))
    distilled = painter_of(own_pipeline)
    assert distilled.paint(request(steps=0)).steps == 4
    for file in (own_pipeline / "meetviz" / "unet").iterdir():
        save_file(tiny_unet(block_out_channels=(8, 8)).state_dict(), file)
    assert code_of(painter_of(own_pipeline).load) == "model_missing"


def test_half_precision_paints_nearly_the_same(models: Path, painter: DiffusersPainter) -> None:
    half = pixels(painter_of(models / "sd", dtype="bfloat16")).astype(float)
    assert np.abs(half - pixels(painter)).mean() < 8


def test_weights_that_rest_in_float16_paint_nearly_the_same(models: Path, painter: DiffusersPainter) -> None:
    import torch

    resting = painter_of(models / "sd", storage="float16")
    assert np.abs(pixels(resting).astype(float) - pixels(painter)).mean() < 2
    assert resting._model is not None
    assert resting._model.unet.conv_in.weight.dtype == torch.float16


def test_int8_paints_nearly_the_same(models: Path, painter: DiffusersPainter) -> None:
    quantised = painter_of(models / "sd", quantise="int8", dtype="auto")
    assert np.abs(pixels(quantised).astype(float) - pixels(painter)).mean() < 8
    assert quantised._model is not None
    attention = quantised._model.unet.down_blocks[1].attentions[0].transformer_blocks[0].attn1
    assert "quantized" in type(attention.to_q).__module__


def test_channels_last_paints_the_same(models: Path, painter: DiffusersPainter) -> None:
    difference = pixels(painter_of(models / "sd", channels_last=True)).astype(int) - pixels(painter)
    assert np.abs(difference).max() <= 1


def test_attention_in_float32_under_half_precision_is_nearer_to_the_truth(models: Path) -> None:
    import torch

    from workers.engines.paint.diffusion.modules import upcast_attention

    painter = painter_of(models / "sd", dtype="bfloat16")
    painter.load()
    assert painter._model is not None
    unet = painter._model.unet
    upcast_attention(unet)
    upcast_attention(unet)  # again changes nothing
    attention = unet.down_blocks[1].attentions[0].transformer_blocks[0].attn1
    seen: list[torch.dtype] = []
    attention.to_out[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    attention.to_q.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    assert painter.paint(request(steps=1)).image.size == (128, 64)
    assert seen == [torch.float32, torch.bfloat16]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scheduler": "euler"}, "scheduler"),
        ({"dtype": "int3"}, "dtype"),
        ({"device": "tpu"}, "device"),
        ({"quantise": "int4"}, "quantise"),
        ({"offload": "disk"}, "offload"),
        ({"storage": "float4"}, "storage"),
        ({"steps": "four"}, "steps"),
        ({"steps": -1}, "steps"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_unknown_settings_are_refused(models: Path, settings: dict, words: str) -> None:
    from workers.engines.base import EngineError

    with pytest.raises(EngineError, match=words) as caught:
        DiffusersPainter(str(models / "sd"), settings).load()
    assert caught.value.code == "bad_setting"


def test_a_device_that_is_not_there_is_a_bad_setting(models: Path) -> None:
    import torch

    missing = "cuda" if torch.backends.mps.is_available() else "mps"
    assert code_of(DiffusersPainter(str(models / "sd"), {"device": missing}).load) == "bad_setting"


# A second, full decode


def finishing(whole: Path, **settings: object) -> DiffusersPainter:
    return painter_of(whole / "sd", finish=True, **settings)


def test_a_picture_is_decoded_in_full_when_nobody_waits(whole: Path) -> None:
    painter = finishing(whole)
    quick = painter.paint(request(finish=True))
    full = painter.finish("f")
    assert full is not None
    assert (full.image.size, full.seed, full.steps, set(full.timings_ms)) == ((128, 64), 7, 3, {"decode_full"})
    assert not np.array_equal(np.asarray(full.image), np.asarray(quick.image))
    assert np.array_equal(np.asarray(full.image), pixels(painter_of(whole / "sd", tiny_vae=False)))
    assert painter.finish("f") is None  # once


def test_only_the_last_picture_is_finished_and_only_when_that_was_asked_for(whole: Path) -> None:
    painter = finishing(whole)
    painter.paint(request(finish=True))
    assert painter.finish("another") is None
    painter.paint(request(id="g"))
    assert painter.finish("f") is None
    assert painter.finish("g") is None
    unwilling = painter_of(whole / "sd")
    unwilling.paint(request(finish=True))
    assert unwilling.finish("f") is None
    assert finishing(whole).finish("f") is None


def test_a_full_decode_that_would_take_long_is_left_out(whole: Path) -> None:
    painter = finishing(whole)
    painter.paint(request(finish=True))
    for _ in range(5):
        painter._times.learn("decode_full", 128 * 64, 5_000.0)
    assert painter.finish("f") is None


def test_a_picture_decoded_in_full_at_once_needs_no_finish(whole: Path) -> None:
    painter = finishing(whole, tiny_vae=False)
    painter.paint(request(finish=True))
    assert painter.finish("f") is None


# The model's own checker


@pytest.mark.parametrize("strict", [True, False])
def test_the_models_own_checker_may_refuse_a_picture(tmp_path: Path, strict: bool) -> None:
    from tests.workers.tiny_models import save_tiny_pipeline, tiny_safety_checker

    checker = tiny_safety_checker(strict=strict)
    folder = save_tiny_pipeline(tmp_path / "sd", tmp_path / "scratch", safety_checker=checker)
    painter = painter_of(folder)
    if strict:
        assert code_of(lambda: painter.paint(request())) == "blocked_picture"
    else:
        assert painter.paint(request()).image.size == (128, 64)
