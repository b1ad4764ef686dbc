"""Is this folder the model it is said to be? A look at names, headers and shapes; no weights are loaded.

Only for folders that people bring: of what comes from the hub, the checksums are known.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from workers.models.catalogue import Model, Role
from workers.models.errors import ModelError, Trouble
from workers.models.paint_kind import brought_files, check_paint

_WHISPERS = {
    "whisper-tiny": (384, 4, 4),
    "whisper-base": (512, 6, 6),
    "whisper-small": (768, 12, 12),
    "whisper-medium": (1024, 24, 24),
    "whisper-large-v3": (1280, 32, 32),
    "whisper-large-v3-turbo": (1280, 32, 4),
    "distil-large-v3": (1280, 32, 2),
}
"""Width of the model, layers of the encoder, layers of the decoder, from the models' published configurations."""
_LONGEST_NAME = 1_000
_MOST_VARIABLES = 100_000


def check_kind(model: Model, folder: Path) -> None:
    """Raises ModelError `wrong_kind` when the folder does not hold this model."""
    if not folder.is_dir():
        raise _wrong(model, folder, "there is no such folder")
    files = brought_files(model, folder)
    if lacking := model.lacks(files):
        raise _wrong(model, folder, f"it lacks {', '.join(lacking)}")
    if empty := [name for name, file in files.items() if not file.stat().st_size]:
        raise _wrong(model, folder, f"{empty[0]} is empty")
    if model.role == Role.SPEECH:
        _check_whisper(model, folder)
    elif model.role == Role.PAINT:
        try:
            check_paint(model, files, folder)
        except ValueError as error:
            raise _wrong(model, folder, str(error)) from None
    elif "ECAPA_TDNN" not in (folder / "hyperparams.yaml").read_text(encoding="utf-8", errors="replace"):
        raise _wrong(model, folder, "its hyperparams.yaml does not speak of ECAPA_TDNN")


def _check_whisper(model: Model, folder: Path) -> None:
    try:
        shape = whisper_shape(folder / "model.bin")
    except (ValueError, struct.error, OSError):
        raise _wrong(model, folder, "model.bin is not a whole Whisper model of CTranslate2") from None
    if shape != _WHISPERS[model.name]:
        named = next((name for name, known in _WHISPERS.items() if known == shape), "another model")
        raise _wrong(model, folder, f"it is {named}")


def whisper_shape(file: Path) -> tuple[int, int, int]:
    """Width, encoder layers and decoder layers of a CTranslate2 Whisper, from the names and shapes in its model.bin.

    The format (ctranslate2/specs/model_spec.py, `_serialize`): version, name of the specification, revision, number of
    variables; then for each its name, number of dimensions, dimensions, type, bytes, data. Raises ValueError,
    struct.error.
    """
    width, encoder, decoder = 0, set[str](), set[str]()
    size = file.stat().st_size
    with file.open("rb") as stream:
        _version = _read(stream, "<I")
        if _text(stream) != "WhisperSpec":
            raise ValueError("another specification")
        _revision = _read(stream, "<I")
        count = _read(stream, "<I")
        if count > _MOST_VARIABLES:
            raise ValueError("no number of variables")
        for _ in range(count):
            name = _text(stream)
            dimensions = [_read(stream, "<I") for _ in range(_read(stream, "<B"))]
            _kind = _read(stream, "<B")
            stream.seek(_read(stream, "<I"), 1)
            parts = name.split("/")
            if parts[0] in ("encoder", "decoder") and len(parts) > 1 and parts[1].startswith("layer_"):
                (encoder if parts[0] == "encoder" else decoder).add(parts[1].removeprefix("layer_"))
            if name == "encoder/conv1/weight":
                width = dimensions[0]
        if stream.tell() > size:
            raise ValueError("cut short")
    return width, _layers(encoder), _layers(decoder)


def _layers(found: set[str]) -> int:
    return len([name for name in found if name.isdigit()])


def _read(stream: BinaryIO, layout: str) -> int:
    (value,) = struct.unpack(layout, stream.read(struct.calcsize(layout)))
    return int(value)


def _text(stream: BinaryIO) -> str:
    length = _read(stream, "<H")
    if length > _LONGEST_NAME:
        raise ValueError("no name")
    return stream.read(length).rstrip(b"\0").decode("utf-8", "replace")


def _wrong(model: Model, folder: Path, why: str) -> ModelError:
    message = f"{folder} is not {model.name}: {why}."
    return ModelError(Trouble.WRONG_KIND, message, folder=folder, model=model.name, why=why)
