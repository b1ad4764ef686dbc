"""A model's folder on disk, looked over before anything is loaded: whole, and without pickles.

Pickled weights (`.bin`, `.ckpt`) can run code when they are opened, so they are never loaded. Cheap: reads names and
the few bytes of safetensors headers, no weights.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from workers.engines.base import EngineError

WHAT_TO_DO = "Copy the whole folder of the model here, with its safetensors files."
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
SPARE = frozenset({"safety_checker", "feature_extractor", "image_encoder"})
"""Parts that a pipeline can do without."""
LARGEST_HEADER_BYTES = 100_000_000
"""The safetensors format's own limit."""


def check_pipeline(folder: Path) -> frozenset[str]:
    """The names of the parts that a diffusers pipeline's folder really has.

    Raises EngineError `model_missing` when the folder is not there, not whole, or has only pickled weights.
    """
    index_file = folder / "model_index.json"
    if not index_file.is_file():
        raise _missing(folder, "there is no model in it (no model_index.json)" if folder.is_dir() else "no such folder")
    index = _read_json(index_file, folder)
    parts = {
        name
        for name, value in index.items()
        if not name.startswith("_") and isinstance(value, list) and len(value) == 2 and value[0]
    }
    found = {name for name in parts if (folder / name).is_dir()}
    if lacking := sorted(parts - found - SPARE):
        raise _missing(folder, f"it lacks {', '.join(lacking)}")
    for name in found:
        if (folder / name / "config.json").is_file():
            check_weights(folder / name)
    return frozenset(found)


def check_weights(folder: Path) -> None:
    """Look over one model's folder: its safetensors files are there and whole. Raises EngineError `model_missing`."""
    if not (folder / "config.json").is_file():
        raise _missing(folder, "there is no model in it (no config.json)" if folder.is_dir() else "no such folder")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        if any(file.suffix in PICKLES for file in folder.iterdir()):
            raise _missing(folder, "it has only pickled weights, which are never loaded; take the safetensors edition")
        raise _missing(folder, "its weights are not there")
    for file in files:
        check_safetensors(file)
    for index_file in folder.glob("*.safetensors.index*.json"):
        shards = set(_read_json(index_file, folder).get("weight_map", {}).values())
        if lacking := sorted(shards - {file.name for file in files}):
            raise _missing(folder, f"it lacks {', '.join(lacking)}")


def check_safetensors(file: Path) -> None:
    """Compare a file's length with what its header says. Raises EngineError `model_missing` when it is cut short.

    The format: eight bytes with the header's length (little-endian), the header in JSON, then the tensors, whose places
    the header gives as `data_offsets`.
    """
    size = file.stat().st_size
    try:
        with file.open("rb") as stream:
            (header_bytes,) = struct.unpack("<Q", stream.read(8))
            if header_bytes > min(size, LARGEST_HEADER_BYTES):
                raise ValueError("header longer than the file")
            header = json.loads(stream.read(header_bytes))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _missing(file, "it is damaged or only half downloaded") from error
    if size < 8 + header_bytes + max(ends, default=0):
        raise _missing(file, "it is only half downloaded")


def variant_of(folder: Path, parts: frozenset[str]) -> str | None:
    """`fp16` when the weights are there only in that variant, as many repositories ship them; else None."""
    for name in sorted(parts):
        files = [file.name for file in (folder / name).glob("*.safetensors")]
        if files and all(".fp16" in file for file in files):
            return "fp16"
    return None


def _read_json(file: Path, folder: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _missing(folder, f"{file.name} cannot be read") from error
    if not isinstance(values, dict):
        raise _missing(folder, f"{file.name} is not what it should be")
    return values


def _missing(place: Path, why: str) -> EngineError:
    return EngineError("model_missing", f"The paint model at {place} cannot be used: {why}. {WHAT_TO_DO}")
