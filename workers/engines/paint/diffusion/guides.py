"""What a picture leans on: references made into what the model takes. A reference never costs the picture."""

from __future__ import annotations

import hashlib
import logging
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from workers.engines.base import EngineError
from workers.engines.paint.diffusion import decoding, edges
from workers.engines.paint.diffusion.denoising import Control
from workers.engines.paint.diffusion.families import SDXL
from workers.engines.paint.diffusion.loading import Model, as_engine_error
from workers.engines.paint.diffusion.prompts import Kept
from workers.engines.paint.references import fit_to, open_reference
from workers.messages import Reference

log = logging.getLogger("meetviz.paint")

ADAPTER_USES = ("style", "subject")
CONTROL_USES = ("depth", "canny", "scribble")
MOST_IMAGES = 4
"""Of each use of the IP-Adapter; more only blur each other."""
KEPT = 16
_STYLE_PLACE = "up_blocks.0.attentions.1"
"""The attention of SDXL's UNet that carries style and hardly any content: Wang et al., "InstantStyle", 2024."""
_GREY_LEVELS = 3
"""Channels that differ by less, on average, are grey: JPEG adds a little colour."""


@dataclass(slots=True)
class Guides:
    """References ready for one picture."""

    start: Image.Image | None = None
    """RGB, of the picture's size."""
    start_key: str = ""
    strength: float = 1.0
    images: list[Any] | None = None
    controls: list[Control] = field(default_factory=list)
    followed: set[str] = field(default_factory=set)
    """Uses of `controls`."""
    compromises: list[str] = field(default_factory=list)


