"""Folders that are not whole, or not what they should be: each says so before anything is loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.workers.paint.painting import code_of, painter_of, pixels, request
from workers.engines.base import EngineError
from workers.engines.paint.diffusion.painter import DiffusersPainter
from workers.engines.paint.model_folder import survey

pytestmark = pytest.mark.slow

UNET = "unet/diffusion_pytorch_model.safetensors"


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="Copy the whole folder") as caught:
        DiffusersPainter(str(tmp_path / "nothing")).load()
    assert caught.value.code == "model_missing"
    assert code_of(DiffusersPainter(str(tmp_path)).load) == "model_missing"


def test_a_name_on_the_hub_is_not_a_folder() -> None:
    assert code_of(DiffusersPainter("stabilityai/sd-turbo").load) == "model_missing"


def test_all_that_may_lie_in_a_folder_is_found(whole: Path) -> None:
    found = survey(whole / "sd")
    assert found.tiny_vae == whole / "sd" / "meetviz" / "tiny_vae"
    assert found.ip_adapter is not None
    assert set(found.controlnets) == {"depth", "canny", "scribble"}
    assert found.depth_estimator is not None
    assert (found.loras, found.unet) == ((), ())


def test_pickled_weights_are_refused(own_pipeline: Path) -> None:
    file = own_pipeline / UNET
    file.rename(file.with_suffix(".bin"))
    with pytest.raises(EngineError, match="pickled") as caught:
        DiffusersPainter(str(own_pipeline)).load()
    assert caught.value.code == "model_missing"


@pytest.mark.parametrize("part", ["lora", "unet", "ip_adapter", "tiny_vae", "controlnet/canny", "depth_estimator"])
def test_pickled_extras_are_refused(own_pipeline: Path, part: str) -> None:
    folder = own_pipeline / "meetviz" / part
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(EngineError, match="pickled"):
        survey(own_pipeline)


@pytest.mark.parametrize("keep_bytes", [0, 5, 100, -1])
def test_a_half_downloaded_file_is_noticed(own_pipeline: Path, keep_bytes: int) -> None:
    file = own_pipeline / UNET
    file.write_bytes(file.read_bytes()[:keep_bytes])
    assert code_of(lambda: survey(own_pipeline)) == "model_missing"


@pytest.mark.parametrize(
    "content", [b"\x08\0\0\0\0\0\0\0[1, 2]  ", b"\x89PNG\r\n\x1a\n" * 9, b"<html>not found</html>"]
)
def test_a_file_that_is_no_safetensors_is_noticed(own_pipeline: Path, content: bytes) -> None:
    (own_pipeline / UNET).write_bytes(content)
    assert code_of(lambda: survey(own_pipeline)) == "model_missing"


@pytest.mark.parametrize(
    ("place", "other"),
    [
        (UNET, "vae/diffusion_pytorch_model.safetensors"),
        ("vae/diffusion_pytorch_model.safetensors", UNET),
        ("text_encoder/model.safetensors", UNET),
        ("meetviz/lora/lcm.safetensors", UNET),
        ("meetviz/ip_adapter/ip-adapter_sd15.safetensors", UNET),
        ("meetviz/unet/distilled.safetensors", "vae/diffusion_pytorch_model.safetensors"),
    ],
)
def test_weights_of_another_kind_of_model_are_noticed(own_pipeline: Path, place: str, other: str) -> None:
    (own_pipeline / place).parent.mkdir(parents=True, exist_ok=True)
    content = (own_pipeline / other).read_bytes()
    (own_pipeline / place).write_bytes(content)
    with pytest.raises(EngineError, match="another kind of file") as caught:
        survey(own_pipeline)
    assert caught.value.code == "model_missing"


def test_weights_of_another_size_are_noticed_when_they_are_loaded(own_pipeline: Path, models: Path) -> None:
    shutil.copy(models / "xl" / UNET, own_pipeline / UNET)
    assert code_of(DiffusersPainter(str(own_pipeline), {"device": "cpu"}).load) == "model_missing"


def test_weights_that_lack_some_are_noticed_when_they_are_loaded(own_pipeline: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(own_pipeline / UNET)
    del weights["conv_out.weight"]
    save_file(weights, own_pipeline / UNET, metadata={"format": "pt"})
    assert code_of(DiffusersPainter(str(own_pipeline), {"device": "cpu"}).load) == "model_missing"


def test_a_lora_for_another_model_is_noticed(own_pipeline: Path, models: Path) -> None:
    shutil.copytree(models / "extras" / "xl" / "lora", own_pipeline / "meetviz" / "lora")
    assert code_of(DiffusersPainter(str(own_pipeline), {"device": "cpu"}).load) == "model_missing"


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_part_is_named(own_pipeline: Path, part: str) -> None:
    shutil.rmtree(own_pipeline / part)
    with pytest.raises(EngineError, match=part):
        survey(own_pipeline)


@pytest.mark.parametrize("index", ["", "[]", "{}", '{"_class_name": "NoSuchPipeline"}', "[" * 100_000])
def test_a_broken_index_is_noticed(own_pipeline: Path, index: str) -> None:
    (own_pipeline / "model_index.json").write_text(index, encoding="utf-8")
    assert code_of(DiffusersPainter(str(own_pipeline)).load) == "model_missing"


def test_a_missing_shard_is_noticed(own_pipeline: Path) -> None:
    index = own_pipeline / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "diffusion_pytorch_model-00002-of-00002.safetensors"}}', encoding="utf-8")
    with pytest.raises(EngineError, match="00002-of-00002"):
        survey(own_pipeline)


def test_weights_in_the_fp16_variant_alone_are_found(own_pipeline: Path, models: Path) -> None:
    for file in own_pipeline.rglob("*.safetensors"):
        file.rename(file.with_suffix(".fp16.safetensors"))
    assert np.array_equal(pixels(painter_of(own_pipeline)), pixels(painter_of(models / "sd")))


def test_a_failed_load_can_be_repaired_and_tried_again(own_pipeline: Path) -> None:
    vae, aside = own_pipeline / "vae", own_pipeline.parent / "vae"
    vae.rename(aside)
    painter = painter_of(own_pipeline)
    assert code_of(painter.load) == "model_missing"
    aside.rename(vae)
    assert painter.paint(request()).image.size == (128, 64)
