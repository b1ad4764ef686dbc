"""The paint models of the catalogue. Weights are safetensors throughout, in half precision where there is such an
edition; pickles are never fetched.

Sizes are sums of the files' sizes as the hub shows them, memory is those weights in half precision and 1 to 2 GB for
one picture. How the files lie in a model's folder is what the painters expect: a diffusers pipeline, and in `meetviz/`
what comes from elsewhere.
"""

from __future__ import annotations

from workers.models.entries import Commercial, Extra, Family, Model, Role, Source

_MB = 1_000_000


def _(english: str) -> str:
    """Marks a text for the pages' translations; a model host shows it as it is."""
    return english


# Vocabulary and merges as the hub has them, or the one tokenizer.json that transformers 5 saves.
_TOKENIZER = ("*.json",)
_TOKENIZER_USES = ("*.txt",)
_WEIGHTS = ("config.json", "diffusion_pytorch_model.safetensors")
_HALF_WEIGHTS = ("config.json", "diffusion_pytorch_model.fp16.safetensors")


def _below(folder: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}" for name in names)


def _pipeline(repository: str, *, large: bool = False) -> Source:
    """A diffusers pipeline of Stable Diffusion (`large`: XL) in half precision."""
    needed = [
        "model_index.json",
        "scheduler/scheduler_config.json",
        *_below("unet", _HALF_WEIGHTS),
        *_below("vae", _HALF_WEIGHTS),
        *_below("text_encoder", ("config.json", "model.fp16.safetensors")),
        *_below("tokenizer", _TOKENIZER),
    ]
    useful = list(_below("tokenizer", _TOKENIZER_USES))
    if large:
        needed += [
            *_below("text_encoder_2", ("config.json", "model.fp16.safetensors")),
            *_below("tokenizer_2", _TOKENIZER),
        ]
        useful += _below("tokenizer_2", _TOKENIZER_USES)
    return Source(repository, tuple(needed), tuple(useful))


def _tiny_vae(repository: str) -> Source:
    return Source(repository, _WEIGHTS, put_into="meetviz/tiny_vae", optional=True)


def _lora(repository: str, file: str) -> Source:
    return Source(repository, (file,), put_into="meetviz/lora")


def _controlnet(kind: str, repository: str, size_mb: int, licence: str, *, half: bool = True) -> Extra:
    sources = [Source(repository, _HALF_WEIGHTS if half else _WEIGHTS, put_into=f"meetviz/controlnet/{kind}")]
    if kind == "depth":
        sources.append(_DEPTH_ESTIMATOR)
        size_mb, licence = size_mb + 99, f"{licence}; Apache-2.0"
    return Extra(f"controlnet-{kind}", tuple(sources), size_mb * _MB, licence, (kind,))


_DEPTH_ESTIMATOR = Source(
    "depth-anything/Depth-Anything-V2-Small-hf",
    ("config.json", "preprocessor_config.json", "model.safetensors"),
    put_into="meetviz/depth_estimator",
)
# The image encoder is CLIP ViT-H in half precision. SDXL's adapter exists for two encoders; this one is the smaller.
_IMAGE_ENCODER = Source(
    "h94/IP-Adapter",
    ("config.json", "model.safetensors"),
    taken_from="models/image_encoder",
    put_into="meetviz/ip_adapter/image_encoder",
)


def _ip_adapter(folder: str, file: str, size_mb: int) -> Extra:
    adapter = Source("h94/IP-Adapter", (file,), taken_from=folder, put_into="meetviz/ip_adapter")
    return Extra("ip-adapter", (adapter, _IMAGE_ENCODER), (size_mb + 2_528) * _MB, "Apache-2.0", ("style", "subject"))


_SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
_SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
_SD15_EXTRAS = (
    _ip_adapter("models", "ip-adapter_sd15.safetensors", 45),
    _controlnet("depth", "lllyasviel/control_v11f1p_sd15_depth", 723, "OpenRAIL"),
    _controlnet("canny", "lllyasviel/control_v11p_sd15_canny", 723, "OpenRAIL"),
    _controlnet("scribble", "lllyasviel/control_v11p_sd15_scribble", 723, "OpenRAIL"),
    Extra(
        "safety-checker",
        (
            Source(
                _SD15,
                (
                    "safety_checker/config.json",
                    "safety_checker/model.fp16.safetensors",
                    "feature_extractor/preprocessor_config.json",
                ),
            ),
        ),
        608 * _MB,
        "CreativeML OpenRAIL-M",
    ),
)
_SDXL_EXTRAS = (
    _ip_adapter("sdxl_models", "ip-adapter_sdxl_vit-h.safetensors", 698),
    _controlnet("depth", "diffusers/controlnet-depth-sdxl-1.0-small", 320, "OpenRAIL++"),
    _controlnet("canny", "diffusers/controlnet-canny-sdxl-1.0-small", 320, "OpenRAIL++"),
    _controlnet("scribble", "xinsir/controlnet-scribble-sdxl-1.0", 2_502, "Apache-2.0", half=False),
)
_STABILITY_NOTICE = _(
    "This model comes under a licence of Stability AI and not under an open one: free for research and for private use."
    " Whoever uses it for a business needs Stability AI's agreement, which costs nothing below a yearly revenue of one"
    " million US dollars and has to be bought above it. Its rules on acceptable use apply to every picture."
)
_STABILITY_URL = "https://stability.ai/license"