class GuideMaker:
    """Prepares references for one model, and keeps what it computed by the references' keys."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._embeddings: Kept[tuple[Any, Any]] = Kept(KEPT)
        self._maps: Kept[np.ndarray] = Kept(KEPT)
        self._encoded: Kept[Any] = Kept(4)

    def clear(self) -> None:
        """Forget all that was computed, for it is computed in something else now."""
        self._embeddings.clear()
        self._encoded.clear()

    def prepare(self, references: list[Reference], size: tuple[int, int], *, guided: bool) -> Guides:
        """What the references come to in a picture of this size (width and height, px).

        Those that cannot be read or used are left out and named in `compromises`. Raises EngineError `out_of_memory`.
        """
        guides = Guides()
        styled: dict[str, list[tuple[Any, Any, float]]] = {use: [] for use in ADAPTER_USES}
        for reference in references:
            try:
                self._add(guides, styled, reference, size)
            except _Ignored:
                _note(guides, "reference_ignored")
            except Exception as error:
                known = as_engine_error(error, self._model.torch)
                if known.code == "out_of_memory":
                    raise known from error
                log.warning("a reference (%s) cannot be used: %s", reference.use, known.code)
                _note(guides, "reference_unreadable" if known.code == "bad_reference" else "reference_ignored")
        self._combine(guides, styled, guided)
        return guides

    def start_latents(self, guides: Guides, vae: Any, generator: Any) -> Any:
        """Scaled latents, float32, of the image that the picture starts from."""
        image = guides.start
        assert image is not None
        key = (guides.start_key, image.size, id(vae), decoding.dtype_of(vae))
        with self._model.at_work(vae):
            encoded = self._encoded.get(key, lambda: decoding.encode(vae, image, self._model.device))
            return decoding.start_latents(vae, encoded, generator)

    def _add(self, guides: Guides, styled: dict[str, Any], reference: Reference, size: tuple[int, int]) -> None:
        model, use, key = self._model, reference.use, _key(reference)
        strength = reference.strength if math.isfinite(reference.strength) else 0.6
        strength = min(1.0, max(0.0, strength))
        if use == "start":
            if guides.start is not None:
                raise _Ignored
            guides.start, guides.start_key = fit_to(open_reference(reference.image), *size), key
            guides.strength = strength
        elif use in ADAPTER_USES:
            if model.folder.ip_adapter is None or not model.family.takes_ip_adapter or len(styled[use]) >= MOST_IMAGES:
                raise _Ignored
            # Before the adapter, which may be 700 MB, is loaded for nothing.
            image = None if key in self._embeddings else open_reference(reference.image)
            model.load_adapters(max(1, model.adapters))
            positive, negative = self._embeddings.get(key, lambda: self._embedded(image))
            # A compiled UNet is compiled anew for every strength.
            styled[use].append((positive, negative, round(strength, 1) if model.compiled else strength))
        elif use in CONTROL_USES:
            if use not in model.folder.controlnets or use in guides.followed:
                raise _Ignored
            guide = self._maps.get((key, use, size), lambda: self._map(use, reference, size))
            net = model.controlnet(use)
            torch = model.torch
            image = torch.from_numpy(np.repeat(guide[None, None], 3, axis=1).astype(np.float32) / 255.0)
            guides.controls.append(Control(net, image.to(model.device, model.dtype), strength))
            guides.followed.add(use)
        else:
            raise _Ignored

    def _embedded(self, image: Image.Image | None) -> tuple[Any, Any]:
        """What the image encoder sees: (with, without) it, each (1, …)."""
        from diffusers.models.embeddings import ImageProjection

        pipe = self._model.pipe
        layer = pipe.unet.encoder_hid_proj.image_projection_layers[0]
        with_image, without = pipe.encode_image(image, self._model.device, 1, not isinstance(layer, ImageProjection))
        return with_image, without

    def _combine(self, guides: Guides, styled: dict[str, list[tuple[Any, Any, float]]], guided: bool) -> None:
        """References of one use go into one adapter, side by side; style and subject into one each."""
        model, torch = self._model, self._model.torch
        uses = [use for use in ADAPTER_USES if styled[use]]
        if len(uses) > model.adapters:
            try:
                model.load_adapters(len(uses))
            except EngineError as error:
                if error.code == "out_of_memory":
                    raise
                log.warning("no second adapter: %s", error.code)
                _note(guides, "reference_ignored")
                uses = uses[: model.adapters]
        if model.adapters == 0:
            return
        scales: list[dict[str, float]] = [{} for _ in range(model.adapters)]
        images: list[Any] = []
        for index in range(model.adapters):
            if index >= len(uses):
                # An adapter that is not needed now: its scale of nothing keeps the UNet from looking.
                images.append(self._blank(guided))
                continue
            entries = styled[uses[index]]
            strength = sum(entry[2] for entry in entries) / len(entries)
            by_style = uses[index] == "style" and model.family.kind == SDXL
            scales[index] = {_STYLE_PLACE: strength} if by_style and self._has_style_place() else {"": strength}
            with_image = torch.cat([entry[0] for entry in entries])[None]
            without = torch.cat([entry[1] for entry in entries])[None]
            images.append(torch.cat([without, with_image]) if guided else with_image)
        model.scale_adapters(scales)
        guides.images = [image.to(model.device, model.dtype) for image in images]

    def _has_style_place(self) -> bool:
        return any(name.startswith(_STYLE_PLACE) for name, _ in self._model.adapter_processors)

    def _blank(self, guided: bool) -> Any:
        """Nothing, in the shape of an embedding."""
        model = self._model
        encoder = model.pipe.image_encoder.config
        layer = model.unet.encoder_hid_proj.image_projection_layers[0]
        from diffusers.models.embeddings import ImageProjection

        if isinstance(layer, ImageProjection):
            shape = [encoder.projection_dim]
        else:
            shape = [(encoder.image_size // encoder.patch_size) ** 2 + 1, encoder.hidden_size]
        return model.torch.zeros([2 if guided else 1, 1, *shape])

    def _map(self, use: str, reference: Reference, size: tuple[int, int]) -> np.ndarray:
        """What the ControlNet follows: uint8, (height, width)."""
        image = fit_to(open_reference(reference.image), *size)
        if use == "depth":
            return self._depth(image)
        grey = np.asarray(image.convert("L"))
        return edges.canny(grey) if use == "canny" else edges.scribble(grey)

    def _depth(self, image: Image.Image) -> np.ndarray:
        """How near everything is, 255 the nearest. What is grey already is taken for such a map."""
        samples = np.asarray(image)
        if is_grey(samples):
            return samples[:, :, 0].copy()
        found = self._model.depth_estimator()
        if found is None:
            raise _Ignored
        processor, estimator = found
        torch = self._model.torch
        with self._model.at_work(estimator):
            inputs = processor(images=image, return_tensors="pt").to(self._model.device)
            depth = estimator(**inputs).predicted_depth[None].float()
        width, height = image.size
        depth = torch.nn.functional.interpolate(depth, size=(height, width), mode="bicubic", align_corners=False)
        values = depth[0, 0].cpu().numpy()
        low, high = float(values.min()), float(values.max())
        if not math.isfinite(low + high) or high <= low:
            raise _Ignored
        scaled: np.ndarray = ((values - low) / (high - low) * 255).round().astype(np.uint8)
        return scaled


def is_grey(samples: np.ndarray) -> bool:
    """Whether an RGB image, uint8 (height, width, 3), has no colour to speak of."""
    signed = samples.astype(np.int16)
    return float((signed.max(axis=2) - signed.min(axis=2)).mean()) < _GREY_LEVELS


class _Ignored(Exception):
    """The model has no use for a reference."""


def _note(guides: Guides, compromise: str) -> None:
    if compromise not in guides.compromises:
        guides.compromises.append(compromise)


def _key(reference: Reference) -> str:
    return reference.key or hashlib.sha256(reference.image).hexdigest()
