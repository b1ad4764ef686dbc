"""Which paint model is in a folder: by its configuration and the headers of its weights; nothing is loaded."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from workers.models.entries import Family, Model, without_variant

WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors")
LARGEST_HEADER_BYTES = 100_000_000
"""The safetensors format's own limit."""
_SMALL_UNET = 600_000_000
"""SDXS's UNet has 0.33 billion weights, that of SD 2.1 and SD-Turbo, with the same text encoder, 0.87 billion."""
_FAMILY_BY_TEXT_WIDTH = {768: Family.SD15, 1024: Family.SD2, 2048: Family.SDXL}
"""Width of the text encodings that a UNet attends to: CLIP ViT-L, OpenCLIP ViT-H, both encoders of SDXL together."""


def family_of(folder: Path) -> Family:
    """Which family a folder's diffusers pipeline belongs to, wherever it came from.

    Raises ValueError with the reason where there is no whole pipeline of Stable Diffusion in it.
    """
    kind = str(_json(folder / "model_index.json").get("_class_name", ""))
    if not kind.startswith("StableDiffusion"):
        raise ValueError(f"its pipeline is {kind or 'of no kind'} and not one of Stable Diffusion")
    width = _json(folder / "unet" / "config.json").get("cross_attention_dim")
    family = _FAMILY_BY_TEXT_WIDTH.get(width) if isinstance(width, int) else None
    if family is None:
        raise ValueError(f"its UNet is of another kind (cross_attention_dim {width})")
    if (family == Family.SDXL) != kind.startswith("StableDiffusionXL"):
        raise ValueError("its pipeline and its UNet do not belong together")
    weights = next((file for name in WEIGHTS if (file := folder / "unet" / name).is_file()), None)
    if weights is None:
        raise ValueError("its UNet has no safetensors weights")
    if family == Family.SD2 and count_weights(weights) < _SMALL_UNET:
        return Family.SDXS
    return family


def count_weights(file: Path) -> int:
    """How many numbers a safetensors file holds, by its header. Raises ValueError where it is not whole or none.

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
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        end = max((entry["data_offsets"][1] for entry in tensors), default=0)
        count = sum(int(math.prod(entry["shape"])) for entry in tensors)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise ValueError(f"{file.name} is no safetensors file") from None
    if size < 8 + header_bytes + end:
        raise ValueError(f"{file.name} is cut short")
    return count


def check_paint(model: Model, files: dict[str, Path], folder: Path) -> None:
    """Look over what somebody brought. `files`: by their places in the model's folder.

    Raises ValueError with the reason where it is not this model.
    """
    for place, file in files.items():
        if place.endswith(".safetensors"):
            count_weights(file)
    family = family_of(folder)
    if family != model.family:
        raise ValueError(f"it is of the family {family} and not {model.family}")


def brought_files(model: Model, folder: Path) -> dict[str, Path]:
    """The files of a folder that belong to the model, by their places in the model's own folder.

    Of a file in two editions the one in half precision counts. Folders that are links, and hidden ones, are passed by.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        file = path.relative_to(folder).as_posix()
        place = without_variant(file)
        if path.is_file() and model.wants(place) and (place not in found or place != file):
            found[place] = path
    return found


def _json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(f"its {file.name} cannot be read") from None
    if not isinstance(values, dict):
        raise ValueError(f"its {file.name} is not what it should be")
    return values
