"""Paint models that somebody brings in a folder: known by their configuration and the headers of their weights."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from workers.models.catalogue import CATALOGUE, Family
from workers.models.errors import ModelError, Trouble
from workers.models.fetching import copy
from workers.models.licences import accept
from workers.models.paint_kind import count_weights, family_of
from workers.models.store import State, look, verify

HALF = "diffusion_pytorch_model.fp16.safetensors"
PLAIN = "diffusion_pytorch_model.safetensors"


def write_weights(file: Path, *shape: int) -> Path:
    """A safetensors file with one float16 tensor of zeros; large ones are holes on the disk."""
    count = 1
    for length in shape:
        count *= length
    header = json.dumps({"x": {"dtype": "F16", "shape": shape, "data_offsets": [0, 2 * count]}}).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(header)) + header)
        out.truncate(8 + len(header) + 2 * count)
    return file


def write_json(file: Path, **values: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values))


def pipeline(folder: Path, kind: str = "StableDiffusionPipeline", width: int = 768, weights: str = HALF) -> Path:
    """As much of a diffusers pipeline as can be told apart without loading it."""
    write_json(folder / "model_index.json", _class_name=kind)
    write_json(folder / "scheduler" / "scheduler_config.json")
    write_json(folder / "tokenizer" / "vocab.json")
    for part, name in (("unet", weights), ("vae", weights), ("text_encoder", "model.fp16.safetensors")):
        write_json(folder / part / "config.json", cross_attention_dim=width)
        write_weights(folder / part / name, 4, 8)
    return folder


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    """sd15-lcm as somebody put it together from downloads, with things that do not belong to it."""
    folder = pipeline(tmp_path / "my pipeline")
    write_weights(folder / "meetviz/lora/pytorch_lora_weights.safetensors", 2)
    (folder / "unet/diffusion_pytorch_model.bin").write_bytes(b"\x80\x04pickle")
    (folder / "v1-5-pruned.ckpt").write_bytes(b"\x80\x04pickle")
    write_json(folder / ".cache/huggingface/config.json")
    return folder


def refused(name: str, folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        copy(CATALOGUE[name], folder)
    assert caught.value.trouble == Trouble.WRONG_KIND and look(CATALOGUE[name]).state == State.ABSENT
    return str(caught.value)


# Families


@pytest.mark.parametrize(
    ("kind", "width", "family"),
    [
        ("StableDiffusionPipeline", 768, Family.SD15),
        ("StableDiffusionXLPipeline", 2048, Family.SDXL),
        ("StableDiffusionXLImg2ImgPipeline", 2048, Family.SDXL),
        ("StableDiffusionPipeline", 1024, Family.SDXS),
    ],
)
def test_a_pipelines_family_is_in_its_configuration(tmp_path: Path, kind: str, width: int, family: Family) -> None:
    assert family_of(pipeline(tmp_path, kind, width)) == family


def test_sd_turbo_and_sdxs_are_told_apart_by_their_size(tmp_path: Path) -> None:
    folder = pipeline(tmp_path, width=1024)
    assert count_weights(write_weights(folder / "unet" / HALF, 328_000_000)) == 328_000_000
    assert family_of(folder) == Family.SDXS
    write_weights(folder / "unet" / HALF, 866_000_000)
    assert family_of(folder) == Family.SD2


@pytest.mark.parametrize(
    ("index", "unet", "why"),
    [
        ({"_class_name": "FluxPipeline"}, {"cross_attention_dim": 768}, "FluxPipeline and not one of Stable Diffusion"),
        ({}, {"cross_attention_dim": 768}, "of no kind"),
        ({"_class_name": "StableDiffusionPipeline"}, {"cross_attention_dim": [768]}, "another kind"),
        ({"_class_name": "StableDiffusionPipeline"}, {}, "another kind"),
        ({"_class_name": "StableDiffusionPipeline"}, {"cross_attention_dim": 2048}, "do not belong together"),
        ({"_class_name": "StableDiffusionXLPipeline"}, {"cross_attention_dim": 768}, "do not belong together"),
    ],
)
def test_what_is_no_pipeline_of_stable_diffusion_is_told(
    tmp_path: Path, index: dict[str, Any], unet: dict[str, Any], why: str
) -> None:
    folder = pipeline(tmp_path)
    write_json(folder / "model_index.json", **index)
    write_json(folder / "unet" / "config.json", **unet)
    with pytest.raises(ValueError, match=why):
        family_of(folder)


def test_pickled_weights_alone_are_no_weights(tmp_path: Path) -> None:
    folder = pipeline(tmp_path)
    (folder / "unet" / HALF).rename(folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(ValueError, match="no safetensors weights"):
        family_of(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"1234567", b"\x80\x04pickle, which is longer than eight bytes", b"<html>Please sign in</html>" * 10,
        struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 12) + b'{"x": "abc"}', struct.pack("<Q", 10**12) + b"{}",
        struct.pack("<Q", 12) + b'{"x": {"a":1', struct.pack("<Q", 26) + b'{"x":{"data_offsets":[0]}}',
    ],
)  # fmt: skip
def test_a_file_that_is_something_else_is_no_safetensors_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="no safetensors file"):
        count_weights(tmp_path / "model.safetensors")


# Copying


def test_a_pipeline_in_a_folder_becomes_the_model_that_it_is(brought: Path, models: Path) -> None:
    model = CATALOGUE["sd15-lcm"]
    folder = copy(model, brought)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert f"unet/{PLAIN}" in files and f"unet/{HALF}" not in files
    assert not [file for file in files if file.endswith((".bin", ".ckpt")) or ".cache" in file]
    seen = look(model)
    assert seen.state == State.WHOLE and seen.manifest is not None and seen.manifest.source == str(brought)
    assert verify(model) == [] and seen.extras == ()


def test_of_two_editions_the_one_in_half_precision_is_copied(brought: Path, models: Path) -> None:
    write_weights(brought / "unet" / PLAIN, 4, 16)
    folder = copy(CATALOGUE["sd15-lcm"], brought)
    assert (folder / "unet" / PLAIN).read_bytes() == (brought / "unet" / HALF).read_bytes()


def test_extras_that_lie_in_the_folder_come_along(brought: Path, models: Path) -> None:
    write_json(brought / "meetviz/controlnet/canny/config.json")
    write_weights(brought / "meetviz/controlnet/canny" / HALF, 4)
    copy(CATALOGUE["sd15-lcm"], brought)
    assert look(CATALOGUE["sd15-lcm"]).can_do == ("start", "canny")


def test_files_that_are_links_into_a_cache_are_copied_as_files(brought: Path, models: Path, tmp_path: Path) -> None:
    (brought / "unet" / HALF).rename(tmp_path / "blob")
    (brought / "unet" / HALF).symlink_to(tmp_path / "blob")
    folder = copy(CATALOGUE["sd15-lcm"], brought)
    assert not (folder / "unet" / PLAIN).is_symlink() and look(CATALOGUE["sd15-lcm"]).state == State.WHOLE


def test_a_pipeline_without_what_makes_it_quick_is_not_the_model(brought: Path, models: Path) -> None:
    (brought / "meetviz/lora/pytorch_lora_weights.safetensors").unlink()
    assert "meetviz/lora/pytorch_lora_weights.safetensors" in refused("sd15-lcm", brought)


def test_another_family_is_refused_by_its_name(tmp_path: Path, models: Path) -> None:
    folder = pipeline(tmp_path / "mine")
    accept(CATALOGUE["sd-turbo"], "this test")
    assert "it is of the family sd15 and not sd2" in refused("sd-turbo", folder)
    assert "it is of the family sd15 and not sdxs" in refused("sdxs", pipeline(tmp_path / "other", weights=PLAIN))


def test_weights_cut_short_are_refused(brought: Path, models: Path) -> None:
    whole = brought / "vae" / HALF
    whole.write_bytes(whole.read_bytes()[:-3])
    assert "cut short" in refused("sd15-lcm", brought)
    whole.write_bytes(b"")
    assert "is empty" in refused("sd15-lcm", brought)
