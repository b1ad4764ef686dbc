"""What tests of painters ask for."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from workers.engines.base import EngineError, Painter
from workers.engines.paint.diffusion.painter import DiffusersPainter
from workers.messages import PaintRequest, Reference, Scene


def request(**settings: Any) -> PaintRequest:
    values: dict[str, Any] = {
        "id": "f",
        "meeting": 1,
        "prompt": "a wooden bridge",
        "negative": "text",
        "scene": Scene(title="a wooden bridge"),
        "seed": 7,
        "width_px": 128,
        "height_px": 64,
        "steps": 3,
        "guidance": 1.0,
        # Far away, so that no machine is too slow for it.
        "deadline_s": 1e6,
    }
    return PaintRequest(**(values | settings))


def painter_of(folder: Any, **settings: Any) -> DiffusersPainter:
    # For networks this small a second thread is only in the way.
    return DiffusersPainter(str(folder), {"device": "cpu", "dtype": "float32", "threads": 1, **settings})


def pixels(painter: Painter, **settings: Any) -> np.ndarray:
    return np.asarray(painter.paint(request(**settings)).image)


def code_of(attempt: Callable[[], object]) -> str:
    with pytest.raises(EngineError) as caught:
        attempt()
    return caught.value.code


def photograph(seed: int = 0, size: tuple[int, int] = (100, 80)) -> Image.Image:
    """Random coloured patches: something with edges."""
    patches = np.random.default_rng(seed).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(patches, "RGB").resize(size, Image.Resampling.NEAREST)


def reference(use: str, image: Image.Image | None = None, strength: float = 0.6) -> Reference:
    data = io.BytesIO()
    (image or photograph()).save(data, "PNG")
    return Reference(data.getvalue(), use, strength, hashlib.sha256(data.getvalue()).hexdigest())
