"""A model's folder on disk, looked over before anything is loaded: whole, and without pickles.

Pickled weights (`.bin`, `.ckpt`) can run code when they are opened, so they are never loaded. Cheap: reads names and
the headers of safetensors files (about 100 kB each), no weights.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workers.engines.base import EngineError

WHAT_TO_DO = "Copy the whole folder of the model here, with its safetensors files."
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
SPARE = frozenset({"safety_checker", "feature_extractor", "image_encoder"})
"""Parts that a pipeline can do without."""
LARGEST_HEADER_BYTES = 100_000_000
"""The safetensors format's own limit."""
CONTROLS = ("depth", "canny", "scribble")
MARKS: dict[str, tuple[str, ...]] = {
    "unet": ("time_embedding.", "up_blocks."),
    "vae": ("decoder.",),
    "text_encoder": ("token_embedding.weight",),
    "text_encoder_2": ("token_embedding.weight",),
    "image_encoder": ("patch_embedding.weight",),
    "controlnet": ("controlnet_cond_embedding.",),
    "lora": ("lora",),
    "ip_adapter": ("image_proj.", "ip_adapter."),
}
"""What some tensor's name contains in a file of each kind, so that a file of another kind is noticed by its header."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """What is in a paint model's folder, looked over."""

    path: Path
    parts: frozenset[str]
    """Of the diffusers pipeline."""
    variant: str | None
    tiny_vae: Path | None = None
    loras: tuple[Path, ...] = ()
    """Files, to be fused."""
    unet: tuple[Path, ...] = ()
    """Files of a state dict that takes the place of the pipeline's own UNet."""
    ip_adapter: Path | None = None
    """A file; its image encoder lies beside it."""
    controlnets: dict[str, Path] = field(default_factory=dict)
    """Folders, by what they follow: `depth`, `canny`, `scribble`."""
    depth_estimator: Path | None = None


def survey(folder: Path) -> ModelFolder:
    """Look over a whole folder: the pipeline and all that may lie in `meetviz/`.

    Raises EngineError `model_missing`, naming the part, when something is not whole, pickled, or something else.
    """
    extras = folder / "meetviz"
    unet = _files(extras / "unet", "unet")
    parts = check_pipeline(folder, elsewhere=("unet",) if unet else ())
    tiny_vae = extras / "tiny_vae"
    if tiny_vae.is_dir():
        check_weights(tiny_vae, "vae")
    adapters = [file for file in _files(extras / "ip_adapter") if file.name.startswith("ip-adapter")]
    if adapters:
        _check_marks(adapters[:1], "ip_adapter")
        check_weights(extras / "ip_adapter" / "image_encoder", "image_encoder")
    controlnets = {use: extras / "controlnet" / use for use in CONTROLS if (extras / "controlnet" / use).is_dir()}
    for controlnet in controlnets.values():
        check_weights(controlnet, "controlnet")
    depth_estimator = extras / "depth_estimator"
    if depth_estimator.is_dir():
        check_weights(depth_estimator)
    return ModelFolder(
        path=folder,
        parts=parts,
        variant=variant_of(folder, parts - {"unet"} if unet else parts),
        tiny_vae=tiny_vae if tiny_vae.is_dir() else None,
        loras=_files(extras / "lora", "lora", each=True),
        unet=unet,
        ip_adapter=adapters[0] if adapters else None,
        controlnets=controlnets,
        depth_estimator=depth_estimator if depth_estimator.is_dir() else None,
    )


def check_pipeline(folder: Path, elsewhere: Collection[str] = ()) -> frozenset[str]:
    """The names of the parts that a diffusers pipeline's folder really has.

    `elsewhere`: parts whose weights are not in it; their config is. Raises EngineError `model_missing` when the folder
    is not there, not whole, or has only pickled weights.
    """
    index_file = folder / "model_index.json"
    if not index_file.is_file():
        raise missing(folder, "there is no model in it (no model_index.json)" if folder.is_dir() else "no such folder")
    index = read_json(index_file)
    parts = {
        name
        for name, value in index.items()
        if not name.startswith("_") and isinstance(value, list) and len(value) == 2 and value[0]
    }
    found = {name for name in parts if (folder / name).is_dir()}
    if lacking := sorted(parts - found - SPARE):
        raise missing(folder, f"it lacks {', '.join(lacking)}")
    for name in found:
        if (folder / name / "config.json").is_file() and name not in elsewhere:
            check_weights(folder / name, name)
    return frozenset(found)


