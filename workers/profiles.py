"""Hardware profiles: which models a machine runs and how, decided from what it has. Pure: plain values in and out.

| profile | for | paints with |
|---|---|---|
| `laptop-cuda` | NVIDIA cards of 4 to 10 GB | SD 1.5 + LCM, 512 x 512 |
| `laptop-mps` | Macs with Apple's own chips | SD 1.5 + LCM, 512 x 512 |
| `gpu-server` | NVIDIA cards of 11 GB and more | SDXL + Lightning or LCM, 1024 x 1024 |
| `cpu-server` | no card, two cores and more | one-step SDXS, or SD 1.5 + LCM; exported where it was exported |
| `demo` | less than that | the poster |

Models whose licence somebody has to accept first are in no profile's order: they paint only where somebody names them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from workers.engines.paint.settings import PaintSettings
from workers.hardware import CudaDevice, Hardware
from workers.models.catalogue import CATALOGUE
from workers.models.entries import Family, Model

DEMO = "demo"

CARD_LEAST_MB = 3_500
"""SD 1.5 in float16 with the text encoder elsewhere: 1.7 GB of weights, 1 GB for a picture, 0.4 GB for CUDA itself.
Cards report a little less than what is on their box, so the steps below lie between the sizes that are sold."""
CARD_6_GB_MB = 5_500
CARD_8_GB_MB = 7_500
CARD_12_GB_MB = 11_000
"""SDXL whole: 7 GB of weights in float16, and 2 GB for a picture of 1024 x 1024."""
CARD_16_GB_MB = 15_000
"""SDXL, and Whisper large-v3 (4.5 GB in float16) beside it."""
CARD_24_GB_MB = 20_000
UNIFIED_LARGE_MB = 24_000
"""Memory of a Mac that SDXL may have a share of."""
CPU_SHARE = 0.75
"""Of the main memory that a painter may take."""
WORKING_MB = 1_000
"""Of a model's `memory_mb`, what is not weights and does not grow with their precision."""
MANY_CORES = 6
"""From here on four steps of SD 1.5 fit a deadline of 10 s with time to spare. Measured on two cores, one step of the
same size: 4 s in float32 by torch and 2.5 s by OpenVINO, 1 s and 0.6 s in bfloat16 with AMX (docs/measurements.md)."""

_SPEECH_LARGE = (
    "whisper-large-v3",
    "whisper-large-v3-turbo",
    "whisper-medium",
    "whisper-small",
    "whisper-base",
    # English alone is less than any of those can do.
    "whisper-tiny",
    "distil-large-v3",
)
_SPEECH_BESIDE_SDXL = (
    "whisper-medium",
    "whisper-small",
    "whisper-large-v3-turbo",
    "whisper-large-v3",
    "whisper-base",
    "whisper-tiny",
    "distil-large-v3",
)
_SPEECH_BESIDE_SD15 = (
    "whisper-small",
    "whisper-base",
    # What is larger takes memory that pictures need, and yet is better than the built-in engine.
    "whisper-medium",
    "whisper-large-v3-turbo",
    "whisper-large-v3",
    "whisper-tiny",
    "distil-large-v3",
)
_SPEECH_SMALL = ("whisper-small", "whisper-base", "whisper-tiny")
_SPEECH_BASE = ("whisper-base", "whisper-tiny", "whisper-small")
_SPEECH_TINY = ("whisper-tiny", "whisper-base")


@dataclass(frozen=True, slots=True)
class Reason:
    """One sentence about why, as a code: commands and pages have the words in their reader's language."""

    code: str
    values: dict[str, str] = field(default_factory=dict, hash=False)
    """What the sentence names: a card, gigabytes, cores."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a machine runs, and how."""

    name: str
    paint: tuple[str, ...]
    """Paint models of the catalogue that it runs well, best first; none whose licence has to be accepted first."""
    speech: tuple[str, ...]
    """Speech models that it keeps up with, best first."""
    voice: tuple[str, ...] = ("ecapa-voxceleb",)
    small: PaintSettings = field(default_factory=PaintSettings)
    """How it runs SD 1.5, SD 2.1 and their like."""
    large: PaintSettings = field(default_factory=PaintSettings)
    """How it runs SDXL and its like, where somebody wants it at all costs, too."""
    steps: int = 0
    """Of models with a LoRA for few steps, where it can afford other than the usual number."""
    why: tuple[Reason, ...] = ()

    @property
    def on_cpu(self) -> bool:
        """Whether pictures are computed by the processor: exported models are quicker there."""
        return self.small.device == "cpu"

    def settings_for(self, model: str | None, family: Family | None = None) -> PaintSettings:
        """How to run a model of the catalogue, or (None) of this family from a folder of somebody's own."""
        known: Model | None = CATALOGUE.get(model) if model else None
        family = known.family if known else family
        settings = replace(self.large if family == Family.SDXL else self.small, profile=self.name)
        if known is None:
            # Steps and size follow from what lies in the folder, which only the painter sees.
            return settings
        steps = self.steps if self.steps and known.steps > 1 and family != Family.SDXL else known.steps
        return replace(settings, steps=steps, width_px=known.width_px, height_px=known.height_px)


