"""Latents to pictures and back, by a full or a tiny autoencoder."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

BLACK_LEVEL = 4
"""Of 255: a picture whose brightest sample is below this is a failed one: fp16 overflow shows as NaN or as black."""


def decode(vae: Any, latents: Any) -> Any:
    """Samples of a picture: tensor (1, 3, height, width) in -1…1 (or a little outside), as the autoencoder gives them.

    `latents`: float32, scaled, (1, 4, height / 8, width / 8).
    """
    config = vae.config
    mean, deviation = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if mean is not None and deviation is not None:
        latents = latents * _channels(deviation, latents) / config.scaling_factor + _channels(mean, latents)
    else:
        latents = latents / config.scaling_factor
    return vae.decode(latents.to(dtype_of(vae)), return_dict=False)[0]


def picture(samples: Any) -> Image.Image | None:
    """The samples of `decode` as an RGB image; None when they are black or not numbers."""
    import torch

    values = (samples[0].float() * 0.5 + 0.5).clamp(0, 1) * 255
    # NaN survives the clamp; one small copy from the device instead of two.
    whole = torch.isfinite(samples).all()
    array = values.round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
    if not bool(whole) or int(array.max(initial=0)) < BLACK_LEVEL:
        return None
    return Image.fromarray(array, "RGB")


def encode(vae: Any, image: Image.Image, device: Any) -> Any:
    """What the autoencoder says of an RGB image whose sides are multiples of 8; for `start_latents`."""
    import torch

    # The batch's axis first: its stride decides which convolutions, in the last bits not the same, are taken.
    samples = torch.from_numpy(np.asarray(image, dtype=np.float32)[None] / 255.0).permute(0, 3, 1, 2)
    samples = (2.0 * samples - 1.0).to(device, dtype_of(vae))
    return vae.encode(samples)


def start_latents(vae: Any, encoded: Any, generator: Any) -> Any:
    """Scaled latents of an encoded image, float32. A full autoencoder gives a distribution, of which this is a draw."""
    drawn = encoded.latent_dist.sample(generator) if hasattr(encoded, "latent_dist") else encoded.latents
    config = vae.config
    latents = drawn.float()
    mean, deviation = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if mean is not None and deviation is not None:
        return (latents - _channels(mean, latents)) * config.scaling_factor / _channels(deviation, latents)
    return config.scaling_factor * latents


def dtype_of(module: Any) -> Any:
    return next(module.parameters()).dtype


def _channels(values: Any, like: Any) -> Any:
    import torch

    return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, -1, 1, 1)
