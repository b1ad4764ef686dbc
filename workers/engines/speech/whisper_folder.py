"""A faster-whisper model's folder, looked over before anything is loaded: what it is, and whether it is whole.

Cheap: names, two small JSON files and the headers in `model.bin`. Everything must be there already: the library would
fetch a missing tokenizer by itself.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.engines.base import EngineError
from workers.models.catalogue import CATALOGUE
from workers.models.kind import whisper_shape

NEEDED = ("model.bin", "config.json", "tokenizer.json")
_VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
_OTHER_KINDS = ("model.safetensors", "pytorch_model.bin", "model.pt")
_DISTILLED_LAYERS = 2
"""Of the decoder; only distilled models have so few, and the published ones know English alone."""


@dataclass(frozen=True, slots=True)
class WhisperFacts:
    languages: tuple[str, ...]
    """`("en",)`, or empty: about a hundred."""
    translates: bool


def look_over(folder: Path) -> WhisperFacts:
    """What the model in this folder can do. Raises EngineError `model_missing` when it is not whole or not one."""
    if not folder.is_dir():
        raise missing(folder, "there is no such folder")
    lacking = [name for name in NEEDED if not (folder / name).is_file()]
    vocabulary = next((folder / name for name in _VOCABULARIES if (folder / name).is_file()), None)
    if vocabulary is None:
        lacking.append(_VOCABULARIES[0])
    if "model.bin" in lacking and any((folder / name).is_file() for name in _OTHER_KINDS):
        raise missing(folder, "its weights are in another program's format; it takes CTranslate2's model.bin")
    if lacking or vocabulary is None:
        raise missing(folder, f"it lacks {', '.join(lacking)}")
    try:
        _, encoder_layers, decoder_layers = whisper_shape(folder / "model.bin")
    except (ValueError, struct.error, OSError):
        raise missing(folder, "model.bin is damaged, only half downloaded, or no Whisper model") from None
    config = _read_json(folder, "config.json")
    if not isinstance(config, dict) or not config.get("alignment_heads"):
        # Without them there are no word times.
        raise missing(folder, "config.json is not that of a Whisper model made by a recent CTranslate2")
    multilingual = _is_multilingual(folder, vocabulary)
    distilled = decoder_layers <= _DISTILLED_LAYERS and decoder_layers < encoder_layers
    return WhisperFacts(
        languages=() if multilingual and not distilled else ("en",),
        # OpenAI's models have as many layers on both sides; turbo and distilled ones, which lost some of the decoder's,
        # were trained anew without translations.
        translates=multilingual and decoder_layers == encoder_layers,
    )


def missing(folder: Path, why: str) -> EngineError:
    """The error for a model that cannot be used as it lies there."""
    name = folder.name if folder.name in CATALOGUE else "whisper-base"
    what_to_do = f"Get it with `manage.py models pull {name}`; `manage.py models list` shows what there is."
    return EngineError("model_missing", f"The speech model at {folder} cannot be used: {why}. {what_to_do}")


def _is_multilingual(folder: Path, vocabulary: Path) -> bool:
    """As CTranslate2 tells it: only multilingual vocabularies have an empty token (Whisper's number 50256)."""
    if vocabulary.suffix == ".txt":
        try:
            return "" in vocabulary.read_text(encoding="utf-8").rstrip("\n").split("\n")
        except (OSError, ValueError):
            raise missing(folder, f"{vocabulary.name} cannot be read") from None
    return "" in _read_json(folder, vocabulary.name)


def _read_json(folder: Path, name: str) -> Any:
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise missing(folder, f"{name} cannot be read") from None
