"""Pipelines with the architecture of well-known models and random weights: true speeds without a download.

A picture of theirs is noise, but the numbers stay in the range of a trained model's (weights are scaled by their
fan-in, He et al. 2015), so that reduced precision meets what it would meet.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POOL_VALUES = 1 << 22
"""So many random values are made; all weights are cut from repetitions of them."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the bench has to know of an architecture."""

    name: str
    build: Callable[[Path], Any]
    size_px: int
    steps: int
    memory_gb: float
    """What plain diffusers in float32 takes for a picture, roughly."""


def saved(shape: Shape, folder: Path) -> Path:
    """The pipeline's folder under `folder`: weights in float16, as models are shipped, and a tiny VAE."""
    import torch
    from diffusers import AutoencoderTiny

    place = folder / shape.name
    if (place / "meetviz" / "tiny_vae" / "config.json").is_file():
        return place
    pipe = shape.build(folder / "scratch")
    pipe.save_pretrained(place, safe_serialization=True)
    del pipe
    with torch.device("meta"):
        tiny = AutoencoderTiny(scaling_factor=1.0, latent_magnitude=3, latent_shift=0.5)
    filled(tiny).save_pretrained(place / "meetviz" / "tiny_vae", safe_serialization=True)
    return place


def filled(model: Any) -> Any:
    """`model`, made on the meta device, with random weights in float16."""
    import torch

    pool = torch.randn(POOL_VALUES, generator=torch.Generator().manual_seed(0)).half()
    buffers = {name: buffer for name, buffer in model.named_buffers() if not buffer.is_meta}
    model.to(torch.float16).to_empty(device="cpu")
    offset = 0
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() < 2:
                weight.fill_(1.0 if name.endswith("weight") else 0.0)
                continue
            flat = weight.data.view(-1)
            for start in range(0, len(flat), POOL_VALUES):
                piece = flat[start : start + POOL_VALUES]
                turned = torch.roll(pool, -offset)[: len(piece)] if len(piece) < POOL_VALUES else pool
                piece.copy_(turned)
            offset = (offset + 7919) % POOL_VALUES
            flat.mul_(0.02 if "embedding" in name else 1 / math.sqrt(max(1, weight[0].numel())))
        for name, buffer in model.named_buffers():
            if name.endswith("position_ids"):
                buffer.copy_(torch.arange(buffer.shape[-1]).expand_as(buffer))
            elif name in buffers:
                buffer.copy_(buffers[name])
    return model.eval()


def _text(scratch: Path, **sizes: Any) -> tuple[Any, Any]:
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    from tests.workers.tiny_models import tiny_tokenizer

    kind = CLIPTextModelWithProjection if sizes.pop("projected", False) else CLIPTextModel
    # The tokens of the hand-made tokenizer: it begins with 0 and ends with 1.
    config = CLIPTextConfig(vocab_size=49408, bos_token_id=0, eos_token_id=1, pad_token_id=1, **sizes)
    with torch.device("meta"):
        model = kind(config)
    return filled(model), tiny_tokenizer(scratch)


def _vae(**values: Any) -> Any:
    import torch
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
            **values,
        )
    return filled(vae)


def _unet(**values: Any) -> Any:
    import torch
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(layers_per_block=2, **values)
    return filled(unet)


_FOUR_LEVELS = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
}
_EULER = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
_NO_CHECKER = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def _sd_turbo(scratch: Path) -> Any:
    """SD 2.1's architecture, which SD-Turbo shares (its `config.json`): OpenCLIP ViT-H without its last layer."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline

    text_encoder, tokenizer = _text(
        scratch,
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=23,
        num_attention_heads=16,
        hidden_act="gelu",
        projection_dim=512,
    )
    unet = _unet(
        **_FOUR_LEVELS, cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True
    )
    scheduler = EulerDiscreteScheduler(timestep_spacing="trailing", **_EULER)
    return StableDiffusionPipeline(
        vae=_vae(scaling_factor=0.18215, sample_size=768),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        **_NO_CHECKER,
    )


def _sd15(scratch: Path) -> Any:
    from diffusers import LCMScheduler, StableDiffusionPipeline

    text_encoder, tokenizer = _text(
        scratch, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
    )
    return StableDiffusionPipeline(
        vae=_vae(scaling_factor=0.18215, sample_size=512),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=_unet(**_FOUR_LEVELS, cross_attention_dim=768, attention_head_dim=8),
        # As with its LCM-LoRA, fused.
        scheduler=LCMScheduler(**_EULER),
        **_NO_CHECKER,
    )


def _sdxl_turbo(scratch: Path) -> Any:
    from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline

    first, tokenizer = _text(
        scratch, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
    )
    second, tokenizer_2 = _text(
        scratch,
        hidden_size=1280,
        intermediate_size=5120,
        num_hidden_layers=32,
        num_attention_heads=20,
        hidden_act="gelu",
        projection_dim=1280,
        projected=True,
    )
    unet = _unet(
        sample_size=64,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(5, 10, 20),
        transformer_layers_per_block=(1, 2, 10),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )
    return StableDiffusionXLPipeline(
        # Random weights overflow nowhere; the trained VAE does in float16, and diffusers upcasts it then.
        vae=_vae(scaling_factor=0.13025, sample_size=512, force_upcast=False),
        text_encoder=first,
        text_encoder_2=second,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        unet=unet,
        scheduler=EulerAncestralDiscreteScheduler(timestep_spacing="trailing", **_EULER),
    )


SD_TURBO = Shape("sd-turbo-shape", _sd_turbo, 512, 1, 10)
SD15 = Shape("sd15-shape", _sd15, 512, 4, 10)
SDXL_TURBO = Shape("sdxl-turbo-shape", _sdxl_turbo, 512, 1, 24)