def check_weights(folder: Path, kind: str = "") -> None:
    """Look over one model's folder: its safetensors files are there, whole, and (where MARKS knows it) of this kind.

    Raises EngineError `model_missing`.
    """
    if not (folder / "config.json").is_file():
        raise missing(folder, "there is no model in it (no config.json)" if folder.is_dir() else "no such folder")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise _without_weights(folder)
    _check_marks(files, kind)
    for index_file in folder.glob("*.safetensors.index*.json"):
        shards = set(read_json(index_file).get("weight_map", {}).values())
        if lacking := sorted(shards - {file.name for file in files}):
            raise missing(folder, f"it lacks {', '.join(lacking)}")


def check_safetensors(file: Path) -> frozenset[str]:
    """Compare a file's length with what its header says; the names of its tensors.

    The format: eight bytes with the header's length (little-endian), the header in JSON, then the tensors, whose places
    the header gives as `data_offsets`. Raises EngineError `model_missing` when it is cut short or something else.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            (header_bytes,) = struct.unpack("<Q", stream.read(8))
            if header_bytes > min(size, LARGEST_HEADER_BYTES):
                raise ValueError("header longer than the file")
            header = json.loads(stream.read(header_bytes))
        ends = {name: entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"}
        whole = size >= 8 + header_bytes + max(ends.values(), default=0)
    except (
        OSError,
        struct.error,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise missing(file, "it is damaged, only half downloaded, or no safetensors file") from error
    if not whole:
        raise missing(file, "it is only half downloaded")
    return frozenset(ends)


def variant_of(folder: Path, parts: Iterable[str]) -> str | None:
    """`fp16` when the weights are there only in that variant, as many repositories ship them; else None."""
    for name in sorted(parts):
        files = [file.name for file in (folder / name).glob("*.safetensors")]
        if files and all(".fp16" in file for file in files):
            return "fp16"
    return None


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a model's folder. Raises EngineError `model_missing` when it is not one."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise missing(file.parent, f"{file.name} cannot be read") from error
    if not isinstance(values, dict):
        raise missing(file.parent, f"{file.name} is not what it should be")
    return values


def missing(place: Path, why: str) -> EngineError:
    return EngineError("model_missing", f"The paint model at {place} cannot be used: {why}. {WHAT_TO_DO}")


def _files(folder: Path, kind: str = "", *, each: bool = False) -> tuple[Path, ...]:
    """The safetensors files of a folder that may not be there; `each`: every one of them must be of this kind."""
    if not folder.is_dir():
        return ()
    files = tuple(sorted(folder.glob("*.safetensors")))
    if not files:
        raise _without_weights(folder)
    for group in [(file,) for file in files] if each else [files]:
        _check_marks(group, kind)
    return files


def _check_marks(files: Iterable[Path], kind: str) -> None:
    files = list(files)
    names = frozenset[str]().union(*(check_safetensors(file) for file in files))
    for mark in MARKS.get(kind, ()):
        if not any(mark in name for name in names):
            raise missing(files[0], f"this is another kind of file than {_article(kind)}")


def _article(kind: str) -> str:
    return {"lora": "a LoRA", "ip_adapter": "an IP-Adapter", "controlnet": "a ControlNet"}.get(
        kind, f"the weights of a {kind.removesuffix('_2').replace('_', ' ')}"
    )


def _without_weights(folder: Path) -> EngineError:
    if any(file.suffix in PICKLES for file in folder.iterdir()):
        return missing(folder, "it has only pickled weights, which are never loaded; take the safetensors edition")
    return missing(folder, "its weights are not there")
