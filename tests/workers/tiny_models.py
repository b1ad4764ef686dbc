"""Random models so small that a test can build, save, load and run them in a second or two."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

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


def save_tiny_pipeline(folder: Path, scratch: Path) -> Path:
    """A whole Stable Diffusion pipeline of the smallest size, saved as safetensors in `folder`."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer(scratch / "tokenizer")
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=8,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(4, 8),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=2,
    )
    vae = AutoencoderKL(
        block_out_channels=(4, 4, 4, 4),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=2,
    )
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder, safe_serialization=True)
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
    from safetensors.torch import load_file, save_file

    file = pipeline / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["conv_out.weight"].fill_(float("nan"))
    save_file(weights, file, metadata={"format": "pt"})
