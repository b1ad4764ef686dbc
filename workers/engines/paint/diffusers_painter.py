"""The painter for real models: any text-to-image pipeline of diffusers, from a folder on this machine.

It never downloads. torch and diffusers (2-4 s to import) are first touched when a model is loaded.
"""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from workers.engines.base import EngineError, OnStep, Painted, Painter
from workers.engines.paint.model_folder import WHAT_TO_DO, check_pipeline, check_safetensors, check_weights, variant_of
from workers.messages import PaintRequest

log = logging.getLogger("meetviz.paint")

MOST_STEPS = 100
SMALLEST_PX, LARGEST_PX = 64, 2048
MOST_PROMPT_CHARS = 2_000
"""77 tokens are at most a few hundred characters; nothing behind this can matter."""
BLACK_LEVEL = 4 / 255
"""A picture whose brightest sample is below this is a failed one: fp16 overflow shows as NaN or as black."""


class DiffusersPainter(Painter):
    """One pipeline, loaded once, painting one picture after another."""

    name = "diffusers"

    def __init__(
        self,
        model_path: Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        scheduler: str = "auto",
        lora_path: Path | None = None,
        tiny_vae_path: Path | None = None,
    ) -> None:
        """`model_path`: a folder with `model_index.json`.

        `device`: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`. `dtype`: `auto`, `float32`, `float16`, `bfloat16`.
        `scheduler`: `lcm`, `model` (the model's own), or `auto`: LCM where a LoRA is given, for that is what it is for.
        `lora_path`: a safetensors file, fused into the weights. `tiny_vae_path`: folder of an `AutoencoderTiny`.
        """
        super().__init__()
        if scheduler not in ("auto", "lcm", "model"):
            raise ValueError(f"scheduler must be auto, lcm or model, not {scheduler!r}")
        self.model = model_path.name
        self._path = model_path
        self._asked_device, self._asked_dtype = device, dtype
        self._lcm = scheduler == "lcm" or (scheduler == "auto" and lora_path is not None)
        self._lora_path, self._tiny_vae_path = lora_path, tiny_vae_path
        self._pipe: Any = None
        self._half = False

    def _load(self) -> None:
        parts = check_pipeline(self._path)
        if self._tiny_vae_path:
            check_weights(self._tiny_vae_path)
        if self._lora_path:
            if not self._lora_path.is_file():
                raise EngineError("model_missing", f"There is no LoRA at {self._lora_path}. {WHAT_TO_DO}")
            check_safetensors(self._lora_path)
        try:
            import torch
            from diffusers import AutoencoderTiny, AutoPipelineForText2Image, LCMScheduler
            from diffusers.utils import logging as diffusers_logging
            from transformers.utils import logging as transformers_logging
        except ImportError as error:
            raise EngineError(
                "engine_missing", f"This host cannot run diffusers ({error}). Install torch, diffusers, transformers."
            ) from error
        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
        self.device = _device(self._asked_device, torch)
        dtype = _dtype(self._asked_dtype, self.device, torch)
        settings: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "dtype": dtype}
        spare: dict[str, Any] = {}
        if "safety_checker" not in parts:
            spare = {"safety_checker": None, "requires_safety_checker": False}
        try:
            pipe = AutoPipelineForText2Image.from_pretrained(
                str(self._path), variant=variant_of(self._path, parts), **spare, **settings
            )
            if self._tiny_vae_path:
                pipe.vae = AutoencoderTiny.from_pretrained(str(self._tiny_vae_path), **settings)
            if self._lora_path:
                pipe.load_lora_weights(
                    str(self._lora_path.parent),
                    weight_name=self._lora_path.name,
                    local_files_only=True,
                    use_safetensors=True,
                )
                pipe.fuse_lora()
                pipe.unload_lora_weights()
            if self._lcm:
                pipe.scheduler = LCMScheduler.from_config(pipe.scheduler.config)
            pipe.to(self.device)
        except (OSError, ValueError, KeyError) as error:
            raise EngineError(
                "model_missing", f"The paint model at {self._path} cannot be loaded: {error}. {WHAT_TO_DO}"
            ) from error
        except Exception as error:
            raise _as_engine_error(error, torch) from error
        pipe.set_progress_bar_config(disable=True)
        self._half = dtype is not torch.float32
        self._pipe = pipe

    def _unload(self) -> None:
        self._pipe = None
        gc.collect()
        torch = sys.modules["torch"]
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        elif self.device == "mps":
            torch.mps.empty_cache()

    def _paint(self, request: PaintRequest, on_step: OnStep) -> Painted:
        import torch

        if self.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(self.device)
        timings: dict[str, float] = {}
        samples = self._run(request, on_step, timings)
        if _is_black(samples) and self._half:
            # Half precision overflows on some hardware (cuDNN on GTX 16xx): full precision from here on.
            log.warning("black picture in half precision, painting again in float32")
            self._pipe.to(torch.float32)
            self._half = False
            samples = self._run(request, on_step, timings)
        if _is_black(samples):
            raise EngineError("black_picture", "The model gave a black picture. Try another precision or model.")
        image = Image.fromarray((samples * 255).round().astype(np.uint8), "RGB")
        size = (request.width_px or 512, request.height_px or 512)
        if image.size != size:
            image = image.resize(size, Image.Resampling.LANCZOS)
        return Painted(image, request.seed, timings_ms=timings, peak_memory_mb=self._peak_memory_mb())

    def _run(self, request: PaintRequest, on_step: OnStep, timings: dict[str, float]) -> np.ndarray:
        """One pass of the pipeline: float32 samples in 0…1, shape (height, width, 3); NaN where the model failed."""
        import torch

        pipe = self._pipe
        steps = min(MOST_STEPS, max(1, request.steps or 4))
        # Guidance up to 1 is none at all, and a negative prompt only costs time then.
        guided = (request.guidance or 0.0) > 1
        raised: list[BaseException] = []
        start = time.perf_counter()
        stepped = start

        def after_step(pipe: Any, index: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
            nonlocal stepped
            stepped = time.perf_counter()
            try:
                on_step(index + 1, int(pipe.num_timesteps), None)
            except BaseException as error:
                raised.append(error)
                raise
            return values

        try:
            with torch.inference_mode():
                output = pipe(
                    prompt=self._fit(request.prompt),
                    negative_prompt=self._fit(request.negative) if guided else None,
                    width=_side(request.width_px or 512, pipe),
                    height=_side(request.height_px or 512, pipe),
                    num_inference_steps=steps,
                    guidance_scale=request.guidance if guided else 0.0,
                    # On the CPU whatever the device: the same seed starts from the same noise everywhere.
                    generator=torch.Generator("cpu").manual_seed(request.seed % 2**63),
                    output_type="pt",
                    callback_on_step_end=after_step,
                )
        except Exception as error:
            if error in raised:
                raise
            raise _as_engine_error(error, torch) from error
        if any(getattr(output, "nsfw_content_detected", None) or ()):
            raise EngineError("blocked_picture", "The model's own checker refused the picture.")
        samples: np.ndarray = output.images[0].permute(1, 2, 0).float().cpu().numpy()
        timings["denoise"] = round((stepped - start) * 1000, 1)
        timings["decode"] = round((time.perf_counter() - stepped) * 1000, 1)
        return samples

    def _fit(self, prompt: str) -> str:
        """As many whole words as the text encoders read, so that nothing is cut in the middle (or warned about)."""
        text = " ".join(prompt[:MOST_PROMPT_CHARS].split())
        for role in ("", "_2"):
            tokenizer = getattr(self._pipe, f"tokenizer{role}", None)
            encoder = getattr(self._pipe, f"text_encoder{role}", None)
            if tokenizer is None or encoder is None:
                continue
            limit = min(tokenizer.model_max_length, getattr(encoder.config, "max_position_embeddings", 77))
            text = fitting(text, lambda part, t=tokenizer, n=limit: _fits(t, part, n))
        return text

    def _peak_memory_mb(self) -> float:
        torch: Any = sys.modules["torch"]
        if self.device.startswith("cuda"):
            return round(float(torch.cuda.max_memory_allocated(self.device)) / 2**20, 1)
        if self.device == "mps":
            return round(float(torch.mps.driver_allocated_memory()) / 2**20, 1)
        try:
            import resource
        except ImportError:  # Windows
            return 0.0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def fitting(text: str, fits: Callable[[str], bool]) -> str:
    """The longest beginning of whole words that fits; of one endless word, the longest beginning of letters."""
    if fits(text):
        return text
    for pieces, joint in ((text.split(" "), " "), (list(text), "")):
        low, high = 0, len(pieces)
        while low < high:
            middle = (low + high + 1) // 2
            if fits(joint.join(pieces[:middle])):
                low = middle
            else:
                high = middle - 1
        if low:
            return joint.join(pieces[:low]).rstrip(" ,;")
    return ""


def _fits(tokenizer: Any, text: str, limit: int) -> bool:
    # One more than fits is enough to know, and keeps the tokenizer from warning.
    return len(tokenizer(text, truncation=True, max_length=limit + 1).input_ids) <= limit


def _side(asked_px: int, pipe: Any) -> int:
    """The next multiple of what the autoencoder needs, within bounds."""
    step = max(8, int(getattr(pipe, "vae_scale_factor", 8)))
    bounded = min(LARGEST_PX, max(SMALLEST_PX, asked_px))
    return -(-bounded // step) * step


def _is_black(samples: np.ndarray) -> bool:
    return not bool(np.isfinite(samples).all()) or float(samples.max(initial=0.0)) < BLACK_LEVEL


def _device(asked: str, torch: Any) -> str:
    if asked != "auto":
        return asked
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _dtype(asked: str, device: str, torch: Any) -> Any:
    """The precision: as asked, or what is known to work on the device."""
    if asked in ("float32", "float16", "bfloat16"):
        return getattr(torch, asked)
    if asked != "auto":
        raise EngineError("bad_setting", f"dtype must be auto, float32, float16 or bfloat16, not {asked!r}")
    if device.startswith("cuda"):
        # GTX 16xx: cuDNN's half-precision convolutions give NaN.
        return torch.float32 if "GTX 16" in torch.cuda.get_device_name(device) else torch.float16
    if device == "mps":
        return torch.float16
    fast = any(getattr(torch.cpu, probe, bool)() for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return torch.bfloat16 if fast else torch.float32


def _as_engine_error(error: Exception, torch: Any) -> EngineError:
    text = str(error)
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "out of memory" in text or "can't allocate" in text:
        return EngineError(
            "out_of_memory", "The model does not fit into memory. Take a smaller picture or model, or free the device."
        )
    return EngineError("engine_failed", f"The painter failed: {type(error).__name__}: {text[:300]}")