def choose(machine: Hardware) -> Profile:
    """The profile for a machine."""
    card = best_card(machine)
    if card is not None:
        return gpu_server(machine) if card.memory_mb >= CARD_12_GB_MB else laptop_cuda(machine)
    if machine.mps:
        return laptop_mps(machine)
    profile = cpu_server(machine)
    return profile if profile.paint else demo(machine)


def named(name: str, machine: Hardware) -> Profile:
    """The profile that somebody asked for, fitted to the machine as far as that goes. Raises KeyError."""
    profile = PROFILES[name](machine)
    if name == DEMO:
        # Asked for, it means the engines that need nothing; on a small machine it only means the painter.
        profile = replace(profile, speech=(), voice=())
    return replace(profile, why=(Reason("asked_for", {"setting": f"MEETVIZ_PROFILE={name}"}),))


def best_card(machine: Hardware) -> CudaDevice | None:
    """The card to paint with: the largest; of equals the last, for hearing takes the first. None: none is enough."""
    fitting = [card for card in machine.cuda if card.memory_mb >= CARD_LEAST_MB]
    return max(fitting, key=lambda card: (card.memory_mb, card.index), default=None)


def _device(card: CudaDevice | None) -> str:
    if card is None:
        return "auto"
    return f"cuda:{card.index}" if card.index else "cuda"


def _dtype(card: CudaDevice | None) -> str:
    """Without a card the painter finds out what there is."""
    if card is None:
        return "auto"
    return "float16" if card.fast_half_precision else "float32"


def _storage(card: CudaDevice | None) -> str:
    """cuDNN's half-precision convolutions give NaN on GTX 16xx, and older cards are slower in it: weights rest in
    float16, which halves them, and are widened layer by layer."""
    return "" if card is None or card.fast_half_precision else "float16"


def _about(card: CudaDevice | None) -> dict[str, str]:
    return {"card": card.name, "gb": str(round(card.memory_mb / 1024))} if card else {}


def laptop_cuda(machine: Hardware) -> Profile:
    """SD 1.5 + LCM; SDXL only from 8 GB on, its parts taking turns on the card."""
    card = best_card(machine)
    memory_mb = card.memory_mb if card else CARD_LEAST_MB
    half = card is not None and card.fast_half_precision
    small = PaintSettings(
        device=_device(card),
        dtype=_dtype(card),
        storage=_storage(card),
        text_encoder_device="" if card is None or (half and memory_mb >= CARD_6_GB_MB) else "cpu",
        finish=half and memory_mb >= CARD_8_GB_MB,
        channels_last=half,
        threads=_threads(machine, 4),
    )
    large = replace(small, offload="model", finish=False)
    paint: tuple[str, ...] = ("sd15-lcm", "sdxl-lightning", "sdxl-lcm", "sdxs")
    why = [Reason("card_small", _about(card))] if card else []
    if memory_mb < CARD_8_GB_MB:
        paint = ("sd15-lcm", "sdxs")
    if card is not None and not half:
        why.append(Reason("half_precision_fails" if card.half_precision_fails else "no_half_precision", _about(card)))
    if small.text_encoder_device == "cpu" and half:
        why.append(Reason("text_on_processor", _about(card)))
    return Profile(
        "laptop-cuda",
        paint,
        _SPEECH_BESIDE_SD15 if memory_mb >= CARD_6_GB_MB else _SPEECH_BASE,
        small=small,
        large=large,
        steps=6 if half and memory_mb >= CARD_6_GB_MB else 4,
        why=tuple(why),
    )


def laptop_mps(machine: Hardware) -> Profile:
    """SD 1.5 + LCM in half precision on Metal; words are heard by the processor."""
    roomy = machine.memory_mb >= UNIFIED_LARGE_MB
    settings = PaintSettings(
        device="mps" if machine.mps else "auto",
        dtype="float16" if machine.mps else "auto",
        finish=machine.memory_mb >= 15_000,
        threads=_threads(machine, 4),
    )
    return Profile(
        "laptop-mps",
        ("sd15-lcm", "sdxs", "sdxl-lightning", "sdxl-lcm") if roomy else ("sd15-lcm", "sdxs"),
        _heard_by_processor(machine),
        small=settings,
        large=replace(settings, finish=False),
        steps=4,
        why=(Reason("metal", {"gb": str(round(machine.memory_mb / 1024))}),),
    )


