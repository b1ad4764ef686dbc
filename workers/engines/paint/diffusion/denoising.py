"""The loop that turns noise into latents: UNet, guidance, scheduler, step by step.

The same arithmetic as in diffusers' pipelines (tests compare them bit for bit), in one loop for all of text-to-image,
image-to-image, IP-Adapter and any number of ControlNets, where diffusers has a pipeline class for each combination.
Two things differ, on purpose. Latents, noise and scheduler are float32 whatever the UNet computes in, and noise is
drawn on the CPU, so that a seed means the same noise on every device and in every precision. And timesteps stay on the
CPU, too: on a graphics card the scheduler would stop and wait for the card at every step.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

LEAST_STRENGTH = 0.05
"""Below it a picture from a start image would be that image."""


@dataclass(slots=True)
class Control:
    """A ControlNet at work."""

    net: Any
    image: Any
    """Tensor (1, 3, height, width) in 0…1."""
    scale: float


@dataclass(slots=True)
class Conditions:
    """What the UNet is told beside the latents."""

    text: Any
    """(1, tokens, channels); (2, …) with the negative prompt first where it is guided."""
    pooled: Any = None
    guidance: float = 1.0
    guided: bool = False
    """Two passes, with and without the prompt."""
    images: list[Any] | None = None
    """Embeddings for the IP-Adapters, a tensor for each."""
    controls: list[Control] = field(default_factory=list)


def steps_that_run(steps: int, strength: float) -> int:
    """How many of so many steps run when a picture starts from an image: diffusers' `int(steps * strength)`."""
    return min(steps, int(steps * strength))


def steps_for(steps: int, strength: float, most: int) -> tuple[int, float]:
    """Steps and strength with which at least one step runs from a start image.

    A model of one step would otherwise give the start image back. `strength` out of bounds is put within.
    """
    strength = min(1.0, max(LEAST_STRENGTH, strength)) if math.isfinite(strength) else 1.0
    while steps_that_run(steps, strength) < 1 and steps < most:
        steps += 1
    return steps, strength if steps_that_run(steps, strength) else 1.0


def noise_like(shape: tuple[int, ...], generator: Any, device: Any) -> Any:
    """float32 noise, drawn on the CPU."""
    import torch

    return torch.randn(shape, generator=generator, dtype=torch.float32).to(device)


