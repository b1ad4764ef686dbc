"""A pipeline from a folder, and all that is loaded beside it when it is first needed. Nothing is ever downloaded.

torch and diffusers (2-4 s to import) are first touched here.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import warnings
from collections.abc import Iterator
from typing import Any

from workers.engines.base import EngineError
from workers.engines.paint.diffusion.families import SDXL, Family
from workers.engines.paint.diffusion.modules import compile_stages, quantise, upcast_attention
from workers.engines.paint.diffusion.precision import Device, Precision
from workers.engines.paint.model_folder import WHAT_TO_DO, ModelFolder, missing
from workers.hardware import CudaDevice

log = logging.getLogger("meetviz.paint")


def libraries() -> Any:
    """torch, with the libraries beside it told to be quiet: a truncated prompt would otherwise be in a warning.

    Raises EngineError `engine_missing`.
    """
    try:
        import diffusers.utils.logging
        import torch
        import transformers.utils.logging
    except ImportError as error:
        raise EngineError(
            "engine_missing", f"This host cannot run diffusers ({error}). Install torch, diffusers, transformers."
        ) from error
    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.disable_progress_bar()
        library.set_verbosity_error()
    return torch


def device_facts(name: str, torch: Any) -> Device:
    """What `precision.choose` must know of a device."""
    fast = any(getattr(torch.cpu, probe, bool)() for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    if not name.startswith("cuda"):
        return Device(name, fast_bfloat16=fast)
    facts = torch.cuda.get_device_properties(name)
    index = torch.device(name).index or 0
    card = CudaDevice(index, facts.name, (facts.major, facts.minor), facts.total_memory // 2**20)
    return Device(name, card, fast)


def as_engine_error(error: BaseException, torch: Any) -> EngineError:
    """What went wrong, as a code and words; out of memory is told from the rest."""
    if isinstance(error, EngineError):
        return error
    text = str(error)
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "out of memory" in text or "can't allocate" in text:
        return EngineError(
            "out_of_memory", "The model does not fit into memory. Take a smaller picture or model, or free the device."
        )
    return EngineError("engine_failed", f"The painter failed: {type(error).__name__}: {text[:300]}")


class Model:
    """A loaded model: its pipeline and the parts around it. Used by one thread at a time."""

    def __init__(self, folder: ModelFolder, family: Family, precision: Precision, device: str, *, tiny: bool) -> None:
        """`tiny`: whether the tiny autoencoder is the one to begin with."""
        self.torch = libraries()
        self.folder, self.family, self.precision = folder, family, precision
        self.device = self.torch.device(device)
        self.dtype = getattr(self.torch, precision.compute)
        self.float32 = not precision.half
        self.offloaded = False
        self.adapters = 0
        """How many IP-Adapters are in the UNet."""
        self.adapter_processors: list[tuple[str, Any]] = []
        self._beside: dict[str, Any] = {}
        """Models that are no part of the pipeline, by name."""
        self._compiled: list[str] = []
        self.pipe = self._load_pipe(tiny and folder.tiny_vae is not None)

    @property
    def unet(self) -> Any:
        return self.pipe.unet

    @property
    def compiled(self) -> bool:
        return bool(self._compiled)

    def _load_pipe(self, tiny: bool) -> Any:
        from diffusers import DiffusionPipeline

        precision, torch = self.precision, self.torch
        text = getattr(torch, precision.text)
        given: dict[str, Any] = {}
        if "safety_checker" not in self.folder.parts:
            given |= {"safety_checker": None, "requires_safety_checker": False} if self.family.kind != SDXL else {}
        with self._reading(self.folder.path):
            if self.folder.unet:
                given["unet"] = self._whole_unet()
            # The tiny autoencoder takes the place of the full one, which is loaded when it is first needed.
            given["vae"] = self._load_vae(tiny)
            pipe = DiffusionPipeline.from_pretrained(
                str(self.folder.path),
                variant=self.folder.variant,
                local_files_only=True,
                use_safetensors=True,
                dtype={"default": self.dtype, "text_encoder": text, "text_encoder_2": text},
                **({"add_watermarker": False} if self.family.kind == SDXL else {}),
                **given,
            )
            self._check_filled(pipe)
            for lora in self.folder.loras:
                pipe.load_lora_weights(
                    str(lora.parent), weight_name=lora.name, local_files_only=True, use_safetensors=True
                )
                pipe.fuse_lora()
                pipe.unload_lora_weights()
            pipe.scheduler = self._scheduler(pipe.scheduler)
        pipe.set_progress_bar_config(disable=True)
        self._place(pipe, tiny)
        return pipe

    def _place(self, pipe: Any, tiny: bool) -> None:
        """Put the parts where they work, in the form in which they work."""
        precision, torch = self.precision, self.torch
        if precision.channels_last:
            for module in (pipe.unet, pipe.vae):
                module.to(memory_format=torch.channels_last)
        if precision.quantise:
            quantise(pipe.unet)
            for name in ("text_encoder", "text_encoder_2"):
                if getattr(pipe, name, None) is not None:
                    quantise(getattr(pipe, name))
        if precision.storage != precision.compute:
            pipe.unet.enable_layerwise_casting(getattr(torch, precision.storage), self.dtype)
        if precision.upcast_attention:
            upcast_attention(pipe.unet)
        if precision.offload:
            pipe.enable_model_cpu_offload(device=self.device)
            self.offloaded = True
        else:
            for name, part in pipe.components.items():
                if isinstance(part, torch.nn.Module):
                    part.to(precision.text_device if name in ("text_encoder", "text_encoder_2") else self.device)
        self._beside["tiny_vae" if tiny else "vae"] = pipe.vae
        if precision.compile:
            self._compiled = compile_stages(self.device.type)
            pipe.unet.compile(mode=self._compiled[0])

    def _whole_unet(self) -> Any:
        """A distilled UNet's state dict in the shape that the folder's own UNet has."""
        from accelerate import init_empty_weights
        from diffusers import UNet2DConditionModel
        from safetensors.torch import load_file

        with init_empty_weights():
            unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(str(self.folder.path / "unet")))
        weights = {name: value for file in self.folder.unet for name, value in load_file(file).items()}
        lacking = set(unet.state_dict()) - set(weights)
        if lacking:
            raise missing(self.folder.unet[0], f"it is no UNet for this model (it lacks {min(lacking)} …)")
        try:
            unet.load_state_dict(weights, assign=True, strict=True)
        except RuntimeError as error:
            raise missing(self.folder.unet[0], "it is a UNet of another shape than this model's") from error
        return unet.to(self.dtype).eval()

    def _scheduler(self, own: Any) -> Any:
        from diffusers import EulerDiscreteScheduler, LCMScheduler

        wanted = self.family.scheduler
        if wanted == "lcm":
            return LCMScheduler.from_config(own.config)
        if wanted == "euler_trailing":
            predicted = {"prediction_type": "sample"} if self.family.predicts_sample else {}
            return EulerDiscreteScheduler.from_config(own.config, timestep_spacing="trailing", **predicted)
        if wanted == "own_trailing":
            return type(own).from_config(own.config, timestep_spacing="trailing")
        return own

    # Parts that are loaded when they are first needed

    def vae(self, tiny: bool) -> Any:
        """The tiny or the full autoencoder, on its device (or, offloaded, to be used within `at_work`)."""
        name = "tiny_vae" if tiny and self.folder.tiny_vae else "vae"
        if name not in self._beside:
            with self._reading(self.folder.path):
                vae = self._load_vae(name == "tiny_vae")
                if self.precision.channels_last:
                    vae.to(memory_format=self.torch.channels_last)
            self._keep(name, vae)
        return self._beside[name]

    def _load_vae(self, tiny: bool) -> Any:
        import diffusers

        if tiny:
            return diffusers.AutoencoderTiny.from_pretrained(
                str(self.folder.tiny_vae), local_files_only=True, use_safetensors=True, dtype=self.dtype
            )
        folder = self.folder.path / "vae"
        config = diffusers.AutoencoderKL.load_config(str(folder))
        name = config.get("_class_name", "AutoencoderKL")
        # Some makers (of SDXS) ship a tiny one as their own.
        kind = diffusers.AutoencoderTiny if name == "AutoencoderTiny" else diffusers.AutoencoderKL
        dtype = self._vae_dtype(config)
        return kind.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, variant=self.folder.variant, dtype=dtype
        )

    def _vae_dtype(self, config: Any) -> Any:
        # SDXL's own autoencoder overflows float16, unless it was mended and says so.
        overflows = self.family.kind == SDXL and config.get("force_upcast", True)
        return self.torch.float32 if overflows and self.dtype is self.torch.float16 else self.dtype

    def controlnet(self, use: str) -> Any:
        """The ControlNet for `depth`, `canny` or `scribble`; None where the folder has none."""
        if use not in self.folder.controlnets:
            return None
        name = f"controlnet_{use}"
        if name not in self._beside:
            from diffusers import ControlNetModel

            with self._reading(self.folder.controlnets[use]):
                net = ControlNetModel.from_pretrained(
                    str(self.folder.controlnets[use]),
                    local_files_only=True,
                    use_safetensors=True,
                    dtype=self.dtype,
                )
                self._check_meta(net, self.folder.controlnets[use])
            if self.precision.channels_last:
                net.to(memory_format=self.torch.channels_last)
            if self.precision.storage != self.precision.compute:
                net.enable_layerwise_casting(getattr(self.torch, self.precision.storage), self.dtype)
            if self.precision.upcast_attention:
                upcast_attention(net)
            self._keep(name, net)
        return self._beside[name]

    def depth_estimator(self) -> tuple[Any, Any] | None:
        """(image processor, model) that guess how far away everything in an image is; None where there is none."""
        folder = self.folder.depth_estimator
        if folder is None:
            return None
        if "depth_estimator" not in self._beside:
            from transformers import AutoImageProcessor, AutoModelForDepthEstimation

            with self._reading(folder):
                self._beside["depth_processor"] = AutoImageProcessor.from_pretrained(str(folder), local_files_only=True)
                # Once a reference, so float32 costs nothing that matters.
                estimator = AutoModelForDepthEstimation.from_pretrained(
                    str(folder), local_files_only=True, use_safetensors=True, dtype=self.torch.float32
                )
            self._keep("depth_estimator", estimator.eval())
        return self._beside["depth_processor"], self._beside["depth_estimator"]

    def load_adapters(self, count: int) -> None:
        """See to it that the UNet has at least so many IP-Adapters (of the one that the folder has)."""
        file = self.folder.ip_adapter
        assert file is not None
        if self.adapters >= count:
            return
        with self._reading(file.parent):
            self.pipe.load_ip_adapter(
                str(file.parent), subfolder=[""] * count, weight_name=[file.name] * count, local_files_only=True
            )
        if self.precision.upcast_attention:
            upcast_attention(self.unet)
        if self.offloaded:
            self.pipe.enable_model_cpu_offload(device=self.device)
        else:
            self.unet.to(self.device)
            self.pipe.image_encoder.to(self.device)
        self.adapters = count
        self.adapter_processors = [
            (name, processor) for name, processor in self.unet.attn_processors.items() if hasattr(processor, "scale")
        ]

    def scale_adapters(self, scales: list[dict[str, float]]) -> None:
        """How much each adapter counts, by the beginning of the attention's name; the longest beginning holds."""
        for name, processor in self.adapter_processors:
            for index, by_place in enumerate(scales):
                fitting = [place for place in by_place if name.startswith(place)]
                processor.scale[index] = by_place[max(fitting, key=len)] if fitting else 0.0

    # Changes while it is loaded

    @contextlib.contextmanager
    def at_work(self, module: Any) -> Iterator[Any]:
        """A part that the pipeline does not know is on the device within this, also where the others rest elsewhere."""
        if not self.offloaded or module is self.pipe.vae:
            yield module
            return
        module.to(self.device)
        try:
            yield module
        finally:
            module.to("cpu")

    def rest(self) -> None:
        """After a picture: offloaded parts go back to main memory."""
        if self.offloaded:
            self.pipe.maybe_free_model_hooks()

    def offload(self) -> None:
        """From here on parts come to the card only while they work."""
        for name, module in self._beside.items():
            if isinstance(module, self.torch.nn.Module) and module is not self.pipe.vae:
                module.to("cpu")
            log.debug("%s rests in main memory", name)
        self.pipe.enable_model_cpu_offload(device=self.device)
        self.offloaded = True

    def to_float32(self, full: bool) -> None:
        """Compute in float32, or again in what was chosen. Weights that were float16 come through this unchanged."""
        torch = self.torch
        dtype = torch.float32 if full else getattr(torch, self.precision.compute)
        if full == self.float32 or not self.precision.half:
            return
        self.dtype = dtype
        self.float32 = full
        text = torch.float32 if full else getattr(torch, self.precision.text)
        parts = {name: part for name, part in self.pipe.components.items() if isinstance(part, torch.nn.Module)}
        for name, part in {**parts, **self._beside}.items():
            if not isinstance(part, torch.nn.Module) or name == "depth_estimator":
                continue
            if name == "vae" and part is not self._beside.get("tiny_vae"):
                part.to(self._vae_dtype(part.config))
            else:
                part.to(text if name.startswith("text_encoder") else dtype)

    def simplify(self) -> None:
        """Compile the UNet in a simpler way, in the end not at all."""
        self._compiled.pop(0)
        self.unet._compiled_call_impl = None
        self.torch._dynamo.reset()
        if self._compiled:
            self.unet.compile(mode=self._compiled[0])

    def free(self) -> None:
        """Give back what is only cached."""
        gc.collect()
        if self.device.type == "cuda":
            self.torch.cuda.empty_cache()
        elif self.device.type == "mps":
            self.torch.mps.empty_cache()

    def _keep(self, name: str, module: Any) -> None:
        module.requires_grad_(False)
        if not self.offloaded:
            module.to(self.device)
        self._beside[name] = module

    @contextlib.contextmanager
    def _reading(self, place: Any) -> Iterator[None]:
        """What goes wrong while files are read speaks against the files, unless memory ran out."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except EngineError:
            raise
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
            told = as_engine_error(error, self.torch)
            if told.code == "out_of_memory":
                raise told from error
            raise EngineError(
                "model_missing", f"The paint model at {place} cannot be loaded: {str(error)[:300]}. {WHAT_TO_DO}"
            ) from error
        except Exception as error:
            raise as_engine_error(error, self.torch) from error

    def _check_filled(self, pipe: Any) -> None:
        for name, part in pipe.components.items():
            if isinstance(part, self.torch.nn.Module):
                self._check_meta(part, self.folder.path / name)

    def _check_meta(self, module: Any, place: Any) -> None:
        """diffusers leaves weights that a file lacks without values, and only warns."""
        for name, weight in module.named_parameters():
            if weight.is_meta:
                raise missing(place, f"its weights are not for this model (they lack {name} and perhaps more)")