def gpu_server(machine: Hardware) -> Profile:
    """SDXL + Lightning or LCM at 1024 x 1024."""
    card = best_card(machine)
    memory_mb = card.memory_mb if card else 0
    half = card is None or card.fast_half_precision
    settings = PaintSettings(
        device=_device(card),
        dtype=_dtype(card),
        storage=_storage(card),
        finish=half,
        channels_last=half,
        # Compiling takes a minute at the first picture of a size: for machines that stay up.
        compile=half and memory_mb >= CARD_24_GB_MB and machine.system == "Linux",
        threads=_threads(machine, 4),
    )
    why = [Reason("card_large", _about(card))] if card else []
    if card is not None and not half:
        why.append(Reason("half_precision_fails" if card.half_precision_fails else "no_half_precision", _about(card)))
    alone = len(machine.cuda) > 1 or memory_mb >= CARD_16_GB_MB
    return Profile(
        "gpu-server",
        ("sdxl-lightning", "sdxl-lcm", "sd15-lcm", "sdxs"),
        _SPEECH_LARGE if alone else _SPEECH_BESIDE_SDXL,
        small=settings,
        large=settings,
        steps=8 if memory_mb >= CARD_24_GB_MB else 6,
        why=tuple(why),
    )


def cpu_server(machine: Hardware) -> Profile:
    """One step of a small model where steps are slow, four steps of SD 1.5 where they are quick."""
    settings = PaintSettings(
        device="cpu",
        dtype="bfloat16" if machine.bfloat16 else "float32",
        # The tiny decoder took a quarter of the time in bfloat16.
        channels_last=machine.bfloat16,
        threads=_threads(machine, machine.cores),
    )
    many = machine.cores >= MANY_CORES or (machine.bfloat16 and machine.matrix_units)
    order = ("sd15-lcm", "sdxs") if many else ("sdxs", "sd15-lcm")
    paint = tuple(name for name in order if machine.cores >= 2 and _fits_memory(CATALOGUE[name], machine))
    why = [
        Reason("no_card"),
        Reason("quick_processor" if many else "slow_processor", {"cores": str(machine.cores)}),
        Reason("bfloat16" if machine.bfloat16 else "single_precision"),
    ]
    return Profile(
        "cpu-server",
        paint,
        _heard_by_processor(machine),
        small=settings,
        large=settings,
        why=tuple(why),
    )


def demo(machine: Hardware) -> Profile:
    """The poster. A machine that is too small to paint may still hear with a small model."""
    gigabytes = str(round(machine.memory_mb / 1024))
    return Profile(
        DEMO,
        (),
        _heard_by_processor(machine),
        small=PaintSettings(device="cpu", threads=_threads(machine, machine.cores)),
        large=PaintSettings(device="cpu", threads=_threads(machine, machine.cores)),
        why=(Reason("too_small", {"cores": str(machine.cores), "gb": gigabytes}),),
    )


PROFILES: dict[str, Callable[[Hardware], Profile]] = {
    "laptop-cuda": laptop_cuda,
    "laptop-mps": laptop_mps,
    "gpu-server": gpu_server,
    "cpu-server": cpu_server,
    DEMO: demo,
}


def _heard_by_processor(machine: Hardware) -> tuple[str, ...]:
    """A card too small for pictures is still quick enough for words."""
    if machine.cores >= 4 or machine.cuda:
        return _SPEECH_SMALL
    return _SPEECH_BASE if machine.cores >= 2 else _SPEECH_TINY


def _threads(machine: Hardware, most: int) -> int:
    return max(1, min(most, machine.cores))


def _fits_memory(model: Model, machine: Hardware) -> bool:
    """`memory_mb` is in half precision; single precision doubles the weights."""
    weights_mb = max(0, model.memory_mb - WORKING_MB)
    needed_mb = WORKING_MB + weights_mb * (1 if machine.bfloat16 else 2)
    return needed_mb <= machine.memory_mb * CPU_SHARE


def with_overrides(profile: Profile, device: str = "", dtype: str = "") -> Profile:
    """The profile with another device or precision for painting (`MEETVIZ_PAINT_DEVICE`, `MEETVIZ_PAINT_DTYPE`)."""

    def changed(settings: PaintSettings) -> PaintSettings:
        if device:
            # What suited the profile's device need not suit this one.
            settings = replace(settings, device=device, dtype="auto", storage="", text_encoder_device="", offload="")
        return replace(settings, dtype=dtype, storage="") if dtype else settings

    if not device and not dtype:
        return profile
    return replace(profile, small=changed(profile.small), large=changed(profile.large))
