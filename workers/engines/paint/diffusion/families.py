"""Which family of models a folder holds, found from its configs, and how that family wants to be run: pure.

Sources: the model cards of stabilityai/sd-turbo and sdxl-turbo (no guidance, 512 x 512, 1-4 steps, `trailing`),
latent-consistency/lcm-lora-sdv1-5 and -sdxl (LCM scheduler, 2-8 steps, guidance 1-2), ByteDance/SDXL-Lightning (Euler,
`trailing`, no guidance, as many steps as the file's name says) and IDKiro/sdxs-512-0.9 (1 step, no guidance).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from workers.engines.paint.model_folder import ModelFolder, missing, read_json

PIPELINES = frozenset(
    {"StableDiffusionPipeline", "StableDiffusionXLPipeline", "LatentConsistencyModelPipeline", "DiffusionPipeline"}
)
VAE_FACTOR = 8
"""Pixels of a picture per latent, along each side, of all these families."""
SDXL, SD1, SD2 = "sdxl", "sd1", "sd2"
TURBO_PX = 512
OWN_STEPS, LEAST_STEPS, OWN_GUIDANCE = 25, 12, 7.5
"""Of models that are not distilled."""
LCM_STEPS, LCM_LEAST_STEPS = 4, 2
LCM_MOST_STEPS = 50
"""The LCM scheduler picks its steps out of the fifty of its teacher."""
LCM_EMBEDDED_GUIDANCE = 8.0
"""Of UNets that take guidance as an input (LCM's w), where no other is asked for."""
_LIGHTNING_STEPS = re.compile(r"(\d+)[-_ ]?steps?", re.IGNORECASE)
_SMALLEST_PART = 3 / 4
"""Of its own size, along the shorter side: below it models lose the composition."""


@dataclass(frozen=True, slots=True)
class Family:
    kind: str
    """`sd1`, `sd2` or `sdxl`: which text encoders, adapters and ControlNets fit."""
    distilled: str
    """`turbo`, `lcm`, `lightning` or empty."""
    own_steps: int
    least_steps: int
    own_size: tuple[int, int]
    least_px: int
    own_guidance: float
    """Classifier-free guidance; 1 is none."""
    scheduler: str
    """`own`, `own_trailing`, `euler_trailing` or `lcm`."""
    predicts_sample: bool = False
    """Of `euler_trailing`: the UNet gives the clean latents (Lightning in one step), not the noise."""
    embedded_guidance: bool = False
    """The UNet takes guidance as an input: a guided step costs no more than another."""

    @property
    def takes_ip_adapter(self) -> bool:
        """None was ever made for Stable Diffusion 2, SD-Turbo included."""
        return self.kind != SD2

    @property
    def most_steps(self) -> int:
        return LCM_MOST_STEPS if self.scheduler == "lcm" else 100

    def guidance(self, asked: float | None) -> float:
        """The guidance to paint with. Turbo and Lightning are made for none: it would double the work and harm."""
        if self.distilled in ("turbo", "lightning"):
            return 1.0
        if asked is None:
            return self.own_guidance
        return max(1.0, min(30.0, asked)) if asked == asked else self.own_guidance


def family_of(folder: ModelFolder, scheduler: str = "auto") -> Family:
    """Find the family. `scheduler` as in PaintSettings. Raises EngineError `model_missing` for what is none of them."""
    path = folder.path
    index = read_json(path / "model_index.json")
    pipeline = index.get("_class_name")
    if pipeline not in PIPELINES or "unet" not in folder.parts:
        raise missing(path, f"{pipeline} is not a pipeline of Stable Diffusion 1, 2 or XL for text")
    unet = read_json(path / "unet" / "config.json")
    own = read_json(path / "scheduler" / "scheduler_config.json")
    if unet.get("in_channels", 4) != 4:
        raise missing(path, "its UNet is for inpainting or upscaling, not for painting from text")
    kind = SDXL if "text_encoder_2" in folder.parts else SD2 if _is_sd2(unet) else SD1
    names = " ".join([path.name, str(index.get("_name_or_path", "")), str(unet.get("_name_or_path", ""))]).lower()
    files = " ".join(file.name for file in (*folder.loras, *folder.unet)).lower()
    distilled = _distilled(names, files, unet, own, index)
    if scheduler == "lcm":
        distilled = "lcm"
    return _run(kind, distilled, files or names, unet, scheduler)


def _distilled(names: str, files: str, unet: dict[str, Any], own: dict[str, Any], index: dict[str, Any]) -> str:
    """By what was put into `meetviz/`, else by the names, else by the scheduler that the makers chose."""
    if files:
        return "lightning" if "lightning" in files else "lcm" if "lora" in files or "lcm" in files else ""
    if "lightning" in names:
        return "lightning"
    if "turbo" in names or "sdxs" in names:
        return "turbo"
    if (
        unet.get("time_cond_proj_dim")
        or index.get("_class_name") == "LatentConsistencyModelPipeline"
        or own.get("_class_name") == "LCMScheduler"
    ):
        return "lcm"
    euler = str(own.get("_class_name", "")).startswith("Euler")
    trailing = own.get("timestep_spacing") == "trailing" and not own.get("rescale_betas_zero_snr")
    return "turbo" if euler and trailing and own.get("prediction_type", "epsilon") == "epsilon" else ""


def _is_sd2(unet: dict[str, Any]) -> bool:
    return unet.get("cross_attention_dim") == 1024 or bool(unet.get("use_linear_projection"))


def _run(kind: str, distilled: str, names: str, unet: dict[str, Any], scheduler: str) -> Family:
    size = unet.get("sample_size") or 64
    height, width = size if isinstance(size, list) else (size, size)
    own_size = (int(width) * VAE_FACTOR, int(height) * VAE_FACTOR)
    if distilled == "turbo":
        own_size = (min(TURBO_PX, own_size[0]), min(TURBO_PX, own_size[1]))
    steps, least, guidance, chosen = OWN_STEPS, LEAST_STEPS, OWN_GUIDANCE, "own"
    embedded = bool(unet.get("time_cond_proj_dim"))
    if distilled == "turbo":
        # SD-Turbo and SDXS paint in one step; SDXL-Turbo gains by up to four.
        steps, least, guidance, chosen = (4 if kind == SDXL else 1), 1, 1.0, "own_trailing"
    elif distilled == "lcm":
        guidance = LCM_EMBEDDED_GUIDANCE if embedded else 1.0
        steps, least, chosen = LCM_STEPS, LCM_LEAST_STEPS, "lcm"
    elif distilled == "lightning":
        said = _LIGHTNING_STEPS.search(names)
        steps = min(8, max(1, int(said.group(1)))) if said else 4
        # Each file is distilled for its own number of steps, fewer give noise.
        least, guidance, chosen = steps, 1.0, "euler_trailing"
    return Family(
        kind=kind,
        distilled=distilled,
        own_steps=steps,
        least_steps=least,
        own_size=own_size,
        least_px=max(64, int(min(own_size) * _SMALLEST_PART) // VAE_FACTOR * VAE_FACTOR),
        own_guidance=guidance,
        scheduler="own" if scheduler == "model" else chosen,
        predicts_sample=distilled == "lightning" and steps == 1,
        embedded_guidance=embedded,
    )
