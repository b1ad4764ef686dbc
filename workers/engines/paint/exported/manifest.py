"""What stands in `onnx/export.json`: how a model was exported, and whether that is still whole and of this model."""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from workers.engines.base import EngineError
from workers.engines.paint.diffusion.families import Family

FOLDER, FILE = "onnx", "export.json"
FORMAT = 1
"""Of the graphs' inputs and outputs, and of this file. Another one has to be exported again."""
TEXT, UNET, DECODER, ENCODER, CHECKER = "text_encoder", "unet", "vae_decoder", "vae_encoder", "safety_checker"
NEEDED = (TEXT, UNET, DECODER)
_TELLING = ("model_index.json", "unet", "vae", "text_encoder", "text_encoder_2", "safety_checker", "meetviz")
"""What an export was made of."""


@dataclass(frozen=True, slots=True)
class Manifest:
    model: str
    family: dict[str, Any]
    """Fields of `diffusion.families.Family`."""
    width_px: int
    height_px: int
    channels: int
    """Of the latents; their sides are an eighth of the picture's."""
    guidance_channels: int
    """Of the embedding of guidance that the UNet takes; 0 where it takes none."""
    scheduler: str
    """Name of a class of diffusers."""
    scheduler_config: dict[str, Any]
    decoder: str
    """`tiny` or `full`."""
    weights: str
    """How they are stored: `exact` (float16 where that holds the same values, else float32) or `int8`."""
    zero_negative: bool
    """An empty negative prompt is no embedding of nothing, but zeros (SDXL)."""
    files: dict[str, int]
    """Names of all files beside this one, and their bytes."""
    source: str
    """SHA-256 of the source's configuration and of names and sizes of its weights; see `fingerprint`."""
    opset: int
    versions: dict[str, str] = field(default_factory=dict)
    """Of the libraries that made it."""
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")

    @property
    def wants(self) -> Family:
        """How the model wants to be run."""
        return Family(**(self.family | {"own_size": (self.width_px, self.height_px)}))

    @property
    def can_start_from_image(self) -> bool:
        return f"{ENCODER}.onnx" in self.files

    @property
    def checks(self) -> bool:
        """Whether the model came with a checker of its pictures."""
        return f"{CHECKER}.onnx" in self.files


def read(model_folder: Path) -> Manifest:
    """The export in a model's folder, looked over: whole, of this version, of the model as it is now.

    Cheap: no weights are read. Raises EngineError `model_missing`.
    """
    folder = model_folder / FOLDER
    if not model_folder.is_dir():
        raise missing(model_folder, "there is no such folder")
    if not folder.is_dir():
        raise missing(model_folder, "it was not exported yet")
    try:
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
        made = values["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise missing(model_folder, "its export is not whole") from error
    if made != FORMAT:
        raise missing(model_folder, "its export is of another version of MeetViz")
    try:
        known = {part.name for part in fields(Manifest)}
        kept = {name: value for name, value in values.items() if name in known}
        manifest = _checked(Manifest(**kept))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise missing(model_folder, "its export is damaged") from error
    for name, size in manifest.files.items():
        file = folder / name
        if Path(name).name != name or not file.is_file() or file.stat().st_size != size:
            raise missing(model_folder, f"its export is not whole ({name})")
    # A server may have been given nothing but the export, the tokenizer and the index.
    if (model_folder / "unet").is_dir() and manifest.source != fingerprint(model_folder):
        raise missing(model_folder, "the model was changed after its export")
    if not (model_folder / "tokenizer").is_dir():
        raise missing(model_folder, "its tokenizer is not there")
    return manifest


def fingerprint(model_folder: Path) -> str:
    """What tells a model from another without reading its weights: SHA-256 in hex."""
    digest = hashlib.sha256()
    for name in _TELLING:
        place = model_folder / name
        for file in [place] if place.is_file() else sorted(place.rglob("*")):
            # What is added for other painters makes an export no older.
            relative = file.relative_to(model_folder).as_posix()
            if relative.startswith(("meetviz/ip_adapter", "meetviz/controlnet", "meetviz/depth_estimator")):
                continue
            if file.name.endswith("config.json") or file.name == "model_index.json":
                digest.update(relative.encode() + b"\0" + file.read_bytes() + b"\0")
            elif file.suffix == ".safetensors":
                digest.update(f"{relative}\0{file.stat().st_size}\0".encode())
    return digest.hexdigest()


def _checked(manifest: Manifest) -> Manifest:
    """Raises ValueError where values cannot be right."""
    sizes = (manifest.width_px, manifest.height_px, manifest.channels)
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError("sizes")
    Family(**manifest.family)
    if not all(f"{name}.onnx" in manifest.files for name in NEEDED):
        raise ValueError("files")
    if not isinstance(manifest.scheduler_config, dict) or not manifest.scheduler.isidentifier():
        raise ValueError("scheduler")
    return manifest


def missing(model_folder: Path, why: str) -> EngineError:
    return EngineError(
        "model_missing",
        f"The paint model at {model_folder} cannot be used by ONNX: {why}. "
        f"Run: manage.py models export {shlex.quote(str(model_folder))}",
    )
