"""Which arithmetic is right and fast on which device: pure, so that it can be tested without the device.

GTX 16xx (and older cards without tensor cores): cuDNN's half-precision convolutions give NaN there, black pictures. So
weights rest in float16, to fit, and are cast to float32 layer by layer to compute. MPS: float16, but attention in
float32, whose scores overflow float16 there; never attention slicing (black pictures); one picture at a time.
CPU: bfloat16 where the instructions for it are (AVX512-BF16, AMX), else float32.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from workers.engines.base import EngineError
from workers.engines.paint.settings import PaintSettings
from workers.hardware import CudaDevice

DTYPES = ("float32", "float16", "bfloat16")
SCHEDULERS = ("auto", "lcm", "model")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


@dataclass(frozen=True, slots=True)
class Device:
    """What a painter computes on."""

    name: str
    """As torch calls it: `cpu`, `cuda`, `cuda:1`, `mps`."""
    card: CudaDevice | None = None
    fast_bfloat16: bool = False
    """Of the CPU: whether it has instructions for it."""

    @property
    def kind(self) -> str:
        return self.name.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Precision:
    compute: str
    """The UNet's and the autoencoder's arithmetic."""
    storage: str
    """What the UNet's weights rest in; cast layer by layer where it differs from `compute`."""
    text: str
    """The text encoders' arithmetic."""
    text_device: str
    upcast_attention: bool = False
    channels_last: bool = False
    compile: bool = False
    quantise: str = ""
    offload: bool = False
    can_offload: bool = False
    """Whether that could be done when memory runs out."""

    @property
    def half(self) -> bool:
        """Whether full precision could help against a black picture."""
        return self.compute != "float32"


def check_settings(settings: PaintSettings) -> None:
    """Raises EngineError `bad_setting` for a value that no painter of diffusers knows."""
    problems = [
        (bool(_DEVICE.fullmatch(settings.device)), "device must be auto, cpu, cuda, cuda:1 … or mps", settings.device),
        (settings.dtype in ("auto", *DTYPES), "dtype must be auto, float32, float16 or bfloat16", settings.dtype),
        (settings.storage in ("", *DTYPES), "storage must be empty, float32, float16 or bfloat16", settings.storage),
        (
            not settings.text_encoder_device or bool(_DEVICE.fullmatch(settings.text_encoder_device)),
            "text_encoder_device must be empty or a device",
            settings.text_encoder_device,
        ),
        (settings.scheduler in SCHEDULERS, "scheduler must be auto, lcm or model", settings.scheduler),
        (settings.quantise in ("", "int8"), "quantise must be empty or int8", settings.quantise),
        (settings.offload in ("", "model"), "offload must be empty or model", settings.offload),
    ]
    for right, rule, value in problems:
        if not right:
            raise EngineError("bad_setting", f"{rule}, not {value!r}")


def choose(settings: PaintSettings, device: Device) -> Precision:
    """The arithmetic for a device: as the settings say, else what is known to be right there.

    Raises EngineError `bad_setting` for what the device cannot do.
    """
    check_settings(settings)
    cuda, mps = device.kind == "cuda", device.kind == "mps"
    if settings.quantise and device.kind != "cpu":
        raise EngineError("bad_setting", "int8 is for CPUs. Leave `quantise` empty on a graphics card.")
    on_cpu = "bfloat16" if device.fast_bfloat16 else "float32"
    compute, storage = settings.dtype, settings.storage
    text_device = settings.text_encoder_device
    if settings.quantise:
        # int8 kernels take and give float32.
        compute = "float32"
    elif compute == "auto":
        if cuda and device.card is not None and not device.card.fast_half_precision:
            compute, storage = "float32", storage or "float16"
            text_device = text_device or "cpu"
        elif cuda or mps:
            compute = "float16"
        else:
            compute = on_cpu
    text_device = device.name if text_device in ("", "auto") else text_device
    return Precision(
        compute=compute,
        storage=storage or compute,
        text=on_cpu if text_device == "cpu" != device.kind else compute,
        text_device=text_device,
        upcast_attention=mps and compute == "float16",
        channels_last=settings.channels_last,
        # Neither Metal nor int8 modules compile well.
        compile=settings.compile and not mps and not settings.quantise,
        quantise=settings.quantise,
        offload=cuda and settings.offload == "model",
        can_offload=cuda,
    )


def best_device(asked: str, *, cuda: bool, mps: bool) -> str:
    """Where to compute. Raises EngineError `bad_setting` when what was asked for is not there."""
    if asked == "auto":
        return "cuda" if cuda else "mps" if mps else "cpu"
    if (asked.startswith("cuda") and not cuda) or (asked == "mps" and not mps):
        raise EngineError(
            "bad_setting", f"This host has no {asked} that torch can use. Set the device to auto or cpu, or install it."
        )
    return asked