PAINT_MODELS = (
    Model(
        name="sd15-lcm",
        role=Role.PAINT,
        engine="diffusers",
        family=Family.SD15,
        sources=(
            _pipeline(_SD15),
            _lora("latent-consistency/lcm-lora-sdv1-5", "pytorch_lora_weights.safetensors"),
            _tiny_vae("madebyollin/taesd"),
        ),
        size_bytes=2_280 * _MB,
        licence="CreativeML OpenRAIL-M",
        licence_url="https://huggingface.co/spaces/CompVis/stable-diffusion-license",
        commercial=Commercial.RESTRICTED,
        references=("start",),
        extras=_SD15_EXTRAS,
        steps=4,
        width_px=512,
        height_px=512,
        memory_mb=3_500,
        note=_("for laptops: every kind of reference, small; four steps"),
    ),
    Model(
        name="sd-turbo",
        role=Role.PAINT,
        engine="diffusers",
        family=Family.SD2,
        sources=(_pipeline("stabilityai/sd-turbo"), _tiny_vae("madebyollin/taesd")),
        size_bytes=2_590 * _MB,
        licence="Stability AI Community",
        licence_url=_STABILITY_URL,
        commercial=Commercial.NO,
        notice=_STABILITY_NOTICE,
        references=("start",),
        steps=1,
        width_px=512,
        height_px=512,
        memory_mb=3_800,
        note=_("for servers without a graphics card: one step"),
    ),
    Model(
        name="sdxl-turbo",
        role=Role.PAINT,
        engine="diffusers",
        family=Family.SDXL,
        sources=(_pipeline("stabilityai/sdxl-turbo", large=True), _tiny_vae("madebyollin/taesdxl")),
        size_bytes=6_960 * _MB,
        licence="Stability AI Non-Commercial Community",
        licence_url=_STABILITY_URL,
        commercial=Commercial.NO,
        notice=_STABILITY_NOTICE,
        references=("start",),
        extras=_SDXL_EXTRAS,
        steps=4,
        width_px=512,
        height_px=512,
        memory_mb=8_500,
        note=_("the quickest of the large ones; small pictures"),
    ),
    Model(
        name="sdxl-lightning",
        role=Role.PAINT,
        engine="diffusers",
        family=Family.SDXL,
        sources=(
            _pipeline(_SDXL, large=True),
            # Its authors' UNet is a little better than their LoRA and needs 4.7 GB more on the disk.
            _lora("ByteDance/SDXL-Lightning", "sdxl_lightning_4step_lora.safetensors"),
            _tiny_vae("madebyollin/taesdxl"),
        ),
        size_bytes=7_350 * _MB,
        licence="CreativeML OpenRAIL++-M",
        licence_url="https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md",
        commercial=Commercial.RESTRICTED,
        references=("start",),
        extras=_SDXL_EXTRAS,
        steps=4,
        width_px=1024,
        height_px=1024,
        memory_mb=9_000,
        note=_("the best pictures; for a large graphics card"),
    ),
    Model(
        name="sdxl-lcm",
        role=Role.PAINT,
        engine="diffusers",
        family=Family.SDXL,
        sources=(
            _pipeline(_SDXL, large=True),
            _lora("latent-consistency/lcm-lora-sdxl", "pytorch_lora_weights.safetensors"),
            _tiny_vae("madebyollin/taesdxl"),
        ),
        size_bytes=7_350 * _MB,
        licence="CreativeML OpenRAIL++-M",
        licence_url="https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md",
        commercial=Commercial.RESTRICTED,
        references=("start",),
        extras=_SDXL_EXTRAS,
        steps=4,
        width_px=1024,
        height_px=1024,
        memory_mb=9_000,
        note=_("large pictures in two to eight steps; softer than Lightning"),
    ),
    Model(
        name="sdxs",
        role=Role.PAINT,
        engine="diffusers",
        family=Family.SDXS,
        # The only edition is in full precision, and its `vae` is a tiny one already.
        sources=(
            Source(
                "IDKiro/sdxs-512-0.9",
                (
                    "model_index.json",
                    "scheduler/scheduler_config.json",
                    *_below("unet", _WEIGHTS),
                    *_below("vae", _WEIGHTS),
                    *_below("text_encoder", ("config.json", "model.safetensors")),
                    *_below("tokenizer", _TOKENIZER),
                ),
                _below("tokenizer", _TOKENIZER_USES),
            ),
        ),
        size_bytes=2_690 * _MB,
        licence="OpenRAIL++",
        licence_url="https://huggingface.co/IDKiro/sdxs-512-0.9",
        commercial=Commercial.RESTRICTED,
        references=("start",),
        steps=1,
        width_px=512,
        height_px=512,
        memory_mb=2_400,
        note=_("the lightest: one step on two processor cores; simple pictures"),
    ),
)