class Denoiser:
    """One UNet and one scheduler; used by one thread at a time."""

    def __init__(self, unet: Any, scheduler: Any, device: Any, *, embedded_guidance: bool = False) -> None:
        self._unet = unet
        self._scheduler = scheduler
        self._device = device
        self._embedded_guidance = embedded_guidance
        parameters = inspect.signature(scheduler.step).parameters
        self._takes_generator = "generator" in parameters

    def run(
        self,
        conditions: Conditions,
        *,
        steps: int,
        size: tuple[int, int],
        generator: Any,
        dtype: Any,
        after_step: Callable[[int, int, Callable[[], Any]], None],
        start: Any = None,
        strength: float = 1.0,
    ) -> Any:
        """Latents of a picture: float32, (1, 4, height / 8, width / 8).

        `size`: width and height in px. `dtype`: what the UNet takes. `start`: latents to begin from, with `strength`.
        `after_step(step, steps, clean)`: called after each; `clean()` gives the predicted clean latents then, or None.
        """
        import torch

        scheduler, unet, device = self._scheduler, self._unet, self._device
        timesteps = self._timesteps(steps, 1.0 if start is None else strength)
        width, height = size
        shape = (1, unet.config.in_channels, height // 8, width // 8)
        latents = noise_like(shape, generator, device)
        if start is None:
            latents = latents * scheduler.init_noise_sigma
        else:
            latents = scheduler.add_noise(start.float(), latents, timesteps[:1])
        told = self._told(conditions, size, dtype)
        added = {name: value for name, value in told.get("added_cond_kwargs", {}).items() if name != "image_embeds"}
        control_told: dict[str, Any] = {"encoder_hidden_states": conditions.text}
        if added:
            control_told["added_cond_kwargs"] = added
        on_device = timesteps.to(device)
        more: dict[str, Any] = {"generator": generator} if self._takes_generator else {}
        pace = _Pace(device)
        for index, timestep in enumerate(timesteps):
            seen = scheduler.scale_model_input(latents, timestep).to(dtype)
            if conditions.guided:
                seen = torch.cat([seen, seen])
            residuals = self._controlled(conditions, seen, on_device[index], control_told)
            output = unet(seen, on_device[index], return_dict=False, **told, **residuals)[0].float()
            if conditions.guided:
                without, with_prompt = output.chunk(2)
                output = without + conditions.guidance * (with_prompt - without)
            before = latents
            stepped = scheduler.step(output, timestep, latents, return_dict=False, **more)
            latents = stepped[0]
            pace.step()
            after_step(
                index + 1,
                len(timesteps),
                lambda stepped=stepped, output=output, before=before, timestep=timestep: self._clean(
                    stepped, output, before, timestep
                ),
            )
        return latents

    def _timesteps(self, steps: int, strength: float) -> Any:
        scheduler = self._scheduler
        scheduler.set_timesteps(steps, device="cpu")
        skipped = (steps - steps_that_run(steps, strength)) * scheduler.order
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(skipped)
        timesteps = scheduler.timesteps[skipped:]
        # Metal has no float64.
        return timesteps.float() if timesteps.is_floating_point() else timesteps

    def _told(self, conditions: Conditions, size: tuple[int, int], dtype: Any) -> dict[str, Any]:
        import torch

        told: dict[str, Any] = {"encoder_hidden_states": conditions.text}
        added: dict[str, Any] = {}
        if conditions.pooled is not None:
            width, height = size
            # Original size, corner of the crop and size that is aimed at: as if trained on pictures like this one.
            ids = torch.tensor([[height, width, 0, 0, height, width]], dtype=dtype, device=self._device)
            added = {"text_embeds": conditions.pooled, "time_ids": ids.repeat(conditions.pooled.shape[0], 1)}
        if conditions.images is not None:
            added["image_embeds"] = conditions.images
        if added:
            told["added_cond_kwargs"] = added
        if self._embedded_guidance:
            told["timestep_cond"] = self._guidance_embedding(conditions.guidance).to(self._device, dtype)
        return told

    def _guidance_embedding(self, guidance: float) -> Any:
        """Sinusoids of w = guidance - 1 (Salimans and Ho, "Progressive Distillation", by way of LCM): (1, channels)."""
        import torch

        channels = int(self._unet.config.time_cond_proj_dim)
        half = channels // 2
        rates = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10_000.0) / (half - 1)))
        angles = torch.tensor([(guidance - 1) * 1000.0])[:, None] * rates[None, :]
        embedding = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
        return torch.nn.functional.pad(embedding, (0, channels % 2))

    def _controlled(self, conditions: Conditions, seen: Any, timestep: Any, told: dict[str, Any]) -> dict[str, Any]:
        """What the ControlNets add inside the UNet: their sums, block by block."""
        down: list[Any] | None = None
        middle: Any = None
        for control in conditions.controls:
            image = control.image.expand(seen.shape[0], -1, -1, -1)
            blocks, centre = control.net(
                seen, timestep, controlnet_cond=image, conditioning_scale=control.scale, return_dict=False, **told
            )
            if down is None:
                down, middle = list(blocks), centre
            else:
                down = [total + block for total, block in zip(down, blocks, strict=True)]
                middle = middle + centre
        if down is None:
            return {}
        return {"down_block_additional_residuals": tuple(down), "mid_block_additional_residual": middle}

    def _clean(self, stepped: tuple[Any, ...], output: Any, before: Any, timestep: Any) -> Any:
        """The predicted clean latents x0, where this scheduler lets them be known."""
        scheduler = self._scheduler
        if len(stepped) > 1:
            return stepped[1]
        if str(getattr(scheduler.config, "algorithm_type", "")).endswith("dpmsolver++"):
            return scheduler.model_outputs[-1]
        if not hasattr(scheduler, "alphas_cumprod") or timestep.is_floating_point():
            return None
        # Ho et al., "Denoising Diffusion Probabilistic Models", equation 15; for v: Salimans and Ho, appendix D.
        alpha = scheduler.alphas_cumprod[timestep]
        if scheduler.config.prediction_type == "v_prediction":
            return alpha**0.5 * before - (1 - alpha) ** 0.5 * output
        return (before - (1 - alpha) ** 0.5 * output) / alpha**0.5


class _Pace:
    """Keeps this thread at most one step ahead of the card: progress tells the truth, and a stop comes soon."""

    def __init__(self, device: Any) -> None:
        self._cuda = device.type == "cuda"
        self._before: Any = None

    def step(self) -> None:
        if not self._cuda:
            return
        import torch

        done = torch.cuda.Event()
        done.record()
        if self._before is not None:
            self._before.synchronize()
        self._before = done
