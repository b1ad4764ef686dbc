"""The parts of a diffusers pipeline as plain functions of tensors, the way they are exported.

What a pipeline does around its models on every call (scaling of latents, ranges of samples, joining two text encoders)
is inside the graphs, so that the painter has nothing of it to do. Imports torch: only the export needs this module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from workers.engines.paint.exported.manifest import CHECKER, DECODER, ENCODER, TEXT, UNET

TOKENS = 77
"""What the text encoders of all these families read."""
LEAST_SCORE = 0.0005
"""What rounds to more than nothing with the three digits of diffusers' checker."""
TIME_IDS = 6
"""SDXL's: original size, corner of the crop, size that is aimed at."""


@dataclass(frozen=True, slots=True)
class Graph:
    """One function to export."""

    name: str
    """Of the file, without its suffix."""
    module: nn.Module
    examples: dict[str, Tensor]
    """Inputs by name, in their order. Their shapes are the graph's shapes."""
    outputs: tuple[str, ...]


class Text(nn.Module):
    """Token ids, int64, (1, tokens) -> embeddings, (1, tokens, width): what SD's UNets attend to."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor) -> Tensor:
        return self.encoder(ids).last_hidden_state


class TwoTexts(nn.Module):
    """The same for SDXL, whose UNet attends to both encoders' last layers but one, and is told the second's summary.

    -> embeddings (1, tokens, both widths) and pooled (1, width of the projection).
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, ids: Tensor, ids_2: Tensor) -> tuple[Tensor, Tensor]:
        first = self.first(ids, output_hidden_states=True)
        second = self.second(ids_2, output_hidden_states=True)
        return torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1), second.text_embeds


class Unet(nn.Module):
    """Latents (1, channels, height / 8, width / 8), timestep (1,), embeddings -> what the model learned to predict.

    SDXL's is also told `pooled` and `time_ids`; UNets that take guidance as an input, its embedding.
    """

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        embeddings: Tensor,
        pooled: Tensor | None = None,
        time_ids: Tensor | None = None,
        guidance: Tensor | None = None,
    ) -> Tensor:
        told = None if pooled is None else {"text_embeds": pooled, "time_ids": time_ids}
        return self.unet(
            latents, timestep, embeddings, timestep_cond=guidance, added_cond_kwargs=told, return_dict=False
        )[0]


class Decoder(nn.Module):
    """Latents, as the UNet leaves them -> samples, (height, width, 3), black 0 and white 1, not clipped."""

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: Tensor) -> Tensor:
        scale, mean, deviation = _scaling(self.vae)
        latents = latents / scale if mean is None else latents * deviation / scale + mean
        return (self.vae.decode(latents, return_dict=False)[0][0] / 2 + 0.5).permute(1, 2, 0)


class Encoder(nn.Module):
    """Samples in 0…1, (height, width, 3) -> latents, scaled as the UNet expects them.

    Of the full autoencoder the mean of its distribution, where a pipeline draws from it: the same image always gives
    the same latents.
    """

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, samples: Tensor) -> Tensor:
        encoded = self.vae.encode((samples * 2 - 1).permute(2, 0, 1)[None], return_dict=False)[0]
        latents = encoded if isinstance(encoded, Tensor) else encoded.mode()
        scale, mean, deviation = _scaling(self.vae)
        return latents * scale if mean is None else (latents - mean) * scale / deviation


class Checker(nn.Module):
    """A picture as CLIP sees it, (1, 3, side, side) -> how far beyond its threshold the worst concept is, (1,).

    The arithmetic of diffusers' StableDiffusionSafetyChecker, before it rounds to three digits.
    """

    def __init__(self, checker: nn.Module) -> None:
        super().__init__()
        self.checker = checker

    def forward(self, pixels: Tensor) -> Tensor:
        checker: Any = self.checker
        seen = nn.functional.normalize(checker.visual_projection(checker.vision_model(pixels)[1]))
        special = seen @ nn.functional.normalize(checker.special_care_embeds).T - checker.special_care_embeds_weights
        concepts = seen @ nn.functional.normalize(checker.concept_embeds).T - checker.concept_embeds_weights
        # One picture that needs special care is judged more strictly.
        stricter = (special.amax(dim=1) >= LEAST_SCORE).float() * 0.01
        return concepts.amax(dim=1) + stricter


def graphs_of(pipe: Any, vae: Any, size: tuple[int, int]) -> list[tuple[str, Callable[[], Graph]]]:
    """Names and makers of all graphs of a pipeline, for pictures of `size` (width, height; multiples of 8).

    `vae`: the autoencoder to decode with. Made one by one, so that each may be given back before the next.
    """
    width, height = size
    config = pipe.unet.config
    latents = torch.zeros(1, config.in_channels, height // 8, width // 8)
    two = getattr(pipe, "text_encoder_2", None)

    def text() -> Graph:
        ids = {"ids": torch.ones(1, TOKENS, dtype=torch.int64)}
        if two is None:
            return Graph(TEXT, Text(pipe.text_encoder), ids, ("embeddings",))
        both = ids | {"ids_2": torch.ones(1, TOKENS, dtype=torch.int64)}
        return Graph(TEXT, TwoTexts(pipe.text_encoder, two), both, ("embeddings", "pooled"))

    def unet() -> Graph:
        inputs = {
            "latents": latents,
            "timestep": torch.full((1,), 999.0),
            "embeddings": torch.zeros(1, TOKENS, config.cross_attention_dim),
        }
        if two is not None:
            inputs |= {"pooled": torch.zeros(1, two.config.projection_dim), "time_ids": torch.zeros(1, TIME_IDS)}
        if config.time_cond_proj_dim:
            inputs["guidance"] = torch.zeros(1, config.time_cond_proj_dim)
        return Graph(UNET, Unet(pipe.unet), inputs, ("prediction",))

    def decoder() -> Graph:
        return Graph(DECODER, Decoder(vae), {"latents": latents}, ("samples",))

    def encoder() -> Graph:
        return Graph(ENCODER, Encoder(vae), {"samples": torch.zeros(height, width, 3)}, ("latents",))

    checker = getattr(pipe, "safety_checker", None)

    def check() -> Graph:
        side = checker.config.vision_config.image_size
        return Graph(CHECKER, Checker(checker), {"pixels": torch.zeros(1, 3, side, side)}, ("score",))

    makers = [(TEXT, text), (UNET, unet), (DECODER, decoder)]
    if getattr(vae, "encoder", None) is not None:
        makers.append((ENCODER, encoder))
    return makers if checker is None else [*makers, (CHECKER, check)]


def _scaling(vae: Any) -> tuple[float, Tensor | None, Tensor | None]:
    """By what an autoencoder's latents are scaled for the UNet; those of some SDXL models also by channel."""
    mean, deviation = getattr(vae.config, "latents_mean", None), getattr(vae.config, "latents_std", None)
    if mean is None or deviation is None:
        return vae.config.scaling_factor, None, None
    return vae.config.scaling_factor, torch.tensor(mean).view(1, -1, 1, 1), torch.tensor(deviation).view(1, -1, 1, 1)
