"""Which family a folder holds and how it wants to be run, from its configs alone; and the arithmetic of devices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.workers.paint.painting import code_of
from workers.engines.paint.diffusion.families import Family, family_of
from workers.engines.paint.diffusion.precision import Device, best_device, choose
from workers.engines.paint.diffusion.previews import factors
from workers.engines.paint.model_folder import ModelFolder
from workers.engines.paint.settings import PaintSettings
from workers.hardware import CudaDevice

SD1 = {"cross_attention_dim": 768, "sample_size": 64, "in_channels": 4}
SD2 = {"cross_attention_dim": 1024, "sample_size": 64, "in_channels": 4, "use_linear_projection": True}
XL = {"cross_attention_dim": 2048, "sample_size": 128, "in_channels": 4, "use_linear_projection": True}
OWN = {"_class_name": "PNDMScheduler", "timestep_spacing": "leading", "prediction_type": "epsilon"}
TRAILING = {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing", "prediction_type": "epsilon"}


def family(
    tmp_path: Path,
    unet: dict[str, Any],
    *,
    name: str = "some-model",
    scheduler: dict[str, Any] = OWN,
    lora: str = "",
    whole_unet: str = "",
    asked: str = "auto",
    pipeline: str = "",
) -> Family:
    folder = tmp_path / name
    xl = unet["cross_attention_dim"] == 2048
    pipeline = pipeline or ("StableDiffusionXLPipeline" if xl else "StableDiffusionPipeline")
    for file, values in {
        "model_index.json": {"_class_name": pipeline},
        "unet/config.json": unet,
        "scheduler/scheduler_config.json": scheduler,
    }.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(json.dumps(values), encoding="utf-8")
    parts = {"unet", "vae", "text_encoder", "scheduler"} | ({"text_encoder_2"} if xl else set())
    loras = (folder / lora,) if lora else ()
    unets = (folder / whole_unet,) if whole_unet else ()
    return family_of(ModelFolder(folder, frozenset(parts), None, loras=loras, unet=unets), asked)


@pytest.mark.parametrize(
    ("unet", "more", "expected"),
    [
        # kind, distilled, steps, least, size, guidance, scheduler
        (SD1, {}, ("sd1", "", 25, 12, 512, 7.5, "own")),
        (SD1, {"lora": "lcm-lora-sdv1-5.safetensors"}, ("sd1", "lcm", 4, 2, 512, 1.0, "lcm")),
        (SD1, {"lora": "pytorch_lora_weights.safetensors"}, ("sd1", "lcm", 4, 2, 512, 1.0, "lcm")),
        (SD2 | {"sample_size": 96}, {}, ("sd2", "", 25, 12, 768, 7.5, "own")),
        (SD2, {"name": "sd-turbo"}, ("sd2", "turbo", 1, 1, 512, 1.0, "own_trailing")),
        (SD2, {"scheduler": TRAILING}, ("sd2", "turbo", 1, 1, 512, 1.0, "own_trailing")),
        (
            SD2,
            {"scheduler": TRAILING | {"prediction_type": "v_prediction"}},
            ("sd2", "", 25, 12, 512, 7.5, "own"),
        ),
        (SD1, {"name": "sdxs-512-dreamshaper"}, ("sd1", "turbo", 1, 1, 512, 1.0, "own_trailing")),
        (XL, {}, ("sdxl", "", 25, 12, 1024, 7.5, "own")),
        (XL, {"name": "sdxl-turbo"}, ("sdxl", "turbo", 4, 1, 512, 1.0, "own_trailing")),
        (XL, {"lora": "lcm-lora-sdxl.safetensors"}, ("sdxl", "lcm", 4, 2, 1024, 1.0, "lcm")),
        (
            XL,
            {"lora": "sdxl_lightning_8step_lora.safetensors"},
            ("sdxl", "lightning", 8, 8, 1024, 1.0, "euler_trailing"),
        ),
        (
            XL,
            {"whole_unet": "sdxl_lightning_4step_unet.safetensors"},
            ("sdxl", "lightning", 4, 4, 1024, 1.0, "euler_trailing"),
        ),
        (SD1, {"name": "sd-turbo", "asked": "lcm"}, ("sd1", "lcm", 4, 2, 512, 1.0, "lcm")),
        (SD2, {"name": "sd-turbo", "asked": "model"}, ("sd2", "turbo", 1, 1, 512, 1.0, "own")),
        (SD1 | {"time_cond_proj_dim": 256}, {}, ("sd1", "lcm", 4, 2, 512, 8.0, "lcm")),
        (SD1, {"pipeline": "LatentConsistencyModelPipeline"}, ("sd1", "lcm", 4, 2, 512, 1.0, "lcm")),
    ],
)
def test_each_family_has_its_own_steps_size_guidance_and_scheduler(
    tmp_path: Path, unet: dict[str, Any], more: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    found = family(tmp_path, unet, **more)
    run = (found.kind, found.distilled, found.own_steps, found.least_steps, found.own_size[0])
    assert (*run, found.own_guidance, found.scheduler) == expected
    assert found.own_size[0] == found.own_size[1]
    assert 64 <= found.least_px < found.own_size[0]


def test_one_step_lightning_gives_the_clean_latents(tmp_path: Path) -> None:
    assert family(tmp_path, XL, whole_unet="sdxl_lightning_1step_unet_x0.safetensors").predicts_sample


@pytest.mark.parametrize("asked", [None, 0.0, 1.0, 7.5, float("nan"), float("inf")])
def test_turbo_and_lightning_never_paint_with_guidance(tmp_path: Path, asked: float | None) -> None:
    assert family(tmp_path, XL, name="sdxl-turbo").guidance(asked) == 1.0
    assert family(tmp_path, XL, lora="sdxl_lightning_4step_lora.safetensors").guidance(asked) == 1.0


def test_others_take_the_guidance_that_is_asked_for_within_bounds(tmp_path: Path) -> None:
    plain = family(tmp_path, SD1)
    assert [plain.guidance(asked) for asked in (None, 3.0, -1.0, 1e9, float("nan"))] == [7.5, 3.0, 1.0, 30.0, 7.5]


def test_only_stable_diffusion_2_takes_no_ip_adapter(tmp_path: Path) -> None:
    taken = [family(tmp_path, unet, name=str(number)).takes_ip_adapter for number, unet in enumerate((SD1, SD2, XL))]
    assert taken == [True, False, True]


def test_models_of_other_kinds_are_refused(tmp_path: Path) -> None:
    assert code_of(lambda: family(tmp_path, SD1, pipeline="FluxPipeline")) == "model_missing"
    assert code_of(lambda: family(tmp_path, SD1 | {"in_channels": 9})) == "model_missing"


# Arithmetic

GTX_1660 = CudaDevice(0, "NVIDIA GeForce GTX 1660 Ti", (7, 5), 6144)
GTX_1080 = CudaDevice(0, "NVIDIA GeForce GTX 1080", (6, 1), 8192)
RTX_2080 = CudaDevice(0, "NVIDIA GeForce RTX 2080", (7, 5), 8192)
AUTO = PaintSettings()


@pytest.mark.parametrize("card", [GTX_1660, GTX_1080])
def test_cards_without_tensor_cores_keep_float16_and_compute_in_float32(card: CudaDevice) -> None:
    precision = choose(AUTO, Device("cuda", card))
    assert (precision.compute, precision.storage, precision.half) == ("float32", "float16", False)
    assert (precision.text_device, precision.text) == ("cpu", "float32")
    assert precision.can_offload
    on_card = choose(PaintSettings(text_encoder_device="cuda"), Device("cuda", card))
    assert (on_card.text_device, on_card.text) == ("cuda", "float32")


def test_cards_with_tensor_cores_compute_in_float16() -> None:
    precision = choose(AUTO, Device("cuda:1", RTX_2080))
    assert (precision.compute, precision.storage, precision.text) == ("float16", "float16", "float16")
    assert (precision.text_device, precision.half, precision.upcast_attention) == ("cuda:1", True, False)


def test_metal_computes_in_float16_with_attention_in_float32_and_is_never_compiled() -> None:
    precision = choose(PaintSettings(compile=True), Device("mps"))
    assert (precision.compute, precision.upcast_attention, precision.compile) == ("float16", True, False)
    assert not precision.can_offload


@pytest.mark.parametrize(("fast", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_cpus_compute_in_bfloat16_where_they_have_instructions_for_it(fast: bool, dtype: str) -> None:
    precision = choose(PaintSettings(offload="model"), Device("cpu", fast_bfloat16=fast))
    assert (precision.compute, precision.text, precision.offload) == (dtype, dtype, False)


def test_text_encoders_on_the_cpu_compute_as_the_cpu_likes_it() -> None:
    card = Device("cuda", RTX_2080, fast_bfloat16=True)
    assert choose(PaintSettings(text_encoder_device="cpu"), card).text == "bfloat16"


def test_int8_is_for_cpus_and_computes_around_it_in_float32() -> None:
    settings = PaintSettings(quantise="int8", compile=True)
    precision = choose(settings, Device("cpu", fast_bfloat16=True))
    assert (precision.compute, precision.compile) == ("float32", False)
    assert code_of(lambda: choose(settings, Device("cuda", RTX_2080))) == "bad_setting"


def test_the_best_device_is_taken_and_an_absent_one_refused() -> None:
    assert best_device("auto", cuda=True, mps=False) == "cuda"
    assert best_device("auto", cuda=False, mps=True) == "mps"
    assert best_device("auto", cuda=False, mps=False) == "cpu"
    assert best_device("cuda:1", cuda=True, mps=False) == "cuda:1"
    assert code_of(lambda: best_device("cuda:1", cuda=False, mps=True)) == "bad_setting"
    assert code_of(lambda: best_device("mps", cuda=True, mps=False)) == "bad_setting"


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
def test_latents_of_nothing_preview_as_grey(kind: str) -> None:
    matrix, bias = factors(kind)
    assert (len(matrix), {len(row) for row in matrix}) == (4, {3})
    assert all(0.45 <= value <= 0.65 for value in bias)
