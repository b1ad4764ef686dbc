"""How a host runs a paint model: the settings that a hardware profile gives to whichever painter loads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.engines.base import EngineError


@dataclass(frozen=True, slots=True)
class PaintSettings:
    """All of it can be spelled in JSON. Empty or 0: the painter's own choice for the model and the device."""

    profile: str = ""
    """Name of the profile that these come from."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`."""
    dtype: str = "auto"
    """What it computes in: `auto`, `float32`, `float16`, `bfloat16`."""
    storage: str = ""
    """What the UNet's weights rest in where that differs: `float16` with float32 arithmetic on GTX 16xx."""
    text_encoder_device: str = ""
    """`cpu` keeps the text encoders off a small card; prompts are encoded once and kept."""
    scheduler: str = "auto"
    """`lcm`, `model` (the model's own), `auto`: LCM where a distillation LoRA is fused, for that is what it is for."""
    width_px: int = 0
    height_px: int = 0
    steps: int = 0
    tiny_vae: bool = True
    """Decode with the tiny autoencoder where the model's folder has one."""
    finish: bool = False
    """Keep the last latents, to decode them in full when nobody waits."""
    channels_last: bool = False
    compile: bool = False
    quantise: str = ""
    """`int8`: the UNet's and text encoder's linear layers."""
    offload: str = ""
    """`model`: parts rest in main memory and come to the card when they work."""
    runtime: str = ""
    """Of an exported model: `openvino` or `onnxruntime`."""
    threads: int = 0
    """Of the libraries that compute on the CPU."""


def settings_from(asked: Mapping[str, Any]) -> PaintSettings:
    """The settings with these values and its own for the rest.

    Raises EngineError `bad_setting` for a name that it does not have, a value of another type, or a negative number.
    """
    kinds = {field.name: field.type for field in dataclasses.fields(PaintSettings)}
    for name, value in asked.items():
        if name not in kinds:
            raise EngineError("bad_setting", f"A painter has no setting {name!r}, only {', '.join(kinds)}")
        if type(value).__name__ != kinds[name]:
            raise EngineError("bad_setting", f"{name} must be {kinds[name]}, not {value!r}")
        if isinstance(value, int) and value < 0:
            raise EngineError("bad_setting", f"{name} must not be below 0, but is {value!r}")
    return PaintSettings(**asked)
