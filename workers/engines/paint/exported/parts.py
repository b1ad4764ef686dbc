"""Exported graphs in the roles that a pipeline's models have, for the loop and the prompts of `diffusion/`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from workers.engines.base import EngineError
from workers.engines.paint.exported.manifest import Manifest
from workers.engines.paint.exported.sessions import FLOAT32, Session

log = logging.getLogger("meetviz.paint")

TOKENS = 77
"""The length that the text graph was made for."""

Open = Callable[[str, str], Session]
"""(name of a graph, precision) -> the graph, loaded."""


class Part:
    """One graph, opened when it is first needed; in float32 from the moment on at which it gave what is no number."""

    def __init__(self, name: str, precision: str, open_graph: Open) -> None:
        self._name = name
        self._precision = precision
        self._open = open_graph
        self._session: Session | None = None
        self.widened = False
        """Whether it had to go to float32."""

    def load(self) -> Session:
        if self._session is None:
            self._session = self._open(self._name, self._precision)
        return self._session

    def run(self, **inputs: np.ndarray) -> list[np.ndarray]:
        """The outputs, all finite. Raises EngineError `black_picture` where there are none such even in float32."""
        outputs = self.load().run(**inputs)
        if not _finite(outputs) and self.widen():
            outputs = self.load().run(**inputs)
        if not _finite(outputs):
            raise black()
        return outputs

    def widen(self) -> bool:
        """Compute in float32 from now on; False where it did already."""
        if self.load().precision == FLOAT32:
            return False
        log.warning("%s failed in %s, trying float32", self._name, self.load().precision)
        # First this one goes: there may be no room for both.
        self._session = None
        self._precision = FLOAT32
        self.widened = True
        return True


class ExportedUnet:
    """The UNet as `diffusion.denoising.Denoiser` calls it."""

    def __init__(self, part: Part, manifest: Manifest) -> None:
        self._part = part
        self.config = SimpleNamespace(
            in_channels=manifest.channels, time_cond_proj_dim=manifest.guidance_channels or None
        )

    def __call__(
        self,
        latents: Any,
        timestep: Any,
        *,
        encoder_hidden_states: Any,
        added_cond_kwargs: dict[str, Any] | None = None,
        timestep_cond: Any = None,
        return_dict: bool = False,
    ) -> tuple[Any]:
        """As UNet2DConditionModel's. The graph takes one picture: two are two runs, which cost the same."""
        import torch

        now = np.array([float(timestep)], dtype=np.float32)
        told = {"embeddings": encoder_hidden_states}
        if added_cond_kwargs:
            told |= {"pooled": added_cond_kwargs["text_embeds"], "time_ids": added_cond_kwargs["time_ids"]}
        predictions = []
        for row in range(latents.shape[0]):
            inputs = {name: _array(value[row : row + 1]) for name, value in told.items()}
            if timestep_cond is not None:
                inputs["guidance"] = _array(timestep_cond[:1])
            outputs = self._part.run(latents=_array(latents[row : row + 1]), timestep=now, **inputs)
            predictions.append(torch.from_numpy(outputs[0]))
        return (torch.cat(predictions) if len(predictions) > 1 else predictions[0],)


class ExportedTexts:
    """Tokenizers and the text graph as `diffusion.prompts.Prompts` uses a pipeline."""

    def __init__(self, part: Part, folder: Path, manifest: Manifest) -> None:
        """`folder`: the model's. Raises EngineError: `model_missing`, `engine_missing`."""
        self._part = part
        self._zero_negative = manifest.zero_negative
        reads = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=TOKENS))
        self.tokenizer, self.text_encoder = tokenizer(folder / "tokenizer"), reads
        two = (folder / "tokenizer_2").is_dir()
        self.tokenizer_2 = tokenizer(folder / "tokenizer_2") if two else None
        self.text_encoder_2 = reads if two else None

    def encode_prompt(
        self,
        *,
        prompt: str,
        do_classifier_free_guidance: bool,
        negative_prompt: str | None,
        **_placing: Any,
    ) -> tuple[Any, ...]:
        """(embeddings, negative ones) and for SDXL (…, pooled, negative pooled): tensors, None where not guided."""
        import torch

        with_prompt = self._encode(prompt)
        without: list[np.ndarray] | list[None] = [None] * len(with_prompt)
        if do_classifier_free_guidance:
            zero = negative_prompt is None and self._zero_negative
            without = [np.zeros_like(part) for part in with_prompt] if zero else self._encode(negative_prompt or "")
        pairs = zip(with_prompt, without, strict=True)
        return tuple(None if part is None else torch.from_numpy(part) for pair in pairs for part in pair)

    def _encode(self, text: str) -> list[np.ndarray]:
        tokenizers = {"ids": self.tokenizer, "ids_2": self.tokenizer_2}
        ids = {
            name: np.array([one(text, padding="max_length", truncation=True, max_length=TOKENS).input_ids])
            for name, one in tokenizers.items()
            if one is not None
        }
        return self._part.run(**ids)


class ExportedChecker:
    """The checker that a model came with."""

    def __init__(self, part: Part, folder: Path) -> None:
        """`folder`: the model's. Raises EngineError `model_missing`."""
        from transformers import CLIPImageProcessor

        self._part = part
        try:
            self._processor = CLIPImageProcessor.from_pretrained(
                str(folder / "feature_extractor"), local_files_only=True
            )
        except (OSError, ValueError, TypeError) as error:
            raise EngineError(
                "model_missing", f"{folder} has a safety checker but no feature_extractor. Copy the whole folder here."
            ) from error

    def refuses(self, picture: Image.Image) -> bool:
        pixels = np.asarray(self._processor(picture, return_tensors="np").pixel_values, dtype=np.float32)
        (score,) = self._part.run(pixels=pixels)
        return round(float(score[0]), 3) > 0


def tokenizer(folder: Path) -> Any:
    """The model's own. Raises EngineError: `model_missing`, `engine_missing`."""
    try:
        from transformers import CLIPTokenizer
    except ImportError as error:
        raise EngineError("engine_missing", f"This host has no tokenizer ({error}). Install transformers.") from error
    try:
        return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # tokenizers raise bare Exceptions over broken files
        raise EngineError(
            "model_missing", f"The tokenizer at {folder} cannot be read. Copy the whole folder of the model here."
        ) from error


def black() -> EngineError:
    return EngineError("black_picture", "The model gave a black picture. Try another precision or model.")


def _array(tensor: Any) -> np.ndarray:
    return np.ascontiguousarray(tensor.numpy(), dtype=np.float32)


def _finite(outputs: list[np.ndarray]) -> bool:
    # The sum is no number when one of them is none, and needs no second array.
    return all(bool(np.isfinite(output.sum(dtype=np.float64))) for output in outputs)
