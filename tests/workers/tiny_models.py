"""Random models so small that a test can build, save, load and run them in a second or two."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

START, END = "<|startoftext|>", "<|endoftext|>"


def tiny_tokenizer(folder: Path) -> CLIPTokenizer:
    """Knows the letters a-z, alone and at the end of a word; each letter is a token."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
    vocabulary = {token: number for number, token in enumerate([START, END, *letters])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return CLIPTokenizer.from_pretrained(
        str(folder), bos_token=START, eos_token=END, pad_token=END, model_max_length=77
    )


def tiny_unet(**changes: Any) -> UNet2DConditionModel:
    """A random UNet of two levels for latents of 16 x 16."""
    return UNet2DConditionModel(**(_UNET | changes))


def tiny_full_vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(4, 4, 4, 4),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=2,
    )


def tiny_scheduler(**changes: Any) -> DDIMScheduler:
    return DDIMScheduler(
        **(
            {"beta_schedule": "scaled_linear", "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
            | changes
        )
    )


def save_tiny_pipeline(
    folder: Path,
    scratch: Path,
    *,
    unet: dict[str, Any] | None = None,
    scheduler: Any = None,
    safety_checker: Any = None,
) -> Path:
    """A whole Stable Diffusion pipeline of the smallest size, saved as safetensors in `folder`.

    `unet`: changes to its config. `scheduler`: another than DDIM. `safety_checker`: one, of Stable Diffusion's class.
    """
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer(scratch / "tokenizer")
    text_encoder = CLIPTextModel(_text_config(tokenizer))
    pipe = StableDiffusionPipeline(
        unet=tiny_unet(**(unet or {})),
        vae=tiny_full_vae(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=scheduler or tiny_scheduler(),
        safety_checker=safety_checker,
        feature_extractor=CLIPImageProcessor(size=8, crop_size=8) if safety_checker else None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder, safe_serialization=True)
    return folder


def save_tiny_xl_pipeline(folder: Path, scratch: Path, *, scheduler: Any = None) -> Path:
    """A whole SDXL pipeline: two text encoders, pooled text and sizes as conditions."""
    torch.manual_seed(10)
    tokenizer = tiny_tokenizer(scratch / "tokenizer")
    second = _text_config(tokenizer, hidden_size=16, projection_dim=16)
    pipe = StableDiffusionXLPipeline(
        text_encoder=CLIPTextModel(_text_config(tokenizer)),
        text_encoder_2=CLIPTextModelWithProjection(second),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=tiny_unet(**XL_UNET),
        vae=tiny_full_vae(),
        scheduler=scheduler
        or EulerDiscreteScheduler(beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading"),
        add_watermarker=False,
    )
    pipe.save_pretrained(folder, safe_serialization=True)
    return folder


XL_UNET: dict[str, Any] = {
    "cross_attention_dim": 24,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 6 * 4 + 16,
    "use_linear_projection": True,
}
_UNET: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": (4, 8),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": 8,
    "attention_head_dim": 2,
    "norm_num_groups": 2,
}


def _text_config(tokenizer: CLIPTokenizer, **changes: Any) -> CLIPTextConfig:
    values = {
        "vocab_size": len(tokenizer),
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 77,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    return CLIPTextConfig(**(values | changes))


def tiny_safety_checker(*, strict: bool) -> Any:
    """Stable Diffusion's own checker, random; a strict one finds every picture unsafe, another none."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    torch.manual_seed(3)
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=_vision_config().to_dict(), projection_dim=8))
    # What the likeness to each forbidden concept must exceed.
    checker.concept_embeds_weights.data.fill_(-2.0 if strict else 2.0)
    checker.special_care_embeds_weights.data.fill_(2.0)
    return checker


def save_tiny_ip_adapter(folder: Path, pipeline: Path) -> Path:
    """Random IP-Adapter weights for a tiny pipeline's UNet, and a tiny image encoder, as `meetviz/ip_adapter/`."""
    torch.manual_seed(4)
    encoder = CLIPVisionModelWithProjection(_vision_config())
    encoder.save_pretrained(folder / "image_encoder", safe_serialization=True)
    unet = UNet2DConditionModel.from_pretrained(pipeline, subfolder="unet")
    channels = int(unet.config.cross_attention_dim)
    weights = {
        "image_proj.proj.weight": torch.randn(4 * channels, 8),
        "image_proj.proj.bias": torch.randn(4 * channels),
        "image_proj.norm.weight": torch.ones(channels),
        "image_proj.norm.bias": torch.zeros(channels),
    }
    # Numbered as the published files are: every second attention is a cross-attention.
    for number, (name, module) in enumerate(
        (name, module) for name, module in unet.named_modules() if name.endswith(("attn1", "attn2"))
    ):
        if name.endswith("attn2"):
            for part in ("k", "v"):
                shape = (module.to_q.out_features, channels)
                weights[f"ip_adapter.{number}.to_{part}_ip.weight"] = torch.randn(shape)
    save_file(weights, folder / "ip-adapter_tiny.safetensors")
    return folder


def _vision_config() -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=8,
        patch_size=4,
        projection_dim=8,
    )


def save_tiny_controlnet(folder: Path, pipeline: Path, seed: int = 5) -> Path:
    """A random ControlNet for a tiny pipeline's UNet; unlike a fresh one, it has something to say."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_pretrained(pipeline, subfolder="unet")
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 4, 4, 4))
    for name, weight in net.named_parameters():
        if "controlnet_" in name:
            weight.data.normal_(std=0.5)
    net.save_pretrained(folder, safe_serialization=True)
    return folder


def save_tiny_depth_estimator(folder: Path) -> Path:
    """A random transformers model that guesses depth, with its image processor."""
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

    torch.manual_seed(6)
    config = DPTConfig(
        hidden_size=8,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        image_size=32,
        patch_size=8,
        neck_hidden_sizes=[4, 4, 4, 4],
        fusion_hidden_size=4,
        reassemble_factors=[4, 2, 1, 0.5],
        is_hybrid=False,
    )
    DPTForDepthEstimation(config).save_pretrained(folder, safe_serialization=True)
    DPTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def save_tiny_vae(folder: Path) -> Path:
    """A random `AutoencoderTiny` that makes pixels of the same latents."""
    torch.manual_seed(1)
    vae = AutoencoderTiny(
        encoder_block_out_channels=(4, 4, 4, 4),
        decoder_block_out_channels=(4, 4, 4, 4),
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
    )
    vae.save_pretrained(folder, safe_serialization=True)
    return folder


def save_tiny_lora(folder: Path, pipeline: Path) -> Path:
    """A random LoRA for the attention of the tiny UNet, as one safetensors file."""
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(2)
    unet = UNet2DConditionModel.from_pretrained(pipeline, subfolder="unet")
    unet.add_adapter(LoraConfig(r=2, lora_alpha=64, init_lora_weights="gaussian", target_modules=["to_q", "to_v"]))
    state = {
        name: torch.randn_like(weight) if "lora_B" in name else weight
        for name, weight in get_peft_model_state_dict(unet).items()
    }
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=state, safe_serialization=True)
    return folder / "pytorch_lora_weights.safetensors"


def fill_with_nan(pipeline: Path) -> None:
    """Make every picture of a saved pipeline fail, as fp16 does on a GTX 16xx."""
    file = pipeline / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_out.weight"].fill_(float("nan"))
    save_file(weights, file, metadata={"format": "pt"})
